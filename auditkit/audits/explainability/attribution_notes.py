"""What to know when reading attributions of one model, or of two."""

from auditkit.audits.explainability.chosen_methods import Usable
from auditkit.audits.explainability.explained_rows import ExplainedRows, with_tokens
from auditkit.data.dataset import Dataset
from auditkit.records import Message


def notes_of(
    explained: ExplainedRows, data: Dataset, rows: Dataset, shown: tuple[str, ...] = ()
) -> list[Message]:
    """Of one model.

    Args:
        explained: Score and baseline.
        data: All rows.
        rows: Those explained.
        shown: The method that is shown in detail, where it is not the one that is always meant.
    """
    notes = [
        *(Message(text="Shown in detail are attributions by {method}.", values={"method": m}) for m in shown),
        explained.score_meaning,
        explained.baseline_meaning,
    ]
    if explained.unit == "nat":
        notes.append(
            Message(
                text="Nats count the score before it becomes a probability: 0.69 nat more doubles the odds "
                "of what is explained."
            )
        )
    if data.features.tokens is not None:
        notes.append(
            Message(
                text="An attribution of a token is about the vector with which it enters the model, in its "
                "place among the others; elsewhere it may weigh otherwise."
            )
        )
    empty = len(data) - len(with_tokens(data))
    if empty:
        notes.append(Message(text="{n} rows without any token are left out.", values={"n": empty}))
    if len(rows) < len(data) - empty:
        notes.append(
            Message(
                text="{n} of {total} rows were drawn at random and explained.",
                values={"n": len(rows), "total": len(data) - empty},
            )
        )
    if data.sample_weight is not None:
        notes.append(Message(text="Rows count equally here, whatever their sample weight."))
    return notes


def pair_notes(found: tuple[Usable, Usable], rows: Dataset, asked: str) -> list[Message]:
    """Of a baseline and a variant; ``asked`` is the method that the user named first."""
    notes = [
        Message(text="Explained in both models is the token that the baseline foretells.")
        if rows.task == "language-modelling"
        else Message(text="Explained in both models is the class that the baseline predicts.")
    ]
    used = found[0].method
    if used != asked:
        notes.append(
            Message(
                text="{method} cannot be used on both models; {used} stands in its place.",
                values={"method": asked, "used": used},
            )
        )
    incomplete = [0 if one.complete is None else int((~one.complete).sum()) for one in found]
    if any(incomplete):
        notes.append(
            Message(
                text="Attributions do not add up in {baseline} rows of the baseline, {variant} of the other.",
                values={"baseline": incomplete[0], "variant": incomplete[1]},
            )
        )
    return notes
