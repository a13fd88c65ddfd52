"""Values and derivatives of the named terms in loops over numbers, for Numba to compile.

Plain Python without arrays made inside. Each formula stands in `terms`, under the same code. Loops
touch few arrays each, so that they become vectors.
"""

from __future__ import annotations

import math

import numpy as np

from usidx.model.dimension import Array

LN2 = math.log(2.0)
ROOT_PI = math.sqrt(math.pi)
_TERMS = 40
LENGTH = math.sqrt(_TERMS / math.sqrt(2.0))
# exp(x) = 2**n exp(r): ln 2 in two parts, of which the first times n is exact, and the number that
# leaves n in the last bits of what it is added to
_PER_LN2 = 1 / LN2
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ROUNDER = 1.5 * 2.0**52
_LOWEST, _HIGHEST = -708.0, 709.0


def _coefficients() -> Array:
    """Of the series of the Faddeeva function (J. Weideman, SIAM J. Numer. Anal. 31, 1497, 1994)."""
    half = 2 * _TERMS
    theta = np.arange(-half + 1, half) * math.pi / half
    t = LENGTH * np.tan(theta / 2)
    f = np.concatenate([[0.0], np.exp(-(t**2)) * (LENGTH**2 + t**2)])
    series = np.fft.fft(np.fft.fftshift(f)).real / (2 * half)
    return np.ascontiguousarray(series[1 : _TERMS + 1][::-1])


SERIES = _coefficients()


def exponentials(x: Array, powers: Array) -> None:
    """x becomes exp(x), to the last bits; powers is scratch of the same size.

    Unlike exp of a library this becomes vectors. It must be compiled without leave to reorder.
    """
    bits = powers.view(np.int64)
    for i in range(x.size):
        each = min(max(x[i], _LOWEST), _HIGHEST)
        shifted = each * _PER_LN2 + _ROUNDER
        n = shifted - _ROUNDER
        powers[i] = shifted
        r = (each - n * _LN2_HIGH) - n * _LN2_LOW
        # Taylor's series, for |r| < 0.35 shorter than a number is long
        series = 1 / 6227020800 * r + 1 / 479001600
        series = series * r + 1 / 39916800
        series = series * r + 1 / 3628800
        series = series * r + 1 / 362880
        series = series * r + 1 / 40320
        series = series * r + 1 / 5040
        series = series * r + 1 / 720
        series = series * r + 1 / 120
        series = series * r + 1 / 24
        series = series * r + 1 / 6
        series = series * r + 0.5
        x[i] = (series * r + 1) * r + 1
    for i in range(x.size):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(x.size):
        x[i] *= powers[i]


def faddeeva(z: complex) -> complex:
    """w(z) for Im z >= 0."""
    below = LENGTH - 1j * z
    ratio = (LENGTH + 1j * z) / below
    series = 0j
    for i in range(_TERMS):
        series = series * ratio + SERIES[i]
    return 2 * series / (below * below) + 1 / (ROOT_PI * below)


def terms(
    codes: Array, x: Array, p: Array, at: int, box: Array, y: Array, r: Array, df: Array,
    work: Array,
) -> None:  # fmt: skip
    """Residuals r = f - y (m,) and derivatives df (k, m) of a sum of terms at p[at]."""
    for i in range(y.size):
        r[i] = -y[i]
    o = 0
    for number in range(codes.size):
        code = codes[number]
        if code == 0:
            _lorentzian(x, p, at, o, r, df)
            o += 3
        elif code == 1:
            _gaussian(x, p, at, o, r, df, work)
            o += 3
        elif code == 2:
            _pseudo_voigt(x, p, at, o, r, df, work)
            o += 4
        elif code == 3:
            _voigt(x, p, at, o, r, df)
            o += 4
        elif code == 4:
            _exponential(x, p, at, o, r, df, work)
            o += 2
        elif code == 5:
            for i in range(x.size):
                r[i] += p[at, o] * x[i] + p[at, o + 1]
                df[o, i] = x[i]
            for i in range(x.size):
                df[o + 1, i] = 1.0
            o += 2
        elif code == 6:
            for i in range(x.size):
                r[i] += p[at, o]
                df[o, i] = 1.0
            o += 1
        else:
            _sho(x, p, at, o, r, df)
            o += 4


def _lorentzian(x: Array, p: Array, at: int, o: int, r: Array, df: Array) -> None:
    amplitude, center, inverse = p[at, o], p[at, o + 1], 2 / p[at, o + 2]
    half = x.size // 2
    for i in range(half):  # one division, which is slow, for two values
        u, v = (x[i] - center) * inverse, (x[half + i] - center) * inverse
        below, beneath = 1 + u * u, 1 + v * v
        both = 1 / (below * beneath)
        df[o, i] = beneath * both
        df[o, half + i] = below * both
    for i in range(2 * half, x.size):
        u = (x[i] - center) * inverse
        df[o, i] = 1 / (1 + u * u)
    steep = 2 * inverse * amplitude
    for i in range(x.size):
        shape = df[o, i]
        r[i] += amplitude * shape
        df[o + 1, i] = steep * shape * shape * ((x[i] - center) * inverse)
    for i in range(x.size):
        df[o + 2, i] = df[o + 1, i] * ((x[i] - center) * (0.5 * inverse))


