"""The perceptron for tables on Adult, trained and audited by the command line as a user does.

Bars: test accuracy of at least 84.5 %; ``auditkit run`` on the checkpoint within a minute.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from auditkit.store import RunFolder
from benchmarks.real_data import use_real_data

ACCURACY, AUDIT_S = 0.845, 60.0

CONFIG = """\
version: 1
seed: 0
subject:
  checkpoint: checkpoints/income
  architecture: tabular-mlp
  training: {optimizer: adam, learning_rate: 0.001, batch_size: 256, epochs: 10}
data: {source: adult, members: train}
audits:
  performance: {}
  calibration: {}
  group-fairness: {intersections: true}
  attribution: {}
  membership-inference: {}
  footprint: {}
"""


def run() -> dict[str, object]:
    """Train, then run all audits on the checkpoint, each in a process of its own."""
    use_real_data()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "income.yaml").write_text(CONFIG, encoding="utf-8")
        train_s = _timed(folder, "train", "income.yaml")
        audit_s = _timed(folder, "run", "income.yaml", "--out", "run")
        stored = RunFolder(Path(folder) / "run").load_run()
    accuracy = next(
        measurement
        for result in stored.results
        for measurement in result.measurements
        if measurement.metric == "accuracy" and not measurement.group and result.audit == "performance"
    )
    assert accuracy.value is not None
    assert accuracy.interval is not None
    return {
        "test_accuracy": round(accuracy.value, 4),
        "test_accuracy_95": [round(accuracy.interval.low, 4), round(accuracy.interval.high, 4)],
        "n_test": accuracy.n,
        "train_command_s": round(train_s, 1),
        "run_command_s": round(audit_s, 1),
        "bar": {"test_accuracy": ACCURACY, "run_command_s": AUDIT_S},
        "holds": accuracy.value >= ACCURACY and audit_s < AUDIT_S,
    }


def _timed(folder: str, *words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "auditkit", *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    print(run())
