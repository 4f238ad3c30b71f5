"""Can it be told from a prediction whether a row was in the training data?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.privacy.loss_attack import (
    advantage_dkw,
    auc_change,
    resolvable,
    tpr_change,
    welch_gap,
)
from auditkit.audits.privacy.membership_evidence import class_chart, roc_curve
from auditkit.data.dataset import BoolArray, Dataset, FloatArray
from auditkit.errors import DataError
from auditkit.records import Better, Evidence, Interval, Measurement, Message, Unit
from auditkit.records.bounds import rounded_up
from auditkit.statistics.auc import auc_delong, tpr_at_fpr
from auditkit.subjects.subject import Subject, row_losses

ENOUGH_FALSE_POSITIVES = 10
"""Below this many allowed false positives a bootstrap of the threshold is too coarse to be trusted."""


@dataclass(frozen=True, slots=True)
class AttackScores:
    """How likely the attack takes each row to be a member; higher means more likely. Shape ``(n,)`` each."""

    members: FloatArray
    others: FloatArray

    @classmethod
    def of(cls, scores: FloatArray, is_member: BoolArray) -> "AttackScores":
        """Members and others, in the order of the rows."""
        return cls(scores[is_member], scores[~is_member])


_WEAKEST = Message(text="Of the loss attack; a stronger attack may recognise more.")


class MembershipInference(PairedAudit):
    """The loss attack: rows with a small loss are called members.

    The score of a row is minus its cross-entropy. No shadow models, no per-class thresholds, nothing learned.
    A reader may conclude that at least so much leaks; not that no more does.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="membership-inference",
        version=1,
        area="privacy",
        question="Can it be told from a prediction whether a row was in the training data?",
        requires=frozenset({"losses", "members"}),
        limits=(
            "The loss attack is the weakest of its kind; attacks with shadow models find more, above all at "
            "small false-positive rates. The figures are about this attack, not about every one.",
            "An attack that fails shows no privacy. Only a certificate bounds what any attack can do: under "
            "differential privacy, read these figures beside the certified epsilon.",
            "Members and non-members must come from the same population; otherwise the attack also tells the "
            "two populations apart.",
        ),
        sources=(
            "Yeom et al. (2018), arXiv:1709.01604",
            "Carlini et al. (2022), arXiv:2112.03570",
            "DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845",
            "Massart (1990), Annals of Probability 18:1269-1283",
        ),
    )

    false_positive_rates: tuple[float, ...] = Field(
        (0.001, 0.01), description="Rates at which the share of recognised members is measured"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    n_bootstrap: int = Field(1000, ge=200, description="Resamples for the change of a rate at a fixed rate")

    @field_validator("false_positive_rates")
    @classmethod
    def _are_rates(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        wrong = [value for value in values if not 0 < value < 1]
        if wrong:
            raise ValueError(f"false-positive rates must lie between 0 and 1, got {wrong}")
        return values

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """AUC, rates of recognised members, advantage and loss gap, with the ROC curve."""
        is_member = _membership(data)
        losses = row_losses(subject, data, batch_size=context.batch_size)
        scores = AttackScores.of(-losses, is_member)
        if not (len(scores.members) and len(scores.others)):
            return AuditOutput(measurements=self._all_missing(scores))
        evidence: list[Evidence] = [roc_curve(scores.members, scores.others, confidence=self.confidence)]
        if data.task == "classification":
            evidence.append(class_chart(-losses, is_member, data, confidence=self.confidence))
        return AuditOutput(self.figures(scores), evidence, _notes(subject, data))

    def figures(self, scores: AttackScores) -> list[Measurement]:
        """The figures of an attack with at least one member and one non-member."""
        return [
            self._auc(scores),
            *(self._tpr(scores, fpr) for fpr in self.false_positive_rates),
            self._advantage(scores),
            self._loss_gap(scores, "loss_gap"),
        ]

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """How much more or less the variant leaks to the same attack on the same rows."""
        is_member = _membership(data)
        before, after = (
            AttackScores.of(-row_losses(subject, data, batch_size=context.batch_size), is_member)
            for subject in (baseline, variant)
        )
        n_in, n_out = len(before.members), len(before.others)
        if not (n_in and n_out):
            return AuditOutput(
                [_missing(name, "lower", n_in, n_out) for name in ("auc.change", "loss_gap.change")]
            )
        value, interval = auc_change(
            (before.members, before.others), (after.members, after.others), confidence=self.confidence
        )
        measurements = [_figure("auc.change", value, interval, n_in + n_out, "lower")]
        for fpr in self.false_positive_rates:
            rng = context.numpy_rng("change", f"{fpr:g}")
            measurements.append(self._tpr_change(before, after, fpr, rng))
        moved = AttackScores(after.members - before.members, after.others - before.others)
        measurements.append(self._loss_gap(moved, "loss_gap.change"))
        return AuditOutput(measurements)

    def _auc(self, scores: AttackScores) -> Measurement:
        value, interval = auc_delong(scores.members, scores.others, confidence=self.confidence)
        return _figure("auc", value, interval, len(scores.members) + len(scores.others), "lower")

    def _tpr(self, scores: AttackScores, fpr: float) -> Measurement:
        metric = f"tpr_at_fpr_{fpr:g}"
        if not resolvable(fpr, len(scores.others)):
            return _unresolvable(metric, fpr, scores, allowed=1)
        value, interval = tpr_at_fpr(scores.members, scores.others, fpr=fpr, confidence=self.confidence)
        return _figure(metric, value, interval, len(scores.members), "lower")

    def _advantage(self, scores: AttackScores) -> Measurement:
        value, interval = advantage_dkw(scores.members, scores.others, confidence=self.confidence)
        return _figure("advantage", value, interval, len(scores.members) + len(scores.others), "lower")

    def _loss_gap(self, scores: AttackScores, metric: str) -> Measurement:
        """Mean loss of non-members minus that of members; scores are minus losses."""
        n_in, n_out = len(scores.members), len(scores.others)
        if min(n_in, n_out) < 2:
            reason = Message(
                text="A spread needs 2 members and 2 non-members; there are {n_in} and {n_out}.",
                values={"n_in": n_in, "n_out": n_out},
            )
            return Measurement(
                metric=metric, value=None, unit="nat", n=n_in + n_out, better="zero", missing=reason
            )
        value, interval = welch_gap(scores.members, scores.others, confidence=self.confidence)
        return _figure(metric, value, interval, n_in + n_out, "zero", unit="nat")

    def _tpr_change(
        self, before: AttackScores, after: AttackScores, fpr: float, rng: np.random.Generator
    ) -> Measurement:
        metric = f"tpr_at_fpr_{fpr:g}.change"
        if not resolvable(fpr, len(before.others), ENOUGH_FALSE_POSITIVES):
            return _unresolvable(metric, fpr, before, allowed=ENOUGH_FALSE_POSITIVES)
        value, interval = tpr_change(
            (before.members, before.others),
            (after.members, after.others),
            fpr=fpr,
            n_bootstrap=self.n_bootstrap,
            confidence=self.confidence,
            rng=rng,
        )
        return _figure(metric, value, interval, len(before.members), "lower")

    def _all_missing(self, scores: AttackScores) -> list[Measurement]:
        names = ("auc", *(f"tpr_at_fpr_{fpr:g}" for fpr in self.false_positive_rates), "advantage")
        n_in, n_out = len(scores.members), len(scores.others)
        return [
            *(_missing(name, "lower", n_in, n_out) for name in names),
            _missing("loss_gap", "zero", n_in, n_out, unit="nat"),
        ]


def _membership(data: Dataset) -> BoolArray:
    if data.is_member is None:
        raise DataError(
            f"{data.name}: it is not known which rows are members; set data.members to a split or a column"
        )
    return data.is_member


def _figure(
    metric: str,
    value: float,
    interval: Interval,
    n: int,
    better: Better,
    *,
    unit: Unit = "1",
) -> Measurement:
    return Measurement(
        metric=metric, value=value, unit=unit, n=n, better=better, interval=interval, note=_WEAKEST
    )


def _missing(metric: str, better: Better, n_in: int, n_out: int, *, unit: Unit = "1") -> Measurement:
    reason = Message(
        text="An attack needs members and non-members; there are {n_in} and {n_out}.",
        values={"n_in": n_in, "n_out": n_out},
    )
    return Measurement(metric=metric, value=None, unit=unit, n=n_in + n_out, better=better, missing=reason)


def _unresolvable(metric: str, fpr: float, scores: AttackScores, *, allowed: int) -> Measurement:
    reason = Message(
        text="A false-positive rate of {fpr} needs {needed} non-members; there are {n_out}.",
        values={"fpr": fpr, "needed": int(np.ceil(allowed / fpr - 1e-9)), "n_out": len(scores.others)},
    )
    return Measurement(
        metric=metric,
        value=None,
        n=len(scores.members),
        better="lower",
        missing=reason,
    )


def _notes(subject: Subject, data: Dataset) -> list[Message]:
    notes = []
    if data.task == "language-modelling":
        notes.append(
            Message(
                text="The loss of a row is the mean over its tokens; the attack is about whole rows, not "
                "about single tokens or the texts that they are cut from."
            )
        )
    certificate = subject.card.certificate
    if certificate is not None:
        notes.append(
            Message(
                text="This subject carries a certificate of epsilon {epsilon} at delta {delta}: an upper "
                "bound for every attack, where the figures here are lower bounds from one.",
                values={"epsilon": rounded_up(certificate.epsilon), "delta": certificate.delta},
            )
        )
    if data.person is not None and len(np.unique(data.person)) < len(data.person):
        notes.append(Message(text="Some persons have several rows; the intervals take rows as independent."))
    return notes
