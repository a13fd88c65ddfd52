"""The directions of most variance among spectra, from blocks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.model.dimension import Array
from usidx.steps.decomposition.matrix import Matrix, added, check_finite, double, pieces, signed
from usidx.steps.decomposition.scaling import Scaling, counts, moments_of_mean, scaling_of

# Up to this many spectroscopic values the whole covariance is made, in one pass over the data.
MOST_EXACT = 1024
DIRECTIONS_MORE = 10  # directions beyond those asked for, which make these exact
_POWERS = 3  # passes that turn directions to those of most variance
# Count of positions, their mean spectrum, and their scatter around it.
_Moments = tuple[int, Array, Array]


@dataclass(frozen=True)
class Subspace:
    """Directions of most variance.

    Parameters
    ----------
    scaling : of the spectra before
    vectors : ndarray, shape (d, k), orthonormal
    strengths : ndarray, shape (k,): the sum of squares along each
    whole : the sum of squares of everything
    """

    scaling: Scaling
    vectors: Array
    strengths: Array
    whole: float

    @property
    def scree(self) -> Array:
        """The part of the variance that each explains; NaN where there is none at all."""
        if not self.whole > 0:
            return np.full(self.strengths.shape, np.nan)
        return self.strengths / self.whole

    @property
    def components(self) -> Array:
        """Spectra, shape (k, d)."""
        return np.asarray((self.vectors * self.scaling.columns[:, np.newaxis]).T)


def subspace_of(matrix: Matrix, k: int, *, centre: bool, poisson: bool, seed: int) -> Any:
    """Delayed: the Subspace of k directions, found in one pass or, for long spectra, in five."""
    from dask.delayed import delayed

    d, options = matrix.columns, (centre, poisson)
    if d <= MOST_EXACT:
        if poisson:
            sums = matrix.over_blocks(count_moments_of, added)
            return delayed(exact_of_counts, pure=True)(sums, k)
        moments = matrix.over_blocks(moments_of, joined, centre)
        return delayed(exact, pure=True)(moments, k)
    sums = matrix.over_blocks(moments_of_mean, added, *options)
    scaling = delayed(scaling_of, pure=True)(sums, poisson)
    start = np.random.default_rng(seed).standard_normal((d, min(k + DIRECTIONS_MORE, d)))
    basis: Any = delayed(_orthonormal, pure=True)(start)
    for _ in range(_POWERS):
        turned = matrix.over_blocks(_turned, added, scaling, basis)
        basis = delayed(_orthonormal, pure=True)(turned)
    small = matrix.over_blocks(_small, added, scaling, basis)
    return delayed(_from_small, pure=True)(scaling, basis, small, k)


def project(values: Array, *, found: Subspace) -> Array:
    """Loadings of rows of spectra, (n, d) -> (n, k), in double precision."""
    loadings = np.empty((values.shape[0], found.vectors.shape[1]), double(values.dtype))
    rest = found.scaling.left(values.dtype) @ found.vectors.conj()
    for part in pieces(values):
        inside = _within(found.scaling.of(values[part]), found.vectors) - rest
        loadings[part] = inside * found.scaling.rows(values[part])
    return loadings


def moments_of(values: Array, centre: bool) -> _Moments:
    """Count, mean and scatter of the spectra of a block, added up in double precision.

    Only the diagonal of the scatter and what is below it counts.
    """
    count, d = values.shape
    dtype = double(values.dtype)
    mean = values.mean(0, dtype=dtype) if centre else np.zeros(d, dtype)
    scatter, scaling = np.zeros((d, d), dtype, order="F"), Scaling(mean)
    for part in pieces(values):
        scatter = _with_products(scatter, scaling.of(values[part]))
    rest = scaling.left(values.dtype)
    if rest.any():
        scatter -= count * _outer(rest)
    return count, mean, scatter


def joined(parts: list[_Moments]) -> _Moments:
    """The moments of several blocks together, without loss where the mean is large."""
    count, mean, scatter = parts[0]
    scatter = scatter.copy(order="F")
    for other, its_mean, its_scatter in parts[1:]:
        total = count + other
        apart = its_mean - mean
        scatter += its_scatter
        scatter += _outer(apart) * (count * other / total)
        mean = mean + apart * (other / total)
        count = total
    return count, mean, scatter


def _outer(values: Array) -> Array:
    """The product of all with all conjugates, in the order of memory that scatters have."""
    return np.outer(values.conj(), values).T


def exact(moments: _Moments, k: int) -> Subspace:
    """The directions of the largest eigenvalues of the scatter."""
    _, mean, scatter = moments
    return _of_scatter(Scaling(mean), scatter, k)


def count_moments_of(values: Array) -> tuple[Array, Array]:
    """The sum of the spectra of a block, and their scatter, each over its row's sum."""
    d = values.shape[1]
    scatter = np.zeros((d, d), order="F")
    for part in pieces(values):
        rows = Scaling(np.zeros(d), np.ones(d)).of(values[part])
        scatter = _with_products(scatter, rows)
    return counts(values).sum(0, dtype=float), scatter


