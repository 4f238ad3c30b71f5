"""The curvature of the training loss in the last layer, and what leaving a row out does to its weights.

For a linear layer under cross-entropy the Gauss-Newton matrix is the Hessian: the mean over rows of
``S (x) f f'`` with ``S = diag(p) - p p'`` for chances ``p`` and features ``f``.

Sources:
    Koh and Liang (2017), arXiv:1703.04730, sections 2 and 4.2 (influence with a damped Hessian); Pregibon
    (1981), doi:10.1214/aos/1176345513, section 4.1 (a Newton step of the loss without the row); Martens and
    Grosse (2015), arXiv:1503.05671, section 3 (Kronecker factors); George et al. (2018), arXiv:1806.03884,
    and Grosse et al. (2023), arXiv:2308.03296, section 3.1 (eigenvalues corrected in their basis).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from auditkit.audits.explainability.influence.last_layer import LayerRows
from auditkit.data.dataset import FloatArray, IntArray

MOST_OUTPUTS: Final = 64
"""With more, a system of equations per row is too much: Kronecker factors are used."""

_NUMBERS_AT_ONCE: Final = 2**22


class LeftOut(NamedTuple):
    """What leaving out each row means.

    Attributes:
        residuals: Such that ``H^-1`` times their outer product with the features is, but for the row's share
            of the loss, how the weights move, shape ``(n, n_outputs)``.
        own: That movement along the gradient of the row itself, shape ``(n,)``.
    """

    residuals: FloatArray
    own: FloatArray


class Curvature(Protocol):
    """A damped mean Hessian ``H`` over gradients of shape ``(n_outputs, d)``."""

    def solve(self, gradients: FloatArray) -> FloatArray:
        """``H^-1 g`` for each of ``m`` gradients, shape ``(m, n_outputs, d)``."""
        ...

    def left_out(self, rows: LayerRows, labels: IntArray, shares: FloatArray) -> LeftOut:
        """What leaving out each of ``n`` rows means; ``shares`` are theirs of the training loss, ``(n,)``."""
        ...


@dataclass(frozen=True, slots=True)
class ExactCurvature:
    """The whole matrix; ``inverse`` has shape ``(n_outputs, d, n_outputs, d)``."""

    inverse: FloatArray

    def solve(self, gradients: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        size = gradients[0].size
        flat = gradients.reshape(len(gradients), size) @ self.inverse.reshape(size, size)
        return flat.reshape(gradients.shape)

    def left_out(self, rows: LayerRows, labels: IntArray, shares: FloatArray) -> LeftOut:
        """A Newton step of the loss without the row, whose Hessian lacks the row's part (Woodbury)."""
        residuals, features, chances = rows.residuals(labels), rows.features, rows.chances
        moved, own = np.empty_like(residuals), np.empty(len(residuals))
        step = max(1, _NUMBERS_AT_ONCE // max(features.shape[1], residuals.shape[1] ** 2))
        for start in range(0, len(residuals), step):
            part = slice(start, start + step)
            seen, p = self._seen_by(features[part]), chances[part]
            spread = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
            kept = np.eye(p.shape[1]) - shares[part, None, None] * (spread @ seen)
            moved[part] = np.linalg.solve(kept, residuals[part, :, None])[:, :, 0]
            own[part] = (residuals[part] * (seen @ moved[part, :, None])[:, :, 0]).sum(axis=1)
        return LeftOut(moved, own)

    def _seen_by(self, features: FloatArray) -> FloatArray:
        """``f' H^-1 f`` for every pair of outputs, shape ``(n, n_outputs, n_outputs)``."""
        k = len(self.inverse)
        seen = np.empty((len(features), k, k))
        for one in range(k):
            for other in range(one + 1):
                products = ((features @ self.inverse[one, :, other, :]) * features).sum(axis=1)
                seen[:, one, other] = seen[:, other, one] = products
        return seen


@dataclass(frozen=True, slots=True)
class KroneckerCurvature:
    """The matrix in the eigenbasis of the product of its mean factors, where only the diagonal is kept.

    Attributes:
        outputs: Eigenvectors of the mean of ``S``, as columns.
        inputs: Eigenvectors of the mean of ``f f'``, as columns.
        eigenvalues: The exact diagonal of the matrix in that basis, damped, shape ``(n_outputs, d)``.
    """

    outputs: FloatArray
    inputs: FloatArray
    eigenvalues: FloatArray

    def solve(self, gradients: FloatArray) -> FloatArray:
        """See :class:`Curvature`."""
        turned = self.outputs.T @ gradients @ self.inputs / self.eigenvalues
        return np.asarray(self.outputs @ turned @ self.inputs.T)

    def left_out(self, rows: LayerRows, labels: IntArray, shares: FloatArray) -> LeftOut:
        """As if the Hessian were the same with the row and without it."""
        residuals = rows.residuals(labels)
        squared = (residuals @ self.outputs) ** 2 @ (1 / self.eigenvalues)
        return LeftOut(residuals, (squared * (rows.features @ self.inputs) ** 2).sum(axis=1))


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
    traces = (rows.chances * (1 - rows.chances)).sum(axis=1) * (rows.features**2).sum(axis=1)
    added = damping * float((weights * traces).mean()) / rows.n_parameters
    if not added > np.finfo(np.float64).tiny:
        return None
    if is_exact(rows, exact_parameters):
        whole = mean_hessian(rows, weights)
        whole[np.diag_indices_from(whole)] += added
        inverse = cho_solve(cho_factor(whole, lower=True), np.eye(len(whole)))
        return ExactCurvature(inverse.reshape(2 * (rows.n_outputs, rows.features.shape[1])))
    return _kronecker(rows, weights, added)


def is_exact(rows: LayerRows, exact_parameters: int) -> bool:
    """Whether the whole matrix is used."""
    return rows.n_parameters <= exact_parameters and rows.n_outputs <= MOST_OUTPUTS


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
    curved = (chances @ outputs**2 - (chances @ outputs) ** 2).clip(min=0)
    diagonal = (weighted * curved).T @ (features @ inputs) ** 2
    return KroneckerCurvature(outputs, inputs, diagonal + damping)
