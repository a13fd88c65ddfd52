"""The oscillator of band excitation, fitted to every complex spectrum."""

from __future__ import annotations

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating, real
from usidx.arrays.fields import field_quantity
from usidx.errors import PlanError
from usidx.step import register, step
from usidx.steps.fitting.curves import curve_fit
from usidx.steps.sho import FIELDS, field_attrs, sho_guess

_NAMES = ("amplitude", "frequency", "quality_factor", "phase", "r_squared")
_BEFORE = "Guess "


@register
@step("SHO_Fit", version="3", per_position=True)
def sho_fit(
    spectra: xr.DataArray,
    *,
    along: str | None = None,
    guess: xr.Dataset | None = None,
    iterations: int = 100,
) -> xr.Dataset:
    r"""Parameters of the harmonic oscillator that is nearest to each complex spectrum.

    The least squares of real and imaginary parts to

    .. math:: H(f) = \frac{A e^{i \varphi} f_0^2}{f^2 - i f f_0 / Q - f_0^2}

    (S. Jesse et al., Nanotechnology 18, 435503, 2007), by the method of `curve_fit`. Where one did
    not converge, all fields are NaN; `curve_fit(spectra, "sho")` tells why, and has errors.

    Parameters
    ----------
    spectra : complex values, lazily; NaN are left out
    along : spectroscopic dimension of frequencies; may be left out where there is only one
    guess : where to begin: result of `sho_guess`, or a `Guess` that pyUSID's programs stored; that
        of `sho_guess` when left out
    iterations : at most

    Returns
    -------
    Dataset : the fields of `sho_guess`: "Amplitude" (units of the source), "Frequency" (units of
        `along`), "Quality Factor", "Phase" (rad, from -pi to pi) and "R2 Criterion"; and those of
        the guess, as "Guess Amplitude" and so on. In `process` they become the compound Mains
        `Fit` and `Guess` of a group SHO_Fit, as in BGlib, with fields as "Amplitude [V]"

    Raises
    ------
    PlanError : for real values, a dimension that is not there, or a guess without these fields

    Examples
    --------
    >>> from usidx.steps.sho import sho_response
    >>> frequency = np.linspace(300e3, 360e3, 80)
    >>> response = sho_response(frequency, 2.0, 330e3, 150.0, 0.5)
    >>> spectra = xr.DataArray([response], dims=("X", "Frequency"), coords={"Frequency": frequency})
    >>> found = sho_fit(spectra, along="Frequency")
    >>> round(float(found["Frequency"][0])), round(float(found["Quality Factor"][0]), 3)
    (330000, 150.0)
    """
    if guess is None:
        guess = sho_guess(spectra, along=along)
    begun = {field_quantity(str(name))[0]: each for name, each in guess.data_vars.items()}
    lost = [field for field in FIELDS[:4] if field not in begun]
    if lost:
        raise PlanError(f"the guess has no {', '.join(lost)}; it has {', '.join(begun)}")
    p0 = xr.Dataset({name: begun[field] for field, name in zip(FIELDS, _NAMES[:4])})
    fitted = curve_fit(spectra, "sho", along=along, p0=p0, iterations=iterations)
    usable = fitted["status"] == 0
    # of the same response: -A is A half a turn away, and f0 and Q change signs together
    sign = np.sign(fitted["frequency"])
    turned = fitted["phase"] + np.pi * (fitted["amplitude"] < 0)
    plain = {
        "amplitude": abs(fitted["amplitude"]),
        "frequency": fitted["frequency"] * sign,
        "quality_factor": fitted["quality_factor"] * sign,
        "phase": (turned + np.pi) % (2 * np.pi) - np.pi,
        "r_squared": fitted["r_squared"],
    }
    kind = real(floating(spectra.dtype))
    fields = {}
    for field, name in zip(FIELDS, _NAMES, strict=True):
        units = str(fitted[name].attrs["units"])
        found = plain[name].where(usable).astype(kind)
        fields[field] = found.drop_attrs(deep=False).assign_attrs(field_attrs("Fit", field, units))
        if field in begun:
            before = begun[field].astype(kind).drop_attrs(deep=False)
            fields[_BEFORE + field] = before.assign_attrs(field_attrs("Guess", field, units))
    return xr.Dataset(fields).assign_attrs(quantity="SHO", units="compound")
