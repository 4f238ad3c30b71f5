"""The candidates of a private tuning: those of the user, or three learning rates.

Without candidates of the user each run draws a third, once or three times the learning rate that would be
taken without tuning. The number of runs follows the Poisson law with two expected for each candidate, unless
the user says otherwise: that law needs the least noise and the fewest runs to try a given one of a few
candidates at all. To miss one of three in only a tenth of all tunings takes, at epsilon 3 and delta 1e-5 with
sampling rate 0.18 and 500 steps, a noise multiplier of 10.8 by Poisson (6.9 runs expected), 12.4 by the
geometric law (18 runs) and 13.9 by the logarithmic (5,400 runs). With six runs expected Poisson draws none in
one of 400 tunings.
"""

from dataclasses import replace

from auditkit.config.model import TuningConfig
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.tuning import Candidate, Tuning

RATE_FACTORS = (1 / 3, 1.0, 3.0)
RUNS_PER_CANDIDATE = 2


def tuning_of(config: TuningConfig, settings: DpSettings) -> Tuning:
    """What is fixed of the tuning; ``settings`` are those without it."""
    candidates = tuple(
        Candidate(settings=replace(settings, **one.changes), changes=tuple(one.changes))
        for one in config.candidates
    ) or tuple(Candidate(settings=settings, rate_factor=factor) for factor in RATE_FACTORS)
    return Tuning(
        law=config.law,
        mean=config.mean or RUNS_PER_CANDIDATE * len(candidates),
        candidates=candidates,
    )
