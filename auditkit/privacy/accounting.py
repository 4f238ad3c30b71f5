"""How much privacy a run of DP-SGD spends. The only place where Opacus' accountants are used.

All figures are upper bounds on epsilon for add-or-remove-one-record adjacency of the Poisson-subsampled
Gaussian mechanism, composed over ``steps``. The Gaussian-DP central-limit figure is never used: it lies
below the true epsilon and bounds nothing.

Sources: Gopi, Lee and Wutschitz (2021), arXiv:2106.02848 (PRV); Mironov, Talwar and Zhang (2019),
arXiv:1908.10530 (RDP); Balle et al. (2020), arXiv:1905.09982, theorem 21 (from RDP to epsilon).
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    discretize,
)
from opacus.accountants.analysis.rdp import get_privacy_spent

from auditkit.data.dataset import FloatArray
from auditkit.errors import UsageError
from auditkit.privacy.rdp import rdp_of_a_step

ACCOUNTANT = "PRV, upper bound (Opacus)"
SIGMA_STEP = 1e-3
LARGEST_SIGMA = 1e5
LARGEST_EPSILON = 100.0

PRV_ERROR, PRV_DELTA_SHARE = 0.01, 1e-3
"""Errors that the numerical composition may make: of epsilon, and of delta as a share of it."""

# Opacus stops at order 63, where small epsilons are far from tight.
RDP_ORDERS = (
    *(1 + k / 100 for k in (1, 2, 5)),
    *(1 + k / 10 for k in range(1, 100)),
    *range(11, 65),
    *(72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 768, 1024),
)

_FEW_ORDERS = (1.1, 1.25, 1.5, *range(2, 33), 48, 64, 128, 256, 512)
"""Enough to know where to look."""

_DOMAIN_ORDERS = tuple(RDPAccountant.DEFAULT_ALPHAS)


def default_delta(n_rows: int) -> float:
    """The usual delta for ``n_rows`` records: ``min(1e-5, n^-1.1)``, always below ``1 / n``."""
    return float(min(1e-5, n_rows**-1.1))


@lru_cache(maxsize=256)
def epsilon_prv(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Upper bound on epsilon by numerical composition of privacy loss random variables.

    The bound lies about 0.01, the error granted to the numerical composition, above the tight value.

    Args:
        noise_multiplier: Standard deviation of the noise over the sensitivity, above 0.
        sample_rate: Probability with which each record is in a step, in ``(0, 1]``.
        steps: Number of steps, at least 1.
        delta: In ``(0, 1)``.

    Returns:
        Epsilon in nats, not negative.

    Raises:
        UsageError: A parameter is out of range, or epsilon is too large for the numerical composition.
    """
    _check(noise_multiplier, sample_rate, steps, delta)
    ceiling = _rdp(noise_multiplier, sample_rate, steps, delta, _FEW_ORDERS)
    if ceiling > LARGEST_EPSILON:
        raise UsageError(
            f"epsilon is about {ceiling:.3g} at noise multiplier {noise_multiplier}; above "
            f"{LARGEST_EPSILON:g} it protects nobody and is not computed. Raise the noise or take fewer "
            "steps."
        )
    return run_prv([(noise_multiplier, sample_rate, steps)], delta)


def run_prv(history: Sequence[tuple[float, float, int]], delta: float) -> float:
    """PRV bound on (noise multiplier, sample rate, steps) together; takes long where epsilon is above 100.

    Raises:
        UsageError: The numerical composition fails.
    """
    try:
        with _known_warnings_silenced():
            epsilon = _composed_prv(history, delta)
    except (RuntimeError, ValueError, MemoryError) as error:
        shown = "; ".join(f"noise multiplier {s}, sample rate {q}, {n} steps" for s, q, n in history[:3])
        raise UsageError(
            f"the PRV accountant cannot bound epsilon at {shown}, delta {delta}: {error}. "
            "Raise delta or the noise."
        ) from error
    return max(0.0, epsilon)


def _composed_prv(history: Sequence[tuple[float, float, int]], delta: float) -> float:
    """As Opacus' PRV accountant does; the RDP that its domain follows from is computed here."""
    delta_error, steps = PRV_DELTA_SHARE * delta, [n for _, _, n in history]
    mesh = PRV_ERROR / np.sqrt(sum(steps) * np.log(12 / delta_error) / 2)
    half = _half_of_domain(history, delta_error)
    domain = Domain.create_aligned(-half, half, mesh)
    losses = [PoissonSubsampledGaussianPRV(q, sigma) for sigma, q, _ in history]
    parts = [
        discretize(TruncatedPrivacyRandomVariable(one, domain.t_min, domain.t_max), domain) for one in losses
    ]
    _, _, upper = compose_heterogeneous(parts, steps).compute_epsilon(delta, delta_error, PRV_ERROR)
    return float(upper)


def _half_of_domain(history: Sequence[tuple[float, float, int]], delta_error: float) -> float:
    """Privacy losses beyond it are so rare that their share counts as error (Gopi et al., remark 5.6)."""
    curves = [rdp_of_a_step(sigma, q, _DOMAIN_ORDERS) for sigma, q, _ in history]
    steps = [n for _, _, n in history]
    together = np.sum([n * curve for n, curve in zip(steps, curves, strict=True)], axis=0)
    bounds = [epsilon_from_rdp(together, _DOMAIN_ORDERS, delta_error / 4)[0]]
    bounds += [epsilon_from_rdp(one, _DOMAIN_ORDERS, delta_error / (8 * sum(steps)))[0] for one in curves]
    return max(*bounds, PRV_ERROR) + 3


def rdp_curve(noise_multiplier: float, sample_rate: float, steps: int) -> FloatArray:
    """RDP of ``steps`` steps at every order of ``RDP_ORDERS``; curves of several runs are added up."""
    return steps * rdp_of_a_step(noise_multiplier, sample_rate, RDP_ORDERS)


