"""Components that nothing is taken away from: those of counts and of mixtures."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.decomposition.holding import in_mixtures
from usidx.steps.decomposition.learning import learning
from usidx.steps.decomposition.matrix import (
    added,
    check_finite,
    decomposed,
    double,
    matrix_of,
    pieces,
)
from usidx.steps.spectra import check_whole

# Over the components of a block: in the end, and in passes that only improve components.
_MOST_SWEEPS, _SWEEPS = 500, 20
_Sums = tuple[Array, Array, Array]


@register
@step("NMF", version="2", holds=in_mixtures)
def nmf(data: xr.DataArray, *, n_components: int = 8, passes: int = 4, seed: int = 0) -> xr.Dataset:
    r"""Spectra as sums of components, of which neither spectra nor maps have values below 0.

    .. math:: \min_{L, V \ge 0} \sum_{ps} (d_{ps} - \sum_k l_{pk} v_{ks})^2

    (D. D. Lee and H. S. Seung, Nature 401, 788, 1999.) Components of up to a million values
    evenly spread over the map are found by coordinate descent (`sklearn.decomposition.NMF`) and
    improved over all of it: each pass takes the best loadings of every block, adds up
    :math:`L^T L` and :math:`L^T d`, which is all that the best components depend on, and improves
    these one by one (A. Cichocki and A.-H. Phan, IEICE Trans. Fundam. E92-A, 708, 2009). Another
    pass gives the loadings. The strongest component comes first.

    Parameters
    ----------
    data : real values that are 0 or above, lazily
    n_components : how many components there are
    passes : over all of the data, which improve the components
    seed : of where they begin; the same one gives the same result

    Returns
    -------
    Dataset : "Loadings", the maps, in units of the source; "Components", the spectra, of norm 1;
        "Scree", the sum of squares of each over that of the data: they overlap, so that these
        do not add up to 1

    Raises
    ------
    PlanError : for values below 0, complex or not finite ones, or more components than there are
        positions or spectroscopic values
    MissingDependencyError : without scikit-learn

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> found = nmf(abs(make_main((8, 9, 16))), n_components=2)
    >>> found["Loadings"].dims, found["Components"].dims
    (('Y', 'X', 'Component'), ('Component', 'Frequency'))
    """
    from dask.delayed import delayed

    check_whole(passes=passes, seed=seed)
    learning("decomposition")
    if data.dtype.kind == "c" or passes < 1:
        raise PlanError(
            f"nmf needs real values ({data.dtype}), and passes={passes} of 1 or more; take it of "
            "abs(data)"
        )
    matrix, dtype = matrix_of(data, n_components), floating(data.dtype)
    components = delayed(begun, pure=True)(matrix.sample(), n_components, seed)
    for _ in range(passes):
        sums = matrix.over_blocks(sums_of, added, components, _SWEEPS)
        components = delayed(improved, pure=True)(components, sums)
    last = matrix.over_blocks(sums_of, added, components)
    ordered = delayed(in_order, pure=True, nout=2)(components, last)
    loadings = matrix.by_row(loadings_of, dtype, {"Component": n_components}, components=ordered[0])
    spectra = matrix.spectra(ordered[0], dtype, "Component", n_components)
    return decomposed(data, loadings, spectra, ordered[1])


def begun(sample: Array, k: int, seed: int) -> Array:
    """The components of a sample, shape (k, d), of norm 1."""
    check_finite(sample)
    _check_sign(sample)
    model = learning("decomposition").NMF(
        k, init="nndsvda", random_state=seed, max_iter=100, tol=1e-5
    )
    with warnings.catch_warnings():
        # the passes over all of the data go on from there
        warnings.filterwarnings("ignore", message="Maximum number of iterations")
        model.fit(sample.astype(float))
    return _normed(np.asarray(model.components_))


def loadings_of(values: Array, *, components: Array) -> Array:
    """The loadings of rows of spectra, (n, d) -> (n, k), that are best for these components."""
    found = np.empty((values.shape[0], components.shape[0]), double(values.dtype))
    for part in pieces(values):
        rows = np.asarray(values[part], float)
        _check_sign(rows)
        found[part] = best_loadings(rows @ components.T, components @ components.T)
    return found


def best_loadings(overlaps: Array, gram: Array, sweeps: int = _MOST_SWEEPS) -> Array:
    """The L that is 0 or above of least :math:`|d - L V|^2`, row by row.

    Coordinate descent over all rows at once, and then over those that still move, until none does
    by more than a millionth.

    Parameters
    ----------
    overlaps : ndarray, shape (n, k), :math:`d V^T`
    gram : ndarray, shape (k, k), :math:`V V^T`
    sweeps : over the components, at most
    """
    size = np.where(np.diag(gram) > 0, np.diag(gram), np.inf)[:, np.newaxis]
    right = np.ascontiguousarray(overlaps.T)
    try:
        found = np.maximum(np.linalg.solve(gram, right), 0)
    except np.linalg.LinAlgError:  # two components are the same
        found = np.zeros_like(right)
    least = 1e-6 * float(found.max(initial=0))
    steps, ends = gram / size, right / size
    rows, now = np.arange(right.shape[1]), found.copy()
    for _ in range(sweeps):
        before = now.copy()
        for k, each in enumerate(now):
            np.maximum(each + (ends[k] - steps[k] @ now), 0, out=each)
        moved = (np.abs(now - before) > least).any(0)
        count = np.count_nonzero(moved)
        if 2 * count < moved.size:
            found[:, rows] = now
            rows, now, ends = rows[moved], now[:, moved], ends[:, moved]
        if not count:
            break
    found[:, rows] = now
    return np.asarray(found.T)


def sums_of(values: Array, components: Array, sweeps: int = _MOST_SWEEPS) -> _Sums:
    """What the best components depend on: L'L, L'd, and the sum of squares, of a block."""
    k, d = components.shape
    gram, overlaps, whole = np.zeros((k, k)), np.zeros((k, d)), np.zeros(())
    alike = components @ components.T
    for part in pieces(values):
        rows = np.asarray(values[part], float)
        _check_sign(rows)
        loadings = best_loadings(rows @ components.T, alike, sweeps)
        gram += loadings.T @ loadings
        overlaps += loadings.T @ rows
        whole += np.vdot(rows, rows)
    return gram, overlaps, whole


def improved(components: Array, sums: _Sums) -> Array:
    """Components, shape (k, d), better for the loadings that were added up, of norm 1."""
    gram, overlaps, _ = sums
    found = best_loadings(overlaps.T, gram).T
    # one that no spectrum has stays as it is
    used = (np.diag(gram) > 0) & found.any(1)
    return _normed(np.where(used[:, np.newaxis], found, components))


def in_order(components: Array, sums: _Sums) -> tuple[Array, Array]:
    """(components, the strongest first; the part of the sum of squares of each)."""
    gram, _, whole = sums
    check_finite(whole)
    strengths = np.diag(gram)
    order = np.argsort(-strengths, kind="stable")
    return components[order], strengths[order] / (whole if whole > 0 else np.nan)


def _normed(components: Array) -> Array:
    size = np.linalg.norm(components, axis=1, keepdims=True)
    return np.asarray(components / np.where(size > 0, size, 1))


def _check_sign(values: Array) -> None:
    if values.size and not values.min() >= 0:
        raise PlanError(
            f"nmf needs values that are 0 or above, and there is {values.min():.6g}; take a "
            "background away that leaves none below, or clip them, with array.clip(0)"
        )
