"""``make bench``: ours against named peers, paired; figures go to ``results/``."""

import sys
from importlib import import_module

from benchmarks.record import missed, write_result

COMPARISONS = ("group_metrics", "dp_step")


def main(names: list[str]) -> int:
    """Run the comparisons and print both figures and the ratio; 1 when a bar is missed."""
    found = {}
    for name in names or COMPARISONS:
        found[name] = import_module(f"benchmarks.{name}").run()
        path = write_result(name, found[name])
        print(f"{name}: {found[name]}\n  -> {path}")
    failed = missed(found)
    print("missed: " + ", ".join(failed) if failed else "all bars hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
