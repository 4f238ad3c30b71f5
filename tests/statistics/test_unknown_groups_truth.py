"""The true gap lies between the bounds in every one of a thousand samples with hidden groups."""

import numpy as np

from auditkit.statistics.unknown_groups import gap_bounds


def sample(rng):
    """Rows of two to six groups, the groups of some of them hidden, more often of those with a hit."""
    k = int(rng.integers(2, 7))
    n = int(rng.integers(20, 400))
    groups = rng.choice(k, n, p=rng.dirichlet(np.ones(k)))
    hit = rng.random(n) < rng.uniform(0.05, 0.95, k)[groups]
    share = rng.uniform(0, 0.4)
    hidden = rng.random(n) < share * np.where(hit, rng.uniform(0.2, 1), 1.0)
    return k, groups, hit, hidden


def counts(k, groups, hit):
    return np.bincount(groups[hit], minlength=k), np.bincount(groups, minlength=k)


def test_bounds_always_hold_the_true_gap():
    rng = np.random.default_rng(24)
    bounded = informative = 0
    for _ in range(1000):
        k, groups, hit, hidden = sample(rng)
        hits, size = counts(k, groups, hit)
        rates = hits[size > 0] / size[size > 0]
        known_hits, known_size = counts(k, groups[~hidden], hit[~hidden])
        bounds = gap_bounds(known_hits, known_size, int(hit[hidden].sum()), int(hidden.sum()))
        if bounds is None or len(rates) < 2:
            continue
        bounded += 1
        informative += bounds.smallest > 0
        truth = rates.max() - rates.min()
        assert bounds.smallest - 1e-12 <= truth <= bounds.largest + 1e-12
    assert bounded > 950
    assert informative > 100
