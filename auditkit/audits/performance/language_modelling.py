"""How well does a model of language foretell the next token?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.performance import language_modelling_figures as figures
from auditkit.audits.performance.language_modelling_evidence import (
    costly_tokens,
    loss_by_position,
    loss_by_position_of_two,
)
from auditkit.audits.performance.scores import require_weight
from auditkit.data.dataset import Dataset
from auditkit.data.sequences import targets_of
from auditkit.errors import AuditkitError
from auditkit.records import Evidence, Message
from auditkit.subjects.subject import Generative, Subject, TokenLosses


class LanguageModelling(PairedAudit):
    """Perplexity, loss and bits per token, and how often the most probable token is the one that comes.

    Every token of a row is foretold from those before it in the row. A reader may conclude how well the
    subject foretells texts like these, cut into rows like these. They may not conclude that what it would
    write is true or harmless.

    Attributes:
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="language-modelling",
        version=1,
        area="performance",
        question="How well does the subject foretell the next token of texts it has not seen?",
        requires=frozenset({"generative"}),
        limits=(
            "Perplexity per token depends on what a token is: models with different tokenizers cannot be "
            "compared by it.",
            "At the start of a row little has been read; longer rows may give a lower loss.",
            "Intervals take rows as independent and tokens within a row as dependent; rows cut from one text "
            "that goes on are more alike than that, which makes the intervals too short.",
            "A low loss says that texts like these are foretold well, not that what the subject writes is "
            "true or harmless.",
        ),
        sources=(
            "Jelinek, Mercer, Bahl and Baker (1977), Journal of the Acoustical Society of America 62:S63",
            "Shannon (1951), Bell System Technical Journal 30:50-64",
            "Cochran (1977), Sampling Techniques, chapter 6",
        ),
    )

    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        require_weight(self.info.name, data)
        losses = finite_losses(subject, data, batch_size=context.batch_size)
        targets = targets_of(data).numpy()
        measurements = figures.of_subject(losses, targets, data, self.confidence)
        evidence: list[Evidence] = [
            loss_by_position(losses, data, self.confidence),
            costly_tokens(losses, targets, data, self.confidence),
        ]
        return AuditOutput(measurements, evidence, _notes(data))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Paired changes, variant minus baseline; of perplexity the quotient."""
        require_weight(self.info.name, data)
        before, after = (
            finite_losses(subject, data, batch_size=context.batch_size) for subject in (baseline, variant)
        )
        measurements = figures.of_pair(before, after, data, self.confidence)
        evidence = (loss_by_position_of_two(before, after, data, self.confidence),)
        return AuditOutput(measurements, evidence, _notes(data))


def finite_losses(subject: Subject, data: Dataset, *, batch_size: int) -> TokenLosses:
    """The loss of every token.

    Raises:
        AuditkitError: The subject does not foretell tokens, or gives some no finite loss.
    """
    if not isinstance(subject, Generative):
        raise AuditkitError(
            f"language-modelling: {subject.card.name} does not foretell tokens; audit a model of language "
            "or leave this audit out"
        )
    losses = subject.token_losses(data, batch_size=batch_size)
    if not np.isfinite(losses.nats[losses.counted]).all():
        bad = int((~np.isfinite(losses.nats[losses.counted])).sum())
        raise AuditkitError(
            f"language-modelling: {subject.card.name} gives {bad} tokens no finite loss; check its weights"
        )
    return losses


def _notes(data: Dataset) -> list[Message]:
    if data.sample_weight is None:
        return []
    return [Message(text="Rows are weighted, and every token as its row.")]