def _gaussian(x: Array, p: Array, at: int, o: int, r: Array, df: Array, work: Array) -> None:
    amplitude, center, inverse = p[at, o], p[at, o + 1], 2 / p[at, o + 2]
    for i in range(x.size):
        u = (x[i] - center) * inverse
        df[o, i] = -LN2 * u * u
    exponentials(df[o], work)
    steep = 2 * LN2 * inverse * amplitude
    for i in range(x.size):
        r[i] += amplitude * df[o, i]
        df[o + 1, i] = steep * df[o, i] * ((x[i] - center) * inverse)
    for i in range(x.size):
        df[o + 2, i] = df[o + 1, i] * ((x[i] - center) * (0.5 * inverse))


def _pseudo_voigt(x: Array, p: Array, at: int, o: int, r: Array, df: Array, work: Array) -> None:
    amplitude, center, inverse, part = p[at, o], p[at, o + 1], 2 / p[at, o + 2], p[at, o + 3]
    for i in range(x.size):
        u = (x[i] - center) * inverse
        df[o + 3, i] = -LN2 * u * u
    exponentials(df[o + 3], work)
    for i in range(x.size):
        u = (x[i] - center) * inverse
        df[o, i] = 1 / (1 + u * u)
    for i in range(x.size):
        sharp, wide = df[o, i], df[o + 3, i]
        df[o + 1, i] = 2 * (part * sharp * sharp + LN2 * (1 - part) * wide)
        df[o, i] = part * sharp + (1 - part) * wide
        df[o + 3, i] = amplitude * (sharp - wide)
    for i in range(x.size):
        u = (x[i] - center) * inverse
        r[i] += amplitude * df[o, i]
        slope = amplitude * inverse * u * df[o + 1, i]
        df[o + 1, i] = slope
        df[o + 2, i] = 0.5 * slope * u


def _voigt(x: Array, p: Array, at: int, o: int, r: Array, df: Array) -> None:
    area, center, sigma, gamma = p[at, o], p[at, o + 1], p[at, o + 2], p[at, o + 3]
    inverse = 1 / (sigma * math.sqrt(2.0))
    norm = inverse / ROOT_PI
    for i in range(x.size):
        z = ((x[i] - center) + 1j * gamma) * inverse
        w = faddeeva(z)
        bend = 2j / ROOT_PI - 2 * z * w
        value = area * norm * w.real
        r[i] += value
        df[o, i] = norm * w.real
        df[o + 1, i] = -area * norm * inverse * bend.real
        df[o + 2, i] = (-value - area * norm * (bend * z).real) / sigma
        df[o + 3, i] = -area * norm * inverse * bend.imag


def _exponential(x: Array, p: Array, at: int, o: int, r: Array, df: Array, work: Array) -> None:
    amplitude, rate = p[at, o], 1 / p[at, o + 1]
    for i in range(x.size):
        df[o, i] = -x[i] * rate
    exponentials(df[o], work)
    steep = amplitude * rate * rate
    for i in range(x.size):
        r[i] += amplitude * df[o, i]
        df[o + 1, i] = steep * df[o, i] * x[i]


def _sho(x: Array, p: Array, at: int, o: int, r: Array, df: Array) -> None:
    amplitude, resonance, quality = p[at, o], p[at, o + 1], p[at, o + 2]
    turned = complex(math.cos(p[at, o + 3]), math.sin(p[at, o + 3])) * resonance * resonance
    for i in range(x.size):
        loss = x[i] * resonance / quality
        real = x[i] * x[i] - resonance * resonance
        size = 1 / (real * real + loss * loss)
        inverted = complex(real * size, loss * size)
        unit = turned * inverted
        value = amplitude * unit
        by_f = value * (2 / resonance + complex(2 * resonance, x[i] / quality) * inverted)
        by_q = value * inverted * complex(0.0, -loss / quality)
        r[2 * i] += value.real
        r[2 * i + 1] += value.imag
        df[o, 2 * i], df[o, 2 * i + 1] = unit.real, unit.imag
        df[o + 1, 2 * i], df[o + 1, 2 * i + 1] = by_f.real, by_f.imag
        df[o + 2, 2 * i], df[o + 2, 2 * i + 1] = by_q.real, by_q.imag
        df[o + 3, 2 * i], df[o + 3, 2 * i + 1] = -value.imag, value.real
