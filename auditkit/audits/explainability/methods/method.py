"""What a method of attribution is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.data.dataset import FloatArray
from auditkit.records import Message

Attribute = Callable[[ExplainedRows, torch.Generator], FloatArray]
"""From rows to what each unit adds to the score, shape ``(n, m)``, 0 where a unit is not present. Draws come
from the generator alone, and a row gets the same whatever the batch size."""


def anywhere(_rows: ExplainedRows) -> Message | None:
    """No obstacle: the method works wherever gradients do."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionMethod:
    """One method.

    Attributes:
        name: As in the config, ``"integrated-gradients"``.
        attribute: Does it.
        obstacle: Why the method gives nothing, or not what it promises, on this model; ``None``
            where it can be used. Names the layer at fault. Called before ``attribute``.
        adds_up: Whether attributions promise to sum to the score minus the score of the baseline.
        signed: Whether a negative attribution means that the unit speaks against the class.
        coarse: The same with fewer evaluations, for explaining many times what need not be exact; ``None``
            where ``attribute`` is cheap.
        sources: Where the method comes from.
    """

    name: str
    attribute: Attribute
    obstacle: Callable[[ExplainedRows], Message | None] = anywhere
    adds_up: bool = False
    signed: bool = True
    coarse: Attribute | None = None
    sources: tuple[str, ...] = ()
