"""The simple harmonic oscillator of band excitation: its response, and a first estimate of it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from usidx.arrays.apply import apply_over, floating, real, spectral_dim
from usidx.arrays.fields import FIELD, PART
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.step import register, step

FIELDS = ("Amplitude", "Frequency", "Quality Factor", "Phase", "R2 Criterion")
# Spectra are handled in batches of about this many values, so that temporaries stay in the cache.
_BATCH = 2**17
# Spectra whose variance is less of their power than rounding leaves have no resonance.
_FLAT = 1e-24


@register
@step("SHO_Guess", version="3", per_position=True, group="SHO_Fit")
def sho_guess(
    spectra: xr.DataArray, *, along: str | None = None, iterations: int = 3
) -> xr.Dataset:
    r"""Parameters of the harmonic oscillator nearest to each complex spectrum, by linear algebra.

    The response (S. Jesse et al., Nanotechnology 18, 435503, 2007)

    .. math:: H(f) = \frac{A e^{i \varphi} f_0^2}{f^2 - i f f_0 / Q - f_0^2}

    multiplied by its denominator, :math:`f^2 H = f_0^2 H + i (f_0 / Q) f H + A e^{i \varphi}
    f_0^2`, is linear in :math:`f_0^2`, :math:`f_0 / Q` and the complex numerator (E. C. Levy, IRE
    Trans. Autom. Control AC-4, 37, 1959). Least squares of that equation weigh noise by the
    denominator; each iteration divides by the denominator of the one before, which leads to the
    least squares of H itself (C. K. Sanathanan and J. Koerner, IEEE Trans. Autom. Control AC-8,
    56, 1963).

    Parameters
    ----------
    spectra : complex values, lazily; one with a NaN, or the same value everywhere, gives NaN
    along : spectroscopic dimension of frequencies; may be left out where there is only one
    iterations : how often the weights are improved

    Returns
    -------
    Dataset : "Amplitude" (units of the source), "Frequency" (units of `along`), "Quality Factor",
        "Phase" (rad) and "R2 Criterion", 1 - sum |H - fit|^2 / sum |H - mean H|^2, each without
        the dimension `along`. In `process` they become the compound Main `Guess` of a group
        SHO_Fit, as in BGlib, with fields as "Amplitude [V]"; `sho_fit` begins there with `guess=`

    Raises
    ------
    PlanError : for real values, fewer than 4 frequencies, or a dimension that is not there

    Examples
    --------
    >>> frequency = np.linspace(300e3, 360e3, 80)
    >>> response = sho_response(frequency, 2.0, 330e3, 150.0, 0.5)
    >>> spectra = xr.DataArray([response], dims=("X", "Frequency"), coords={"Frequency": frequency})
    >>> guess = sho_guess(spectra)
    >>> round(float(guess["Frequency"][0])), round(float(guess["Quality Factor"][0]), 3)
    (330000, 150.0)
    """
    dim = spectral_dim(spectra, along)
    if spectra.dtype.kind != "c":
        raise PlanError(
            f"an oscillator's response is complex, but these values are {spectra.dtype}; "
            "sho_guess needs amplitude and phase, as amplitude * exp(1j * phase)"
        )
    if dim not in spectra.coords or spectra.sizes[dim] < 4:
        raise PlanError(
            f"sho_guess needs at least 4 frequencies as coordinates of {dim!r}, which has "
            f"{spectra.sizes[dim]} values{'' if dim in spectra.coords else ' and no coordinates'}"
        )
    frequencies = np.asarray(spectra.coords[dim].values, dtype=float)
    found = apply_over(
        spectra,
        guess_parameters,
        [dim],
        dtypes=[real(floating(spectra.dtype))] * len(FIELDS),
        kwargs={"frequencies": frequencies, "iterations": iterations},
    )
    amplitude, hertz = spectra.attrs.get("units", ""), spectra.coords[dim].attrs.get("units", "")
    units = (amplitude, hertz, "", "rad", "")
    fields = {
        name: each.assign_attrs(field_attrs("Guess", name, unit))
        for name, each, unit in zip(FIELDS, found, units, strict=True)
    }
    return xr.Dataset(fields).assign_attrs(quantity="SHO", units="compound")


def field_attrs(main: str, field: str, units: str) -> dict[str, str]:
    """Attributes of a variable that `process` makes a field of a compound Main, as BGlib does."""
    whole = f"{field} [{units}]" if units else field
    return {"quantity": field, "long_name": field, "units": units, PART: main, FIELD: whole}


def sho_response(
    frequency: Array | float,
    amplitude: Array | float,
    resonance: Array | float,
    quality_factor: Array | float,
    phase: Array | float,
) -> Array:
    """The complex response of harmonic oscillators, with the formula of `sho_guess`.

    Parameters
    ----------
    frequency : ndarray, shape (n,), of the drive
    amplitude, resonance, quality_factor, phase : numbers, or ndarrays of one shape (...)

    Returns
    -------
    ndarray, shape (..., n), complex, in the units of `amplitude`
    """
    amplitude, resonance, quality_factor, phase = (
        np.asarray(each)[..., np.newaxis] for each in (amplitude, resonance, quality_factor, phase)
    )
    f = np.asarray(frequency)
    denominator = f**2 - 1j * f * resonance / quality_factor - resonance**2
    response: Array = amplitude * np.exp(1j * phase) * resonance**2 / denominator
    return response


def guess_parameters(block: Array, *, frequencies: Array, iterations: int) -> tuple[Array, ...]:
    """The five FIELDS of each spectrum.

    Parameters
    ----------
    block : ndarray, shape (..., n), complex
    frequencies : ndarray, shape (n,)
    iterations : how often the weights are improved

    Returns
    -------
    five ndarrays, shape (...), of the precision of `block`
    """
    n = block.shape[-1]
    spectra = block.reshape(-1, n)
    found = np.empty((len(FIELDS), spectra.shape[0]), block.real.dtype)
    rows = max(1, _BATCH // n)
    for start in range(0, spectra.shape[0], rows):
        batch = slice(start, start + rows)
        found[:, batch] = _guess(spectra[batch].astype(complex), frequencies, iterations)
    return tuple(each.reshape(block.shape[:-1]) for each in found)


def _guess(spectra: Array, frequencies: Array, iterations: int) -> Array:
    """(5, rows): the FIELDS of spectra of shape (rows, n), complex128."""
    power = (np.abs(spectra) ** 2).sum(-1)
    valid = np.isfinite(power) & (power > 0)
    mean = spectra[valid].mean(-1, keepdims=True)
    spread = (np.abs(spectra[valid] - mean) ** 2).sum(-1)
    varied = spread > _FLAT * power[valid]
    valid[valid] = varied
    found = np.full((len(FIELDS), spectra.shape[0]), np.nan)
    if not valid.any():
        return found
    # Scaled to about 1, or the squares of megahertz swamp the other terms of the equations.
    scale = np.abs(frequencies).max()
    norm = np.sqrt(power[valid] / frequencies.size)[:, np.newaxis]
    h, f = spectra[valid] / norm, frequencies / scale
    weights = np.ones(h.shape)
    for _ in range(iterations + 1):
        square, width, numerator = _solve(h, f, weights)
        denominator = f**2 - 1j * f * width - square
        # near an undamped guess the denominator may vanish at a sample
        weights = 1 / np.maximum(np.abs(denominator) ** 2, 1e-12)
    peak = f[np.abs(h).argmax(-1)]
    resonance = np.where(square[:, 0] > 0, np.sqrt(np.abs(square[:, 0])), peak)
    amplitude = np.abs(numerator[:, 0]) / resonance**2
    quality = resonance / np.maximum(np.abs(width[:, 0]), 1e-12)
    phase = np.angle(numerator[:, 0])
    residual = h - sho_response(f, amplitude, resonance, quality, phase)
    r2 = 1 - (np.abs(residual) ** 2).sum(-1) / (spread[varied] / norm[:, 0] ** 2)
    found[:, valid] = amplitude * norm[:, 0], resonance * scale, quality, phase, r2
    return found


def _solve(h: Array, f: Array, weights: Array) -> tuple[Array, Array, Array]:
    """f0**2, f0/Q and the numerator, each of shape (rows, 1), by weighted linear least squares.

    The unknowns are real: a = f0**2, b = f0/Q, and c + id the numerator, in
    a h + b (i f h) + c + i d = f**2 h.
    """
    powers = np.stack([np.ones_like(f), f, f**2], axis=-1)
    w = weights.sum(-1)
    x0, x1, x2 = np.moveaxis((weights * h.real) @ powers, -1, 0)
    y0, y1, y2 = np.moveaxis((weights * h.imag) @ powers, -1, 0)
    p0, _, p2 = np.moveaxis((weights * np.abs(h) ** 2) @ powers, -1, 0)
    zero = np.zeros_like(w)
    normal = np.stack(
        [
            np.stack([p0, zero, x0, y0], axis=-1),
            np.stack([zero, p2, -y1, x1], axis=-1),
            np.stack([x0, -y1, w, zero], axis=-1),
            np.stack([y0, x1, zero, w], axis=-1),
        ],
        axis=-2,
    )
    right = np.stack([p2, zero, x2, y2], axis=-1)[..., np.newaxis]
    try:
        solved = np.linalg.solve(normal, right)[..., 0]
    except np.linalg.LinAlgError:  # a spectrum that is constant has no unique oscillator
        solved = (np.linalg.pinv(normal, hermitian=True) @ right)[..., 0]
    a, b, c, d = np.moveaxis(solved[:, np.newaxis, :], -1, 0)
    return a, b, c + 1j * d
