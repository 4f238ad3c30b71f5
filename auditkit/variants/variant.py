"""What a variant is: a frozen recipe that derives another subject from the baseline."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.data.rows import Rows
from auditkit.errors import DataError
from auditkit.privacy.distributed import Processes
from auditkit.privacy.recorded import Recording
from auditkit.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class VariantInfo:
    """Name as in the config's ``kind``, what it does, and what it needs of the baseline.

    ``trains`` marks variants whose result is a checkpoint worth keeping and too dear to make twice.
    """

    kind: str
    version: int
    summary: str
    requires: frozenset[str] = frozenset()
    trains: bool = False


def _no_raw_rows(_steps: Preprocessing) -> Dataset:
    raise DataError("the training rows are not at hand as they were read, only as the baseline reads them")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantContext:
    """What the runner grants a variant.

    Attributes:
        name: The name the user gave it; becomes the subject's name.
        seed: Derived from the run's seed and the variant's name.
        folder: Where it may keep a checkpoint; exists.
        training_data: Gives the rows the baseline was trained on, encoded as it expects them.
            Raises ``DataError`` when they are not at hand.
        unscaled_rows: Gives the same rows by other steps, which leave numbers in their own unit, with all the
            digits that these have.
        report_progress: Called with (done, total, text).
        recording: Gives the ledger in which a private training of those rows is written down, told whether
            it is accepted that lines of it are lost; ``None`` where none is kept.
        tell: Called with sentences for the user; ``None`` where nobody listens.
        processes: Those that derive it together; ``None`` where this one is alone.
    """

    name: str
    seed: int
    folder: Path
    training_data: Callable[[], Dataset]
    device: str = "cpu"
    report_progress: Callable[[int, int, str], None] = lambda _done, _total, _text: None
    recording: Callable[[bool], Recording] | None = None
    tell: Callable[[str], None] | None = None
    processes: Processes | None = None
    unscaled_rows: Callable[[Preprocessing], Dataset] = _no_raw_rows


class Variant(BaseModel, ABC):
    """Base of all variants. Subclass fields are the parameters a user may set in the config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    info: ClassVar[VariantInfo]

    def refuse_early(self, rows: Rows) -> None:
        """Refuse what the parameters and the training rows as read rule out, before a baseline is trained."""

    @abstractmethod
    def derive(self, baseline: Subject, context: VariantContext) -> Subject:
        """A new subject; the baseline stays as it is."""
