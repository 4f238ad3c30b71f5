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


Obstacle = Callable[[ExplainedRows], Message | None]
"""Why a method cannot be used on these rows; ``None`` where it can."""


def where_gradients_reach(rows: ExplainedRows) -> Message | None:
    """No obstacle but the lack of gradients."""
    return rows.no_gradients


def with_gradients(obstacle: Obstacle) -> Obstacle:
    """An obstacle that looks into the model, which can only be done where gradients reach."""
    return lambda rows: rows.no_gradients or obstacle(rows)


def anywhere(_rows: ExplainedRows) -> Message | None:
    """No obstacle: the method only asks for scores of changed rows."""
    return None


def nothing(_rows: ExplainedRows) -> Message | None:
    """No remark."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionMethod:
    """One method.

    Attributes:
        name: As in the config, ``"integrated-gradients"``.
        attribute: Does it.
        obstacle: Why the method gives nothing, or not what it promises, on this model; ``None``
            where it can be used. Names the layer at fault. Called before ``attribute``.
        remark: What a reader must know of the way it takes on these rows, such as units replaced together.
        adds_up: Whether attributions promise to sum to the score minus the score of the baseline.
        exact: Whether they do so to rounding wherever there is no obstacle. Attributions that do not rest
            on something that the obstacle could not see and are withheld.
        signed: Whether a negative attribution means that the unit speaks against the class.
        coarse: The same with fewer evaluations, for explaining many times what need not be exact; ``None``
            where ``attribute`` is cheap.
        sources: Where the method comes from.
    """

    name: str
    attribute: Attribute
    obstacle: Obstacle = where_gradients_reach
    remark: Callable[[ExplainedRows], Message | None] = nothing
    adds_up: bool = False
    exact: bool = False
    signed: bool = True
    coarse: Attribute | None = None
    sources: tuple[str, ...] = ()
