"""Choosing how strongly to mitigate, on training rows set aside for that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from auditkit.config.model import EarlyStoppingConfig
from auditkit.data.dataset import BoolArray, Dataset
from auditkit.errors import UsageError
from auditkit.records import Message
from auditkit.training.validation import set_aside
from auditkit.variants.mitigate_task import BinaryTask, Constraint

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Grid:
    """Which strengths to try, and what a smaller gap may cost.

    Attributes:
        strengths: One or more.
        accuracy_budget: Accuracy below that of the best candidate that is still accepted, unit 1.
        validation_fraction: Share of the training rows set aside.
    """

    strengths: tuple[float, ...]
    accuracy_budget: float
    validation_fraction: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """How one strength did on the rows set aside."""

    strength: float
    accuracy: float
    gap: float


@dataclass(frozen=True, slots=True)
class Chosen(Generic[Made]):
    """The strength that was taken, what it made, and how it was chosen."""

    strength: float
    made: Made
    statements: tuple[Message, ...] = ()


def smallest_gap(candidates: Sequence[Candidate], accuracy_budget: float) -> Candidate:
    """The smallest gap among the candidates whose accuracy is within the budget of the best.

    Of equal gaps the more accurate is taken, then the weaker.
    """
    best = max(candidate.accuracy for candidate in candidates)
    accepted = [candidate for candidate in candidates if candidate.accuracy >= best - accuracy_budget]
    return min(accepted, key=lambda one: (one.gap, -one.accuracy, one.strength))


def choose(
    data: Dataset,
    grid: Grid,
    constraint: Constraint,
    attribute: str,
    *,
    make: Callable[[Dataset, float], Made],
    selects: Callable[[Made, Dataset], BoolArray],
) -> Chosen[Made]:
    """Make one candidate per strength and take one by :func:`smallest_gap`.

    With a single strength nothing is chosen, and every row trains. Otherwise the candidate that was measured
    is the one that is kept, as in early stopping.

    Args:
        data: The training rows.
        grid: The strengths and the rule.
        constraint: Whose gap counts.
        attribute: Between whose groups.
        make: Trains on rows at a strength.
        selects: Whether what was made predicts the favourable label, for each row.

    Raises:
        UsageError: Too few rows of two groups are among those set aside.
        DataError: There are too few rows to set some aside.
    """
    if len(grid.strengths) == 1:
        (only,) = grid.strengths
        return Chosen(only, make(data, only))
    trained, validated = set_aside(data, EarlyStoppingConfig(validation_fraction=grid.validation_fraction))
    BinaryTask.of(trained, attribute)
    task = BinaryTask.of(validated, attribute)
    made: dict[float, Made] = {}
    candidates = []
    for strength in grid.strengths:
        made[strength] = make(trained, strength)
        selected = selects(made[strength], validated)
        gap = task.gap(selected, constraint)
        if gap is None:
            raise UsageError(
                f"mitigate: the {len(validated)} training rows set aside are too few to compare groups of "
                f"{attribute} in {constraint}; raise validation_fraction, or give one strength: strengths: "
                "[1]"
            )
        candidates.append(Candidate(strength, task.accuracy(selected), gap))
    taken = smallest_gap(candidates, grid.accuracy_budget)
    statement = _statement(taken, candidates, grid, constraint, len(validated))
    return Chosen(taken.strength, made[taken.strength], (statement,))


def _statement(
    taken: Candidate, candidates: Sequence[Candidate], grid: Grid, constraint: Constraint, n: int
) -> Message:
    text = (
        "Of the strengths {strengths}, strength {strength} was chosen on {n} training rows set aside: the "
        "smallest gap in {constraint} ({gap}) among those whose accuracy is within {budget} of the best "
        "({best})."
    )
    values = {
        "strengths": ", ".join(f"{strength:g}" for strength in grid.strengths),
        "strength": f"{taken.strength:g}",
        "n": n,
        "constraint": constraint,
        "gap": round(taken.gap, 4),
        "budget": grid.accuracy_budget,
        "best": round(max(candidate.accuracy for candidate in candidates), 4),
    }
    return Message(text=text, values=values)
