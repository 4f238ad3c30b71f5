"""What applies to these rows in particular."""

from auditkit.audits.explainability.explained_rows import ExplainedRows, with_tokens
from auditkit.data.dataset import Dataset
from auditkit.records import Message


def notes_of(explained: ExplainedRows, data: Dataset, rows: Dataset, rows_again: int) -> list[Message]:
    """Score, baseline, and which rows were looked at."""
    notes = [explained.score_meaning, explained.baseline_meaning]
    candidates = len(with_tokens(data))
    if len(rows) < candidates:
        notes.append(
            Message(
                text="{n} of {total} rows were drawn at random and explained.",
                values={"n": len(rows), "total": candidates},
            )
        )
    if rows_again < len(rows):
        notes.append(
            Message(
                text="{n} of them were explained again: moved, with other draws, and with models drawn anew.",
                values={"n": rows_again},
            )
        )
    notes.append(
        Message(
            text="Methods that sum along a path take fewer steps where they explain again; they are then "
            "compared with themselves at as many steps."
        )
    )
    if rows.person is None:
        notes.append(Message(text="Nobody tells which rows belong to one person; each counts by itself."))
    if data.sample_weight is not None:
        notes.append(Message(text="Rows count equally here, whatever their sample weight."))
    return notes
