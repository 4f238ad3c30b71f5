"""The learning rate over the steps of a training."""

import math

from auditkit.config.model import TrainingConfig

LOWEST = 0.01
"""Share of the rate that is left at the end of a falling schedule."""


def rate_factor(config: TrainingConfig, step: int, total: int) -> float:
    """What the learning rate is multiplied by at ``step`` of ``total``, counted from 0; in ``(0, 1]``.

    It rises in a line over the first ``config.warmup`` of the steps, then stays (``constant``), falls as half
    a cosine (``cosine``; Loshchilov and Hutter 2017, arXiv:1608.03983) or in a line (``one-cycle``; after
    Smith and Topin 2018, arXiv:1708.07120, without the change of momentum).
    """
    rising = round(config.warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    if config.schedule == "constant":
        return 1.0
    share = (step - rising) / max(1, total - rising)
    falling = (1 + math.cos(math.pi * share)) / 2 if config.schedule == "cosine" else 1 - share
    return LOWEST + (1 - LOWEST) * falling
