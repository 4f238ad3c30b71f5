"""``make bench``: ours against named peers, paired; figures go to ``results/``."""

import sys
from importlib import import_module

from benchmarks.record import write_result

COMPARISONS = ("group_metrics", "dp_step")


def main(names: list[str]) -> None:
    """Run the comparisons and print both figures and the ratio."""
    for name in names or COMPARISONS:
        figures = import_module(f"benchmarks.{name}").run()
        path = write_result(name, figures)
        print(f"{name}: {figures}\n  -> {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
