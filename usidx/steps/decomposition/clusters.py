"""Positions whose spectra are alike."""

from __future__ import annotations

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.decomposition.learning import learning
from usidx.steps.decomposition.matrix import added, check_finite, matrix_of, pieces
from usidx.steps.spectra import check_whole

_Sums = tuple[Array, Array, Array]


@register
@step("Cluster", version="1")
def kmeans(
    data: xr.DataArray, *, n_clusters: int = 4, passes: int = 4, seed: int = 0
) -> xr.Dataset:
    r"""Clusters of positions, each of those nearest to the same mean spectrum.

    .. math:: \min_{m, c} \sum_p |d_p - m_{c_p}|^2

    (S. P. Lloyd, IEEE Trans. Inf. Theory 28, 129, 1982.) The means of up to a million values
    evenly spread over the map are found in small batches (D. Sculley, WWW 2010, 1177;
    `sklearn.cluster.MiniBatchKMeans`), and improved over all of it: each pass adds up the spectra
    nearest to each mean, which gives the next one. Another pass says what is nearest to which. The
    largest cluster comes first. Complex values are near where both parts are.

    Parameters
    ----------
    data : real or complex values, lazily; all must be finite
    n_clusters : how many clusters there are
    passes : over all of the data, which improve the means
    seed : of where they begin; the same one gives the same result

    Returns
    -------
    Dataset : "Labels", the map of the number of each position's cluster, from 0; "Mean_Response",
        the mean spectra, in units of the source; "Sizes", the number of positions in each; and
        "Inertia", the sum of squares within each. Named as pycroscopy does

    Raises
    ------
    PlanError : for values that are not finite, or more clusters than there are positions
    MissingDependencyError : without scikit-learn

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> found = kmeans(make_main((8, 9, 16)), n_clusters=2)
    >>> found["Labels"].dims, found["Mean_Response"].dims
    (('Y', 'X'), ('Cluster', 'Frequency'))
    """
    import dask.array as da
    from dask.delayed import delayed

    check_whole(passes=passes, seed=seed)
    learning("cluster")
    if passes < 1:
        raise PlanError(f"passes={passes} over the data must be 1 or more")
    matrix, dtype = matrix_of(data, n_clusters, "n_clusters"), floating(data.dtype)
    means = delayed(begun, pure=True)(matrix.sample(), n_clusters, seed)
    for _ in range(passes):
        sums = matrix.over_blocks(sums_of, added, means)
        means = delayed(improved, pure=True)(means, sums)
    last = matrix.over_blocks(sums_of, added, means)
    ordered = delayed(in_order, pure=True, nout=3)(means, last)
    labels = matrix.by_row(nearest, np.int32, {}, means=ordered[0])
    complexly = delayed(_as_complex if dtype.kind == "c" else np.asarray, pure=True)
    spectra = matrix.spectra(complexly(ordered[0]), dtype, "Cluster", n_clusters)
    role = {"usid_role": "position", "units": ""}
    number = {"Cluster": ("Cluster", np.arange(n_clusters), role)}
    unit = str(data.attrs.get("units", ""))
    parts = {
        "Labels": labels.assign_attrs(quantity="Cluster ID", units=""),
        "Mean_Response": spectra.assign_coords(number).assign_attrs(
            quantity=str(data.attrs.get("quantity", "")) or "Mean response", units=unit
        ),
    }
    for name, each, units in (
        ("Sizes", ordered[1], "positions"),
        ("Inertia", ordered[2], f"({unit})^2" if unit else ""),
    ):
        lazy = da.from_delayed(each, (n_clusters,), np.dtype(float))
        attrs = {"quantity": name, "units": units}
        parts[name] = xr.DataArray(lazy, number, ("Cluster",), attrs=attrs)
    return xr.Dataset(parts)


def begun(sample: Array, k: int, seed: int) -> Array:
    """The mean spectra of a sample, shape (k, d)."""
    check_finite(sample)
    model = learning("cluster").MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=1024)
    return np.asarray(model.fit(_as_real(sample)).cluster_centers_, float)


def nearest(values: Array, *, means: Array) -> Array:
    """The number of the mean nearest to each row of spectra, shape (n,)."""
    found = np.empty(values.shape[0], np.int32)
    for part in pieces(values):
        found[part] = _distances(_as_real(values[part]), means).argmin(1)
    return found


def sums_of(values: Array, means: Array) -> _Sums:
    """(number of rows, their sum, their sum of squared distances) for each mean, of a block."""
    k, d = means.shape
    counts, sums, within = np.zeros(k), np.zeros((k, d)), np.zeros(k)
    for part in pieces(values):
        rows = _as_real(values[part])
        apart = _distances(rows, means)
        labels = apart.argmin(1)
        mine = (labels[:, np.newaxis] == np.arange(k)).astype(float)
        counts += mine.sum(0)
        sums += mine.T @ rows
        squares = np.einsum("pd,pd->p", rows, rows) + apart[np.arange(len(rows)), labels]
        within += mine.T @ np.maximum(squares, 0)
    return counts, sums, within


def improved(means: Array, sums: _Sums) -> Array:
    """The means of what was nearest to each; one that nothing was nearest to stays."""
    counts, total, _ = sums
    check_finite(total)
    members = counts[:, np.newaxis]
    return np.where(members > 0, total / np.maximum(members, 1), means)


def in_order(means: Array, sums: _Sums) -> tuple[Array, Array, Array]:
    """(means, how many are nearest to each, the squares within), the largest first."""
    counts, _, within = sums
    order = np.argsort(-counts, kind="stable")
    return means[order], counts[order], within[order]


def _distances(rows: Array, means: Array) -> Array:
    """Squared distances, shape (n, k), less the squares of the rows, which move no minimum."""
    found: Array = np.einsum("kd,kd->k", means, means) - 2 * (rows @ means.T)
    return found


def _as_real(values: Array) -> Array:
    """float64, with twice the columns where values are complex."""
    if values.dtype.kind == "c":
        return np.ascontiguousarray(values, np.complex128).view(float)
    return np.asarray(values, float)


def _as_complex(values: Array) -> Array:
    return np.ascontiguousarray(values).view(np.complex128)
