"""A torch subject that reads rows as another one does, so that the two can be compared on the same inputs."""

from dataclasses import replace

from torch import Tensor, nn

from auditkit.data.preprocessing import Preprocessing
from auditkit.data.recoding import Recoding
from auditkit.subjects.subject import Subject, preprocessing_of
from auditkit.subjects.torch_subject import TorchSubject


class RecodedInputs(nn.Module):
    """``inner`` behind the change from one way of reading rows to its own; gradients pass through."""

    def __init__(self, recoding: Recoding, inner: nn.Module) -> None:
        super().__init__()
        self.recoding = recoding
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
    module = RecodedInputs(Recoding.between(steps, own), subject.module).eval()
    return replace(subject, module=module, preprocessing=steps)
