"""Agreement of explanations as figures and as a table, of whatever they are: methods or models."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditkit.audits.explainability.quality.agreement import Agreement
from auditkit.audits.explainability.quality.figures import estimate_of
from auditkit.data.dataset import FloatArray
from auditkit.records import Measurement, Message, Table


@dataclass(frozen=True, slots=True)
class AgreementMetrics:
    """Names of the four figures."""

    overlap: str
    overlap_over: str
    signs: str
    ranks: str

    def scores(self, both: Agreement, *, signed: bool) -> dict[str, FloatArray]:
        """Row by row; signs only where both explanations have them."""
        found = {
            self.overlap: both.overlap,
            self.overlap_over: both.overlap - both.by_chance,
            self.ranks: both.ranks,
        }
        return found | ({self.signs: both.signs} if signed else {})

    def table(
        self, figures: Sequence[Measurement], key: str, head: Message, *, title: Message, caption: Message
    ) -> Table:
        """One line for each value of ``key`` in the groups of the figures, under ``head``."""
        columns = {
            self.overlap: Message(text="Common top units"),
            self.overlap_over: Message(text="Beyond chance"),
            self.signs: Message(text="Same sign among them"),
            self.ranks: Message(text="Rank correlation"),
        }
        lines: dict[str, dict[str, Measurement]] = {}
        for one in figures:
            lines.setdefault(one.group[key], {})[one.metric] = one
        return Table(
            title=title,
            caption=caption,
            columns=(head, *columns.values()),
            rows=tuple(
                (name, *(estimate_of(found.get(metric)) for metric in columns))
                for name, found in lines.items()
            ),
        )
