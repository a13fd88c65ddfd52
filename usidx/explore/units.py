"""Units as they are typeset, and the factor that brings values near 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
SCALABLE = ("m", "V", "A", "Hz", "s", "N", "F", "W", "eV", "Pa")


def pretty(units: str) -> str:
    """Units as they are typeset: "um" is "µm", "a. u." and the like stay.

    Examples
    --------
    >>> pretty("um"), pretty("a. u.")
    ('µm', 'a. u.')
    """
    return (
        "µ" + units[1:] if len(units) > 1 and units[0] == "u" and units[1:] in SCALABLE else units
    )


def scaled(values: npt.NDArray[Any], units: str) -> tuple[float, str]:
    """Factor and typeset units that bring values near 1 .. 1000: 3e5 Hz are 300 kHz.

    Parameters
    ----------
    values : ndarray of any shape, in `units`; what is not finite is left out
    units : those that no prefix can be set before stay as they are

    Examples
    --------
    >>> scaled(np.array([1e5, 3e5]), "Hz")
    (0.001, 'kHz')
    """
    base, power = units, 0
    by_letter = {letter: exponent for exponent, letter in PREFIXES.items()} | {"u": -6}
    if units not in SCALABLE:
        if units[1:] not in SCALABLE or units[:1] not in by_letter:
            return 1.0, pretty(units)
        base, power = units[1:], by_letter[units[:1]]
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest == 0:
        return 1.0, pretty(units)
    steps = 3 * int(np.floor((np.log10(largest) + 1e-9) / 3))
    target = min(max(power + steps, min(PREFIXES)), max(PREFIXES))
    return 10.0 ** (power - target), PREFIXES[target] + base
