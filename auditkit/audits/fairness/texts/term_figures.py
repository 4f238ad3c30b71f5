"""Figures of templates and terms: gaps of error rates, areas, and what changes with the term alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.texts.bounded_means import bounded_mean, p_of_zero
from auditkit.audits.fairness.texts.term_grid import TermGrid, Terms
from auditkit.audits.fairness.texts.term_ranking import Area, generalised_mean
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.intervals import rate
from auditkit.statistics.multiplicity import holm
from auditkit.statistics.paired import tango

FALSE_POSITIVE, FALSE_NEGATIVE = "false_positive_rate", "false_negative_rate"
AREAS = ("subgroup_auc", "bpsn_auc", "bnsp_auc")

NO_LABEL = Message(text="Toxic or other templates are lacking.")
NO_CLASS = Message(
    text="It is not known which class is unfavourable; set positive in data for two classes, or the audit's "
    "parameter unfavourable."
)


@dataclass(frozen=True, slots=True)
class Gap:
    """How much more often a term's sentences are judged wrongly than those of the other terms.

    Attributes:
        value: Difference of the rates.
        interval: Holds together with those of all other terms.
        rate: Of the term.
        n: Templates.
        p: Of the hypothesis that there is no difference.
        p_adjusted: The same by Holm over the terms; ``None`` for axes.
    """

    value: float
    interval: Interval
    rate: float
    n: int
    p: float
    p_adjusted: float | None


def gaps(found: TermGrid, terms: Sequence[Terms], *, toxic: bool, confidence: float) -> list[Gap] | None:
    """Gaps of the false-positive rate, or of the false-negative rate (``toxic``), of each of ``terms``.

    The rate of a term minus that of all other terms, in the same templates. Returns ``None`` where there is
    no template of that label.
    """
    wrong = _wrong(found, toxic=toxic)
    if wrong is None:
        return None
    moved = [wrong[:, one.inside].mean(axis=1) - wrong[:, one.outside].mean(axis=1) for one in terms]
    joint = _joint(terms, confidence)
    p_values = [p_of_zero(one) if len(one) > 1 else 1.0 for one in moved]
    singles = [index for index, one in enumerate(terms) if one.is_term]
    adjusted = dict(zip(singles, holm([p_values[index] for index in singles]), strict=True))
    result = []
    for index, (one, values) in enumerate(zip(terms, moved, strict=True)):
        value, interval = bounded_mean(values, low=-1.0, high=1.0, confidence=joint)
        p = float(adjusted[index]) if index in adjusted else None
        own = float(wrong[:, one.inside].mean())
        result.append(Gap(value, interval, own, len(values), p_values[index], p))
    return result


def gap_measurements(metric: str, terms: Sequence[Terms], found: Sequence[Gap] | None) -> list[Measurement]:
    """The gaps as figures."""
    if found is None:
        return [_absent(f"{metric}.gap", one.group, NO_LABEL) for one in terms]
    return [
        Measurement(
            metric=f"{metric}.gap",
            value=gap.value,
            n=gap.n,
            better="zero",
            group=one.group,
            interval=gap.interval,
            note=Message(text="rate of the term: {rate}", values={"rate": round(gap.rate, 4)}),
        )
        for one, gap in zip(terms, found, strict=True)
    ]


def equality_difference(found: TermGrid, *, toxic: bool, confidence: float) -> Measurement:
    """Sum over terms of how far the rate of each is from that of all sentences together.

    Source:
        Dixon, Li, Sorensen, Thain and Vasserman (2018), Measuring and mitigating unintended bias in text
        classification, AIES, section 4.
    """
    metric = "false_negative_equality_difference" if toxic else "false_positive_equality_difference"
    group = {"language": found.grid.language}
    wrong = _wrong(found, toxic=toxic)
    if wrong is None:
        return _absent(metric, group, NO_LABEL)
    joint = 1 - (1 - confidence) / wrong.shape[1]
    value = low = high = 0.0
    for column in wrong.T:
        distance, interval = bounded_mean(column - wrong.mean(axis=1), low=-1.0, high=1.0, confidence=joint)
        value += abs(distance)
        low += max(0.0, interval.low, -interval.high)
        high += max(abs(interval.low), abs(interval.high))
    return Measurement(
        metric=metric,
        value=value,
        n=len(wrong),
        better="zero",
        group=group,
        interval=Interval(low=low, high=high, confidence=confidence, method="simultaneous"),
        note=Message(text="sum over {n} terms; chance alone gives more than 0", values={"n": wrong.shape[1]}),
    )


def areas(found: TermGrid, terms: Sequence[Terms]) -> dict[str, list[Area]] | None:
    """Subgroup, BPSN and BNSP areas of each of ``terms``; ``None`` without scores or without both labels."""
    scores, toxic = found.scores, found.grid.toxic
    if scores is None or toxic.all() or not toxic.any():
        return None
    return {
        "subgroup_auc": [Area.of(scores, toxic, one.inside, one.inside) for one in terms],
        "bpsn_auc": [Area.of(scores, toxic, one.outside, one.inside) for one in terms],
        "bnsp_auc": [Area.of(scores, toxic, one.inside, one.outside) for one in terms],
    }


def area_measurements(
    terms: Sequence[Terms], found: dict[str, list[Area]] | None, language: str, confidence: float
) -> list[Measurement]:
    """The areas of terms and axes, and their generalised means over terms."""
    if found is None:
        return [_absent(metric, {"language": language}, NO_LABEL) for metric in AREAS]
    joint = _joint(terms, confidence)
    measured = [
        Measurement(
            metric=metric,
            value=area.value,
            n=area.n,
            better="higher",
            group=one.group,
            interval=area.interval(joint),
        )
        for metric in AREAS
        for one, area in zip(terms, found[metric], strict=True)
    ]
    for metric in AREAS:
        singles = [area for one, area in zip(terms, found[metric], strict=True) if one.is_term]
        value, interval = generalised_mean(singles, confidence)
        measured.append(
            Measurement(
                metric=f"{metric}.generalised_mean",
                value=value,
                n=singles[0].n,
                better="higher",
                group={"language": language},
                interval=interval,
            )
        )
    return measured


def change_measurements(found: TermGrid, confidence: float) -> list[Measurement]:
    """Templates whose class changes with the term, and how far the score moves."""
    group, flipped = {"language": found.grid.language}, flips(found)
    measured = [
        Measurement(
            metric="flip_rate",
            value=float(flipped.mean()),
            n=len(flipped),
            better="lower",
            group=group,
            interval=rate(int(flipped.sum()), len(flipped), confidence=confidence),
            note=Message(text="templates whose predicted class is not the same for all terms"),
        )
    ]
    moved = score_changes(found)
    if moved is None:
        return [*measured, _absent("score_change", group, NO_CLASS)]
    value, interval = bounded_mean(moved, low=0.0, high=1.0, confidence=confidence)
    return [
        *measured,
        Measurement(
            metric="score_change", value=value, n=len(moved), better="lower", group=group, interval=interval
        ),
    ]


def paired_changes(before: TermGrid, after: TermGrid, confidence: float) -> list[Measurement]:
    """How the flip rate and the score change differ between two subjects, template by template."""
    group = {"language": before.grid.language}
    was, now = flips(before), flips(after)
    gained, lost, n = int((now & ~was).sum()), int((was & ~now).sum()), len(was)
    measured = [
        Measurement(
            metric="flip_rate.change",
            value=(gained - lost) / n,
            n=n,
            better="lower",
            group=group,
            interval=tango(gained, lost, n, confidence=confidence),
        )
    ]
    first, second = score_changes(before), score_changes(after)
    if first is None or second is None:
        return [*measured, _absent("score_change.change", group, NO_CLASS)]
    value, interval = bounded_mean(second - first, low=-1.0, high=1.0, confidence=confidence)
    return [
        *measured,
        Measurement(
            metric="score_change.change", value=value, n=n, better="lower", group=group, interval=interval
        ),
    ]


def flips(found: TermGrid) -> BoolArray:
    """Per template whether the predicted class depends on the term."""
    return np.asarray((found.classes != found.classes[:, :1]).any(axis=1))


def score_changes(found: TermGrid) -> FloatArray | None:
    """Per template the mean absolute difference of the score between two of its terms."""
    if found.scores is None:
        return None
    ordered = np.sort(found.scores, axis=1)
    n = ordered.shape[1]
    # Each score counts once for every term below it, and against it for every one above.
    signs = 2 * np.arange(n) - (n - 1)
    return np.asarray(np.clip(2 * (ordered * signs).sum(axis=1) / (n * (n - 1)), 0.0, 1.0))


def _wrong(found: TermGrid, *, toxic: bool) -> FloatArray | None:
    """Sentences of templates with this label that are judged wrongly; ``None`` without such templates."""
    chosen = found.grid.toxic == toxic
    if found.unfavourable is None or not chosen.any():
        return None
    return np.asarray(found.unfavourable[chosen] != toxic, dtype=np.float64)


def _joint(terms: Sequence[Terms], confidence: float) -> float:
    """The confidence of each term at which those of all terms hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(1, sum(one.is_term for one in terms))


def _absent(metric: str, group: dict[str, str], reason: Message) -> Measurement:
    better = {"subgroup_auc": "higher", "bpsn_auc": "higher", "bnsp_auc": "higher"}.get(metric, "lower")
    return Measurement.model_validate(
        {"metric": metric, "value": None, "n": 0, "better": better, "group": group, "missing": reason}
    )
