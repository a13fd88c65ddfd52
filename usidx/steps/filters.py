"""Filters along spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, floating, spacing, spectral_dim
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step


@register
@step("FFT_Filter", version="2", per_position=True)
def fft_filter(
    spectra: xr.DataArray,
    *,
    along: str | None = None,
    low: float | None = None,
    high: float | None = None,
    order: int = 4,
    notch: float | Sequence[float] | None = None,
    width: float | None = None,
    harmonics: int = 1,
    noise: float | None = None,
) -> xr.DataArray:
    r"""Spectra of which only the oscillations between two frequencies are left, without hum.

    The discrete Fourier transform of each spectrum is multiplied by the magnitude of a Butterworth
    response, which shifts no phase:

    .. math:: G(\nu) = \frac{1}{\sqrt{1 + (\nu / \nu_{high})^{2n}}}
                       \frac{1}{\sqrt{1 + (\nu_{low} / \nu)^{2n}}}

    (S. Butterworth, Experimental Wireless 7, 536, 1930). Only `high` is a low-pass, only `low` a
    high-pass, both a band-pass. A notch at :math:`\nu_0` with full width w at :math:`1/\sqrt{2}`
    multiplies it by

    .. math:: N(\nu) = \frac{|\nu^2 - \nu_0^2|}{\sqrt{(\nu^2 - \nu_0^2)^2 + (w \nu)^2}}

    With `noise`, only what stands out of noise is left: white noise has magnitudes with a Rayleigh
    distribution, of which the part p is above :math:`m \sqrt{-\ln p / \ln 2}`, with their median m;
    what is below that in the transform of a spectrum is taken out, but for its mean.

    A transform takes the spectrum to repeat itself: ends that differ much ring. A spectrum with a
    NaN is NaN throughout.

    Parameters
    ----------
    spectra : values of any real or complex dtype, lazily
    along : evenly spaced spectroscopic dimension; may be left out where there is only one
    low, high : edges of the band that passes, in cycles per unit of `along` (per sample where it
        has no values); at the edge the response is 1/sqrt(2)
    order : n of the formula, the steepness
    notch : one or several frequencies that are taken out, such as that of the mains
    width : w of the notches; three times the distance of frequencies in the transform when left out
    harmonics : how many multiples of each notch are taken out, itself included, as a comb
    noise : p, the part of the frequencies of pure noise that stays, such as 1e-3

    Returns
    -------
    DataArray : of the same shape, labels and units; float32 where 32 bits hold the values

    Raises
    ------
    PlanError : for edges that leave nothing, uneven spacing, or a dimension that is not there

    Examples
    --------
    >>> time = np.arange(200) / 200
    >>> slow, fast = np.sin(2 * np.pi * 3 * time), np.sin(2 * np.pi * 60 * time)
    >>> spectra = xr.DataArray([slow + fast], dims=("X", "Time"), coords={"Time": time})
    >>> bool(np.allclose(fft_filter(spectra, high=15), [slow], atol=0.01))
    True
    """
    dim = spectral_dim(spectra, along)
    size, distance = spectra.sizes[dim], spacing(spectra, dim)
    if noise is not None and not 0 < noise < 0.5:
        raise PlanError(f"noise={noise} must be a part of the frequencies, above 0 and below 0.5")
    if notch is None and noise is not None and low is None and high is None:
        gain = np.ones(size)
    elif notch is None:
        gain = butterworth(size, distance, low, high, order)
    else:
        gain = notches(size, distance, notch, width, harmonics)
        if low is not None or high is not None:
            gain = gain * butterworth(size, distance, low, high, order)
    dtype = floating(spectra.dtype)
    (filtered,) = apply_over(
        spectra,
        multiply_transform,
        [dim],
        output={dim: spectra.sizes[dim]},
        dtypes=[dtype],
        kwargs={"gain": gain, "dtype": dtype, "noise": noise},
    )
    filtered = filtered.transpose(*spectra.dims).assign_coords(spectra.coords)
    return filtered.rename(spectra.name).assign_attrs(spectra.attrs)


def butterworth(
    size: int, distance: float, low: float | None, high: float | None, order: int
) -> Array:
    """Magnitude of a Butterworth response at the frequencies of a transform.

    Parameters
    ----------
    size : samples in a spectrum
    distance : between samples
    low, high : edges of the band, in cycles per unit of `distance`
    order : steepness

    Returns
    -------
    ndarray, shape (size,), in the order of `np.fft.fftfreq`
    """
    nyquist = 0.5 / distance
    wrong = []
    if low is None and high is None:
        wrong.append("low and high are both left out, so nothing would be filtered")
    if order < 1:
        wrong.append(f"order is {order}, it must be 1 or more")
    for name, edge in (("low", low), ("high", high)):
        if edge is not None and not 0 < edge <= nyquist:
            wrong.append(f"{name}={edge} is not within 0 and the Nyquist frequency {nyquist:.6g}")
    if low is not None and high is not None and low >= high:
        wrong.append(f"low={low} is not below high={high}")
    if wrong:
        raise PlanError(f"this band cannot be filtered: {'; '.join(wrong)}")
    frequency = np.abs(np.fft.fftfreq(size, distance))
    gain = np.ones(size)
    if high is not None:
        gain /= np.sqrt(1 + (frequency / high) ** (2 * order))
    if low is not None:
        ratio = (frequency / low) ** order  # the response at zero frequency is zero
        gain *= ratio / np.sqrt(1 + ratio**2)
    return gain


def notches(
    size: int,
    distance: float,
    places: float | Sequence[float],
    width: float | None,
    harmonics: int,
) -> Array:
    """Magnitude of the response of notches at the frequencies of a transform.

    Parameters
    ----------
    size, distance : as of `butterworth`
    places : frequencies of the notches
    width : of each, 3 / (size * distance) when None
    harmonics : how many multiples of each; those above the Nyquist frequency are left out

    Returns
    -------
    ndarray, shape (size,), in the order of `np.fft.fftfreq`
    """
    nyquist = 0.5 / distance
    first = [float(each) for each in np.atleast_1d(np.asarray(places, dtype=float))]
    width = 3 / (size * distance) if width is None else width
    wrong = [
        f"notch={each} is not within 0 and the Nyquist frequency {nyquist:.6g}"
        for each in first
        if not 0 < each <= nyquist
    ]
    if not width > 0 or harmonics < 1:
        wrong.append(f"width={width} must be above 0, and harmonics={harmonics} 1 or more")
    if wrong:
        raise PlanError(f"these notches cannot be filtered: {'; '.join(wrong)}")
    squares = np.fft.fftfreq(size, distance) ** 2
    gain = np.ones(size)
    for place in first:
        for number in range(1, harmonics + 1):
            center = number * place
            if center <= nyquist:
                away = np.abs(squares - center**2)
                spread = np.hypot(away, width * np.sqrt(squares))
                gain *= np.divide(away, spread, out=np.ones(size), where=spread > 0)
    return gain


def multiply_transform(
    block: Array, *, gain: Array, dtype: np.dtype[np.generic], noise: float | None = None
) -> Array:
    """Spectra whose Fourier transforms are multiplied by `gain`.

    Parameters
    ----------
    block : ndarray, shape (..., n)
    gain : ndarray, shape (n,), real and even, in the order of `np.fft.fftfreq`
    dtype : of the result, floating or complex
    noise : the part of the frequencies of pure noise that stays; all do when None
    """
    values = block.astype(dtype, copy=False)
    n = values.shape[-1]
    real = np.empty(0, dtype).real.dtype
    if dtype.kind == "c":
        transform = np.fft.fft(values, axis=-1)
        _take_noise(transform, noise)
        transform *= gain.astype(real)
        return np.fft.ifft(transform, axis=-1).astype(dtype, copy=False)
    transform = np.fft.rfft(values, axis=-1)
    _take_noise(transform, noise)
    transform *= gain[: n // 2 + 1].astype(real)
    return np.fft.irfft(transform, n=n, axis=-1).astype(dtype, copy=False)


def _take_noise(transform: Array, noise: float | None) -> None:
    """Set to zero, in place, what does not stand out of noise, but for the mean."""
    if noise is None or transform.shape[-1] < 2:
        return
    magnitude = np.abs(transform[..., 1:])
    floor = np.median(magnitude, axis=-1, keepdims=True)
    transform[..., 1:][magnitude < floor * np.sqrt(np.log(noise) / np.log(0.5))] = 0
