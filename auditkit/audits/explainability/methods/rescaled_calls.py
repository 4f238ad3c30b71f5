"""Rules that hand a score back through each call: the rescale rule of DeepLIFT, and relevance by ratio.

Every call that bends numbers is replaced by a straight line through what it really gave, and the gradient of
the score to the inputs is then the product of the slopes. A call that has no rule is refused by name.

Sources: Shrikumar, Greenside and Kundaje (2017), arXiv:1704.02685, section 3.5.1 (rescale rule, section 3.2
for pooling as Ancona et al. (2018), arXiv:1711.06104, put both); Bach et al. (2015),
doi:10.1371/journal.pone.0130140, equation 58 with epsilon 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.call_rules import (
    ELEMENTWISE,
    MAX_POOLING,
    THROUGH_ZERO,
    Call,
    is_linear,
    is_query,
)
from auditkit.audits.explainability.methods.watched_calls import (
    PROBED,
    NoRuleError,
    Watch,
    layers_named,
    own_function,
    unseen_layer,
    watched_scores,
)
from auditkit.records import Message

SMALL = 1e-10
"""Change of a number below which its slope is the derivative."""

_POOLING = {
    "max_pool1d": functional.max_pool1d_with_indices,
    "max_pool2d": functional.max_pool2d_with_indices,
    "max_pool3d": functional.max_pool3d_with_indices,
}


class _Line(torch.autograd.Function):
    """The value of the bent function with the gradient of the straight one."""

    @staticmethod
    def forward(_context: Any, _line: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _line(line: Tensor, value: Tensor) -> Tensor:
    made: Tensor = _Line.apply(line, value)  # type: ignore[no-untyped-call]
    return made


class _Rules(Watch):
    """Linear calls are made, bent ones handed to :meth:`bent`, all others refused."""

    def __init__(self, method: str, open_layers: list[tuple[str, str]] | None = None) -> None:
        super().__init__()
        self.method = method
        self.open_layers: list[tuple[str, str]] = [] if open_layers is None else open_layers

    def answer(self, call: Call) -> Any:
        if is_query(call):
            return call.made()
        if not torch.is_grad_enabled():
            raise NoRuleError(self._refusal(call, "no_grad"))
        if is_linear(call):
            return call.made()
        single = len(call.carriers) == 1 and call.arguments and call.arguments[0] is call.carriers[0]
        if single and (call.name in ELEMENTWISE or call.name in MAX_POOLING):
            return self.bent(call, call.carriers[0])
        raise NoRuleError(self._refusal(call))

    def bent(self, call: Call, inputs: Tensor) -> Tensor:
        """What stands in place of a call that is not linear."""
        raise NotImplementedError

    def _refusal(self, call: Call, name: str | None = None) -> Message:
        several = f"{call.name} × {len(call.carriers)}"
        made = name or (several if len(call.carriers) > 1 else call.name)
        said: dict[str, str | int | float] = {"method": self.method, "call": made}
        named = [(name, kind) for name, kind in self.open_layers if name]
        if not named:
            return Message(text="{method} has no rule for “{call}”, which the model calls", values=said)
        name, kind = named[-1]
        return Message(
            text="{method} has no rule for “{call}”, which layer “{layer}” ({type}) calls",
            values={**said, "layer": name, "type": kind},
        )


@dataclass(frozen=True, slots=True)
class _Bend:
    """A call at the baseline; ``indices`` tell where the maxima lie, and are empty for other calls."""

    name: str
    inputs: Tensor
    outputs: Tensor
    indices: Tensor


class _AtBaseline(_Rules):
    """Notes what every bent call gets and gives."""

    def __init__(self, method: str, open_layers: list[tuple[str, str]] | None = None) -> None:
        super().__init__(method, open_layers)
        self.bends: list[_Bend] = []

    def bent(self, call: Call, inputs: Tensor) -> Tensor:
        before = inputs.detach().clone()
        if call.name in MAX_POOLING:
            outputs, indices = _pooled(call, before)
        else:
            outputs, indices = _made(call, before), before.new_empty(0, dtype=torch.int64)
        self.bends.append(_Bend(call.name, before, outputs, indices))
        return _line(inputs, outputs)


class _Secants(_Rules):
    """Every bent call is the straight line from its baseline to its input."""

    def __init__(self, method: str, bends: list[_Bend]) -> None:
        super().__init__(method)
        self.bends, self.met = bends, 0

    def bent(self, call: Call, inputs: Tensor) -> Tensor:
        bend = self.bends[self.met] if self.met < len(self.bends) else None
        if bend is None or bend.name != call.name or bend.inputs.shape != inputs.shape:
            raise NoRuleError(
                Message(
                    text="{method} needs the same calls for a row and for its baseline, and the model makes "
                    "others",
                    values={"method": self.method},
                )
            )
        self.met += 1
        here = inputs.detach().clone()
        if call.name in MAX_POOLING:
            return _pooling_line(call, inputs, here, bend)
        moved = here - bend.inputs
        outputs, slope = _derivative(call, here)
        secant = (outputs - bend.outputs) / torch.where(moved.abs() < SMALL, torch.ones_like(moved), moved)
        return _line(inputs * torch.where(moved.abs() < SMALL, slope, secant), outputs)


class _Ratios(_Rules):
    """Every bent call hands on what it gave in proportion to what it got, straight through zero."""

    def bent(self, call: Call, inputs: Tensor) -> Tensor:
        if call.name in MAX_POOLING:
            largest: Tensor = call.made()  # has all of it, as the gradient says
            return largest
        if call.name not in THROUGH_ZERO:
            raise NoRuleError(self._refusal(call))
        here = inputs.detach().clone()
        outputs = _made(call, here)
        ratio = torch.where(here.abs() < SMALL, torch.zeros_like(here), outputs / here)
        return _line(inputs * ratio, outputs)


def _made(call: Call, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        made: Tensor = call.function(inputs.clone(), *call.arguments[1:], **call.keywords)
    return made.detach().clone()


def _derivative(call: Call, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Value and derivative of a call on single numbers."""
    with torch.enable_grad():
        at = inputs.clone().requires_grad_(True)
        made: Tensor = call.function(at + 0, *call.arguments[1:], **call.keywords)
        (slope,) = torch.autograd.grad(made.sum(), at)
    return made.detach(), slope


