"""Values and derivatives of the named terms for many spectra at once.

Each takes x (n,) and columns of parameters (rows, 1), of any library that follows the array API,
which comes first. It returns values (rows, n) and a derivative by each parameter, of which one
row may stand for all. `shapes` has the same for Numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

LN2 = math.log(2.0)
ROOT_PI = math.sqrt(math.pi)
Evaluate = Callable[..., tuple[Any, tuple[Any, ...]]]


def lorentzian(xp: Any, x: Any, a: Any, c: Any, w: Any) -> tuple[Any, tuple[Any, ...]]:
    """a / (1 + u**2) with u = 2 (x - c) / w."""
    u = x - c
    u *= 2 / w
    shape = u * u
    shape += 1
    shape = 1 / shape
    slope = shape * shape
    slope *= u
    slope *= 4 * a / w
    u *= 0.5
    return a * shape, (shape, slope, slope * u)


def gaussian(xp: Any, x: Any, a: Any, c: Any, w: Any) -> tuple[Any, tuple[Any, ...]]:
    """a exp(-ln(2) u**2) with u = 2 (x - c) / w."""
    u = x - c
    u *= 2 / w
    shape = u * u
    shape *= -LN2
    shape = xp.exp(shape)
    values = a * shape
    slope = values * u
    slope *= 4 * LN2 / w
    u *= 0.5
    return values, (shape, slope, slope * u)


def pseudo_voigt(xp: Any, x: Any, a: Any, c: Any, w: Any, h: Any) -> tuple[Any, tuple[Any, ...]]:
    """a (h / (1 + u**2) + (1 - h) exp(-ln(2) u**2)) with u = 2 (x - c) / w."""
    u = x - c
    u *= 2 / w
    square = u * u
    wide, sharp = xp.exp(-LN2 * square), 1 / (1 + square)
    shape = h * sharp + (1 - h) * wide
    slope = 2 * h * sharp
    slope *= sharp
    slope += (2 * LN2) * (1 - h) * wide
    slope *= u
    slope *= 2 * a / w
    u *= 0.5
    return a * shape, (shape, slope, slope * u, a * (sharp - wide))


def voigt(xp: Any, x: Any, area: Any, c: Any, s: Any, g: Any) -> tuple[Any, tuple[Any, ...]]:
    """area Re w(z) / (s sqrt(2 pi)) with z = (x - c + i g) / (s sqrt(2)), w of Faddeeva."""
    inverse = 1 / (s * math.sqrt(2))
    real, imaginary = (x - c) * inverse, g * inverse
    z = _complex(xp, real, imaginary)
    w = faddeeva(xp, z)
    zw = z * w
    bend_real, bend_imaginary = -2 * xp.real(zw), 2 / ROOT_PI - 2 * xp.imag(zw)
    norm = inverse / ROOT_PI
    by_area = norm * xp.real(w)
    values, outer = area * by_area, area * norm
    by_s = -values - outer * (bend_real * real - bend_imaginary * imaginary)
    slopes = (by_area, -outer * inverse * bend_real, by_s / s, -outer * inverse * bend_imaginary)
    return values, slopes


def faddeeva(xp: Any, z: Any) -> Any:
    """w(z) for Im z >= 0: SciPy's, or for arrays not of NumPy the series of `shapes`."""
    if xp.__name__ == "numpy":
        from scipy.special import wofz

        return wofz(z)
    from usidx.steps.fitting.shapes import LENGTH, SERIES

    turned = _complex(xp, -xp.imag(z), xp.real(z))
    below = LENGTH - turned
    ratio, series = (LENGTH + turned) / below, xp.zeros_like(z)
    for each in SERIES:
        series = series * ratio + float(each)
    return 2 * series / (below * below) + 1 / (ROOT_PI * below)


def exponential(xp: Any, x: Any, a: Any, t: Any) -> tuple[Any, tuple[Any, ...]]:
    """a exp(-x / t)."""
    shape = x * (-1 / t)
    shape = xp.exp(shape)
    values = a * shape
    slope = values * x
    slope *= 1 / t**2
    return values, (shape, slope)


def linear(xp: Any, x: Any, slope: Any, intercept: Any) -> tuple[Any, tuple[Any, ...]]:
    """slope x + intercept."""
    return slope * x + intercept, (x[None, :], xp.ones_like(x[None, :]))


def constant(xp: Any, x: Any, offset: Any) -> tuple[Any, tuple[Any, ...]]:
    """offset."""
    return offset, (xp.ones_like(x[None, :]),)


def sho(xp: Any, x: Any, a: Any, f0: Any, q: Any, phi: Any) -> tuple[Any, tuple[Any, ...]]:
    """a exp(i phi) f0**2 / (f**2 - i f f0 / q - f0**2)."""
    loss = x * (f0 / q)
    inverse = 1 / _complex(xp, x * x - f0**2, -loss)
    unit = _complex(xp, xp.cos(phi), xp.sin(phi)) * f0**2 * inverse
    values = a * unit
    by_f0 = values * (2 / f0 + _complex(xp, 2 * f0, x / q) * inverse)
    by_q = values * inverse * _complex(xp, xp.zeros_like(loss), -loss / q)
    return values, (unit, by_f0, by_q, _complex(xp, -xp.imag(values), xp.real(values)))


def _complex(xp: Any, real: Any, imaginary: Any) -> Any:
    """A complex array of its parts, which broadcast."""
    return xp.astype(real, xp.complex128) + 1j * xp.astype(imaginary, xp.complex128)
