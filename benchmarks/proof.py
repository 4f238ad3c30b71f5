"""``make proof``: every slow check, its figures against its bar, and the tests marked ``proof``.

``python -m benchmarks.proof NAME...`` runs some of them.
"""

import os
import subprocess
import sys
import time
from importlib import import_module

CHECKS = (
    "null_simulation",
    "coverage",
    "dp_accuracy",
    "dp_forecast",
    "dp_step",
    "secure_draws",
    "privacy_checks",
    "multiplicity",
    "group_metrics",
    "bootstrap_law",
    "mnist_training",
    "adult_training",
    "command_line",
    "large_table",
    "worst_slices",
    "counterfactuals",
    "counted_stream",
    "feature_importance",
    "influence",
    "documents",
    "shapley",
    "concepts",
    "gap_decomposition",
    "captum_agreement",
    "integrated_gradients",
    "text_attributions",
    "attribution_quality",
)


def main(names: list[str]) -> int:
    """Run the checks; 1 when a bar is missed."""
    # as the command line does, before torch is imported: threads that spin take the cores from one another
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # it knows of torch, whose threads take the policy that holds when it is loaded
    from benchmarks.record import missed, write_result

    found = {}
    failed = []
    for name in names or CHECKS:
        start = time.perf_counter()
        found[name] = figures = import_module(f"benchmarks.{name}").run()
        path = write_result(name, {**figures, "check_duration_s": round(time.perf_counter() - start, 1)})
        print(f"{name}: {figures}\n  -> {path}")
    failed = missed(found)
    if not names:
        code = subprocess.call([sys.executable, "-m", "pytest", "-q", "-m", "proof"])
        failed += ["tests marked proof"] if code not in {0, 5} else []
    print("missed: " + ", ".join(failed) if failed else "all bars hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
