"""Job: reports of a stored run; and whether a stored run is still what it was."""

from collections.abc import Sequence
from pathlib import Path

from auditkit.errors import UsageError, closest
from auditkit.reporting.html import render_html
from auditkit.reporting.write import FORMATS, LANGUAGES, write_reports
from auditkit.store import RunFolder


def report(run: Path, *, languages: Sequence[str], formats: Sequence[str]) -> list[Path]:
    """Render a stored run and seal its folder again.

    Raises:
        UsageError: A language or format is not offered.
        RunFolderError: The run is unfinished, damaged, or no longer what was sealed.
    """
    for word, wanted, offered in (("language", languages, LANGUAGES), ("format", formats, FORMATS)):
        for name in wanted:
            if name not in offered:
                raise UsageError(f"no {word} is called {name!r}. {closest(name, offered)}")
    folder = RunFolder(run)
    stored = folder.load_run()
    problems = folder.verify()
    if problems:
        raise UsageError(
            f"{run}: not rendered, because it is no longer what was sealed: {'; '.join(problems)}"
        )
    paths = write_reports(stored, run, languages=tuple(languages), formats=tuple(formats))
    folder.seal()
    return paths


def verify(run: Path) -> list[str]:
    """What differs from the sealed run, and reports that do not follow from its figures."""
    folder = RunFolder(run)
    problems = folder.verify()
    if problems:
        return problems
    stored = folder.load_run()
    for language in LANGUAGES:
        path = run / f"report.{language}.html"
        if path.exists() and path.read_text(encoding="utf-8") != render_html(stored, language):
            problems.append(f"{path.name}: is not what this version renders from {folder.path / 'run.json'}")
    return problems
