"""The thresholds, and the check of each metric of a method against them."""

from dataclasses import dataclass

from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.checks import Check, Condition
from auditkit.audits.explainability.quality.crossed_means import CrossedMean
from auditkit.audits.explainability.quality.figures import NOT_DEFINED, Mean
from auditkit.audits.explainability.quality.method_figures import RANDOM, MethodMeans
from auditkit.records import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What separates good from bad; the user's to set. Names as the fields of the audit."""

    completeness_at_least: float
    removal_gain_at_least: float
    sensitivity_n_at_least: float
    infidelity_at_most: float
    max_sensitivity_at_most: float
    randomised_similarity_at_most: float
    seed_agreement_at_least: float


_NOT_PROMISED = Message(text="the method does not promise it")
_NO_WEIGHTS = Message(text="the model has no weights that can be drawn anew")
_REMOVAL = {
    "baseline": Message(text="Order of removal, baseline in place (removal gain)"),
    "blur": Message(text="Order of removal, blurred copy in place (removal gain)"),
    "marginal": Message(text="Order of removal, another row in place (removal gain)"),
}


def trust_checks(means: MethodMeans, limits: Thresholds, imputers: tuple[str, ...]) -> list[Check]:
    """One check for each metric with a threshold, in their order."""
    rows = means.rows
    return [
        _completeness(means, limits),
        *(
            _checked(
                _REMOVAL[name],
                _condition(rows[f"{metrics.GAIN_OVER}/{name}"], at_least=limits.removal_gain_at_least),
                by_chance=0.0,
            )
            for name in imputers
        ),
        _checked(
            Message(text="Sums over subsets follow the score (sensitivity-n)"),
            _condition(rows[metrics.SENSITIVITY_N], at_least=limits.sensitivity_n_at_least),
            by_chance=rows[f"{metrics.SENSITIVITY_N}{RANDOM}"].value,
        ),
        _checked(
            Message(text="Change under noise left unexplained (infidelity)"),
            _condition(rows[metrics.INFIDELITY], at_most=limits.infidelity_at_most),
            _condition(rows[metrics.INFIDELITY_OVER], at_most=0.0),
            by_chance=rows[f"{metrics.INFIDELITY}{RANDOM}"].value,
        ),
        _checked(
            Message(text="Movement when the row hardly moves (max-sensitivity)"),
            _condition(rows[metrics.MAX_SENSITIVITY], at_most=limits.max_sensitivity_at_most),
            by_chance=rows[f"{metrics.MAX_SENSITIVITY}{RANDOM}"].value,
        ),
        _randomisation(means, limits),
        _checked(
            Message(text="Agreement with itself under other draws (stability)"),
            _condition(rows[metrics.SEED_RANKS], at_least=limits.seed_agreement_at_least),
            by_chance=0.0,
        ),
    ]


def _completeness(means: MethodMeans, limits: Thresholds) -> Check:
    name = Message(text="Rows that add up (completeness)")
    share = means.complete
    if share is None:
        return Check(name=name, absent=_NOT_PROMISED)
    condition = Condition(
        value=share.value,
        n=len(share.hits),
        interval=share.interval,
        exact_needed=share.needed,
        at_least=limits.completeness_at_least,
    )
    return Check(name=name, conditions=(condition,))


def _randomisation(means: MethodMeans, limits: Thresholds) -> Check:
    """Also more alike before than after: what changes from one draw to the next changes with any model."""
    name = Message(text="Likeness when weights are drawn anew (randomisation)")
    if means.similarity is None or means.drop is None:
        return Check(name=name, absent=_NO_WEIGHTS)
    return _checked(
        name,
        _condition(means.similarity, at_most=limits.randomised_similarity_at_most),
        _condition(means.drop, at_least=0.0),
        by_chance=0.0,
    )


def _checked(name: Message, *conditions: Condition, by_chance: float | None) -> Check:
    absent = NOT_DEFINED if any(one.value is None for one in conditions) else None
    return Check(name=name, conditions=conditions, by_chance=by_chance, absent=absent)


def _condition(mean: Mean, *, at_least: float | None = None, at_most: float | None = None) -> Condition:
    """The interval of a crossed mean shrinks with what makes most of it: the rows, or the models drawn."""
    by_models = isinstance(mean, CrossedMean) and mean.of_models > mean.of_rows
    return Condition(
        value=mean.value,
        n=mean.n_models if isinstance(mean, CrossedMean) and by_models else mean.n,
        interval=mean.interval,
        at_least=at_least,
        at_most=at_most,
        counts_models=by_models,
    )
