"""How often groups that do not differ are told apart, and how often true gaps are covered.

Bar: with equal rates the gap is above 0 in 2 to 8 % of samples; true gaps are covered in at least 93 %.
"""

import numpy as np

from auditkit.statistics.simultaneous import largest_difference, smallest_ratio

RUNS = 4000
SEED = 20_261_122

EQUAL_DESIGNS = {
    "3 groups of 100, rate 0.5": ((100,) * 3, (0.5,) * 3),
    "6 groups of 300, rate 0.5": ((300,) * 6, (0.5,) * 6),
}
GAP_DESIGNS = {
    "100, 50 and 20 rows at 0.5, 0.3, 0.3": ((100, 50, 20), (0.5, 0.3, 0.3)),
    "3 groups of 100 at 0.2, 0.3, 0.4": ((100,) * 3, (0.2, 0.3, 0.4)),
    "4 groups of 30 at 0.1, 0.3, 0.5, 0.9": ((30,) * 4, (0.1, 0.3, 0.5, 0.9)),
    "1000 and 30 rows at 0.9, 0.6": ((1000, 30), (0.9, 0.6)),
    "200, 100, 100 and 8 rows at 0.2, 0.2, 0.3, 0.2": ((200, 100, 100, 8), (0.2, 0.2, 0.3, 0.2)),
}


def simulate(sizes: tuple[int, ...], rates: tuple[float, ...]) -> dict[str, float]:
    """Shares of samples in which a gap is shown, and in which the true one is covered."""
    rng = np.random.default_rng(SEED)
    difference, quotient = max(rates) - min(rates), min(rates) / max(rates)
    shown = covered = ratio_shown = ratio_covered = 0
    for successes in rng.binomial(sizes, rates, size=(RUNS, len(sizes))):
        gap, ratio = largest_difference(successes, sizes), smallest_ratio(successes, sizes)
        assert gap is not None
        shown += gap.interval.low > 0
        covered += gap.interval.low <= difference <= gap.interval.high
        if ratio is None:  # all rates 0: undefined, so nothing is claimed
            ratio_covered += 1
            continue
        ratio_shown += ratio.interval.high < 1
        ratio_covered += ratio.interval.low <= quotient <= ratio.interval.high
    return {
        "gap_shown": shown / RUNS,
        "gap_covered": covered / RUNS,
        "ratio_shown": ratio_shown / RUNS,
        "ratio_covered": ratio_covered / RUNS,
    }


def run() -> dict[str, object]:
    """Figures of all designs, and whether the bars hold."""
    equal = {name: simulate(*design) for name, design in EQUAL_DESIGNS.items()}
    unequal = {name: simulate(*design) for name, design in GAP_DESIGNS.items()}
    holds = all(0.02 <= found["gap_shown"] <= 0.08 for found in equal.values()) and all(
        min(found["gap_covered"], found["ratio_covered"]) >= 0.93 for found in unequal.values()
    )
    return {"runs": RUNS, "seed": SEED, "equal_groups": equal, "unequal_groups": unequal, "holds": holds}


if __name__ == "__main__":
    print(run())
