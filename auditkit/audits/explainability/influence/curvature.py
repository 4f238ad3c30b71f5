"""The curvature of the training loss in the last layer, and quotients by it.

For a linear layer under cross-entropy the Gauss-Newton matrix is the Hessian: the mean over rows of
``S (x) f f'`` with ``S = diag(p) - p p'`` for chances ``p`` and features ``f``.

Sources:
    Koh and Liang (2017), arXiv:1703.04730, sections 2 and 4.2 (influence with a damped Hessian); Martens and
    Grosse (2015), arXiv:1503.05671, section 3 (Kronecker factors); George et al. (2018), arXiv:1806.03884,
    and Grosse et al. (2023), arXiv:2308.03296, section 3.1 (eigenvalues corrected in their basis).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from auditkit.audits.explainability.influence.last_layer import LayerRows
from auditkit.data.dataset import FloatArray

_NUMBERS_AT_ONCE = 2**23


class Curvature(Protocol):
    """A damped mean Hessian ``H`` over gradients of shape ``(n_outputs, d)``."""

    @property
    def damping(self) -> float:
        """What was added to its diagonal."""
        ...

    def solve(self, gradients: FloatArray) -> FloatArray:
        """``H^-1 g`` for each of ``m`` gradients, shape ``(m, n_outputs, d)``."""
        ...

    def lengths(self, residuals: FloatArray, features: FloatArray) -> FloatArray:
        """``g' H^-1 g`` of every row, shape ``(n,)``, with ``g`` the outer product of the two."""
        ...


@dataclass(frozen=True, slots=True)
class ExactCurvature:
    """The whole matrix. ``factor`` is its lower Cholesky factor, ``(n_outputs * d, n_outputs * d)``."""

    factor: FloatArray
    damping: float

    def solve(self, gradients: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        flat = gradients.reshape(len(gradients), -1)
        return np.asarray(cho_solve((self.factor, True), flat.T).T.reshape(gradients.shape))

    def lengths(self, residuals: FloatArray, features: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        found = np.empty(len(residuals))
        step = max(1, _NUMBERS_AT_ONCE // len(self.factor))
        for start in range(0, len(residuals), step):
            rows = slice(start, start + step)
            gradients = residuals[rows, :, None] * features[rows, None, :]
            whitened = solve_triangular(self.factor, gradients.reshape(len(gradients), -1).T, lower=True)
            found[rows] = (whitened**2).sum(axis=0)
        return found


@dataclass(frozen=True, slots=True)
class KroneckerCurvature:
    """The matrix in the eigenbasis of the product of its mean factors, where only the diagonal is kept.

    Attributes:
        outputs: Eigenvectors of the mean of ``S``, as columns.
        inputs: Eigenvectors of the mean of ``f f'``, as columns.
        eigenvalues: The exact diagonal of the matrix in that basis, damped, shape ``(n_outputs, d)``.
        damping: See :class:`Curvature`.
    """

    outputs: FloatArray
    inputs: FloatArray
    eigenvalues: FloatArray
    damping: float

    def solve(self, gradients: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        turned = self.outputs.T @ gradients @ self.inputs / self.eigenvalues
        return np.asarray(self.outputs @ turned @ self.inputs.T)

    def lengths(self, residuals: FloatArray, features: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        squared = (residuals @ self.outputs) ** 2 @ (1 / self.eigenvalues)
        return np.asarray((squared * (features @ self.inputs) ** 2).sum(axis=1))


def curvature_of(
    rows: LayerRows, weights: FloatArray, *, damping: float, exact_parameters: int
) -> Curvature | None:
    """The curvature over training rows; ``None`` where the loss is flat in every direction.

    Args:
        rows: The training rows.
        weights: With which their losses count, mean 1, shape ``(n,)``.
        damping: Added to the diagonal, as a multiple of its mean.
        exact_parameters: With more parameters Kronecker factors stand for the whole matrix.
    """
    chances = rows.chances
    traces = (chances * (1 - chances)).sum(axis=1) * (rows.features**2).sum(axis=1)
    added = damping * float((weights * traces).mean()) / rows.n_parameters
    if not added > np.finfo(np.float64).tiny:
        return None
    if rows.n_parameters <= exact_parameters:
        whole = mean_hessian(rows, weights)
        whole[np.diag_indices_from(whole)] += added
        return ExactCurvature(cholesky(whole, lower=True, overwrite_a=True), added)
    return _kronecker(rows, weights, added)


def mean_hessian(rows: LayerRows, weights: FloatArray) -> FloatArray:
    """The undamped matrix, shape ``(n_outputs * d, n_outputs * d)``, block by block of two outputs."""
    chances, features = rows.chances, rows.features
    n, k = chances.shape
    d = features.shape[1]
    whole = np.empty((k, d, k, d))
    for one in range(k):
        for other in range(one + 1):
            share = weights * (chances[:, one] * ((one == other) - chances[:, other])) / n
            whole[one, :, other, :] = block = features.T @ (share[:, None] * features)
            whole[other, :, one, :] = block.T
    return whole.reshape(k * d, k * d)


def _kronecker(rows: LayerRows, weights: FloatArray, damping: float) -> KroneckerCurvature:
    chances, features = rows.chances, rows.features
    weighted = weights[:, None] / len(weights)
    spread = np.diag((weighted * chances).sum(axis=0)) - chances.T @ (weighted * chances)
    outputs = np.linalg.eigh(spread)[1]
    inputs = np.linalg.eigh(features.T @ (weighted * features))[1]
    # u' S u for every row and eigenvector: the variance of u under the chances of the row
    curved = chances @ outputs**2 - (chances @ outputs) ** 2
    diagonal = (weighted * curved.clip(min=0)).T @ (features @ inputs) ** 2
    return KroneckerCurvature(outputs, inputs, diagonal + damping, damping)
