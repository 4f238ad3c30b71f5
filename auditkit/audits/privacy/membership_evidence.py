"""What stands behind the figures of a membership attack: its ROC curve, and where it succeeds."""

import numpy as np

from auditkit.data.dataset import BoolArray, Dataset, FloatArray
from auditkit.records import Curve, Dots, Estimate, Mark, Message, Series
from auditkit.statistics.auc import auc_delong, tpr_at_fpr

MOST_POINTS = 60
MOST_CLASSES = 20
FEW_ROWS = 30


def roc_curve(in_scores: FloatArray, out_scores: FloatArray, *, confidence: float) -> Curve:
    """True- against false-positive rate, both on log axes, at up to 60 rates the sample can resolve.

    Points without a recognised member are left out: a log axis has no place for zero.
    """
    n_in, n_out = len(in_scores), len(out_scores)
    allowed = np.unique(np.geomspace(1, n_out, MOST_POINTS).round().astype(np.int64))
    floor = 0.5 / n_in
    points = []
    for count in allowed:
        fpr = float(count / n_out)
        tpr, interval = tpr_at_fpr(in_scores, out_scores, fpr=fpr, confidence=confidence)
        if tpr > 0:
            points.append((fpr, tpr, max(interval.low, floor), max(interval.high, floor)))
    fprs, tprs, lows, highs = zip(*points, strict=True) if points else ((), (), (), ())
    return Curve(
        title=_takeaway(in_scores, out_scores, confidence=confidence),
        caption=Message(
            text="Both axes are logarithmic, because a few rows recognised with certainty matter more than "
            "many guessed. On the diagonal the attack knows nothing. Bands end at half a member."
        ),
        x_axis=Message(text="False-positive rate"),
        y_axis=Message(text="True-positive rate"),
        series=(Series(name=Message(text="loss attack"), x=fprs, y=tprs, low=lows, high=highs),),
        diagonal=True,
        x_log=True,
        y_log=True,
    )


def class_chart(scores: FloatArray, is_member: BoolArray, data: Dataset, *, confidence: float) -> Dots:
    """The attack's AUC on all rows and within each class, the 20 largest classes where there are more.

    The intervals of the classes hold together (Bonferroni), so that the class that stands out may be named.
    """
    counts = np.bincount(data.y_true, minlength=len(data.classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    everyone = np.ones(len(data), dtype=np.bool_)
    marks = [_mark("all rows", scores, is_member, everyone, confidence)]
    jointly = 1 - (1 - confidence) / len(shown)
    marks += [_mark(data.classes[k], scores, is_member, data.y_true == k, jointly) for k in shown]
    return Dots(
        title=_class_takeaway(marks[1:]),
        caption=Message(text="The intervals of the classes hold together."),
        axis=Message(text="AUC of the loss attack"),
        marks=tuple(marks),
        reference=0.5,
        reference_label=Message(text="no better than guessing"),
        low=0.0,
        high=1.0,
    )


def _mark(label: str, scores: FloatArray, is_member: BoolArray, rows: BoolArray, confidence: float) -> Mark:
    members, others = scores[rows & is_member], scores[rows & ~is_member]
    n = int(rows.sum())
    if not (len(members) and len(others)):
        reason = Message(
            text="{n_in} members, {n_out} non-members",
            values={"n_in": len(members), "n_out": len(others)},
        )
        return Mark(label=label, estimate=Estimate(value=None, n=n, missing=reason))
    value, interval = auc_delong(members, others, confidence=confidence)
    return Mark(
        label=label,
        estimate=Estimate(value=value, low=interval.low, high=interval.high, n=n),
        small=min(len(members), len(others)) < FEW_ROWS,
    )


def _takeaway(in_scores: FloatArray, out_scores: FloatArray, *, confidence: float) -> Message:
    value, interval = auc_delong(in_scores, out_scores, confidence=confidence)
    if interval.low > 0.5:
        return Message(
            text="The loss attack tells members from others: AUC {auc}",
            values={"auc": f"{value:.3f}"},
        )
    return Message(
        text="The loss attack is not shown to do better than guessing: AUC {auc}",
        values={"auc": f"{value:.3f}"},
    )


def _class_takeaway(marks: list[Mark]) -> Message:
    found = [mark for mark in marks if mark.estimate.low is not None]
    if not found:
        return Message(text="No class has members and non-members")
    most = max(found, key=lambda mark: mark.estimate.low or 0.0)
    if (most.estimate.low or 0.0) > 0.5:
        return Message(
            text="Members of class {name} are told apart most clearly", values={"name": most.label}
        )
    return Message(text="In no class is the attack shown to do better than guessing")
