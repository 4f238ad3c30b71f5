"""The noise of a private tuning: as little as keeps the best of all runs, and their scores, within epsilon.

Every run adds the same noise to its gradients, whatever settings it draws. What the scores spend is settled
first, and what is left of epsilon goes to the training.
"""

import math
from collections.abc import Callable, Sequence

from auditkit.errors import UsageError
from auditkit.privacy.accounting import LARGEST_SIGMA, SIGMA_STEP, smallest_that_fits
from auditkit.privacy.tuning_cost import check_mean, epsilon_of_tuning
from auditkit.records import Law, Spending, Tuned

SCORE_SHARE = 0.1
"""Of what a tuning of scores alone could spend, in inverse variances, that the scores get."""


def plan_tuning(
    epsilon: float,
    delta: float,
    *,
    law: Law,
    mean: float,
    trainings: Sequence[tuple[float, int]],
    failure_probability: float = 0.0,
) -> Tuned:
    """What each alternative spends, so that the tuning of them spends at most ``epsilon``.

    Args:
        epsilon: Of the whole tuning, above 0.
        delta: In ``(0, 1)``.
        law: Of the number of runs.
        mean: Of that number.
        trainings: Sample rate and number of steps of each alternative.
        failure_probability: Of a training.

    Returns:
        For each alternative its training and then its score, a Gaussian mechanism of sensitivity 1 on all
        rows. The noise multiplier of the trainings is the same everywhere, and so is that of the scores.

    Raises:
        UsageError: ``mean`` is out of range, or no noise below 1e5 suffices.
    """
    check_mean(law, mean)

    def tuned(noise: float, score_noise: float) -> Tuned:
        return Tuned(
            law=law,
            mean=mean,
            alternatives=tuple(
                (
                    Spending(
                        noise_multiplier=noise,
                        sample_rate=sample_rate,
                        steps=steps,
                        failure_probability=failure_probability,
                    ),
                    score_spending(score_noise),
                )
                for sample_rate, steps in trainings
            ),
        )

    def of_scores(noise: float) -> float:
        alone = Tuned(law=law, mean=mean, alternatives=((score_spending(noise),),))
        return epsilon_of_tuning(alone, delta)

    score_noise = _rounded_up(_least_noise(of_scores, epsilon) / math.sqrt(SCORE_SHARE))
    noise = _least_noise(lambda one: epsilon_of_tuning(tuned(one, score_noise), delta), epsilon)
    return tuned(noise, score_noise)


def score_spending(noise: float) -> Spending:
    """A score of sensitivity 1 over all rows, with noise of this standard deviation."""
    return Spending(noise_multiplier=noise, sample_rate=1.0, steps=1)


def _least_noise(epsilon_of: Callable[[float], float], epsilon: float) -> float:
    """The least noise multiplier, in steps of 0.001, whose epsilon does not exceed ``epsilon``."""

    def excess(grid_point: int) -> float:
        """How far log epsilon lies above what is wanted; at most 0 where the noise suffices."""
        spent = epsilon_of(round(grid_point * SIGMA_STEP, 3))
        return math.log(spent / epsilon) if spent > 0 else -math.inf

    high = round(1 / SIGMA_STEP)
    while (excess_high := excess(high)) > 0:
        if high * SIGMA_STEP > LARGEST_SIGMA:
            raise UsageError(
                f"no noise multiplier below {LARGEST_SIGMA:g} keeps this tuning within epsilon {epsilon:g}. "
                "Take a larger epsilon, fewer runs or fewer steps"
            )
        high *= 2
    low, excess_low = high, excess_high
    while excess_low <= 0 and low > 1:
        high, excess_high = low, excess_low
        low //= 2
        excess_low = excess(low)
    return round(smallest_that_fits(excess, (low, excess_low), (high, excess_high)) * SIGMA_STEP, 3)


def _rounded_up(noise: float) -> float:
    return round(math.ceil(noise / SIGMA_STEP) * SIGMA_STEP, 3)
