"""Writing the reports of a run: one file per format, per language where the format has a language."""

from collections.abc import Callable, Sequence
from pathlib import Path

from auditkit.records import Run
from auditkit.reporting.html import render_html
from auditkit.reporting.json_export import render_json
from auditkit.reporting.junit import render_junit
from auditkit.reporting.language import LANGUAGES, Language
from auditkit.reporting.markdown import render_markdown
from auditkit.reporting.model_card import render_model_card
from auditkit.reporting.sarif import render_sarif
from auditkit.store import write_atomically

_TRANSLATED: dict[str, tuple[str, Callable[[Run, Language], str]]] = {
    "html": ("report.{language}.html", render_html),
    "md": ("report.{language}.md", render_markdown),
}
_UNTRANSLATED: dict[str, tuple[str, Callable[[Run], str]]] = {
    "json": ("report.json", render_json),
    "junit": ("report.junit.xml", render_junit),
    "sarif": ("report.sarif.json", render_sarif),
    "model-card": ("model-card.md", render_model_card),
}
FORMATS: tuple[str, ...] = (*_TRANSLATED, *_UNTRANSLATED)
__all__ = ["FORMATS", "LANGUAGES", "write_reports"]


def write_reports(run: Run, folder: Path, *, languages: Sequence[str], formats: Sequence[str]) -> list[Path]:
    """Write the reports of a run and return their paths, in the order of ``formats``.

    Each file is written to a temporary name and renamed, so that a reader never meets half of one.

    Args:
        run: A stored run.
        folder: Where the files go; made if absent.
        languages: Some of :data:`LANGUAGES`.
        formats: Some of :data:`FORMATS`.

    Raises:
        KeyError: A format is not one of :data:`FORMATS`.
    """
    paths = []
    for name in formats:
        if name in _TRANSLATED:
            pattern, render = _TRANSLATED[name]
            for language in LANGUAGES:
                if language in languages:
                    paths.append(folder / pattern.format(language=language))
                    write_atomically(paths[-1], render(run, language))
        else:
            file_name, render_once = _UNTRANSLATED[name]
            paths.append(folder / file_name)
            write_atomically(paths[-1], render_once(run))
    return paths
