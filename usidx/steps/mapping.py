"""Any NumPy function, over spectra, frames or maps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.apply import check_values
from usidx.arrays.roles import known_roles
from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.step import register, step

# Those that may be meant by their names, in a terminal or a recipe, besides functions of one value:
# they compute, and do nothing else.
NAMED = (
    "angle", "argmax", "argmin", "average", "count_nonzero", "cumprod", "cumsum", "diff",
    "fft.fft", "fft.fftshift", "fft.ifft", "fft.ifftshift", "fft.irfft", "fft.rfft", "flip",
    "gradient", "imag", "linalg.norm", "max", "mean", "median", "min", "nan_to_num", "nanmax",
    "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanquantile", "nanstd", "nansum", "nanvar",
    "percentile", "prod", "ptp", "quantile", "real", "roll", "sort", "std", "sum", "trapezoid",
    "unwrap", "var",
)  # fmt: skip


@register
@step("Map", version="1")
def map(
    data: xr.DataArray,
    *,
    function: str | Callable[..., Any],
    over: str | Sequence[str] | None = None,
    output: str | Sequence[str] | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    vectorized: bool = True,
    dtype: npt.DTypeLike | None = None,
    quantity: str = "",
    units: str = "",
) -> xr.DataArray:
    r"""What a NumPy function makes of each spectrum, frame or map: :math:`y_p = f(d_p)`.

    As `da.usid.map`, with a result that can be found again, and named in a terminal or a recipe
    where the function is one of NumPy's: `usidx run scan.h5 Raw_Data map --set function=median`.

    Parameters
    ----------
    data : values of any dtype, lazily
    function : ndarray, shape (..., *over) -> ndarray, shape (..., *output); or the name of one of
        NumPy's ("median", "ptp", "fft.rfft", "log10"), which goes along `over`
    over : dimensions that the function needs whole, positions too; all spectroscopic ones when left
        out
    output : dimensions of the result in their place: names of those in `over` that stay, or a
        mapping of names to sizes or coordinates; none when left out
    options : further arguments of the function, by name
    vectorized : False where the function takes one spectrum or frame; it is then called for each
    dtype : of the result; found out on a made-up spectrum when left out
    quantity, units : of the result; the name of the function and none when left out

    Returns
    -------
    DataArray : with the dimensions `output` in the place of `over`

    Raises
    ------
    PlanError : for a dimension that is not there, or where the function fails on a made-up spectrum
    OptionError : for a name that is none of NumPy's functions that may be named, or an output that
        is not understood

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> main = make_main((3, 4, 16))
    >>> map(main, function="ptp").dims
    ('Y', 'X')
    >>> def contrast(spectra):
    ...     return (spectra[..., :8] - spectra[..., 8:]) / 2
    >>> map(main, function=contrast, over="Frequency", output={"Half": 8}, units="V").sizes["Half"]
    8
    """
    names = [over] if isinstance(over, str) else over and [str(each) for each in over]
    if not names:
        names = [dim for dim, role in known_roles(data).items() if role != "position"]
        if not names:
            raise PlanError("there is no spectroscopic dimension left; say over=... which ones")
    check_values(data)
    given = dict(options or {})
    if isinstance(function, str):
        chosen = numpy_function(function)
        if _has_axis(chosen) and vectorized:
            last = tuple(range(-len(names), 0))
            given = {"axis": last if len(last) > 1 else last[0], **given}
    else:
        chosen = function
    found: xr.DataArray = data.usid.map(
        chosen, names, output=output, dtype=dtype, vectorized=vectorized, **given
    )
    said = str(getattr(chosen, "__name__", type(chosen).__name__)).strip("<>")
    return found.assign_attrs(quantity=quantity or said, units=units)


def numpy_function(name: str) -> Callable[..., Any]:
    """The function of NumPy of that name.

    Raises
    ------
    OptionError : for any that is not one of `NAMED`, and takes not one value

    Examples
    --------
    >>> numpy_function("log10")
    <ufunc 'log10'>
    """
    plain = name.removeprefix("numpy.").removeprefix("np.")
    found: Any = getattr(np, plain, None) if plain.isidentifier() else None
    if plain in NAMED:
        found = np
        for part in plain.split("."):
            found = getattr(found, part)
    elif not (isinstance(found, np.ufunc) and found.nin == found.nout == 1):
        raise OptionError(
            f"function={name!r} is none of NumPy's that may be named"
            f"{did_you_mean(plain, NAMED)}: functions of one value, such as log10, and "
            f"{', '.join(NAMED)}. Hand over others as functions, in Python"
        )
    made: Callable[..., Any] = found
    return made


def _has_axis(function: Callable[..., Any]) -> bool:
    try:
        return "axis" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of one value
        return False
