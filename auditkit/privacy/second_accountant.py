"""Epsilon by another implementation: Google's dp-accounting, where the extra ``accounting`` is installed.

It composes privacy loss distributions tightly; what :mod:`accounting` gives lies at most about 0.01 above.

Source: Doroshenko et al. (2022), arXiv:2207.04380 (connect-the-dots).
"""

from importlib.util import find_spec

PLD_WITHIN = 0.05
"""How far the first accountant may lie above the second: its error, and that of the numbers of the second."""

PLD_ROUNDING = 1e-3
"""By how much the second may lie above the first without contradicting it."""


def epsilon_pld(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float | None:
    """Tight upper bound on epsilon for add-or-remove-one-record adjacency; ``None`` without the extra.

    Args:
        noise_multiplier: Standard deviation of the noise over the sensitivity, above 0.
        sample_rate: Probability with which each record is in a step, in ``(0, 1]``.
        steps: Number of steps, at least 1.
        delta: In ``(0, 1)``.
    """
    if find_spec("dp_accounting") is None:
        return None
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    step = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    return float(PLDAccountant().compose(step, steps).get_epsilon(delta))


def contradicts(first: float, second: float | None) -> bool:
    """Whether the second accountant leaves no room for what the first one says."""
    return second is not None and not second - PLD_ROUNDING <= first <= second + PLD_WITHIN
