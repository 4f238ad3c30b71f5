"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 (LeCun, Cortes, Burges)."""

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.idx import read_idx
from auditkit.data.pictures import rows_of_pictures
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.data.rows import Rows

_HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def _file(name: str, sha256: str) -> PublishedFile:
    return PublishedFile("mnist", name, sha256, _HOME + name)


FILES = {
    "train": (
        _file(
            "train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        _file(
            "train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
    ),
    "test": (
        _file(
            "t10k-images-idx3-ubyte.gz", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        _file(
            "t10k-labels-idx1-ubyte.gz", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    ),
}


def mnist_rows(config: DataConfig, split: str) -> Rows:
    """The published training or test part, or both one after the other."""
    if split == "all":
        return mnist_rows(config, "train").followed_by(mnist_rows(config, "test"), split="all")
    found = [(file, locate(file)) for file in FILES[split]]
    images = read_idx(found[0][1], n_dimensions=3)
    labels = read_idx(found[1][1], n_dimensions=1)
    return rows_of_pictures(
        config,
        name="MNIST",
        split=split,
        images=images,
        labels=np.asarray(labels, dtype=np.int64),
        statements=differences(found),
    )
