"""Ours against a named peer on the same work, in one process, in alternating order."""

import gc
import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(
    ours: Callable[[], object], peer: Callable[[], object], *, peer_name: str, repeats: int = 5
) -> dict[str, object]:
    """Medians of both and of the ratio pair by pair, after one warm-up of each.

    The order alternates, so that a drift of the machine's speed falls on both alike.
    """
    ours(), peer()
    pairs = []
    for index in range(repeats):
        if index % 2:
            peer_s, ours_s = seconds(peer), seconds(ours)
        else:
            ours_s, peer_s = seconds(ours), seconds(peer)
        pairs.append((ours_s, peer_s))
    ratios = sorted(peer_s / ours_s for ours_s, peer_s in pairs)
    return {
        "ours_s": statistics.median(ours_s for ours_s, _ in pairs),
        "peer": peer_name,
        "peer_s": statistics.median(peer_s for _, peer_s in pairs),
        "peer_over_ours": statistics.median(ratios),
        "peer_over_ours_range": [ratios[0], ratios[-1]],
        "repeats": repeats,
    }
