"""A module whose source is not at hand, as a subject: what must be tried, because nobody says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.preprocessing import LanguagePreprocessing, Preprocessing, TextPreprocessing
from auditkit.data.steps import sizes_of
from auditkit.errors import CheckpointError
from auditkit.records import Message
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.subjects.weights import not_finite

_TRIED_ROWS = 2
_SUM_TOLERANCE = 1e-4
"""Rounding of a sum of probabilities in single precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the config and the data say of a model that brings no card.

    Attributes:
        preprocessing: Fitted on the training rows; ``None`` when inputs are used as they are.
        name: Of the subject.
        device: Where it is put.
        trust: Whether code of the file may run.
    """

    preprocessing: Preprocessing | None = None
    name: str = "baseline"
    device: str = "cpu"
    trust: bool = False


def foreign_subject(
    module: nn.Module,
    path: Path,
    facts: Facts,
    *,
    architecture: Architecture,
    statements: tuple[Message, ...],
) -> TorchSubject:
    """The subject around ``module``, after it answered two rows as the data need it.

    Raises:
        CheckpointError: It has values that are not finite, does not take the rows, or gives other outputs
            than one logit per class.
    """
    preprocessing = rows_of(facts, path)
    problems = not_finite(dict(module.state_dict()))
    if problems:
        raise CheckpointError(f"{path}: {problems[0]}. Save the model with finite weights")
    subject = TorchSubject.build(
        module,
        name=facts.name,
        title=path.stem,
        source=str(path),
        architecture=architecture,
        classes=preprocessing.classes,
        preprocessing=preprocessing,
        statements=statements,
        device=facts.device,
    )
    _try(subject, preprocessing, path)
    return subject


def rows_of(facts: Facts, path: Path) -> Preprocessing:
    """How raw rows become inputs.

    Raises:
        CheckpointError: Nobody knows.
    """
    if facts.preprocessing is None:
        raise CheckpointError(
            f"{path}: says neither what its rows nor what its classes are; they come from the training rows. "
            "Give data: with a target"
        )
    return facts.preprocessing


def _try(subject: TorchSubject, preprocessing: Preprocessing, path: Path) -> None:
    sizes = sizes_of(preprocessing)
    tokens = isinstance(preprocessing, TextPreprocessing | LanguagePreprocessing)
    rows = torch.zeros(
        (_TRIED_ROWS, sizes["n_inputs"]),
        dtype=torch.int64 if tokens else torch.float32,
        device=subject.device,
    )
    rows[1] = 1
    try:
        with torch.no_grad():
            outputs = subject.module(rows)
    except Exception as error:  # a model raises whatever it likes
        reason = (str(error) or type(error).__name__).strip().splitlines()[-1][:300]
        raise CheckpointError(
            f"{path}: does not take rows of {sizes['n_inputs']} numbers, as the data give: {reason}. "
            "Correct data: so that it gives what the model was made for"
        ) from None
    _check_outputs(outputs, preprocessing, sizes, path)


def _check_outputs(
    outputs: object, preprocessing: Preprocessing, sizes: Mapping[str, int], path: Path
) -> None:
    wanted: list[tuple[int, ...]]
    if isinstance(preprocessing, LanguagePreprocessing):
        wanted = [(_TRIED_ROWS, sizes["length"], sizes["vocabulary_size"])]
    else:
        n = len(preprocessing.classes)
        wanted = [(_TRIED_ROWS, n), *([(_TRIED_ROWS, 1), (_TRIED_ROWS,)] if n == 2 else [])]
    if not isinstance(outputs, torch.Tensor) or tuple(outputs.shape) not in wanted:
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise CheckpointError(
            f"{path}: gives {found} for {_TRIED_ROWS} rows, expected {wanted[0]}: one logit for each of the "
            "classes that the data have. Correct data.target, or use the model for these classes"
        )
    if not outputs.is_floating_point():
        raise CheckpointError(
            f"{path}: gives {str(outputs.dtype).removeprefix('torch.')}, expected logits or "
            "log-probabilities. Save the model without the step that picks a class"
        )
    if outputs.ndim > 1 and outputs.shape[-1] > 1 and _are_probabilities(outputs):
        raise CheckpointError(
            f"{path}: gives probabilities (they sum to 1), expected logits or log-probabilities: a second "
            "softmax would falsify every figure. Save the model without its last softmax"
        )


def _are_probabilities(outputs: torch.Tensor) -> bool:
    sums = outputs.double().sum(dim=-1)
    return bool((outputs >= 0).all()) and bool((sums - 1).abs().max() < _SUM_TOLERANCE)