def _pooled(call: Call, inputs: Tensor) -> tuple[Tensor, Tensor]:
    keywords = {name: value for name, value in call.keywords.items() if name != "return_indices"}
    with torch.no_grad():
        outputs, indices = _POOLING[call.name](inputs, *call.arguments[1:7], **keywords)
    return outputs, indices


def _pooling_line(call: Call, inputs: Tensor, here: Tensor, bend: _Bend) -> Tensor:
    """The place that has the maximum at the input, or at the baseline where that is larger, gets the change.

    Where several have that of the baseline, as in a black picture, the place of the input is preferred.
    Its own change is never smaller than that of the maximum, so the slope lies between 0 and 1.
    """
    outputs, indices = _pooled(call, here)
    n_places = {"max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3}[call.name]

    def at(places: Tensor, values: Tensor) -> Tensor:
        return values.flatten(-n_places).gather(-1, places.flatten(-n_places)).view(places.shape)

    stays = (outputs >= bend.outputs) | (at(indices, bend.inputs) == bend.outputs)
    chosen = torch.where(stays, indices, bend.indices)
    moved = at(chosen, here - bend.inputs)
    even = moved.abs() < SMALL
    slope = (outputs - bend.outputs) / torch.where(even, torch.ones_like(moved), moved)
    return _line(at(chosen, inputs) * torch.where(even, torch.ones_like(slope), slope), outputs)


def secant_slopes(rows: ExplainedRows, inputs: Tensor, target: Tensor, method: str) -> Tensor:
    """Change of the score per change of each element since the baseline, shape of ``inputs``.

    Raises:
        NoRuleError: The model calls something without a rule.
    """
    before = _AtBaseline(method)
    watched_scores(rows, rows.baseline.expand_as(inputs), target, before)
    return _slopes(rows, inputs, target, _Secants(method, before.bends))


def ratio_slopes(rows: ExplainedRows, inputs: Tensor, target: Tensor, method: str) -> Tensor:
    """Relevance per unit of each element, shape of ``inputs``. Raises as :func:`secant_slopes`."""
    return _slopes(rows, inputs, target, _Ratios(method))


def _slopes(rows: ExplainedRows, inputs: Tensor, target: Tensor, rules: _Rules) -> Tensor:
    scores, at = watched_scores(rows, inputs, target, rules)
    (found,) = torch.autograd.grad(scores.sum(), at)
    return found


def refusal(rows: ExplainedRows, method: str, *, ratios: bool) -> Message | None:
    """The first call of the model, with its layer, for which there is no rule; ``None`` without one."""
    reason = unseen_layer(rows)
    if reason is not None:
        return reason
    inputs, target = rows.inputs[:PROBED], rows.target[:PROBED]
    rules: Callable[..., _Rules] = _Ratios if ratios else _AtBaseline
    try:
        with layers_named(rows.white_box.module) as open_layers:
            scores, _ = watched_scores(rows, inputs, target, rules(method, open_layers))
    except NoRuleError as error:
        return error.reason
    own = own_function(scores, (_Line,))
    if own is None:
        return None
    return Message(
        text="{method} has no rule for “{call}”, which the model calls",
        values={"method": method, "call": own},
    )
