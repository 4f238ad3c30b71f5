"""The perceptron for tables on Adult. Bar: test accuracy of at least 84.5 % within a minute."""

import time
from pathlib import Path

from auditkit.config import Architecture, DataConfig, TrainingConfig
from auditkit.data.loading import load_training_data
from auditkit.training.fit import fit
from benchmarks.mnist_training import SEED, judged
from benchmarks.real_data import use_real_data

ACCURACY, DURATION_S = 0.845, 60.0
TRAINING = TrainingConfig(batch_size=256, epochs=10)


def run() -> dict[str, object]:
    """Train once and judge the 16,281 test rows."""
    use_real_data()
    start = time.perf_counter()
    config = DataConfig(source="adult")
    data, preprocessing = load_training_data(config, preprocessing=None, seed=SEED, folder=Path())
    subject = fit(
        Architecture(name="tabular-mlp"),
        data,
        TRAINING,
        seed=SEED,
        title="income",
        preprocessing=preprocessing,
    )
    return judged(subject, config, start, ACCURACY, DURATION_S)


if __name__ == "__main__":
    print(run())
