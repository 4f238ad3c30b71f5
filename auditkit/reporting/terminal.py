"""The summary in a terminal: verdict first, one line per figure, columns aligned."""

import unicodedata
from collections.abc import Mapping, Sequence

from auditkit.records import Finding, Measurement, Run
from auditkit.reporting.html import clean
from auditkit.reporting.language import Texts, texts_for
from auditkit.reporting.numbers import number_of
from auditkit.reporting.view.costs import key_columns
from auditkit.reporting.view.figures import common_scale, index_figures, policy_text, thresholds_of
from auditkit.reporting.view.findings import judged_figures

_WORDS = {"fail": "fail", "inconclusive": "inconclusive", "pass": "pass", "not_shown": "not shown"}


def summary_lines(run: Run) -> list[str]:
    """What a run found, as plain lines: findings with those of the variants, then what was not measured.

    Without a policy, the key figures. Control characters in names are replaced, so that no name can move
    the cursor.
    """
    texts = texts_for("en")
    judged = judged_figures(run)
    lines = _finding_lines(run, texts) if judged else _key_lines(run, texts)
    absent = [
        (result.status, f"{result.audit}@{result.subject}", str(result.reason or ""))
        for result in run.results
        if result.status != "measured"
    ]
    if absent:
        lines += ["", *aligned(absent)]
    if judged:
        lines += ["", _tally(run)]
    return [clean(line) for line in lines]


def figure_lines(figures: Mapping[str, Measurement]) -> list[str]:
    """Figures by what they are called, one line each: the number first, its interval, and its name."""
    texts = texts_for("en")
    rows = []
    for name, figure in figures.items():
        number = number_of(figure, common_scale(texts, [figure]))
        why = f": {figure.missing}" if number.is_absent and figure.missing else ""
        rows.append((number.plain, f"({number.range})" if number.range else "", f"{name}{why}"))
    return [clean(line) for line in aligned(rows)]


def _finding_lines(run: Run, texts: Texts) -> list[str]:
    rows = [_row(one, texts) for judged in judged_figures(run) for one in judged.all]
    return aligned(rows)


def _row(finding: Finding, texts: Texts) -> tuple[str, ...]:
    scale = common_scale(texts, [finding.measurement])
    number = number_of(finding.measurement, scale, thresholds_of(finding.rule))
    word = _WORDS[finding.verdict] if finding.binding else f"  {_WORDS[finding.verdict]}"
    if number.is_absent:
        return word, finding.figure, "-", "", str(finding.reason)
    interval = f"({number.range})" if number.range else ""
    return word, finding.figure, number.plain, interval, policy_text(texts, finding.rule, scale)


def _key_lines(run: Run, texts: Texts) -> list[str]:
    columns = key_columns(run, index_figures(run), texts)
    rows = [
        (column.heading, cell.number.plain, f"({cell.number.range})" if cell.number.range else "")
        for column in columns
        for cell in column.cells[:1]
    ]
    return ["No policy was given, so nothing was judged.", "", *aligned(rows)]


def _tally(run: Run) -> str:
    binding = [finding for finding in run.findings if finding.binding]
    counts = [f"{sum(one.verdict == verdict for one in binding)} {word}" for verdict, word in _WORDS.items()]
    noun = "check" if len(binding) == 1 else "checks"
    return f"{len(binding)} {noun}: {', '.join(counts)}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart; the last is left ragged."""
    cells = [[cell.replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ") for cell in row] for row in rows]
    n_columns = max(len(row) for row in cells)
    widths = [max((_width(row[i]) for row in cells if i < len(row)), default=0) for i in range(n_columns)]
    return [
        "  ".join(cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row)).rstrip()
        for row in cells
    ]


def _width(text: str) -> int:
    """Columns on a terminal: CJK characters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
