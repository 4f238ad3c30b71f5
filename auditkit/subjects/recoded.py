"""A torch subject that reads rows as another one does, so that the two can be compared on the same inputs."""

from dataclasses import replace

from torch import Tensor, nn

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.data.recoding import Recoding
from auditkit.subjects.subject import Subject, preprocessing_of
from auditkit.subjects.torch_subject import TorchSubject


class RecodedInputs(nn.Module):
    """``inner`` behind the change from other inputs to those by ``own`` steps; gradients pass through."""

    def __init__(self, recoding: Recoding, own: Preprocessing, inner: nn.Module) -> None:
        super().__init__()
        self.recoding = recoding
        self.own = own
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        """What ``inner`` answers."""
        outputs: Tensor = self.inner(self.recoding(inputs))
        return outputs


def reads_as(subject: Subject, steps: Preprocessing | None) -> Subject:
    """``subject`` for inputs by ``steps``; the same one where it reads these anyway, or is no torch module.

    Inputs are single precision: what is read again may differ from the rows in the last digit.
    """
    own = preprocessing_of(subject)
    if not isinstance(subject, TorchSubject) or own is None or steps is None or own == steps:
        return subject
    module = RecodedInputs(Recoding.between(steps, own), own, subject.module).eval()
    return replace(subject, module=module, preprocessing=steps)


def as_it_reads(subject: Subject, data: Dataset) -> tuple[Subject, Dataset]:
    """What :func:`reads_as` was given, and ``data`` as it reads them: for what the change would cost, too."""
    if not isinstance(subject, TorchSubject) or not isinstance(subject.module, RecodedInputs):
        return subject, data
    around = subject.module
    inner = replace(subject, module=around.inner, preprocessing=around.own)
    return inner, replace(data, inputs=around.recoding(data.inputs))
