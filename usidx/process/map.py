"""A NumPy function on the spectra of a labelled array, as another lazy array."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.apply import apply_over, check_dims
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array, Dimension
from usidx.process.planning.code import function_token

_KEY = "usid_mapped"
Output = str | Dimension | Sequence[str | Dimension] | Mapping[str, Any] | None


def map_spectra(
    array: xr.DataArray,
    function: Callable[..., Any],
    over: str | Sequence[str],
    *,
    output: Output = None,
    dtype: npt.DTypeLike | None = None,
    vectorized: bool = True,
    **kwargs: Any,
) -> xr.DataArray:
    """The lazy result of a NumPy function that gets blocks with the dimensions `over` last.

    Parameters
    ----------
    array : source
    function : ndarray, shape `(..., *over)` -> ndarray, shape `(..., *output)`
    over : dimensions that the function needs whole
    output : dimensions of the result in their place: names of those in `over` that stay, new
        ones as `Dimension`, or a mapping of names to sizes or coordinate values; none when None
    dtype : of the result; found out on one made-up spectrum when None
    vectorized : False where the function takes one spectrum; it is then called for each
    kwargs : further arguments of the function

    Raises
    ------
    PlanError : for dimensions that are not there, or where the function fails on a made-up spectrum
    OptionError : for an output that is not understood

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> map_spectra(make_main(), lambda block: block.max(-1), "Frequency").dims
    ('Y', 'X')
    """
    names = [over] if isinstance(over, str) else [str(each) for each in over]
    check_dims(array, names)
    coords = _output_coords(array, names, output)
    kernel = Kernel(function, tuple(sorted(kwargs.items())), vectorized, len(names))
    if dtype is None:
        dtype = _tried(kernel, array, names, coords)
    sizes = {name: each.size for name, each in coords.items()}
    (result,) = apply_over(array, kernel, names, output=sizes, dtypes=[dtype], in_pieces=False)
    labels = {name: each for name, each in coords.items() if each.attrs or name in array.coords}
    made = result.assign_coords(labels).rename(array.name)
    if made.chunks is not None:
        again = functools.partial(
            map_spectra,
            function=function,
            over=tuple(names),
            output=output,
            dtype=made.dtype,
            vectorized=vectorized,
            **kwargs,
        )
        made.encoding[_KEY] = Mapped(again, array, made.data.name)
    return made


@dataclass(frozen=True, eq=False)
class Mapped:
    """How a result of `map_spectra` is made of any part of its source.

    Parameters
    ----------
    function : part of the source -> the same part of the result
    source : whole
    graph : name of dask's graph of the result
    """

    function: Callable[..., Any]
    source: xr.DataArray
    graph: str


def mapped_of(result: object) -> Mapped | None:
    """How a result of `map_spectra` was made; None for anything else, also if made of such."""
    if not isinstance(result, xr.DataArray) or result.chunks is None:
        return None
    found = result.encoding.get(_KEY)
    return found if isinstance(found, Mapped) and found.graph == result.data.name else None


@dataclass(frozen=True, eq=False)
class Kernel:
    """A function with its arguments, which dask tells from others by its code.

    Parameters
    ----------
    function : ndarray, shape (..., *over) -> ndarray
    kwargs : further arguments
    vectorized : whether the function takes many spectra at once
    n_over : how many axes, from the last, the function needs whole
    """

    function: Callable[..., Any]
    kwargs: tuple[tuple[str, Any], ...]
    vectorized: bool
    n_over: int

    def __call__(self, block: Array) -> Array:
        """The result for a block, shape (..., *over)."""
        kwargs = dict(self.kwargs)
        if self.vectorized:
            return np.asarray(self.function(block, **kwargs))
        loop = block.shape[: block.ndim - self.n_over]
        spectra = block.reshape(-1, *block.shape[len(loop) :])
        results = [np.asarray(self.function(spectrum, **kwargs)) for spectrum in spectra]
        if not results:
            return np.empty(loop)
        return np.stack(results).reshape(*loop, *results[0].shape)

    @property
    def __name__(self) -> str:
        # dask names tasks by it; the repr that it takes otherwise has an address in it
        return str(getattr(self.function, "__name__", "function")).strip("<>")

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        # dask knows an imported function by its name alone, and one of a notebook by its cell
        known = function_token(self.function)
        return (type(self).__name__, known, normalize_token(self.kwargs), self.vectorized)


def _output_coords(
    array: xr.DataArray, over: Sequence[str], output: Output
) -> dict[str, xr.DataArray]:
    """The dimensions of the result that take the place of `over`, each with its labels."""
    if output is None:
        return {}
    if isinstance(output, (str, Dimension)):
        output = [output]
    if isinstance(output, Mapping):
        return {str(name): _new_coord(str(name), each) for name, each in output.items()}
    coords: dict[str, xr.DataArray] = {}
    for each in output:
        if isinstance(each, Dimension):
            coords[each.name] = _new_coord(each.name, each)
        elif each in over:
            kept = array.coords.get(each)
            coords[each] = _new_coord(each, array.sizes[each]) if kept is None else kept
        else:
            raise OptionError(
                f"output={each!r} is none of the dimensions in over ({', '.join(over)}); for a new "
                "one give its size or values: output={" + repr(each) + ": 3}, or a Dimension"
            )
    return coords


def _new_coord(name: str, values: Any) -> xr.DataArray:
    attrs = {"usid_role": "spectroscopic"}
    if isinstance(values, Dimension):
        attrs.update(units=values.units, long_name=values.quantity or values.name)
        values = values.values
    if isinstance(values, (int, np.integer)):
        values = np.arange(int(values))
    return xr.DataArray(np.asarray(values), dims=name, name=name, attrs=attrs)


def _tried(
    kernel: Kernel, array: xr.DataArray, over: Sequence[str], coords: Mapping[str, xr.DataArray]
) -> np.dtype[Any]:
    """The dtype that the function gives for one spectrum of ones."""
    spectrum = np.ones((1, *(array.sizes[each] for each in over)), array.dtype)
    try:
        result = np.asarray(kernel(spectrum))
    except Exception as error:
        raise PlanError(
            f"the function raised {type(error).__name__} on a spectrum of ones, shape "
            f"{spectrum.shape}: {error}. Where it cannot take that, give dtype=..., the dtype of "
            "its result"
        ) from error
    expected = (1, *(each.size for each in coords.values()))
    if result.shape != expected:
        raise PlanError(
            f"the function made {result.shape} of a block of shape {spectrum.shape}, but output "
            f"({', '.join(coords) or 'no dimension'}) needs {expected}"
        )
    return result.dtype
