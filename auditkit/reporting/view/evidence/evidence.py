"""From any kind of evidence to what the template draws."""

from dataclasses import replace

from auditkit.records import Bars, Curve, Dots, Evidence, Heatmap, Picture, Table, Tokens
from auditkit.reporting.language import Texts
from auditkit.reporting.view.evidence.cells import table_cells
from auditkit.reporting.view.evidence.inputs import picture_view, tokens_view
from auditkit.reporting.view.evidence.marks import rows_view
from auditkit.reporting.view.evidence.planes import curve_view, heatmap_view
from auditkit.reporting.view.evidence.shapes import EvidenceView


def evidence_view(evidence: Evidence, texts: Texts) -> EvidenceView:
    """One piece of evidence for reading."""
    title, caption = texts.message(evidence.title), texts.message(evidence.caption)
    match evidence:
        case Dots() | Bars():
            view = rows_view(evidence, title, caption, texts)
        case Curve():
            view = curve_view(evidence, title, caption, texts)
        case Heatmap():
            view = heatmap_view(evidence, title, caption, texts)
        case Picture():
            view = picture_view(evidence, title, caption, texts)
        case Tokens():
            view = tokens_view(evidence, title, caption, texts)
        case Table():
            view = EvidenceView("table", title, caption, table=table_cells(evidence, texts))
        case _:
            view = EvidenceView("note", title, caption, body=texts.message(evidence.body))
    return replace(view, notes=tuple(texts.message(note) for note in evidence.notes))
