"""The layer of a model that turns token ids into vectors: found by watching, replaced for one call."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox


@dataclass(frozen=True, slots=True)
class TokenEmbedding:
    """The layer that reads the ids.

    Attributes:
        layer: Left as it was.
        padding: The id that fills rows up.
        stand_in: The id that the layer gets in its place; another one where padding is not in its vocabulary.
    """

    layer: nn.Embedding
    padding: int
    stand_in: int

    def vectors(self, ids: Tensor) -> Tensor:
        """One vector per token, shape ``(n, length, width)``, cut off from the weights."""
        with torch.no_grad():
            found: Tensor = self.layer(torch.where(ids == self.padding, self.stand_in, ids))
        return found.detach()

    def of_padding(self, ids: Tensor) -> Tensor:
        """The vector of padding at every place of a row, shape ``(1, length, width)``."""
        return self.vectors(torch.full_like(ids[:1], self.padding))


def find_token_embedding(subject: WhiteBox, ids: Tensor, padding: int) -> TokenEmbedding | Message:
    """The layer that reads the ids themselves, or why there is none that can be explained.

    Embeddings of positions or of segments are called with other ids and so are not mistaken for it.

    Args:
        subject: The model; left as it was.
        ids: Some rows, shape ``(n, length)``.
        padding: The id that fills rows up.
    """
    probe = _with_padding(ids, padding)
    readers: dict[int, tuple[nn.Embedding, Tensor]] = {}

    def watch(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(layer, nn.Embedding) and arguments and _reads(arguments[0], probe, padding):
            readers[id(layer)] = (layer, arguments[0])

    with ExitStack() as hooks, torch.no_grad():
        for layer in subject.module.modules():
            if isinstance(layer, nn.Embedding):
                hooks.callback(layer.register_forward_pre_hook(watch).remove)
        subject.logits(probe)
    if len(readers) != 1:
        return Message(
            text="{n} embedding layers read the token ids, where exactly one can be explained",
            values={"n": len(readers)},
        )
    ((reader, argument),) = readers.values()
    in_place = argument[probe[:, : argument.shape[1]] == padding]
    return TokenEmbedding(reader, padding, int(in_place[0]) if len(in_place) else padding)


def _with_padding(ids: Tensor, padding: int) -> Tensor:
    """The rows, and the first of them once more cut to one token, to see what stands for padding."""
    if ids.shape[1] < 2:
        return ids
    shorter = ids[:1].clone()
    shorter[0, 1:] = padding
    return torch.cat([ids, shorter])


def _reads(argument: object, ids: Tensor, padding: int) -> bool:
    """Whether a layer was called with the ids, or with their beginning where the end is padding for all.

    At padding anything may stand.
    """
    if not isinstance(argument, Tensor) or argument.ndim != 2 or argument.shape[0] != ids.shape[0]:
        return False
    if argument.shape == ids.shape and argument.dtype == ids.dtype and torch.equal(argument, ids):
        return True
    length = argument.shape[1]
    if length > ids.shape[1] or bool((ids[:, length:] != padding).any()):
        return False
    is_real = ids[:, :length] != padding
    return bool((argument == ids[:, :length])[is_real].all())


@contextmanager
def vectors_in_place(embedding: TokenEmbedding, ids: Tensor, vectors: Tensor) -> Iterator[None]:
    """Within the block the layer answers ``ids`` with ``vectors``; other ids as always.

    Args:
        embedding: Its layer keeps its weights; the hook is gone after the block, also when it raises.
        ids: Shape ``(n, length)``.
        vectors: Shape ``(n, length, width)``.
    """

    def answer(_layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        if not (arguments and _reads(arguments[0], ids, embedding.padding)):
            return output
        return vectors[:, : arguments[0].shape[1]].to(output.dtype)

    handle = embedding.layer.register_forward_hook(answer)
    try:
        yield
    finally:
        handle.remove()
