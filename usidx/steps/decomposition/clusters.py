"""Positions whose spectra are alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating, real
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.decomposition.holding import in_clusters
from usidx.steps.decomposition.learning import learning
from usidx.steps.decomposition.matrix import added, check_finite, matrix_of
from usidx.steps.spectra import check_whole

_Sums = tuple[Array, Array, Array]
# Values that are compared with the means at once, which stay in the cache.
_AT_ONCE = 2**17


@register
@step("Cluster", version="2", holds=in_clusters)
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
    rows = _as_real(sample)
    middle = rows.mean(0, dtype=float)  # without it small differences would be lost in 32 bits
    model = learning("cluster").MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=1024)
    centers = model.fit(rows - middle.astype(rows.dtype)).cluster_centers_
    return np.asarray(centers + middle, float)


def nearest(values: Array, *, means: Array) -> Array:
    """The number of the mean nearest to each row of spectra, shape (n,)."""
    found = [labels for _, labels, _ in _nearest(values, means)]
    return np.concatenate(found, dtype=np.int32) if found else np.zeros(0, np.int32)


def sums_of(values: Array, means: Array) -> _Sums:
    """(number of rows, their sum, their sum of squared distances) for each mean, of a block."""
    k, d = means.shape
    counts, sums, within = np.zeros(k), np.zeros((k, d)), np.zeros(k)
    for rows, labels, apart in _nearest(values, means):
        mine = (labels == np.arange(k)[:, np.newaxis]).astype(rows.dtype)
        counts += np.bincount(labels, minlength=k)
        sums += mine @ rows
        squares = np.einsum("pd,pd->p", rows, rows) + apart
        within += np.bincount(labels, np.maximum(squares, 0), k)
    return counts, sums + counts[:, np.newaxis] * _middle(values, means), within


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


def _nearest(values: Array, means: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Rows less the middle of all means, some at a time; the number of the mean nearest to each;
    and its squared distance less the square of the row.

    In the precision of the values, which holds what is near the middle; the rows are gone when the
    next ones are asked for.
    """
    middle = _middle(values, means)
    away = means - middle
    turned, squares = away.astype(middle.dtype).T, np.einsum("kd,kd->k", away, away)
    step = max(8, _AT_ONCE // middle.size)
    rows = np.empty((min(step, len(values)), middle.size), middle.dtype)
    for start in range(0, len(values), step):
        part = _as_real(values[start : start + step])
        here = np.subtract(part, middle, out=rows[: len(part)])
        distances = squares - 2 * (here @ turned)
        labels = distances.argmin(1)
        yield here, labels, distances[np.arange(len(labels)), labels]


def _middle(values: Array, means: Array) -> Array:
    """The middle of all means in the precision of values, shape (d,)."""
    return np.asarray(means.mean(0), real(floating(values.dtype)))


def _as_real(values: Array) -> Array:
    """Floating point, with twice the columns where values are complex."""
    kind = floating(values.dtype)
    if kind.kind == "c":
        return np.ascontiguousarray(values, kind).view(real(kind))
    return np.asarray(values, kind)


def _as_complex(values: Array) -> Array:
    return np.ascontiguousarray(values).view(np.complex128)
