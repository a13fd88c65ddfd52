"""The components that come nearest to all spectra of a map, in least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.decomposition.holding import in_subspace
from usidx.steps.decomposition.matrix import Matrix, decomposed, matrix_of
from usidx.steps.decomposition.subspace import Subspace, project, subspace_of
from usidx.steps.spectra import check_whole


@register
@step("PCA", version="2", holds=in_subspace)
def pca(
    data: xr.DataArray,
    *,
    n_components: int = 8,
    centre: bool | None = None,
    poisson: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    r"""Principal components: the spectra whose sums come nearest to all spectra of a map.

    With positions p in rows, :math:`d_p \approx \bar d + \sum_k l_{pk} v_k` in least squares, where
    the :math:`v_k` are orthonormal eigenvectors of the covariance (K. Pearson, Philos. Mag. 2, 559,
    1901) and :math:`l_{pk} = (d_p - \bar d) \cdot v_k`. Up to 1024 spectroscopic values the
    covariance is added up block by block in one pass (T. F. Chan et al., Am. Stat. 37, 242, 1983),
    products in the precision of the values and their sums in double precision, and another pass
    gives the loadings. Beyond, the directions are found by randomized subspace iteration in five
    passes (N. Halko et al., SIAM Rev. 53, 217, 2011). The largest entry of each component is
    positive.

    Counts are as noisy as they are large, and least squares take the noise of the largest for what
    the spectra have in common. With `poisson`, components are found of counts over their noise,
    :math:`d_{ps} / \sqrt{g_p h_s}` with the sums g over spectra and h over positions (M. R. Keenan
    and P. G. Kotula, Surf. Interface Anal. 36, 203, 2004), without a mean, and multiplied by
    :math:`\sqrt{h}` in the end, and the loadings by :math:`\sqrt{g}`.

    Parameters
    ----------
    data : real or complex values, lazily; all must be finite
    n_components : how many components there are
    centre : whether the mean spectrum is taken away first; when left out, unless `poisson`
    poisson : whether values are counts, whose noise is their root
    seed : of the first directions; the same one gives the same result

    Returns
    -------
    Dataset : "Loadings", the maps, in units of the source; "Components", the spectra, of norm 1
        unless `poisson`; "Scree", the part of the variance that each explains; "Mean" in units of
        the source, zeros without `centre`

    Raises
    ------
    PlanError : for more components than positions or spectroscopic values, values that are not
        finite, counts below 0, or where it is not known which dimensions are positions

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> found = pca(make_main((8, 9, 16)), n_components=2)
    >>> found["Loadings"].dims, found["Components"].dims
    (('Y', 'X', 'Component'), ('Component', 'Frequency'))
    """
    matrix = matrix_of(data, n_components)
    found = _found(data, matrix, n_components, centre, poisson, seed)
    dtype = floating(data.dtype)
    loadings = matrix.by_row(project, dtype, {"Component": n_components}, found=found)
    components = matrix.spectra(found.components, dtype, "Component", n_components)
    made = decomposed(data, loadings, components, found.scree)
    mean = matrix.spectra(found.scaling.mean, dtype, "Component", 1)[0].drop_vars("Component")
    units = data.attrs.get("units", "")
    return made.assign(Mean=mean.assign_attrs(quantity="Mean", units=units))


@register
@step("SVD", version="1", holds=in_subspace)
def svd(data: xr.DataArray, *, n_components: int = 8, seed: int = 0) -> xr.Dataset:
    r"""The singular value decomposition :math:`d_{ps} \approx \sum_k U_{pk} S_k V_{ks}` of a map.

    The largest singular values and their vectors, by the passes over the data that `pca` takes,
    without a mean. The layout is that of pycroscopy.

    Parameters
    ----------
    data : real or complex values, lazily; all must be finite
    n_components : how many singular values there are
    seed : of the first directions; the same one gives the same result

    Returns
    -------
    Dataset : "U", the maps, orthonormal; "S", in units of the source; "V", the spectra, orthonormal

    Raises
    ------
    PlanError : as of `pca`

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> data = make_main((8, 9, 16), dtype="float64")
    >>> found = svd(data, n_components=2)
    >>> expected = np.linalg.svd(data.values.reshape(72, 16), compute_uv=False)
    >>> bool(np.allclose(found["S"], expected[:2]))
    True
    """
    import dask.array as da

    check_whole(seed=seed)
    matrix, dtype = matrix_of(data, n_components), floating(data.dtype)
    found = subspace_of(matrix, n_components, centre=False, poisson=False, seed=seed)
    number = {"Component": np.arange(n_components)}
    u = matrix.by_row(_left, dtype, {"Component": n_components}, found=found)
    v = matrix.spectra(found.vectors.T, dtype, "Component", n_components)
    strengths = da.from_delayed(found.strengths, (n_components,), np.dtype(float))
    s = xr.DataArray(da.sqrt(strengths), number, ("Component",))
    parts = {
        "U": u.assign_coords(number).assign_attrs(quantity="Abundance", units=""),
        "S": s.assign_attrs(quantity="Singular value", units=data.attrs.get("units", "")),
        "V": v.assign_attrs(quantity="Eigenvector", units=""),
    }
    return xr.Dataset(parts)


@register
@step("Denoise", version="2", holds=in_subspace)
def denoise(
    data: xr.DataArray,
    *,
    n_components: int = 8,
    centre: bool | None = None,
    poisson: bool = False,
    seed: int = 0,
) -> xr.DataArray:
    r"""Spectra put together again from their principal components only.

    :math:`\bar d + \sum_k l_{pk} v_k` of `pca`: what all spectra have in common stays, noise that
    is in none of these directions goes.

    Parameters
    ----------
    data, n_components, centre, poisson, seed : as of `pca`

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
    matrix = matrix_of(data, n_components)
    found = _found(data, matrix, n_components, centre, poisson, seed)
    clean = matrix.by_row(rebuilt, floating(data.dtype), found=found).transpose(*data.dims)
    return clean.assign_coords(data.coords).assign_attrs(data.attrs).rename(data.name)


def rebuilt(values: Array, *, found: Subspace) -> Array:
    """Rows of spectra from their loadings only."""
    spectra = project(values, found=found) @ found.components
    return np.asarray(spectra + found.scaling.mean)


def _left(values: Array, *, found: Subspace) -> Array:
    strengths = np.sqrt(found.strengths)
    return project(values, found=found) / np.where(strengths > 0, strengths, np.nan)


def _found(
    data: xr.DataArray, matrix: Matrix, k: int, centre: bool | None, poisson: bool, seed: int
) -> Any:
    check_whole(seed=seed)
    if poisson and centre:
        raise PlanError("counts over their noise have no mean to take away; leave centre out")
    if poisson and data.dtype.kind == "c":
        raise PlanError("poisson=True is for counts, and these values are complex")
    wanted = not poisson if centre is None else centre
    return subspace_of(matrix, k, centre=wanted, poisson=poisson, seed=seed)
