"""Spectra over a map as few components, out of core."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.arrays.roles import dims_by_role
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step

# Up to this many spectroscopic values the whole covariance is made, in one pass over the data.
MOST_EXACT = 1024
_MORE = 10  # directions beyond those asked for, which make these exact
_POWERS = 3  # passes that turn directions to those of most variance
# Values that are converted at once.
_AT_ONCE = 2**20
# Count of positions, their mean spectrum, and their scatter around it.
_Moments = tuple[int, Array, Array]


@register
@step("PCA", version="1")
def pca(
    data: xr.DataArray, *, n_components: int = 8, centre: bool = True, seed: int = 0
) -> xr.Dataset:
    r"""Principal components: the spectra whose sums come nearest to all spectra of a map.

    With positions p in rows, :math:`d_p \approx \bar d + \sum_k l_{pk} v_k` in least squares, where
    the :math:`v_k` are orthonormal eigenvectors of the covariance (K. Pearson, Philos. Mag. 2, 559,
    1901) and :math:`l_{pk} = (d_p - \bar d) \cdot v_k`. Up to 1024 spectroscopic values the
    covariance is added up block by block in one pass, in double precision (T. F. Chan et al., Am.
    Stat. 37, 242, 1983), and another gives the loadings. Beyond, the directions are found by
    randomized subspace iteration in five passes (N. Halko et al., SIAM Rev. 53, 217, 2011). The
    largest entry of each component is positive.

    Parameters
    ----------
    data : real or complex values, lazily; all must be finite
    n_components : how many components there are
    centre : whether the mean spectrum is taken away first; without it, this is the singular value
        decomposition
    seed : of the first directions; the same one gives the same result

    Returns
    -------
    Dataset : "Loadings", the maps, in units of the source; "Components", the spectra, of norm 1;
        "Scree", the part of the variance that each explains; "Mean" in units of the source, zeros
        without `centre`

    Raises
    ------
    PlanError : for more components than positions or spectroscopic values, values that are not
        finite, or where it is not known which dimensions are positions

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> found = pca(make_main((8, 9, 16)), n_components=2)
    >>> found["Loadings"].dims, found["Components"].dims
    (('Y', 'X', 'Component'), ('Component', 'Frequency'))
    """
    import dask.array as da

    position, spectral = _sides(data, n_components)
    array, found = _decomposed(data, position, spectral, n_components, centre, seed)
    dtype, d = floating(data.dtype), math.prod(data.sizes[dim] for dim in spectral)
    shape = tuple(data.sizes[dim] for dim in spectral)
    mean, vectors, scree = (
        da.from_delayed(each, size, kind)
        for each, size, kind in zip(
            (found[0], found[1], found[2]),
            ((d,), (d, n_components), (n_components,)),
            (_double(dtype), _double(dtype), np.dtype(float)),
            strict=True,
        )
    )
    n = len(position)
    loadings = da.map_blocks(
        project,
        array.data,
        n_position=n,
        mean=found[0],
        vectors=found[1],
        kind=dtype,
        drop_axis=list(range(n, array.ndim)),
        new_axis=n,
        chunks=(*array.data.chunks[:n], (n_components,)),
        meta=np.empty((0,) * (n + 1), dtype),
    )
    units = {"units": data.attrs.get("units", "")}
    component = {"Component": np.arange(n_components)}
    side = {str(k): v for k, v in data.coords.items() if set(v.dims) <= set(spectral)}
    places = {str(k): v for k, v in data.coords.items() if set(v.dims) <= set(position)}
    parts = {
        "Loadings": xr.DataArray(
            loadings, {**places, **component}, (*position, "Component"), attrs=units
        ),
        "Components": xr.DataArray(
            vectors.T.reshape((n_components, *shape)).astype(dtype),
            {**side, **component},
            ("Component", *spectral),
            attrs={"units": ""},
        ),
        "Scree": xr.DataArray(scree, component, ("Component",), attrs={"units": ""}),
        "Mean": xr.DataArray(mean.reshape(shape).astype(dtype), side, spectral, attrs=units),
    }
    return xr.Dataset({k: v.assign_attrs(quantity=k) for k, v in parts.items()})


@register
@step("Denoise", version="1")
def denoise(
    data: xr.DataArray, *, n_components: int = 8, centre: bool = True, seed: int = 0
) -> xr.DataArray:
    r"""Spectra put together again from their principal components only.

    :math:`\bar d + \sum_k l_{pk} v_k` of `pca`: what all spectra have in common stays, noise that
    is in none of these directions goes.

    Parameters
    ----------
    data, n_components, centre, seed : as of `pca`

    Returns
    -------
    DataArray : of the same shape, labels and units

    Raises
    ------
    PlanError : as of `pca`

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> clean = denoise(make_main((8, 9, 16)), n_components=2)
    >>> clean.sizes
    Frozen({'Y': 8, 'X': 9, 'Frequency': 16})
    """
    import dask.array as da

    position, spectral = _sides(data, n_components)
    array, found = _decomposed(data, position, spectral, n_components, centre, seed)
    dtype = floating(data.dtype)
    lazy = da.map_blocks(
        rebuilt,
        array.data,
        n_position=len(position),
        mean=found[0],
        vectors=found[1],
        kind=dtype,
        meta=np.empty((0,) * array.ndim, dtype),
    )
    return array.copy(data=lazy).transpose(*data.dims)


def project(
    block: Array, *, n_position: int, mean: Array, vectors: Array, kind: np.dtype[Any]
) -> Array:
    """Loadings of a block in a dtype, (..., *spectra) -> (..., k), for vectors of shape (d, k)."""
    d, k = vectors.shape
    values = block.reshape(-1, d)
    found = np.empty((values.shape[0], k), kind)
    for start in range(0, values.shape[0], _rows(d)):
        part = slice(start, start + _rows(d))
        found[part] = (values[part] - mean) @ vectors.conj()
    return found.reshape(*block.shape[:n_position], k)


def rebuilt(
    block: Array, *, n_position: int, mean: Array, vectors: Array, kind: np.dtype[Any]
) -> Array:
    """A block from its loadings only."""
    double = _double(kind)
    loadings = project(block, n_position=n_position, mean=mean, vectors=vectors, kind=double)
    flat = loadings.reshape(-1, vectors.shape[1]) @ vectors.T + mean
    return np.asarray(flat.reshape(block.shape), kind)


def _sides(data: xr.DataArray, n_components: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    position, spectral = dims_by_role(data)
    n, d = (math.prod(data.sizes[dim] for dim in side) for side in (position, spectral))
    if not position or not spectral or not 1 <= n_components <= min(n, d):
        raise PlanError(
            f"n_components={n_components} must be from 1 to the {min(n, d)} that {n} positions "
            f"({', '.join(position) or 'none known'}) of {d} spectroscopic values "
            f"({', '.join(spectral) or 'none'}) have"
        )
    return position, spectral


def _decomposed(
    data: xr.DataArray,
    position: tuple[str, ...],
    spectral: tuple[str, ...],
    k: int,
    centre: bool,
    seed: int,
) -> tuple[xr.DataArray, Any]:
    """(the data in blocks of whole spectra, delayed (mean, vectors, scree))."""
    from dask.delayed import delayed

    array = data.transpose(*position, *spectral)
    array = array.chunk(dict.fromkeys(spectral, -1))
    blocks = list(array.data.to_delayed(optimize_graph=False).ravel())
    d = math.prod(data.sizes[dim] for dim in spectral)

    def over_blocks(function: Any, join: Any, *arguments: Any) -> Any:
        made = [delayed(function, pure=True)(each, *arguments) for each in blocks]
        while len(made) > 1:  # a tree: few partial results are kept at a time
            groups = [made[start : start + 4] for start in range(0, len(made), 4)]
            made = [delayed(join, pure=True)(group) for group in groups]
        return made[0]

    if d <= MOST_EXACT:
        moments = over_blocks(functools.partial(moments_of, d=d, centre=centre), joined)
        return array, delayed(exact, pure=True, nout=3)(moments, k)
    mean = over_blocks(functools.partial(_mean_of, d=d, centre=centre), _joined_means)
    start = np.random.default_rng(seed).standard_normal((d, min(k + _MORE, d)))
    basis: Any = delayed(_orthonormal, pure=True)(start)
    for _ in range(_POWERS):
        turned = over_blocks(functools.partial(_turned, d=d), _added, mean, basis)
        basis = delayed(_orthonormal, pure=True)(turned)
    small = over_blocks(functools.partial(_small, d=d), _added, mean, basis)
    return array, delayed(_from_small, pure=True, nout=3)(mean, basis, small, k)


def moments_of(block: Array, *, d: int, centre: bool) -> _Moments:
    """Count, mean and scatter of the spectra of a block, in double precision."""
    values = block.reshape(-1, d)
    dtype = _double(values.dtype)
    count = values.shape[0]
    mean = values.mean(0, dtype=dtype) if centre else np.zeros(d, dtype)
    scatter = np.zeros((d, d), dtype)
    for start in range(0, count, _rows(d)):
        part = values[start : start + _rows(d)] - mean
        scatter += part.T @ part.conj()
    return count, mean, scatter


def joined(parts: list[_Moments]) -> _Moments:
    """The moments of several blocks together, without loss where the mean is large."""
    count, mean, scatter = parts[0]
    scatter = scatter.copy()
    for other, its_mean, its_scatter in parts[1:]:
        total = count + other
        apart = its_mean - mean
        scatter += its_scatter
        scatter += np.outer(apart, apart.conj()) * (count * other / total)
        mean = mean + apart * (other / total)
        count = total
    return count, mean, scatter


def exact(moments: _Moments, k: int) -> tuple[Array, Array, Array]:
    """(mean, vectors (d, k), explained parts) of the largest eigenvalues."""
    _, mean, scatter = moments
    _check_finite(scatter)
    variances, vectors = np.linalg.eigh(scatter)
    return mean, _signed(vectors[:, ::-1][:, :k]), _parts(variances[::-1][:k], scatter.trace().real)


def _mean_of(block: Array, *, d: int, centre: bool) -> tuple[int, Array]:
    values = block.reshape(-1, d)
    dtype = _double(values.dtype)
    return values.shape[0], values.mean(0, dtype=dtype) if centre else np.zeros(d, dtype)


def _joined_means(parts: list[tuple[int, Array]]) -> tuple[int, Array]:
    total = sum(count for count, _ in parts)
    return total, np.sum([mean * (count / total) for count, mean in parts], axis=0)


def _turned(block: Array, mean: tuple[int, Array], basis: Array, *, d: int) -> Array:
    values = block.reshape(-1, d)
    found = np.zeros(basis.shape, _double(values.dtype))
    for start in range(0, values.shape[0], _rows(d)):
        part = values[start : start + _rows(d)] - mean[1]
        found += part.T @ (part @ basis.conj()).conj()
    return found


def _small(block: Array, mean: tuple[int, Array], basis: Array, *, d: int) -> Array:
    """Scatter within the basis, and below it the whole variance."""
    values = block.reshape(-1, d)
    n = basis.shape[1]
    found = np.zeros((n + 1, n), _double(values.dtype))
    for start in range(0, values.shape[0], _rows(d)):
        part = values[start : start + _rows(d)] - mean[1]
        inside = part @ basis.conj()
        found[:n] += inside.T @ inside.conj()
        found[n, 0] += (np.abs(part) ** 2).sum()
    return found


def _from_small(
    mean: tuple[int, Array], basis: Array, small: Array, k: int
) -> tuple[Array, Array, Array]:
    _check_finite(small)
    variances, vectors = np.linalg.eigh(small[:-1])
    kept = basis @ vectors[:, ::-1][:, :k]
    return mean[1], _signed(kept), _parts(variances[::-1][:k], small[-1, 0].real)


def _rows(d: int) -> int:
    return max(8, _AT_ONCE // d)


def _added(parts: list[Array]) -> Array:
    return np.asarray(np.sum(parts, axis=0))


def _orthonormal(vectors: Array) -> Array:
    _check_finite(vectors)
    return np.linalg.qr(vectors)[0]


def _parts(variances: Array, total: float) -> Array:
    return np.maximum(variances, 0) / total if total > 0 else np.full(variances.shape, np.nan)


def _signed(vectors: Array) -> Array:
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[np.newaxis], 0)
    return np.asarray(vectors * (np.abs(largest) / largest))


def _check_finite(values: Array) -> None:
    if not np.isfinite(values).all():
        raise PlanError(
            "there are values that are not finite among the spectra, and components need all; "
            "crop them away, or fill them first, with array.fillna(...)"
        )


def _double(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, np.float64)
