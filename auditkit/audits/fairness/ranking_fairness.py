"""Where do groups stand in the ranking by score?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.data_notes import note_on_label
from auditkit.audits.fairness.groupings import Grouping, group_codes, groupings
from auditkit.audits.fairness.ranking_fairness_evidence import accuracy_heatmap, exposure_chart, skew_chart
from auditkit.audits.fairness.ranking_fairness_figures import exposure_measurements, top_measurements
from auditkit.audits.fairness.ranking_fairness_order import (
    accuracy_gap,
    divergence_measurements,
    pairwise_accuracy,
    prefix_measurements,
)
from auditkit.audits.fairness.ranking_fairness_rows import ONE_CLASS, UNDECIDED, UNEVEN, RankedGroups
from auditkit.audits.fairness.score_groups import Scored, scored_rows
from auditkit.data.dataset import UNKNOWN, Dataset, IntArray
from auditkit.errors import DataError, closest
from auditkit.records import Better, Evidence, Measurement, Message
from auditkit.statistics.counts import positive_class
from auditkit.statistics.rankings import Ranking
from auditkit.subjects.subject import Subject

ROWS_DRAWN = 10_000_000
"""Rows drawn over all replicates: beyond it, there are fewer replicates, but never fewer than 30."""

COMPARED: tuple[tuple[str, Better], ...] = (
    ("exposure.ratio", "one"),
    ("exposure_per_relevance.ratio", "one"),
    ("ndkl.excess", "zero"),
    ("pairwise_accuracy.difference", "zero"),
)
"""Figures across groups, and the direction that is good."""


class RankingFairness(Audit):
    """Exposure, places at the top and order by chance, from the ranking that the scores make.

    A reader may conclude whether groups come further down than a random order, or than their labels, would
    put them. They may not conclude that the ranking is shown to anyone in this order.

    Attributes:
        lists: A control feature that says which list a row belongs to; without it all rows are one list.
        top: First places looked at: numbers, or shares of each list.
        intersections: Also cross all sensitive features.
        n_bootstrap: Resamples and shuffles; fewer where there are more than 50,000 rows.
        small_group: Groups with fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="ranking-fairness",
        version=1,
        area="fairness",
        question="Where do groups stand in the ranking by score?",
        requires=frozenset({"predictions", "probabilities", "sensitive_features"}),
        limits=(
            "Exposure assumes how attention falls with rank (1 / log2(1 + rank)); real readers differ.",
            "Places are compared with a random order, relevance with the labels. Biased labels make biased "
            "relevance.",
            "The prefix test treats places as drawn independently with the group's share, so it is cautious "
            "where the first places are a large part of a list.",
        ),
        sources=(
            "Singh and Joachims (2018), Fairness of exposure in rankings, KDD",
            "Geyik, Ambler and Kenthapadi (2019), Fairness-aware ranking in search and recommendation, KDD",
            "Zehlike et al. (2017), FA*IR: a fair top-k ranking algorithm, CIKM",
            "Beutel et al. (2019), Fairness in recommendation ranking through pairwise comparisons, KDD",
        ),
    )

    lists: str | None = None
    top: tuple[int | float, ...] = (10, 100, 0.1)
    intersections: bool = False
    n_bootstrap: int = Field(200, ge=50, le=10_000)
    small_group: int = Field(30, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    @field_validator("top")
    @classmethod
    def _places(cls, top: tuple[int | float, ...]) -> tuple[int | float, ...]:
        if not top:
            raise ValueError("no top given: expected numbers of places, or shares of a list")
        for one in top:
            if isinstance(one, bool) or (one < 1 if isinstance(one, int) else not 0 < one < 1):
                raise ValueError(
                    f"top: got {one}, expected a whole number from 1, or a share between 0 and 1"
                )
        return tuple(dict.fromkeys(top))

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        divisions = groupings(data, intersections=self.intersections)
        list_codes = self._list_codes(data)
        positive = positive_class(len(data.classes), data.positive_index)
        if len(data.classes) < 2 or positive is None:
            reason = ONE_CLASS if len(data.classes) < 2 else UNDECIDED
            return AuditOutput(
                [one for division in divisions for one in _absent(division, len(data), reason)]
            )
        self._require_weight(data)
        rows, kept = scored_rows(subject.predict(data, batch_size=context.batch_size), data, positive)
        notes = self._notes(data, rows, list_codes, kept)
        if rows.weight is not None:
            return AuditOutput(
                [one for division in divisions for one in _absent(division, len(data), UNEVEN)], notes=notes
            )
        in_list = np.flatnonzero(list_codes[kept] >= 0)
        if not len(in_list):
            raise DataError(
                f"{self.info.name}: no row has a known {self.lists}, expected lists. Check it in data."
            )
        ranked_rows, rows = kept[in_list], rows.take(in_list)
        ranking = Ranking.of(rows.log_odds, list_codes[ranked_rows])
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        for division in divisions:
            codes = group_codes(division, data)[ranked_rows]
            ranked = RankedGroups.of(division, codes, ranking, rows.log_odds, rows.outcome)
            part = self._of_groups(ranked, context)
            measurements += part.measurements
            evidence += part.evidence
        return AuditOutput(measurements, evidence, notes)

    def _require_weight(self, data: Dataset) -> None:
        if data.sample_weight is not None and not data.sample_weight.any():
            raise DataError(
                f"{self.info.name}: all {len(data)} rows have weight 0, expected some weight above 0. Check "
                "the weight column, or leave weight out of data."
            )

    def _of_groups(self, ranked: RankedGroups, context: AuditContext) -> AuditOutput:
        """All figures of one grouping."""
        n_rows = len(ranked.groups)
        n_draws = int(np.clip(ROWS_DRAWN // n_rows, 30, self.n_bootstrap))
        rng = context.numpy_rng("ranking", *ranked.grouping.attributes)
        exposure = exposure_measurements(ranked, ranked.totals.draws(n_draws, rng), self.confidence)
        at_top = [one for top in self.top for one in top_measurements(ranked, top, self.confidence)]
        accuracy = pairwise_accuracy(ranked, self.confidence)
        measurements = [
            *exposure,
            *at_top,
            *divergence_measurements(ranked, n_draws=n_draws, confidence=self.confidence, rng=rng),
            *prefix_measurements(ranked, self._tested_places(ranked), rng),
            accuracy_gap(ranked, accuracy, self.confidence),
        ]
        return AuditOutput(
            measurements,
            [
                exposure_chart(ranked, exposure, small_group=self.small_group),
                *skew_chart(ranked, at_top, f"{self.top[0]:g}", small_group=self.small_group),
                *accuracy_heatmap(ranked, accuracy),
            ],
        )

    def _tested_places(self, ranked: RankedGroups) -> int:
        """The largest top asked for, and no more than half of the longest list."""
        longest = int(ranked.ranking.sizes.max())
        asked = max(one if isinstance(one, int) else round(one * longest) for one in self.top)
        return max(1, min(int(asked), longest // 2))

    def _list_codes(self, data: Dataset) -> IntArray:
        """List of each row, -1 where it is unknown."""
        if self.lists is None:
            return np.zeros(len(data), dtype=np.int64)
        if self.lists not in data.control_features:
            raise DataError(
                f"{self.info.name}: lists names {self.lists!r}, which is no control feature. "
                f"{closest(self.lists, data.control_features)} Name it in control_features of data."
            )
        column = data.control_features[self.lists]
        unknown = np.array([level == UNKNOWN for level in column.levels], dtype=np.bool_)
        return np.where(unknown[column.codes], -1, column.codes)

    def _notes(self, data: Dataset, rows: Scored, list_codes: IntArray, kept: IntArray) -> list[Message]:
        notes = note_on_label(data)
        if len(rows) < len(data):
            notes.append(
                Message(text="{n} rows have weight 0 and are left out.", values={"n": len(data) - len(rows)})
            )
        unlisted = int((list_codes[kept] < 0).sum())
        if unlisted:
            notes.append(
                Message(
                    text="{n} rows belong to no known list and are left out.",
                    values={"n": unlisted},
                )
            )
        tied = len(rows) - len(np.unique(rows.log_odds))
        if tied:
            notes.append(
                Message(
                    text="{n} rows have a score that another row has too; equals share their places, as on "
                    "average over random orders.",
                    values={"n": tied},
                )
            )
        return notes


def _absent(division: Grouping, n: int, reason: Message) -> Sequence[Measurement]:
    """The places of the figures across groups where nothing is ranked."""
    return [
        Measurement(metric=metric, value=None, n=n, better=better, across=division.attributes, missing=reason)
        for metric, better in COMPARED
    ]
