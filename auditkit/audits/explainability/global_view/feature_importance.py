"""Which features the whole model relies on to be right."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.global_view import importance_figures as figures
from auditkit.audits.explainability.global_view.asked import Asked, drawn_rows, notes_on_rows
from auditkit.audits.explainability.global_view.exchanged_units import ExchangedUnit, exchanged_units
from auditkit.audits.explainability.global_view.importance_evidence import (
    importance_table,
    patch_picture,
    sage_bars,
)
from auditkit.audits.explainability.global_view.permutation import (
    Exchange,
    base_costs,
    control_strata,
    exchange_all,
    exchange_within,
    n_alone,
    permuted,
)
from auditkit.audits.explainability.global_view.sage import Effort, SageDraws, sage
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset
from auditkit.records import Evidence, Message
from auditkit.statistics.clustered import clustered_mean
from auditkit.subjects.subject import Subject, preprocessing_of

FEWEST_ROWS = 100
"""Rows are not cut below this many to save evaluations."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What figures and evidence are made of.

    Attributes:
        asked: Subject and rows.
        units: What is exchanged as a whole.
        draws: Of SAGE.
        within: Exchanges among alike rows, why there are none, or ``None`` without control features.
    """

    asked: Asked
    units: tuple[ExchangedUnit, ...]
    draws: SageDraws
    within: Exchange | Message | None


class FeatureImportance(Audit):
    """What exchanging a feature costs, and how the gain of the model is shared among its features.

    A reader may conclude how much worse the predictions are when a feature no longer tells the rows apart, on
    rows drawn as these were. They may not conclude that a feature with little importance is not used, nor
    that one with much is a cause of anything.

    Attributes:
        n_permutations: Exchanges per feature.
        background_rows: Rows whose values stand for those of features that SAGE takes as unknown.
        precision: Largest standard error over the range of SAGE values at which drawing stops.
        max_evaluations: Rows that the subject is asked about for SAGE, and for permutations, at most.
        max_rows: Rows used, drawn with the seed.
        patches: Along each side of a picture; a patch is exchanged as a whole.
        top_features: Features measured; the table holds all.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="feature-importance",
        version=2,
        area="explainability",
        question="Which features does the whole model rely on to be right?",
        requires=frozenset(),
        limits=(
            "Importance is for the predictions, not for the world: what matters need not be a cause.",
            "Exchanging one feature, or taking it as unknown, puts together values that may never occur "
            "together; what the model says of such rows is a guess where it was never trained.",
            "Features that tell the same stand in for one another: each may look dispensable alone.",
            "An importance of 0 does not show that a feature is unused: it may help some rows, harm others.",
            "SAGE values are for the background rows drawn; others give slightly different ones.",
        ),
        sources=(
            "Breiman (2001), Random Forests, Machine Learning 45:5-32",
            "Fisher, Rudin and Dominici (2019), JMLR 20:177",
            "Strobl et al. (2008), Conditional variable importance, BMC Bioinformatics 9:307",
            "Covert, Lundberg and Lee (2020), arXiv:2004.00668",
            "Hoeffding (1948), Annals of Mathematical Statistics 19:293-325",
        ),
    )

    n_permutations: int = Field(10, ge=2, le=1000)
    background_rows: int = Field(64, ge=1, le=4096)
    precision: float = Field(0.025, gt=0, lt=1)
    max_evaluations: int = Field(2_000_000, ge=1)
    max_rows: int = Field(2000, ge=2)
    patches: int = Field(4, ge=1, le=16)
    top_features: int = Field(20, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """SAGE values and permutation importance of every feature, or of patches of pictures."""
        units = exchanged_units(data, preprocessing_of(subject), patches=self.patches)
        if isinstance(units, Message):
            return AuditOutput(figures.all_missing(units))
        rows = drawn_rows(data, self._most_rows(len(units)), context.numpy_rng("rows"))
        asked = Asked.about(subject, rows, batch_size=context.batch_size)
        if isinstance(asked, Message):
            return AuditOutput(figures.all_missing(asked))
        obstacle = asked.obstacle() or unsteady(subject, rows)
        if obstacle is not None:
            return AuditOutput(figures.all_missing(obstacle))
        background = context.numpy_rng("background").permutation(len(rows))[: self.background_rows]
        draws = sage(
            asked,
            [unit.columns for unit in units],
            np.sort(background),
            Effort(self.precision, self.max_evaluations),
            context.numpy_rng("orders"),
        )
        found = _Found(asked, units, draws, self._within(rows, context))
        return self._output(found, data, context)

    def _most_rows(self, n_units: int) -> int:
        affordable = self.max_evaluations // (n_units * self.n_permutations)
        return min(self.max_rows, max(FEWEST_ROWS, affordable))

    def _within(self, rows: Dataset, context: AuditContext) -> Exchange | Message | None:
        """Exchanges among rows that are alike in the control features, where the data have them."""
        strata = control_strata(rows)
        if strata is None:
            return None
        rng = context.numpy_rng("exchanges within strata")
        return exchange_within(strata, self.n_permutations, rng) or figures.NO_STRATA

    def _output(self, found: _Found, data: Dataset, context: AuditContext) -> AuditOutput:
        rows, unit, draws = found.asked.rows, found.asked.unit, found.draws
        ranked = self._ranked(found, context)
        _, gain = clustered_mean(draws.constant - draws.full, units=rows.person, confidence=self.confidence)
        measurements = figures.overall_measurements(
            draws, gain, unit, stop=self.precision, confidence=self.confidence
        )
        measurements += figures.ranked_measurements(ranked[: self.top_features], unit, len(rows))
        evidence: list[Evidence] = []
        if rows.features.image_shape is not None:
            preprocessing = preprocessing_of(found.asked.subject)
            evidence.append(patch_picture(rows, preprocessing, draws.values, self.patches, unit))
        evidence += [
            sage_bars(ranked, draws.gain, unit, shown=self.top_features, n=len(rows)),
            importance_table(ranked, unit, len(rows)),
        ]
        return AuditOutput(measurements, evidence, self._notes(found.asked, found.within, data))

    def _ranked(self, found: _Found, context: AuditContext) -> list[figures.Ranked]:
        """Every unit with all its importances, the largest SAGE value first."""
        asked, draws, within = found.asked, found.draws, found.within
        base = base_costs(asked)
        # one set of exchanges for all features, so that they are compared on the same ones
        exchange = exchange_all(len(asked.rows), self.n_permutations, context.numpy_rng("exchanges"))
        ranked = []
        for place in np.argsort(-draws.values, kind="stable"):
            columns = found.units[place].columns
            interval = draws.interval(int(place), persons=asked.rows.person, confidence=self.confidence)
            ranked.append(
                figures.Ranked(
                    name=found.units[place].name,
                    sage=float(draws.values[place]),
                    sage_interval=interval,
                    permuted=permuted(asked, columns, exchange, base, self.confidence),
                    conditional=permuted(asked, columns, within, base, self.confidence)
                    if isinstance(within, Exchange)
                    else within,
                )
            )
        return ranked

    def _notes(self, asked: Asked, within: Exchange | Message | None, data: Dataset) -> list[Message]:
        notes = [_COSTS[asked.cost]]
        rows = asked.rows
        if isinstance(within, Exchange):
            names = ", ".join(rows.control_features)
            text = "Alike rows are those of the same {features}; values are exchanged among them only."
            notes.append(Message(text=text, values={"features": names}))
            alone = n_alone(within, len(rows))
            if alone:
                text = "{n} rows have no other alike in {features}; they take no part there."
                notes.append(Message(text=text, values={"n": alone, "features": names}))
        if rows.features.image_shape is not None:
            text = "Pictures are cut into {n} x {n} patches, whose pixels are exchanged together."
            notes.append(Message(text=text, values={"n": self.patches}))
        return notes + notes_on_rows(data, rows)


_COSTS = {
    "cross_entropy": Message(text="Cost is the cross-entropy of the true class, in nats."),
    "brier": Message(
        text="The subject states no probabilities: cost is the share of wrong labels, and half the squared "
        "distance where labels are averaged."
    ),
    "squared_error": Message(text="Cost is the squared error as a share of the variance of the outcomes."),
}
