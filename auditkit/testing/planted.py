"""Small subjects and data whose right answers are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, FloatArray, GroupColumn
from auditkit.errors import DataError
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng, torch_rng
from auditkit.records import SubjectCard
from auditkit.subjects.subject import Capability, Predictions, Subject
from auditkit.subjects.torch_subject import TorchSubject

FEATURES = ("age", "income", "debt", "job")
_OWNERS = (0, 1, 2, 3, 3)


def tiny_dataset(
    n: int = 120,
    *,
    classes: int = 2,
    seed: int = 0,
    groups: Sequence[str] = ("a", "b"),
    member_share: float | None = 0.5,
) -> Dataset:
    """Rows whose labels are drawn from a known rule: softmax of ``inputs @ true_weights(classes).T``.

    Args:
        n: Rows, at least 1.
        classes: Number of classes, at least 2; the last is the favourable one.
        seed: Another seed draws other rows from the same rule.
        groups: Levels of the sensitive feature ``group``, assigned at random and independent of all else.
        member_share: Share of rows marked as training rows (the first ones); ``None`` leaves it unknown.

    Returns:
        Three numeric features and a categorical one with two columns, float32, shape ``(n, 5)``.

    Raises:
        DataError: ``n`` or ``classes`` is too small, or there is no group.
    """
    if n < 1 or classes < 2 or not groups:
        raise DataError(
            f"tiny_dataset: got n={n}, classes={classes}, groups={list(groups)}; "
            "expected n >= 1, classes >= 2 and a group"
        )
    rng = numpy_rng(seed, "tiny_dataset")
    job = rng.integers(0, 2, n)
    inputs = np.column_stack([rng.normal(size=(n, 3)), job == 0, job == 1]).astype(np.float32)
    noisy = inputs @ true_weights(classes).T + rng.gumbel(size=(n, classes))
    names = _class_names(classes)
    return Dataset(
        name="tiny",
        source="auditkit.testing",
        split=None,
        inputs=torch.from_numpy(inputs),
        y_true=noisy.argmax(axis=1).astype(np.int64),
        classes=names,
        positive=names[-1],
        features=FeatureSpace(FEATURES, _OWNERS),
        sensitive_features={"group": GroupColumn(tuple(groups), rng.integers(0, len(groups), n))},
        is_member=None if member_share is None else np.arange(n) < round(member_share * n),
        synthetic=True,
    )


def true_weights(classes: int = 2) -> FloatArray:
    """The rule behind :func:`tiny_dataset`: logits are ``inputs @ weights.T``; shape ``(classes, 5)``."""
    return numpy_rng(0, "true_weights", str(classes)).normal(size=(classes, len(_OWNERS)))


def tiny_subject(classes: int = 2, *, seed: int = 0, name: str = "baseline") -> TorchSubject:
    """A network of one hidden layer that knows the rule of :func:`tiny_dataset`, up to a small error.

    The error comes from the seed, so two seeds are two slightly different models. Nothing is trained.
    """
    truth, one = torch.from_numpy(true_weights(classes)).float(), torch.eye(classes)
    rng = torch_rng(seed, "tiny_subject")

    def nearly(exact: torch.Tensor) -> torch.Tensor:
        return exact + 0.02 * torch.randn(exact.shape, generator=rng)

    module = nn.Sequential(
        linear_layer(nearly(torch.cat([truth, -truth])), nearly(torch.zeros(2 * classes))),
        nn.ReLU(),
        linear_layer(nearly(torch.cat([one, -one], dim=1)), nearly(torch.zeros(classes))),
    )
    return _subject(module, _class_names(classes), name)


def _class_names(classes: int) -> tuple[str, ...]:
    return ("no", "yes") if classes == 2 else tuple(f"class {index}" for index in range(classes))


def linear_subject(
    weights: Sequence[float] | Sequence[Sequence[float]] | FloatArray,
    *,
    classes: Sequence[str] | None = None,
    name: str = "baseline",
) -> TorchSubject:
    """A linear classifier without bias: its attributions, margins and FLOPs have closed forms.

    Args:
        weights: Shape ``(k, d)`` for ``k`` logits of ``d`` inputs; shape ``(d,)`` is the logit of the second
            of two classes, the first being 0.
        classes: Names of the classes.
        name: Name of the subject.

    Raises:
        DataError: The weights are neither a vector nor a matrix, or the names do not fit.
    """
    matrix = np.asarray(weights, dtype=np.float32)
    if matrix.ndim == 1:
        matrix = np.stack([np.zeros_like(matrix), matrix])
    names = tuple(classes) if classes else _class_names(len(np.atleast_1d(matrix)))
    if matrix.ndim != 2 or len(names) != len(matrix) or len(matrix) < 2:
        raise DataError(
            f"linear_subject: weights of shape {matrix.shape} do not fit {len(names)} classes; "
            "expected (k, d) with k >= 2, or (d,)"
        )
    return _subject(nn.Sequential(nn.Flatten(), linear_layer(torch.from_numpy(matrix))), names, name)


def _subject(module: nn.Module, classes: tuple[str, ...], name: str) -> TorchSubject:
    return TorchSubject.build(
        module,
        name=name,
        title="planted",
        kind="baseline" if name == "baseline" else "other",
        source="auditkit.testing",
        architecture=Architecture(name="planted"),
        classes=classes,
    )


@dataclass(frozen=True, slots=True)
class PredictionsOnly:
    """A subject seen from outside: it answers, and shows neither gradients nor layers.

    ``answers`` is what it gives: labels alone, or also probabilities and the losses that follow from them.
    """

    subject: Subject
    answers: frozenset[Capability] = frozenset({"predictions"})

    @property
    def card(self) -> SubjectCard:
        """The card of the subject behind it, with fewer capabilities."""
        return self.subject.card.model_copy(update={"capabilities": tuple(sorted(self.answers))})

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it answers with, and nothing of what is inside."""
        return self.answers

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """What the subject behind it predicts."""
        return self.subject.predict(data, batch_size=batch_size)
