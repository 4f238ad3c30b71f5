"""What is said of the trust in attributions before any of them is shown."""

from collections.abc import Sequence

from auditkit.records import AuditResult, Cell, Message, Table
from auditkit.reporting.language import Texts, mark
from auditkit.reporting.view.evidence.shapes import EvidenceView

TRUST, EXPLANATIONS = "attribution-quality", "attribution"
"""The audit that says how far attributions can be trusted, and the one that shows them."""

_NOT_PASSED = {
    "fails": mark("Fails: {checks}."),
    "inconclusive": mark("Inconclusive: {checks}."),
    "not shown": mark("Not shown: {checks}."),
}
"""By the word with which the outcome of a check begins."""


def trust_view(results: Sequence[AuditResult], texts: Texts) -> EvidenceView | None:
    """What was found of the methods whose attributions are shown, or that nothing was.

    ``None`` where no attributions are shown.
    """
    shown = [one for one in results if one.audit == EXPLANATIONS and one.against is None and one.evidence]
    if not shown:
        return None
    lines = [_of_method(table, texts) for table in _tables(results, shown[0].params.get("methods") or ())]
    nothing = texts.text(
        "Not checked in this run. Until attribution-quality is run, take what follows as unproven."
    )
    return EvidenceView(
        "note",
        title=texts.text("How far these attributions can be trusted"),
        caption="",
        body="\n".join(lines) or nothing,
    )


def _tables(results: Sequence[AuditResult], methods: Sequence[str]) -> list[Table]:
    """The trust tables of the first subject, of the methods that are shown, in the order of these."""
    measured = [one for one in results if one.audit == TRUST and one.against is None and one.evidence]
    tables = [one for one in measured[0].evidence if one.kind == "table"] if measured else []
    return [table for method in methods for table in tables if table.title.values.get("method") == method]


def _of_method(table: Table, texts: Texts) -> str:
    """How many checks pass, and which ones do not."""
    tally = texts.message(table.title)
    # the name of a method keeps its small letter
    sentences = [tally[:1] + texts.sentence(tally)[1:]]
    for outcome, sentence in _NOT_PASSED.items():
        rows = [row for row in table.rows if _outcome(row[-1]).startswith(outcome)]
        names = [texts.message(row[0]) for row in rows if isinstance(row[0], Message)]
        if names:
            sentences.append(texts.text(sentence, checks=texts.series_of(names)))
    return ("" if texts.language == "zh" else " ").join(sentences)


def _outcome(cell: Cell) -> str:
    """What the last cell of a row says, before it is translated."""
    return cell.text if isinstance(cell, Message) else ""
