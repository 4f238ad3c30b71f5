"""How long ``auditkit --help`` takes, and what it imports."""

import statistics
import subprocess
import sys
import time

_PROBE = """
import sys
from auditkit.__main__ import main
code = main(["--help"])
loaded = [name for name in ("torch", "pandas", "numpy", "duckdb") if name in sys.modules]
print("LOADED", ",".join(loaded))
"""

BAR_S = 0.150


def run() -> dict[str, object]:
    """Median wall time of 20 fresh processes, and the heavy modules that were imported."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "auditkit", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    probe = subprocess.run([sys.executable, "-c", _PROBE], check=True, capture_output=True, text=True)
    loaded = probe.stdout.rsplit("LOADED", 1)[1].strip()
    median_s = statistics.median(times)
    return {
        "help_median_s": median_s,
        "help_min_s": min(times),
        "help_max_s": max(times),
        "bar_s": BAR_S,
        "heavy_modules_loaded": loaded,
        "holds": median_s < BAR_S and not loaded,
    }
