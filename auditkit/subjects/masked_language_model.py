"""A masked model of language: every token is foretold from all the others of its row.

The figure is the pseudo-log-likelihood of Salazar et al. (2020), arXiv:1910.14659, section 2.1, with one
difference that bounds its cost: of the tokens of a row every eighth is masked at a time rather than one, so
that a row takes eight passes whatever its length. Masked neighbours are eight tokens apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from auditkit.data.dataset import Dataset, Task
from auditkit.data.preprocessing import Preprocessing
from auditkit.data.sequences import NOT_COUNTED, padding_of, targets_of
from auditkit.data.tokenizers import FolderTokenizer
from auditkit.errors import CheckpointError, DataError, UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.subject import Capability, Predictions, TokenLosses
from auditkit.subjects.torch_subject import TorchSubject

STRIDE = 8
"""Passes per row; in each, every eighth token is masked."""

_MOST_LOGITS = 2**25
"""Numbers that a pass may give at once: 128 MiB in single precision."""

_HOW = (
    "A masked model of language: each token is foretold from those on both sides, every {stride}th token of "
    "a row masked at a time. Its figures cannot be compared with those of a model that reads left to right."
)


@dataclass(frozen=True, slots=True)
class MaskedLanguageModel:
    """A subject with the capability ``generative`` and nothing that asks for one answer per row.

    Attributes:
        inner: The module with its card; its outputs are logits ``(n, length, vocabulary)``.
        mask: The id that hides a token.
        end: The id that ends a row; ``None`` where rows have no end of their own.
        uncounted: Ids that stand for no text, and are not to be foretold.
    """

    inner: TorchSubject
    mask: int
    end: int | None
    uncounted: frozenset[int]

    @classmethod
    def around(cls, inner: TorchSubject, tokenizer: FolderTokenizer) -> "MaskedLanguageModel":
        """The module of ``inner`` asked in this way.

        Raises:
            CheckpointError: The tokenizer has no mask.
        """
        mask = tokenizer.special("mask")
        if mask is None:
            raise CheckpointError(
                f"{tokenizer.folder}: the tokenizer has no mask_token, so that no token can be hidden; "
                "save the model's own tokenizer in the folder"
            )
        statement = Message(text=_HOW, values={"stride": STRIDE})
        subject = cls(inner, mask, tokenizer.special("sep"), tokenizer.special_ids - _unknown(tokenizer))
        update = {
            "capabilities": tuple(sorted(subject.capabilities)),
            "statements": (*inner.card.statements, statement),
        }
        return replace(subject, inner=replace(inner, card=inner.card.model_copy(update=update)))

    @property
    def card(self) -> SubjectCard:
        """Its identity."""
        return self.inner.card

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Losses of tokens; no gradient of a row's answer, since it takes many passes to give one."""
        return frozenset({"losses", "generative", "layers"})

    @property
    def task(self) -> Task:
        """What the module does."""
        return "language-modelling"

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw rows become token ids."""
        return self.inner.preprocessing

    @property
    def module(self) -> nn.Module:
        """The module in evaluation mode."""
        return self.inner.module

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.inner.device

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the module gives for the last token of each row when that is masked, ``(n, vocabulary)``."""
        padding = self._padding
        last = (inputs != padding).sum(dim=1).clamp(min=1) - 1
        rows = torch.arange(len(inputs), device=inputs.device)
        masked = inputs.index_put((rows, last), torch.tensor(self.mask, device=inputs.device))
        outputs: torch.Tensor = self.module(masked)
        return outputs[rows, last]

    def state(self) -> Mapping[str, torch.Tensor]:
        """Parameters and buffers by name."""
        return self.inner.state()

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Never: a masked model gives tokens, not the class of a row.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.card.name}: a masked model of language classifies no rows of {data.name}")

    def token_losses(self, data: Dataset, *, batch_size: int) -> TokenLosses:
        """The loss of every token given all the others, in nats and float64; special tokens are not counted.

        Raises:
            DataError: A row holds special tokens only.
        """
        targets = targets_of(data)
        counted = (targets != NOT_COUNTED) & ~torch.isin(targets, torch.tensor(sorted(self.uncounted)))
        empty = int((~counted.any(dim=1)).sum())
        if empty:
            raise DataError(f"{data.name}: {empty} texts hold no token to be foretold; remove them")
        nats = torch.zeros(targets.shape, dtype=torch.float64)
        foretold = torch.zeros(targets.shape, dtype=torch.bool)
        step = self._rows_at_once(data, batch_size)
        with torch.inference_mode():
            for start in range(0, len(data), step):
                rows = slice(start, start + step)
                whole = self._whole(data.inputs[rows], targets[rows], padding_of(data))
                for offset in range(STRIDE):
                    hidden = counted[rows].clone()
                    hidden[:, (torch.arange(hidden.shape[1]) % STRIDE) != offset] = False
                    if hidden.any():
                        loss, right = self._of_hidden(whole, hidden, targets[rows])
                        nats[rows][hidden] = loss
                        foretold[rows][hidden] = right
        return TokenLosses(nats.numpy(), counted.numpy(), foretold.numpy())

    def _of_hidden(
        self, whole: torch.Tensor, hidden: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each hidden token, and whether it was the most probable one."""
        masked = whole.clone()
        # The target of position j is the token at position j + 1.
        masked[:, 1 : 1 + hidden.shape[1]][hidden] = self.mask
        outputs = self.module(masked.to(self.device))[:, 1 : 1 + hidden.shape[1]].cpu()
        logits, wanted = outputs[hidden], targets[hidden]
        losses = [
            functional.cross_entropy(part.double(), want, reduction="none")
            for part, want in zip(torch.split(logits, 1024), torch.split(wanted, 1024), strict=True)
        ]
        return torch.cat(losses), logits.argmax(dim=1) == wanted

    def _whole(self, inputs: torch.Tensor, targets: torch.Tensor, padding: int) -> torch.Tensor:
        """The rows with the token that follows each, and the id that ends a row where it was cut off."""
        n_read = (inputs != padding).sum(dim=1)
        rows = torch.arange(len(inputs))
        last = targets[rows, (n_read - 1).clamp(min=0)]
        room = torch.full((len(inputs), 2), padding, dtype=inputs.dtype)
        whole = torch.cat([inputs, room], dim=1)
        whole[rows, n_read] = last
        if self.end is not None:
            cut = last != self.end
            whole[rows[cut], n_read[cut] + 1] = self.end
        return whole

    def _rows_at_once(self, data: Dataset, batch_size: int) -> int:
        width = (data.inputs.shape[1] + 2) * len(data.classes)
        return max(1, min(batch_size, _MOST_LOGITS // width))

    @property
    def _padding(self) -> int:
        return int(getattr(getattr(self.preprocessing, "tokenizer", None), "padding", 0))


def _unknown(tokenizer: FolderTokenizer) -> frozenset[int]:
    """The id of unknown words stands for text, and is foretold like any other."""
    unknown = tokenizer.special("unk")
    return frozenset() if unknown is None else frozenset({unknown})
