"""NumPy functions on the spectra of a labelled array, lazily."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.roles import known_roles
from usidx.errors import PlanError, did_you_mean
from usidx.model.dimension import Array


def spectral_dim(spectra: xr.DataArray, along: str | None) -> str:
    """The name of the spectroscopic dimension meant by `along`.

    Parameters
    ----------
    along : a dimension; None stands for the one spectroscopic dimension with more than one value

    Raises
    ------
    PlanError : where there is no such dimension, it is one of positions, or None fits several
    """
    roles = known_roles(spectra)
    others = [each for each, role in roles.items() if role != "position"]
    if along is None:
        long = [each for each in others if spectra.sizes[each] > 1]
        if len(long) == 1:
            return long[0]
        raise PlanError(
            f"{_name(spectra)} has {len(long)} spectroscopic dimensions with more than one "
            f"value ({', '.join(long) or 'none'}); say which one with along=..."
        )
    check_dims(spectra, [along])
    if along not in others:
        raise PlanError(
            f"{along!r} is a position dimension of {_name(spectra)}, and this works along spectra; "
            f"its other dimensions are {', '.join(others) or 'none'}"
        )
    return along


def frame_dims(data: xr.DataArray, over: Sequence[str] | None) -> tuple[str, str]:
    """The two dimensions of the frames meant by `over`.

    Parameters
    ----------
    over : two dimensions, slowest first; None stands for the two spectroscopic ones with more
        than one value

    Raises
    ------
    PlanError : where there are no such dimensions, or None fits more or less than two
    """
    if over is None:
        roles = known_roles(data)
        found = [dim for dim, role in roles.items() if role != "position" and data.sizes[dim] > 1]
        if len(found) == 2:
            return found[0], found[1]
        raise PlanError(
            f"{_name(data)} has {len(found)} spectroscopic dimensions with more than one value "
            f"({', '.join(found) or 'none'}), and a frame has two; say which with over=[..., ...]"
        )
    if isinstance(over, str) or len(set(over)) != 2:
        raise PlanError(f"over={over!r} must be two dimensions, such as over=['ky', 'kx']")
    check_dims(data, over)
    return over[0], over[1]


def values_along(array: xr.DataArray, dim: str) -> Array:
    """The values of a dimension as float64: those of its coordinate, or else 0, 1, 2, ..."""
    if dim in array.coords:
        return np.asarray(array.coords[dim].values, dtype=float)
    return np.arange(array.sizes[dim], dtype=float)


def units_along(array: xr.DataArray, dim: str) -> str:
    """The units of a dimension, "" where none are known."""
    return str(array.coords[dim].attrs.get("units", "")) if dim in array.coords else ""


def check_dims(array: xr.DataArray | xr.Dataset, names: Sequence[str]) -> None:
    """Nothing, where all `names` are dimensions of the array.

    Raises
    ------
    PlanError : naming all that are not
    """
    dims = [str(each) for each in array.dims]
    unknown = [f"{each!r}{did_you_mean(each, dims)}" for each in names if each not in dims]
    if unknown:
        raise PlanError(
            f"{_name(array)} has no dimension {', '.join(unknown)}; it has {', '.join(dims)}"
        )


def check_values(array: xr.DataArray | xr.Dataset) -> None:
    """Nothing, where there are values at all.

    Raises
    ------
    PlanError : naming the dimensions that have none
    """
    none = [str(dim) for dim, size in array.sizes.items() if size == 0]
    if none:
        raise PlanError(f"{_name(array)} has no values along {', '.join(none)}; select some")


def spacing(array: xr.DataArray, dim: str) -> float:
    """The distance between neighbours along an evenly spaced dimension, in its units.

    1 where the dimension has no values of its own.

    Raises
    ------
    PlanError : where the spacing is not even to one part in a hundred
    """
    if dim not in array.coords:
        return 1.0
    values = np.asarray(array.coords[dim].values, dtype=float)
    if values.size < 2:
        return 1.0
    steps = np.diff(values)
    mean = float(steps.mean())
    if mean == 0 or not np.all(np.abs(steps - mean) <= 0.01 * abs(mean)):
        raise PlanError(
            f"{dim!r} of {_name(array)} is not evenly spaced (steps from {steps.min():.6g} to "
            f"{steps.max():.6g}); interpolate first, with array.interp({dim}=...)"
        )
    return abs(mean)


def apply_over(
    array: xr.DataArray,
    function: Callable[..., Any],
    over: Sequence[str],
    *,
    output: Mapping[str, int] | None = None,
    dtypes: Sequence[npt.DTypeLike],
    kwargs: Mapping[str, Any] | None = None,
    in_pieces: bool = True,
) -> tuple[xr.DataArray, ...]:
    """Lazy results of a NumPy function that gets blocks with the dimensions `over` last.

    Parameters
    ----------
    array : source; where it is no dask array, the function runs at once
    function : ndarray, shape (..., *over) -> ndarray, shape (..., *output), or a tuple of them
    over : dimensions that the function needs whole; they become one chunk each
    output : dimensions that the result has in their place, with sizes
    dtypes : of each result; as many as the function returns
    kwargs : further arguments of the function
    in_pieces : whether it costs nothing to call the function on some positions at a time only, as
        is then done where a stored array is read for nothing else
    """
    check_dims(array, over)
    sizes = dict(output or {})
    if array.chunks is not None:
        array = array.chunk(dict.fromkeys(over, -1))
        if len(dtypes) == 1:
            called = functools.partial(function, **kwargs) if kwargs else function
            return (_applied(array, called, over, sizes, np.dtype(dtypes[0]), in_pieces),)
    # not output_dtypes: dask would cast an empty source to them, which warns from complex to real
    meta = tuple(np.empty(0, dtype) for dtype in dtypes)
    found = xr.apply_ufunc(
        function,
        array,
        input_core_dims=[list(over)],
        output_core_dims=[list(sizes)] * len(dtypes),
        exclude_dims=set(over),
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": sizes, "meta": meta if len(meta) > 1 else meta[0]},
        kwargs=dict(kwargs or {}),
    )
    return found if isinstance(found, tuple) else (found,)


def _applied(
    array: xr.DataArray,
    function: Callable[..., Any],
    over: Sequence[str],
    output: Mapping[str, int],
    dtype: np.dtype[Any],
    in_pieces: bool,
) -> xr.DataArray:
    """As `apply_over`, for a dask array and one result, without a copy of each block.

    dask's own apply_gufunc joins the chunks along `over`, which copies them though there is one.
    """
    import dask.array as da

    from usidx.arrays.lazy import stored_of
    from usidx.arrays.piecewise import InPieces, computed_from

    def lazily(values: da.Array) -> da.Array:
        kept = values.ndim - len(over)
        new = {values.ndim + number: size for number, size in enumerate(output.values())}
        result: da.Array = da.blockwise(
            OnWhole(function),
            (*range(kept), *new),
            values,
            tuple(range(values.ndim)),
            new_axes=new,
            concatenate=False,
            meta=np.empty((0,) * (kept + len(new)), dtype),
        )
        stored = stored_of(values) if in_pieces and kept and all(result.shape) else None
        if stored is not None and getattr(stored, "reads_anywhere", False):
            return computed_from(result, InPieces(stored, kept, function))
        return result

    found: xr.DataArray = xr.apply_ufunc(
        lazily,
        array,
        input_core_dims=[list(over)],
        output_core_dims=[list(output)],
        exclude_dims=set(over),
        dask="allowed",
    )
    return found


@dataclass(frozen=True)
class OnWhole:
    """A function of an array, called on what dask hands over where an axis has a single chunk."""

    function: Callable[..., Any]

    def __call__(self, nested: Any) -> Any:
        while isinstance(nested, list):
            (nested,) = nested
        return self.function(nested)


def floating(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The floating (or complex) dtype that holds values of `dtype`: float32 for int16.

    Of at least 32 bits, as sums of shorter ones soon reach no further, and in the order of bytes
    of this machine.
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    return np.result_type(dtype, np.float32)


def real(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The floating dtype of the parts of a value of `dtype`: float32 for complex64."""
    example: Array = np.empty(0, floating(dtype))
    return example.real.dtype


def _name(array: xr.DataArray | xr.Dataset) -> str:
    return repr(array.name) if isinstance(array, xr.DataArray) and array.name else "the array"
