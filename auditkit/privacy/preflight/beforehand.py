"""What was learned, chosen or planned before the first step, and whether epsilon covers it."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.preflight.report import Check, passed, refused, unsafe, warned
from auditkit.records import UNTRAINED, Message, TrainingRecord
from auditkit.training.untrained import fixed_values


def row_checks(data: Dataset) -> Iterator[Check]:
    """What the rows carry besides inputs and labels."""
    if data.counts is not None:
        yield refused(
            "rows",
            "the rows of {name} are counts: each stands for many, and one row is no unit that noise could "
            "protect. Give a table with one row for each",
            name=data.name,
        )
    if data.sample_weight is not None:
        yield warned(
            "weights",
            Message(text="the weights of the rows were left out: clipping bounds every row alike"),
        )


def start_checks(
    fresh: nn.Module,
    earlier: nn.Module,
    training: TrainingRecord | None,
    data: Dataset,
    *,
    own_class: bool = True,
) -> Iterator[Check]:
    """Whether the weights to start from are fresh, and not those of a model that saw the rows unprotected.

    What is not to be trained counts, too. What the earlier training had left as it was does not: a public
    front stays what it is in both, whichever part of it is trained now. Equal zeros and ones of biases and
    norms say nothing.

    Args:
        fresh: The module to be trained.
        earlier: A model of the same architecture, trained before.
        training: How that was; ``None`` where it is not known.
        data: The private rows.
        own_class: Whether code of the user decides what is frozen, which may have changed since.
    """
    if training is not None and training.data_digest != data.digest():
        return
    kept = _kept(training)
    known = {name: one for name, one in earlier.named_parameters() if name not in kept}
    same = [
        name
        for name, parameter in fresh.named_parameters()
        if parameter.requires_grad and name in known and _are_copies(parameter, known[name])
    ]
    fixed = _found_in(_changed(earlier, training), fresh)
    on_record = training is not None and UNTRAINED in training.recipe
    if same or (fixed and on_record):
        yield unsafe("start", _NOT_FRESH, name=repr([*same, *fixed][0]))
    elif fixed and own_class:
        yield unsafe("start", _NOT_ON_RECORD, name=repr(fixed[0]))
    elif fixed:
        yield warned("start", Message(text=_UNKNOWN_ORIGIN, values={"name": repr(fixed[0])}))
    else:
        yield passed(
            "start",
            Message(text="no weight to start from was that of the model trained without noise"),
        )


_NOT_FRESH = (
    "the weights to start from are those of a model that was trained on the same rows without noise "
    "({name} for one): whatever it learned of them would stay. Start from fresh weights, or from ones "
    "trained on public rows only"
)
_NOT_ON_RECORD = (
    "the frozen weights {name} are those of a model that was trained on the same rows without noise, and its "
    "record does not say whether that training left them as they were. If they are public, train that model "
    "again (`auditkit train`), so that its record says it; else start from fresh weights"
)
_UNKNOWN_ORIGIN = (
    "the frozen weights {name} are those of the model trained before, and it is not known which of its "
    "weights that training changed; epsilon does not cover them if it learned them from these rows"
)


def _changed(earlier: nn.Module, training: TrainingRecord | None) -> list[torch.Tensor]:
    """What the earlier training changed, or may have changed where its record does not say it."""
    weights = dict(earlier.named_parameters())
    buffers = {name: one for name, one in earlier.named_buffers() if one.is_floating_point()}
    if training is None or UNTRAINED not in training.recipe:
        statistics = [one for name, one in buffers.items() if name.endswith(_STATISTICS)]
        return [*weights.values(), *statistics]
    kept = _kept(training)
    return [one for name, one in (weights | buffers).items() if name not in kept]


def _kept(training: TrainingRecord | None) -> set[str]:
    """What the record says that the earlier training left as it was."""
    return set() if training is None else set(training.recipe.get(UNTRAINED, ()))


_STATISTICS = ("running_mean", "running_var")
"""Buffers of norms; all others are taken for constants unless a record says otherwise."""


def _found_in(earlier: Sequence[torch.Tensor], fresh: nn.Module) -> list[str]:
    """Frozen weights and buffers of ``fresh`` with the values of earlier ones, whatever their names."""
    return [
        name
        for name, one in fixed_values(fresh).items()
        if any(one.shape == other.shape and _are_equal(one, other) for other in earlier)
    ]


def _are_copies(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two matrices agree in every bit; vectors often start at 0 or 1 and stay there."""
    return one.ndim > 1 and _are_equal(one, other)


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors agree up to the type of ``one``, and are not all of one value as norms begin."""
    one, other = one.detach().cpu(), other.detach().cpu().to(one.dtype)
    return torch.equal(one, other) and not bool((one == one.flatten()[:1]).all())


def mechanism_checks(mechanism: Mechanism, n_parameters: int, *, accept_weak: bool) -> Iterator[Check]:
    """Whether there is noise, and whether anything can be learned beneath it."""
    if not mechanism.noise_multiplier > 0:
        yield unsafe("noise", "the noise multiplier is 0: without noise nothing is protected")
    drowned = mechanism.noise_multiplier * math.sqrt(n_parameters)
    drowned /= mechanism.normaliser * math.sqrt(mechanism.steps)
    if drowned > 1 and not accept_weak:
        yield unsafe(
            "feasibility",
            "averaged over all steps ({steps}) the noise is {ratio} times the largest sum of gradients that "
            "a step of {n} on average can have: nothing would be learned. Take more rows, a larger epsilon "
            "or fewer than the {weights} weights, or say --accept-weak (accept_weak: true in a config)",
            steps=mechanism.steps,
            ratio=float(f"{drowned:.2g}"),
            n=round(mechanism.normaliser),
            weights=n_parameters,
        )
    yield passed("plan", FIXED_BEFOREHAND)


FIXED_BEFOREHAND = Message(
    text="steps, rates and learning rate were fixed beforehand; nothing is stopped, chosen or scaled by what "
    "the rows give"
)
