"""Charts, tables and notes of templates, terms and exchanged words."""

from collections.abc import Sequence

from auditkit.audits.fairness.texts.own_texts import Exchanged, OwnFlips, too_few
from auditkit.audits.fairness.texts.term_figures import NO_CLASS, NO_LABEL, Gap, flips
from auditkit.audits.fairness.texts.term_grid import ReadGrid, TermGrid, Terms
from auditkit.audits.fairness.texts.term_ranking import Area
from auditkit.records import Cell, Dots, Estimate, Mark, Message, Table
from auditkit.statistics.intervals import rate

SHOWN = 10
"""Terms in a chart; the table has all."""


def gap_chart(found: TermGrid, terms: Sequence[Terms], gaps: Sequence[Gap]) -> Dots:
    """The terms whose nontoxic sentences are furthest from the others, the clearest first."""
    singles = [pair for pair in zip(terms, gaps, strict=True) if pair[0].is_term]
    clearest = sorted(singles, key=lambda pair: -_least_distance(pair[1]))
    worst = sorted(clearest[:SHOWN], key=lambda pair: -pair[1].value)
    return Dots(
        title=_gap_title(found, singles),
        axis=Message(text="False-positive rate of the term minus that of the other terms"),
        marks=tuple(Mark(label=one.label, estimate=_of_gap(gap)) for one, gap in worst),
        reference=0.0,
        reference_label=Message(text="as the other terms"),
        caption=Message(
            text="The {shown} of {n} terms whose intervals lie furthest from 0. A false positive is a "
            "nontoxic sentence put into the unfavourable class. All intervals hold together.",
            values={"shown": len(worst), "n": len(singles)},
        ),
    )


