"""The peaks of spectra."""

from __future__ import annotations

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, real, spectral_dim, units_along, values_along
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.spectra import check_whole

FIELDS = ("Position", "Height", "Width", "Prominence")


@register
@step("Peaks", version="1", per_position=True)
def peaks(
    spectra: xr.DataArray,
    *,
    most: int = 1,
    height: float | None = None,
    prominence: float | None = None,
    distance: float | None = None,
    along: str | None = None,
) -> xr.Dataset:
    r"""Position, height, width and prominence of the peaks of each spectrum.

    A peak is a sample above its neighbours; its prominence is how far it is above the higher of
    the two lowest points between it and higher peaks, and its width is taken half of that below
    it, between samples (`scipy.signal.find_peaks`, `peak_widths`). The position is the top of the
    parabola through the peak and its neighbours, :math:`x_0 + \frac{1}{2} \frac{d_- - d_+}{d_- -
    2 d_0 + d_+}` in samples. The height is that of the sample.

    Parameters
    ----------
    spectra : values of any real dtype, lazily; the magnitude is taken of complex ones
    most : how many peaks there are at most; the most prominent are kept, in order of position
    height, prominence : the least that a peak must have, in units of the source
    distance : between peaks, in units of `along`; of closer ones the higher are kept
    along : spectroscopic dimension; may be left out where there is only one

    Returns
    -------
    Dataset : "Position" and "Width" in units of `along`, "Height" and "Prominence" in those of the
        source, without the dimension `along`; for several peaks "Peak" is in its place. NaN where
        there is no peak, or in a spectrum with a NaN

    Raises
    ------
    PlanError : for fewer than 3 samples, `along` that does not go up or down throughout, or a
        number or distance of peaks that makes no sense

    Examples
    --------
    >>> spectra = xr.DataArray([[0.0, 1, 0, 0, 2, 4, 2, 0]], dims=("X", "t"))
    >>> found = peaks(spectra, most=2, along="t")
    >>> found["Position"].values, found["Height"].values
    (array([[1., 5.]]), array([[1., 4.]]))
    """
    dim = spectral_dim(spectra, along)
    x = values_along(spectra, dim)
    steps = np.diff(x)
    if x.size < 3 or not (np.all(steps > 0) or np.all(steps < 0)):
        raise PlanError(f"{dim!r} must have 3 values or more that go up or down throughout")
    check_whole(most=most)
    for name, value in (("height", height), ("prominence", prominence)):
        if value is not None and not isinstance(value, (int, float, np.number)):
            raise PlanError(f"{name}={value!r} must be a number, in units of the source")
    if most < 1 or (distance is not None and not distance > 0):
        raise PlanError(f"most={most} must be 1 or more, distance={distance} above 0")
    samples = None if distance is None else max(1.0, distance / float(np.abs(steps).mean()))
    found = apply_over(
        spectra,
        peaks_of,
        [dim],
        output={"Peak": most} if most > 1 else {},
        dtypes=[real(spectra.dtype)] * len(FIELDS),
        kwargs={
            "x": x,
            "most": most,
            "height": height,
            "prominence": prominence,
            "distance": samples,
        },
    )
    unit, own = units_along(spectra, dim), spectra.attrs.get("units", "")
    fields = {
        name: each.assign_attrs(quantity=name, units=units)
        for name, each, units in zip(FIELDS, found, (unit, own, unit, own), strict=True)
    }
    made = xr.Dataset(fields).assign_attrs(quantity="Peaks", units="compound")
    if most > 1:
        number = ("Peak", np.arange(most), {"usid_role": "spectroscopic", "units": ""})
        made = made.assign_coords(Peak=number)
    return made


def peaks_of(
    block: Array,
    *,
    x: Array,
    most: int,
    height: float | None,
    prominence: float | None,
    distance: float | None,
) -> tuple[Array, ...]:
    """The FIELDS of the peaks of spectra.

    Parameters
    ----------
    block : ndarray, shape (..., n)
    x : ndarray, shape (n,)
    most, height, prominence : as of `peaks`
    distance : in samples

    Returns
    -------
    four ndarrays, shape (..., most), or (...) for a single peak
    """
    from scipy.signal import find_peaks, peak_widths

    values = np.abs(block) if block.dtype.kind == "c" else block
    spectra = values.reshape(-1, x.size)
    found = np.full((len(FIELDS), spectra.shape[0], most), np.nan)
    samples = np.arange(x.size)
    for row, each in enumerate(spectra):
        spectrum = each.astype(float)
        if np.isnan(spectrum).any():
            continue
        tops, told = find_peaks(
            spectrum, height=height, distance=distance, prominence=(prominence or 0, None)
        )
        kept = np.sort(np.argsort(-told["prominences"], kind="stable")[:most])
        kept = kept if x[0] < x[-1] else kept[::-1]
        tops, prominences = tops[kept], told["prominences"][kept]
        bases = told["left_bases"][kept], told["right_bases"][kept]
        _, _, left, right = peak_widths(spectrum, tops, 0.5, (prominences, *bases))
        ends = np.abs(np.interp(right, samples, x) - np.interp(left, samples, x))
        places = np.interp(_refined(spectrum, tops), samples, x)
        found[:, row, : tops.size] = places, spectrum[tops], ends, prominences
    shape = block.shape[:-1] + ((most,) if most > 1 else ())
    dtype = real(block.dtype)
    return tuple(each.reshape(shape).astype(dtype) for each in found)


def _refined(spectrum: Array, tops: Array) -> Array:
    """Peaks, in samples, at the top of the parabola through each and its neighbours."""
    before, at, after = spectrum[tops - 1], spectrum[tops], spectrum[tops + 1]
    curvature = before - 2 * at + after
    # a plateau has none
    offset = (before - after) / np.where(curvature < 0, curvature, -np.inf) / 2
    return np.asarray(tops + offset)
