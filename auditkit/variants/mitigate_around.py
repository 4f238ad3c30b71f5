"""Mitigations that leave the baseline as it is and decide on top of what it states."""

from collections.abc import Sequence

from auditkit.data.dataset import Dataset
from auditkit.errors import UsageError
from auditkit.randomness import derive_seed
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import digest_of
from auditkit.subjects.subject import Capability, Subject
from auditkit.variants import mitigate_statements as say
from auditkit.variants.mitigate_reduction import CAPABILITIES as MIXED
from auditkit.variants.mitigate_reduction import MixtureSubject, columns_of, fit_reduction, mixture_of
from auditkit.variants.mitigate_task import BinaryTask, Constraint
from auditkit.variants.mitigate_thresholds import CAPABILITIES as THRESHOLDED
from auditkit.variants.mitigate_thresholds import ThresholdedSubject, fit_thresholds
from auditkit.variants.variant import VariantContext

BATCH_SIZE = 1024
"""Rows predicted at once while fitting."""

BYTES = 8
"""Of a number that a mitigation adds."""

_NUMBERS_PER_RULE = 6


def require_probabilities(baseline: Subject, method: str) -> None:
    """Refuse a baseline that answers with labels alone.

    Raises:
        UsageError: It does.
    """
    if "probabilities" not in baseline.capabilities:
        raise UsageError(
            f"mitigate: {baseline.card.title!r} answers with labels alone, and {method} needs probabilities; "
            "reweighing and adversarial train a torch model again instead"
        )


def thresholded(
    baseline: Subject, context: VariantContext, data: Dataset, task: BinaryTask, constraint: Constraint
) -> ThresholdedSubject:
    """The baseline with a threshold per group, fitted on the training rows.

    Raises:
        UsageError: Fewer than two groups have training rows of both labels.
    """
    positive = int(data.positive_index or 0)
    scores = baseline.predict(data, batch_size=BATCH_SIZE).probabilities[:, positive]
    thresholds = fit_thresholds(scores, task, constraint)
    seed = derive_seed(context.seed, "mitigate", "draws")
    without = [level for level in task.levels if level not in thresholds.levels]
    statements = [
        *say.threshold_statements(task, constraint, without),
        *say.on_the_rows(data, task, uses_weights=False),
        *say.used_in_predictions(task, unknown=say.pooled_rule(task)),
    ]
    digest = digest_of(baseline.card.digest, "thresholds", repr(thresholds), str(positive), str(seed))
    n_added = _NUMBERS_PER_RULE * len(thresholds.rules)
    card = _card(baseline, context, digest, statements, capabilities=THRESHOLDED, n_added=n_added)
    return ThresholdedSubject(card, baseline, thresholds, positive, seed)


def mixed(
    baseline: Subject,
    context: VariantContext,
    data: Dataset,
    task: BinaryTask,
    *,
    constraint: Constraint,
    slack: float,
) -> MixtureSubject:
    """Logistic models that read the inputs and the baseline, fitted on the training rows.

    Raises:
        UsageError: The inputs are not numbers.
    """
    positive = int(data.positive_index or 0)
    columns = columns_of(baseline, data, positive, batch_size=BATCH_SIZE)
    mixture = mixture_of(fit_reduction(columns, task, constraint, slack), columns.shape[1])
    statements = [
        *say.mixture_statements(task, constraint, slack, len(mixture.weights), mixture.n_unfinished),
        *say.on_the_rows(data, task, uses_weights=False),
        say.used_in_training(data, task),
    ]
    numbers = (mixture.coefficients, mixture.intercepts, mixture.weights)
    digest = digest_of(baseline.card.digest, "mixture", *numbers, str(positive))
    n_added = sum(array.size for array in numbers)
    card = _card(baseline, context, digest, statements, capabilities=MIXED, n_added=n_added)
    return MixtureSubject(card, baseline, mixture, positive)


def _card(
    baseline: Subject,
    context: VariantContext,
    digest: str,
    statements: Sequence[Message],
    *,
    capabilities: frozenset[Capability],
    n_added: int,
) -> SubjectCard:
    """That of a subject around the baseline, with ``n_added`` numbers of its own."""
    before = baseline.card
    private = [say.without_certificate()] if before.certificate else []
    return SubjectCard(
        name=context.name,
        title=before.title,
        kind="mitigate",
        source=f"variants/{context.name}",
        digest=digest,
        architecture=before.architecture,
        n_parameters=None if before.n_parameters is None else before.n_parameters + n_added,
        size_b=None if before.size_b is None else before.size_b + BYTES * n_added,
        classes=before.classes,
        capabilities=tuple(sorted(capabilities)),
        statements=(*statements, *private, *before.statements),
    )
