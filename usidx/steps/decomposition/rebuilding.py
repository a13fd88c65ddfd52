"""Spectra from components that were found before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, check_dims
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step


@register
@step("Reconstruct", version="1", per_position=True)
def reconstruct(
    loadings: xr.DataArray,
    *,
    components: xr.DataArray,
    mean: xr.DataArray | None = None,
    keep: int | Sequence[int] | None = None,
) -> xr.DataArray:
    r"""Spectra as sums of components, :math:`d_p = \bar d + \sum_{k \in K} l_{pk} v_k`.

    Of what `pca`, `nmf` or `ica` stored, with those components that are wanted: the first few, or
    all but a background.

    Parameters
    ----------
    loadings : maps of components, lazily
    components : their spectra, which are taken into memory
    mean : spectrum that is added
    keep : how many of the first components, or the numbers of those that are kept, from 0; all when
        left out

    Returns
    -------
    DataArray : over the positions of `loadings` and the spectra of `components`, in the units of
        `loadings`

    Raises
    ------
    PlanError : for components that do not belong to these maps, or a number that is none of theirs

    Examples
    --------
    >>> from usidx.steps import pca
    >>> from usidx.testing import make_main
    >>> data = make_main((8, 9, 16), dtype="float64")
    >>> found = pca(data, n_components=16)
    >>> again = reconstruct(
    ...     found["Loadings"], components=found["Components"], mean=found["Mean"], keep=16
    ... )
    >>> bool(np.allclose(again, data))
    True
    """
    check_dims(loadings, ["Component"])
    check_dims(components, ["Component"])
    spectra = components.squeeze([dim for dim in components.dims if _is_filler(components, dim)])
    spectra = spectra.transpose("Component", ...)
    k = loadings.sizes["Component"]
    if spectra.sizes["Component"] != k:
        raise PlanError(f"loadings have {k} components, and there are spectra of {len(spectra)}")
    kept = np.arange(k)[: keep if isinstance(keep, int) else None]
    if keep is not None and not isinstance(keep, int):
        kept = np.asarray(keep, int)
    if kept.size == 0 or kept.min() < 0 or kept.max() >= k or (isinstance(keep, int) and keep > k):
        raise PlanError(f"keep={keep!r} must name some of the {k} components, 0 to {k - 1}")
    dims = [str(dim) for dim in spectra.dims[1:]]
    sizes = {dim: spectra.sizes[dim] for dim in dims}
    rows = np.asarray(spectra.values).reshape(k, -1)
    offset = np.zeros(rows.shape[1], rows.dtype)
    if mean is not None:
        around = mean.squeeze([dim for dim in mean.dims if dim not in dims])
        offset = np.asarray(around.transpose(*dims).values).ravel()
    dtype = np.result_type(loadings.dtype, rows.dtype)
    (found,) = apply_over(
        loadings,
        summed,
        ["Component"],
        output=sizes,
        dtypes=[dtype],
        kwargs={"kept": kept, "rows": rows, "offset": offset, "shape": tuple(sizes.values())},
    )
    coords = {str(k): v for k, v in spectra.coords.items() if set(v.dims) <= set(dims)}
    return found.assign_coords(coords).assign_attrs(
        quantity="Reconstruction", units=loadings.attrs.get("units", "")
    )


def summed(
    block: Array, *, kept: Array, rows: Array, offset: Array, shape: tuple[int, ...]
) -> Array:
    """Sums of components, (..., k) -> (..., *shape).

    Parameters
    ----------
    block : ndarray, shape (..., k), loadings
    kept : ndarray: numbers of the components that count
    rows : ndarray, shape (k, d), the components
    offset : ndarray, shape (d,), added to all
    """
    found = block[..., kept] @ rows[kept] + offset
    dtype = np.result_type(block.dtype, rows.dtype)
    return np.asarray(found, dtype).reshape(*block.shape[:-1], *shape)


def _is_filler(array: xr.DataArray, dim: object) -> bool:
    """Whether a dimension is there only because a Main needs one."""
    return dim != "Component" and array.sizes[dim] == 1
