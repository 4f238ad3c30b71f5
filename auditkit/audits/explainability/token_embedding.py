"""The layer of a model that turns token ids into vectors: found by watching, replaced for one call."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox


@dataclass(frozen=True, slots=True)
class TokenEmbedding:
    """The layer, and the vector that it gives padding, shape ``(1, width)``."""

    layer: nn.Embedding
    of_padding: Tensor

    def vectors(self, ids: Tensor) -> Tensor:
        """One vector per token, shape ``(n, length, width)``, cut off from the weights."""
        with torch.no_grad():
            found: Tensor = self.layer(ids)
        return found.detach()


def find_token_embedding(subject: WhiteBox, ids: Tensor, padding: int) -> TokenEmbedding | Message:
    """The layer that reads the ids themselves, or why there is none that can be explained.

    Embeddings of positions or of segments are called with other ids and so are not mistaken for it.

    Args:
        subject: The model; left as it was.
        ids: Some rows, shape ``(n, length)``.
        padding: The id that fills rows up.
    """
    readers: dict[int, nn.Embedding] = {}
    layers = [layer for layer in subject.module.modules() if isinstance(layer, nn.Embedding)]

    def watch(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(layer, nn.Embedding) and arguments and _reads(arguments[0], ids):
            readers[id(layer)] = layer

    with ExitStack() as hooks, torch.no_grad():
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(watch).remove)
        subject.logits(ids)
    if len(readers) != 1:
        return Message(
            text="{n} embedding layers read the token ids, where exactly one can be explained",
            values={"n": len(readers)},
        )
    (layer,) = readers.values()
    with torch.no_grad():
        of_padding: Tensor = layer(torch.full((1,), padding, dtype=ids.dtype, device=ids.device))
    return TokenEmbedding(layer, of_padding.detach())


def _reads(argument: object, ids: Tensor) -> bool:
    """Whether a layer was called with the ids, or with their beginning where the end is padding for all."""
    if not isinstance(argument, Tensor) or argument.ndim != 2 or argument.shape[0] != ids.shape[0]:
        return False
    return torch.equal(argument, ids[:, : argument.shape[1]])


@contextmanager
def vectors_in_place(layer: nn.Embedding, ids: Tensor, vectors: Tensor) -> Iterator[None]:
    """Within the block ``layer`` answers ``ids`` with ``vectors``; other ids as always.

    Args:
        layer: Keeps its weights; the hook is gone after the block, also when it raises.
        ids: Shape ``(n, length)``.
        vectors: Shape ``(n, length, width)``.
    """
    handle = layer.register_forward_hook(partial(_answer, ids, vectors))
    try:
        yield
    finally:
        handle.remove()


def _answer(
    ids: Tensor, vectors: Tensor, _layer: nn.Module, arguments: tuple[Any, ...], output: Tensor
) -> Tensor:
    if not (arguments and _reads(arguments[0], ids)):
        return output
    return vectors[:, : arguments[0].shape[1]].to(output.dtype)
