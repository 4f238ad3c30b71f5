"""Which types of a skops file are let in, why, and what is checked of those that compiled code trusts.

skops itself lets in scikit-learn's estimators, NumPy arrays and plain values. The types of this list are
parts of such estimators: they hold numbers and other parts, and call nothing that a file could name.
"""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from auditkit.errors import CheckpointError

_TREE = "the arrays of a decision tree; their links are checked after loading"
_OPTIMISER = "step sizes and moments of a finished training"
_CALIBRATION = "a fitted estimator and the calibration of its scores"
_KERNEL = "parameters of a covariance function, evaluated by NumPy"

REVIEWED = MappingProxyType(
    {
        "numpy.dtype": "the name of a number format",
        "sklearn.tree._tree.Tree": _TREE,
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _TREE,
        "sklearn.calibration._CalibratedClassifier": _CALIBRATION,
        "sklearn.calibration._SigmoidCalibration": _CALIBRATION,
        "sklearn.calibration._TemperatureScaling": _CALIBRATION,
        "sklearn.utils._bunch.Bunch": "a dictionary of named estimators",
        "sklearn.multiclass._ConstantPredictor": "a single label",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer": _OPTIMISER,
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer": _OPTIMISER,
        "sklearn.feature_selection._univariate_selection.f_classif": "a statistic, used in training alone",
        "sklearn.feature_selection._univariate_selection.chi2": "a statistic, used in training alone",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace": "arrays and a kernel",
        "sklearn.gaussian_process.kernels.ConstantKernel": _KERNEL,
        "sklearn.gaussian_process.kernels.Product": _KERNEL,
        "sklearn.gaussian_process.kernels.Sum": _KERNEL,
        "sklearn.gaussian_process.kernels.RBF": _KERNEL,
        "sklearn.gaussian_process.kernels.Matern": _KERNEL,
        "sklearn.gaussian_process.kernels.WhiteKernel": _KERNEL,
    }
)
"""Types beyond those that skops trusts, with the reason."""

_MOST_OBJECTS = 1_000_000


def check_trees(model: object, where: str) -> None:
    """Refuse decision trees whose links lead outside of them or back, or that read columns there are not.

    Compiled code follows the links without a check: wrong ones would read foreign memory or never end.

    Raises:
        CheckpointError: A tree is damaged.
    """
    for part in _parts(model):
        if not (_links_fit(part) and _columns_fit(part)):
            raise CheckpointError(f"{where}: damaged: a decision tree has links outside of it; save it again")


def _links_fit(part: Any) -> bool:
    """Whether every inner node of a tree has two children further down in its table."""
    name = type(part).__name__
    if name == "Tree":
        left, right = np.asarray(part.children_left), np.asarray(part.children_right)
        inner = left != -1
        if (right[~inner] != -1).any() or part.value.shape[0] != len(left):
            return False
        columns = part.feature[inner]
        if ((columns < 0) | (columns >= part.n_features)).any():
            return False
    elif name == "TreePredictor":
        nodes = part.nodes
        left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
        inner = nodes["is_leaf"] == 0
        chosen = nodes["bitset_idx"][inner & (nodes["is_categorical"] == 1)]
        if (chosen >= len(part.raw_left_cat_bitsets)).any():
            return False
    else:
        return True
    rows = np.flatnonzero(inner)
    return len(left) > 0 and all(
        bool(((child[inner] > rows) & (child[inner] < len(left))).all()) for child in (left, right)
    )


def _columns_fit(part: Any) -> bool:
    """Whether the trees of an estimator read only columns that the estimator makes sure of."""
    width = getattr(part, "n_features_in_", None)
    if width is None or not hasattr(part, "__dict__"):
        return True
    trees = [getattr(part, "tree_", None)]
    if not hasattr(part, "estimators_features_"):  # bagging gives each member columns of its own
        members = np.asarray(getattr(part, "estimators_", ()), dtype=object).ravel().tolist()
        trees += [getattr(member, "tree_", None) for member in members]
    if any(tree is not None and tree.n_features != width for tree in trees):
        return False
    boosted = [tree for row in getattr(part, "_predictors", ()) for tree in row]
    read = [tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0] for tree in boosted]
    return all(bool(((columns >= 0) & (columns < width)).all()) for columns in read)


def _parts(model: object) -> Iterator[object]:
    """Every object that can be reached from the model through its attributes and containers."""
    waiting: list[Any] = [model]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_OBJECTS:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type | None):
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple | set):
            waiting += part
        elif isinstance(part, np.ndarray):
            waiting += part.ravel().tolist() if part.dtype == object else []
        else:
            waiting += vars(part).values() if hasattr(part, "__dict__") else []
