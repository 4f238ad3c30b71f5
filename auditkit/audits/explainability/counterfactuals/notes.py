"""What a reader must know about counterfactuals of this subject on these rows."""

from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.features import NumberFeature
from auditkit.audits.explainability.counterfactuals.found import Found
from auditkit.audits.explainability.explained_score import obstacle
from auditkit.data.dataset import Dataset
from auditkit.records import Message
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Subject, WhiteBox

NO_TABLE = Message(
    text="The inputs are no table: they have no features that a reader could change one by one."
)
FROM_TABLE = Message(text="The predictions come from a table: it cannot be asked about changed rows.")
NO_GRADIENTS = Message(
    text="The subject shows no gradients: rows are changed feature by feature, and towards rows that are "
    "decided otherwise."
)


def unsuitable(subject: Subject, data: Dataset) -> Message | None:
    """Why no row can be changed, or ``None`` where it can."""
    if data.features.image_shape is not None or data.features.tokens is not None or data.inputs.ndim != 2:
        return NO_TABLE
    return FROM_TABLE if isinstance(subject, PredictionsTable) else None


def gradient_obstacle(subject: Subject, data: Dataset) -> list[Message]:
    """What keeps the search from following gradients; empty where nothing does."""
    if "gradients" not in subject.capabilities or not isinstance(subject, WhiteBox):
        return [NO_GRADIENTS]
    reason = obstacle(subject, data.inputs[:1].to(subject.device))
    return [] if reason is None else [reason, NO_GRADIENTS]


def drawn_note(n: int, total: int) -> list[Message]:
    """That rows were drawn, where they were."""
    text = "{n} of {total} such rows were drawn at random and explained."
    return [Message(text=text, values={"n": n, "total": total})] if n < total else []


def notes_of(found: Found, constraints: Constraints, data: Dataset, time_budget_s: float) -> list[Message]:
    """What was held fixed, what a deviation is, and what went otherwise than planned."""
    return [
        *_held(found, constraints),
        *_deviations(found),
        *_interruptions(found, time_budget_s),
        *(
            [Message(text="Rows count equally here, whatever their sample weight.")]
            if data.sample_weight is not None
            else []
        ),
    ]


def _held(found: Found, constraints: Constraints) -> list[Message]:
    sensitive = [name for name in found.table.names if name in constraints.sensitive]
    if not sensitive:
        return []
    text = "Sensitive and not changed: {features} (change_sensitive: true lets them change)."
    return [Message(text=text, values={"features": ", ".join(sensitive)})]


def _deviations(found: Found) -> list[Message]:
    """Where the median absolute deviation says nothing."""
    numbers = [one for one in found.table.features if isinstance(one, NumberFeature)]
    other = [one.name for one in numbers if not one.is_median and one.low < one.high]
    text = (
        "A distance of 1 is a median absolute deviation. Where that is 0 or there are two values only, it is "
        "the standard deviation or the difference of the two: {features}."
    )
    return [Message(text=text, values={"features": ", ".join(other)})] if other else []


def _interruptions(found: Found, time_budget_s: float) -> list[Message]:
    notes = []
    if found.n_searched < len(found):
        text = (
            "The time budget of {budget} s was spent when {n} of {total} rows had been searched to the end. "
            "What was found by then counts; another run may get further and give other figures."
        )
        values = {"budget": time_budget_s, "n": found.n_searched, "total": len(found)}
        notes.append(Message(text=text, values=values))
    if found.n_withdrawn:
        text = "{n} counterfactuals did not hold when they were asked about again, and do not count."
        notes.append(Message(text=text, values={"n": found.n_withdrawn}))
    return notes