def exact_of_counts(sums: tuple[Array, Array], k: int) -> Subspace:
    """As `exact`, of counts over their noise."""
    total, scatter = sums
    columns = np.sqrt(np.where(total > 0, total, np.inf))
    scaling = Scaling(np.zeros_like(total), total)
    return _of_scatter(scaling, scatter / columns / columns[:, np.newaxis], k)


def _with_products(scatter: Array, rows: Array) -> Array:
    """`scatter + rows.T @ rows.conj()`, in place; of real rows, the lower triangle of it."""
    from scipy.linalg import blas

    if rows.dtype.kind == "c":
        scatter += rows.T @ rows.conj()
    elif rows.dtype == np.float32:
        scatter += blas.ssyrk(1, rows.T, lower=1)
    else:  # half the work of a product, without a copy of it
        scatter = blas.dsyrk(1, rows.T, beta=1, c=scatter, overwrite_c=1, lower=1)
    return scatter


def _of_scatter(scaling: Scaling, scatter: Array, k: int) -> Subspace:
    import scipy.linalg

    check_finite(scatter)
    d = scatter.shape[0]
    strengths, vectors = scipy.linalg.eigh(scatter, lower=True, subset_by_index=[d - k, d - 1])
    return _ordered(scaling, strengths, vectors, k, float(scatter.trace().real))


def _turned(values: Array, scaling: Scaling, basis: Array) -> Array:
    found = np.zeros(basis.shape, double(values.dtype))
    for part in pieces(values):
        away = scaling.of(values[part])
        found += away.T @ _within(away, basis).conj()
    return found


def _small(values: Array, scaling: Scaling, basis: Array) -> tuple[Array, Array]:
    """Scatter within the basis, and the whole sum of squares."""
    n = basis.shape[1]
    scatter, whole = np.zeros((n, n), double(values.dtype)), np.zeros(())
    for part in pieces(values):
        away = scaling.of(values[part])
        inside = _within(away, basis).astype(scatter.dtype)
        scatter += inside.T @ inside.conj()
        whole += np.vdot(away, away).real
    return scatter, whole


def _within(rows: Array, basis: Array) -> Array:
    """Rows along directions, in the precision of the rows."""
    return np.asarray(rows @ basis.conj().astype(rows.dtype))


def _from_small(scaling: Scaling, basis: Array, small: tuple[Array, Array], k: int) -> Subspace:
    scatter, whole = small
    check_finite(scatter)
    strengths, vectors = np.linalg.eigh(scatter)
    return _ordered(scaling, strengths, basis @ vectors, k, float(whole))


def _ordered(scaling: Scaling, strengths: Array, vectors: Array, k: int, whole: float) -> Subspace:
    """The last k of eigenvectors, the strongest first, with the largest entry positive."""
    kept = vectors[:, ::-1][:, :k]
    return Subspace(scaling, kept * signed(kept.T).T, np.maximum(strengths[::-1][:k], 0), whole)


def _orthonormal(vectors: Array) -> Array:
    check_finite(vectors)
    return np.linalg.qr(vectors)[0]