def epsilon_from_rdp(curve: FloatArray, orders: Sequence[float], delta: float) -> tuple[float, float]:
    """The least epsilon that an RDP curve implies at ``delta``, and its order (Balle et al., theorem 21)."""
    with _known_warnings_silenced():
        epsilon, order = get_privacy_spent(orders=orders, rdp=curve, delta=delta)
    return max(0.0, float(epsilon)), float(order)


def epsilon_rdp(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Upper bound on epsilon by Rényi DP, over the orders up to 1024. Looser than PRV, fast and robust.

    Args and raises as :func:`epsilon_prv`; large values are computed too.
    """
    _check(noise_multiplier, sample_rate, steps, delta)
    return epsilon_from_rdp(rdp_curve(noise_multiplier, sample_rate, steps), RDP_ORDERS, delta)[0]


@lru_cache(maxsize=256)
def noise_for_epsilon(epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The smallest noise multiplier, in steps of 0.001, whose PRV epsilon does not exceed ``epsilon``.

    The PRV bound itself is searched, so the answer is verified by construction; RDP only says where to look.

    Raises:
        UsageError: ``epsilon`` is not in ``(0, 100]``, or no noise multiplier below 1e5 reaches it.
    """
    if not 0 < epsilon <= LARGEST_EPSILON:
        raise UsageError(
            f"epsilon must be in (0, {LARGEST_EPSILON:g}], got {epsilon}; usual values are 1 to 8"
        )

    def excess(grid_point: int) -> float:
        """How far log epsilon lies above the budget; at most 0 where the noise suffices."""
        spent = _epsilon_or_infinity(round(grid_point * SIGMA_STEP, 3), sample_rate, steps, delta)
        return math.log(spent / epsilon) if spent > 0 else -math.inf

    high = _rdp_grid_point(epsilon, delta, sample_rate, steps)
    # The PRV bound adds its numerical error, so for tiny epsilons RDP can be the tighter of the two.
    while (excess_high := excess(high)) > 0:
        high = _doubled(high, epsilon, delta, steps)
    low, excess_low = high, excess_high
    while excess_low <= 0 and low > 0:
        high, excess_high = low, excess_low
        low = int(0.85 * low)
        excess_low = excess(low) if low else math.inf
    return round(smallest_that_fits(excess, (low, excess_low), (high, excess_high)) * SIGMA_STEP, 3)


def smallest_that_fits(
    excess: Callable[[int], float], below: tuple[int, float], above: tuple[int, float]
) -> int:
    """Root of a falling function on a grid: log-linear interpolation, every third step bisection."""
    (low, excess_low), (high, excess_high) = below, above
    for turn in itertools.count():
        if high - low <= 1:
            break
        if turn % 3 == 2 or not (math.isfinite(excess_low) and math.isfinite(excess_high)):
            middle = (low + high) // 2
        else:
            share = excess_low / (excess_low - excess_high)
            middle = math.ceil(low * (high / low) ** share)
        middle = min(max(middle, low + 1), high - 1)
        found = excess(middle)
        if found > 0:
            low, excess_low = middle, found
        else:
            high, excess_high = middle, found
    return high


def _epsilon_or_infinity(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    if _rdp(noise_multiplier, sample_rate, steps, delta, _FEW_ORDERS) > LARGEST_EPSILON:
        return math.inf
    return epsilon_prv(noise_multiplier, sample_rate, steps, delta)


def _rdp(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, orders: tuple[float, ...]
) -> float:
    """The RDP bound over some orders; every subset gives a valid one."""
    return epsilon_from_rdp(steps * rdp_of_a_step(noise_multiplier, sample_rate, orders), orders, delta)[0]


def _doubled(grid_point: int, epsilon: float, delta: float, steps: int) -> int:
    """Twice the noise, or the refusal when that leads nowhere."""
    if grid_point * SIGMA_STEP > LARGEST_SIGMA:
        raise UsageError(
            f"no noise multiplier below {LARGEST_SIGMA:g} reaches epsilon {epsilon} at delta {delta} in "
            f"{steps} steps. Take a larger epsilon or fewer steps."
        )
    return 2 * grid_point


def _rdp_grid_point(epsilon: float, delta: float, sample_rate: float, steps: int) -> int:
    """A grid point whose RDP epsilon fits the budget; the smallest up to 2 %."""
    low, high = 1, 1000
    while _rdp(high * SIGMA_STEP, sample_rate, steps, delta, _FEW_ORDERS) > epsilon:
        low, high = high, _doubled(high, epsilon, delta, steps)
    while high > 1.02 * low + 1:
        middle = max(low + 1, int(math.sqrt(low * high)))
        if _rdp(middle * SIGMA_STEP, sample_rate, steps, delta, _FEW_ORDERS) > epsilon:
            low = middle
        else:
            high = middle
    return high


def _check(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> None:
    problems = []
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        problems.append(f"noise_multiplier must be above 0, got {noise_multiplier}")
    if not 0 < sample_rate <= 1:
        problems.append(f"sample_rate must be in (0, 1], got {sample_rate}")
    if steps < 1:
        problems.append(f"steps must be at least 1, got {steps}")
    if not 0 < delta < 1:
        problems.append(f"delta must be in (0, 1), got {delta}")
    if problems:
        raise UsageError("DP accounting: " + "; ".join(problems))


@contextmanager
def _known_warnings_silenced() -> Iterator[None]:
    """Silences what does not touch the bound.

    An optimal order at the end of the range is still a valid bound, and a sample rate of 1 takes the
    logarithm of 0 on purpose.
    """
    with warnings.catch_warnings(), np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
        yield
