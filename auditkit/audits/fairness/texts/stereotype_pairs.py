"""Does a model of language find sentences that state a stereotype more probable?"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.fairness.texts import pair_figures as figures
from auditkit.audits.fairness.texts.pair_evidence import notes, preference_chart, preference_table
from auditkit.audits.fairness.texts.pair_tokens import PairTokens, pair_tokens
from auditkit.data.crows_pairs import SentencePairs, published_pairs, read_pairs
from auditkit.data.csv_texts import sha256_of_texts
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.errors import AuditkitError
from auditkit.subjects.subject import Generative, Subject, preprocessing_of
from auditkit.subjects.token_scores import reads_both_sides, token_scores


class StereotypePairs(PairedAudit):
    """CrowS-Pairs: of two sentences that differ in whom they are about, which one is more probable?

    Both sentences are scored on the tokens they share, so that it does not matter how common the words are
    that tell them apart. A reader may conclude which of the two a model prefers, over these pairs. They may
    not conclude what the model would write, nor that it is free of stereotypes where the share is one half.

    Attributes:
        pairs: A CSV file of one's own with the columns sent_more, sent_less, stereo_antistereo and bias_type;
            ``None`` takes the published pairs.
        pairs_sha256: Of that file; filled in, so that a result belongs to its content.
        most_unknown: Largest share of tokens outside the model's vocabulary at which figures are given.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="stereotype-pairs",
        version=1,
        area="fairness",
        question="Does the language model prefer sentences that state a stereotype?",
        requires=frozenset({"generative"}),
        limits=(
            "Blodgett et al. (2021) found flaws in many of the published pairs: unclear stereotypes, "
            "sentences that differ in more than whom they are about, groups that are no counterparts. Single "
            "types and small distances from one half carry little.",
            "The pairs are in English and about stereotypes held in the United States.",
            "A share of one half may hide preferences that cancel. It does not say what the model would "
            "write.",
            "Models that read left to right and masked models are scored differently and cannot be compared.",
        ),
        sources=(
            "Nangia, Vania, Bhalerao and Bowman (2020), CrowS-Pairs, EMNLP, section 3 (data: CC BY-SA 4.0)",
            "Salazar, Liang, Nguyen and Kirchhoff (2020), Masked language model scoring, ACL, section 2.1",
            "Blodgett, Lopez, Olteanu, Sim and Wallach (2021), Stereotyping Norwegian salmon, ACL",
            "Holm (1979), Scandinavian Journal of Statistics 6:65-70",
        ),
    )

    pairs: str | None = None
    pairs_sha256: str | None = None
    most_unknown: float = Field(0.2, ge=0, le=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _with_digest(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("pairs"), str) and "pairs_sha256" not in value:
            return {**value, "pairs_sha256": sha256_of_texts(value["pairs"])}
        return value

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject; the rows of ``data`` have no part in them."""
        model, steps = self._model(subject)
        pairs = self._pairs()
        both_sides = reads_both_sides(model)
        tokens = pair_tokens(pairs, steps, both_sides=both_sides)
        facts = [figures.left_out_figure(tokens), tokens.unknown.measurement({})]
        refusal = tokens.unknown.refusal(self.most_unknown)
        if refusal is not None:
            return AuditOutput([figures.absent_figure(figures.PREFERENCE, refusal), *facts])
        found, n_read = _preferences(model, steps, pairs, tokens, context)
        kinds = figures.kinds(found)
        return AuditOutput(
            [*figures.preference_figures(kinds, self.confidence), *facts],
            [preference_chart(kinds, self.confidence), preference_table(kinds, self.confidence)],
            notes(pairs, tokens, both_sides=both_sides, n_read=n_read),
        )

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Change of the share, over the pairs that both subjects decide."""
        pairs, found = self._pairs(), []
        for subject in (baseline, variant):
            model, steps = self._model(subject)
            tokens = pair_tokens(pairs, steps, both_sides=reads_both_sides(model))
            refusal = tokens.unknown.refusal(self.most_unknown)
            if refusal is not None:
                return AuditOutput([figures.absent_figure(f"{figures.PREFERENCE}.change", refusal)])
            scored, _ = _preferences(model, steps, pairs, tokens, context)
            found.append(_on_all(pairs, tokens, scored))
        return AuditOutput(figures.change_figures(found[0], found[1], self.confidence))

    def _pairs(self) -> SentencePairs:
        if self.pairs is None:
            return published_pairs()
        if self.pairs_sha256 not in (None, sha256_of_texts(self.pairs)):
            raise AuditkitError(
                f"stereotype-pairs: {self.pairs} is not the file with the sha256 {self.pairs_sha256}; put "
                "that file back, or leave pairs_sha256 out"
            )
        return read_pairs(Path(self.pairs))

    def _model(self, subject: Subject) -> tuple[Generative, LanguagePreprocessing]:
        steps = preprocessing_of(subject)
        if not isinstance(subject, Generative) or not isinstance(steps, LanguagePreprocessing):
            raise AuditkitError(
                f"stereotype-pairs: {subject.card.name} does not say how it reads text; audit a model of "
                "language with its tokenizer, or leave this audit out"
            )
        return subject, steps


def _preferences(
    subject: Generative,
    steps: LanguagePreprocessing,
    pairs: SentencePairs,
    tokens: PairTokens,
    context: AuditContext,
) -> tuple[figures.Preferences, int]:
    """The difference of scores of every pair that can be scored, and how many rows were read for it."""
    scores = token_scores(
        subject,
        steps,
        [*tokens.more, *tokens.less],
        [*tokens.shared_more, *tokens.shared_less],
        batch_size=context.batch_size,
    )
    sums = np.array([one.sum() for one in scores.nats])
    if not np.isfinite(sums).all():
        raise AuditkitError(
            f"stereotype-pairs: {subject.card.name} gives {int((~np.isfinite(sums)).sum())} sentences no "
            "finite score; check its weights"
        )
    n = len(tokens.pairs)
    return figures.Preferences(pairs.take(tokens.pairs), sums[:n] - sums[n:]), scores.n_read


def _on_all(pairs: SentencePairs, tokens: PairTokens, found: figures.Preferences) -> figures.Preferences:
    """The same with the pairs that were left out as ties, so that two models stand side by side."""
    difference = np.zeros(len(pairs))
    difference[tokens.pairs] = found.difference
    return figures.Preferences(pairs, difference)