def term_table(
    found: TermGrid,
    terms: Sequence[Terms],
    gaps: tuple[Sequence[Gap] | None, Sequence[Gap] | None],
    areas: dict[str, list[Area]] | None,
) -> Table:
    """Every term and axis with all figures."""
    positive, negative = gaps
    flipped = flips(found)
    axes = dict(zip(found.grid.terms, found.grid.axes, strict=True))
    rows: list[tuple[Cell, ...]] = []
    for index, one in enumerate(terms):
        adjusted = None if positive is None else positive[index].p_adjusted
        rows.append(
            (
                one.label,
                (axes[one.label] or "–") if one.is_term else Message(text="all terms of the axis"),
                _missing(NO_LABEL) if positive is None else _of_gap(positive[index]),
                "–" if adjusted is None else _p(adjusted),
                _missing(NO_LABEL) if negative is None else _of_gap(negative[index]),
                *(
                    _missing(NO_LABEL) if areas is None else Estimate(value=areas[metric][index].value)
                    for metric in ("subgroup_auc", "bpsn_auc", "bnsp_auc")
                ),
            )
        )
    return Table(
        title=Message(
            text="{language}: the predicted class changes with the term in {flips} of {n} templates",
            values={"language": found.grid.language, "flips": int(flipped.sum()), "n": len(flipped)},
        ),
        columns=(
            Message(text="Term"),
            Message(text="Axis"),
            Message(text="False-positive gap"),
            Message(text="p, adjusted"),
            Message(text="False-negative gap"),
            Message(text="Subgroup AUC"),
            Message(text="BPSN AUC"),
            Message(text="BNSP AUC"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="Gaps: to all other terms in the same templates; all intervals hold together. p: Student's "
            "test over templates of the false-positive gap, adjusted by Holm over the terms. BPSN is low "
            "where the scores of a term's nontoxic sentences are too high, BNSP where those of its toxic "
            "ones are too low."
        ),
    )


def own_table(found: Sequence[OwnFlips], *, n_rows: int, fewest: int, confidence: float) -> Table:
    """What exchanging words in the user's own texts does, per axis."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        n, flipped = len(one.rows), int(one.flipped.sum())
        few = _missing(too_few(n, n_rows, fewest)) if n < fewest else None
        interval = rate(flipped, n, confidence=confidence)
        rows.append(
            (
                one.axis or Message(text="any axis"),
                n,
                flipped,
                few or Estimate(value=flipped / n, low=interval.low, high=interval.high, n=n),
                few
                or (
                    _missing(NO_CLASS) if one.moved is None else Estimate(value=float(one.moved.mean()), n=n)
                ),
            )
        )
    return Table(
        title=Message(
            text="Exchanging a word for people changes the class of {flips} of the {n} rows that hold one",
            values={"flips": int(found[0].flipped.sum()), "n": len(found[0].rows)},
        ),
        columns=(
            Message(text="Axis"),
            Message(text="Rows with such a word"),
            Message(text="Rows whose class changes"),
            Message(text="Flip rate"),
            Message(text="Mean change of the score"),
        ),
        rows=tuple(rows),
        caption=Message(text="Of {n} rows. Intervals hold one by one.", values={"n": n_rows}),
    )


def grid_notes(read: ReadGrid) -> list[Message]:
    """What of the templates was read, and what was not."""
    language = read.grid.language
    found = [
        *read.grid.statements,
        Message(
            text="{language}: {n} of {total} templates with {terms} terms each; {share} % of the tokens are "
            "unknown to the model's vocabulary.",
            values={
                "language": language,
                "n": len(read.grid.texts),
                "total": read.n_drawn_from,
                "terms": len(read.grid.terms),
                "share": f"{100 * read.unknown.share:.1f}",
            },
        ),
    ]
    if read.unknown_terms:
        text = "{language}: {n} terms are left out, because the model does not know them: {terms}."
        names = ", ".join(read.unknown_terms[:12]) + (" …" if len(read.unknown_terms) > 12 else "")
        values = {"language": language, "n": len(read.unknown_terms), "terms": names}
        found.append(Message(text=text, values=values))
    if read.n_same:
        text = "{language}: {n} templates are left out, because the model reads them as another one."
        found.append(Message(text=text, values={"language": language, "n": read.n_same}))
    if read.n_too_long:
        text = "{language}: {n} templates are left out, because they are longer than what the model reads."
        found.append(Message(text=text, values={"language": language, "n": read.n_too_long}))
    if read.grid.n_left_out:
        text = "{language}: {n} phrases of the file name none of the terms (such as occupations), or not all."
        found.append(Message(text=text, values={"language": language, "n": read.grid.n_left_out}))
    return found


def own_notes(found: Exchanged, n_rows: int) -> list[Message]:
    """Which rows and exchanges are left out."""
    notes = []
    if found.n_unreadable:
        text = (
            "{n} of {total} rows are left out of the exchanges: their text cannot be told from their tokens."
        )
        notes.append(Message(text=text, values={"n": found.n_unreadable, "total": n_rows}))
    if found.n_unknown:
        text = "{n} exchanges are left out, because the model does not know the other word."
        notes.append(Message(text=text, values={"n": found.n_unknown}))
    return notes


def _gap_title(found: TermGrid, singles: Sequence[tuple[Terms, Gap]]) -> Message:
    term, gap = max(singles, key=lambda pair: _least_distance(pair[1]))
    values: dict[str, str | int | float] = {"language": found.grid.language, "n": len(singles)}
    if _least_distance(gap) <= 0:
        text = (
            "{language}: none of {n} terms is shown to be judged wrongly more or less often than the others"
        )
        return Message(text=text, values=values)
    more = (
        "{language}: of {n} terms “{term}” stands out; nontoxic sentences with it are put into the "
        "unfavourable class {points} points more often than those with other terms"
    )
    less = (
        "{language}: of {n} terms “{term}” stands out; nontoxic sentences with it are put into the "
        "unfavourable class {points} points less often than those with other terms"
    )
    points = f"{100 * abs(gap.value):.0f}"
    return Message(
        text=more if gap.value > 0 else less, values={**values, "term": term.label, "points": points}
    )


def _least_distance(gap: Gap) -> float:
    """How far the interval lies from 0; negative where it holds 0, the less the nearer 0 is to an end."""
    return max(gap.interval.low, -gap.interval.high)


def _of_gap(gap: Gap) -> Estimate:
    return Estimate(value=gap.value, low=gap.interval.low, high=gap.interval.high, n=gap.n)


def _missing(reason: Message) -> Estimate:
    return Estimate(value=None, missing=reason)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
