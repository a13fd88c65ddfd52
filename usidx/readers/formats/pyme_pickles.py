"""PYME's pickles: point spreads (.psf) and fields of shifts (.sf). Nothing in them is run.

A field of shifts is two functions of the place, one for each direction: polynomials, or splines.
Opened as it is, the Main is their coefficients; with places x and y, the shifts there.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError, OptionError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.pickles import Carrier, unpickled
from usidx.readers.raw import FileIdentity, LoadedArray

_CARRIERS = ("PYME.", "scipy.interpolate.")
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\((c|i|lp|dp|t)|[cl]")
# A term "mxy2" of a polynomial is a factor of x * y**2, "x0" what is added to all of them.
_TERM = re.compile(r"m((?:[xyz]\d?)+)")
_CONSTANT = "x0"
# Polynomials of the third degree take places in units of 18 um.
_UNIT_OF_PLACES = {"lin2Model": 1.0, "lin3Model": 18e3, "lin3zModel": 18e3}


def _is_pickle(head: bytes) -> bool:
    return _PICKLE.match(head) is not None


def read_point_spread(path: str) -> Sequence[Foreign]:
    """The point spread function in a .psf file."""
    values, pixels = _point_spread(path)
    axes = tuple(
        spectroscopic(name, "um", evenly_spaced(size, step))
        for name, size, step in zip("xyz", values.shape, pixels)
    )
    load = functools.partial(_values, path)
    dtype = values.dtype.newbyteorder("=")
    array = LoadedArray(load, values.shape, dtype, (path, FileIdentity.of(path)))
    return [Foreign(_stem(path), array, axes, "Point spread", "", chunks=values.shape)]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _values(path: str) -> Array:
    return _point_spread(path)[0]


def _point_spread(path: str) -> tuple[Array, tuple[float, ...]]:
    """(values, size of a voxel) of a pickled pair."""
    found = unpickled(path, _CARRIERS)
    values, voxel = found if isinstance(found, tuple) and len(found) == 2 else (found, ())
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc" or not values.ndim:
        raise NotUsidError(f"{path!r} holds no array of numbers")
    told = dict(zip("xyz", voxel.args if isinstance(voxel, Carrier) else voxel))
    told |= vars(voxel) if isinstance(voxel, Carrier) else {}
    return values, tuple(_size(told.get(axis)) for axis in "xyz")


def _size(told: Any) -> float:
    return float(told) if isinstance(told, (int, float, np.number)) and told else 1.0


def read_shifts(
    path: str, *, x: Sequence[float] | None = None, y: Sequence[float] | None = None
) -> Sequence[Foreign]:
    """The coefficients of a field of shifts, or the shifts at the places x and y.

    Parameters
    ----------
    x, y : places in nm, 1-D; then the Mains are the shifts in nm along x and y at each of them,
        where z is 0
    """
    models = _models(path)
    if (x is None) != (y is None):
        raise OptionError("x and y belong together: there is a shift at each x and each y")
    token = (path, FileIdentity.of(path))
    if x is None or y is None:
        rows = _coefficients(path, models)
        load = functools.partial(np.copy, rows)
        array = LoadedArray(load, rows.shape, rows.dtype, token)
        attrs = {"models": [type(each).__name__ for each in models]}
        axis = position("direction", size=len(models))
        return [Foreign("Coefficients", array, (axis,), "Coefficient", "", attrs, (len(models),))]
    places = tuple(np.asarray(each, np.float64).reshape(-1) for each in (x, y))
    axes = tuple(position(name, "nm", each) for name, each in zip("xy", places))
    found = []
    for name, model in zip("xy", models, strict=True):
        values = np.asarray(_at(path, model, *places), np.float64)
        array = LoadedArray(functools.partial(np.copy, values), values.shape, values.dtype, token)
        found.append(Foreign(f"Shift_{name}", array, axes, "Shift", "nm", chunks=values.shape))
    return found


def _models(path: str) -> Sequence[Carrier]:
    found = unpickled(path, _CARRIERS)
    if (
        not isinstance(found, (tuple, list))
        or len(found) != 2
        or not all(isinstance(each, Carrier) for each in found)
    ):
        raise NotUsidError(f"{path!r} is no pair of models of shifts")
    return found


def _terms(model: Carrier) -> dict[str, float]:
    """The numbers that a model carries, by their names."""
    return {
        str(name): float(value)
        for name, value in vars(model).items()
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    }


def _coefficients(path: str, models: Sequence[Carrier]) -> Array:
    """A row for each model, with a field for each number that one of them carries."""
    found = [_terms(each) for each in models]
    names = list(dict.fromkeys(name for each in found for name in each))
    if not names or any("tck" in vars(each) or "_tck" in vars(each) for each in models):
        raise NotUsidError(
            f"{path!r} holds splines ({type(models[0]).__name__}), which have no coefficients that "
            "say much; open it with x= and y=, the places in nm where shifts are wanted"
        )
    dtype = np.dtype([(name, "f8") for name in names])
    return np.array([tuple(each.get(name, 0.0) for name in names) for each in found], dtype)


def _at(path: str, model: Carrier, x: Array, y: Array) -> Array:
    """The shift that a model gives at each x and y, shape (x.size, y.size)."""
    told, kind = vars(model), type(model).__name__
    if isinstance(told.get("tck"), (tuple, list)) and len(told["tck"]) == 3 and "degrees" in told:
        from scipy.interpolate import bisplev

        order = np.argsort(x), np.argsort(y)
        found = np.empty((x.size, y.size))
        u, v, factors = told["tck"]
        whole = _spline(path, u, v, factors, told["degrees"])
        found[np.ix_(*order)] = np.reshape(bisplev(x[order[0]], y[order[1]], whole), found.shape)
        return found
    x, y = x[:, None], y[None, :]
    terms = _terms(model)
    if kind == "linModel" and {"m", "x0"} <= set(terms):
        along = x if told.get("axis") == "x" else y
        return terms["m"] * (along - terms["x0"]) + np.zeros((x.size, y.size))
    if kind not in _UNIT_OF_PLACES:
        raise NotUsidError(
            f"{path!r} holds a model {kind!r}, which usidx cannot evaluate; it knows splines and "
            f"linModel, {', '.join(_UNIT_OF_PLACES)}"
        )
    places: dict[str, Any] = {
        "x": x / _UNIT_OF_PLACES[kind],
        "y": y / _UNIT_OF_PLACES[kind],
        "z": 0.0,
    }
    total = np.full((x.size, y.size), terms.get(_CONSTANT, 0.0))
    for name, factor in terms.items():
        matched = _TERM.fullmatch(name)
        if matched is not None:
            powers = re.findall(r"([xyz])(\d?)", matched[1])
            product: Any = 1.0
            for axis, power in powers:
                product = product * places[axis] ** int(power or 1)
            total = total + factor * product
    return total


def _spline(path: str, u: Any, v: Any, factors: Any, degrees: Any) -> tuple[Any, ...]:
    """A spline as SciPy takes it, which does not look whether it has all factors.

    Raises
    ------
    DamagedStoreError : where it has not
    """
    try:
        knots = [np.asarray(each, np.float64).reshape(-1) for each in (u, v)]
        values = np.asarray(factors, np.float64).reshape(-1)
        orders = [int(each) for each in degrees]
        counts = [each.size - order - 1 for each, order in zip(knots, orders, strict=True)]
    except (TypeError, ValueError) as error:
        raise DamagedStoreError(f"a spline of {path!r} has no numbers ({error})") from error
    whole = all(
        1 <= order <= 5 and count > order and np.all(np.diff(each) >= 0)
        for order, count, each in zip(orders, counts, knots)
    )
    if not whole or values.size < counts[0] * counts[1]:
        raise DamagedStoreError(
            f"a spline of {path!r} has {values.size} factors, {knots[0].size} and {knots[1].size} "
            f"knots and the degrees {orders}, which do not fit each other"
        )
    return (*knots, values, *orders)


READERS = (
    Reader(
        name="psf",
        title="point spreads of PYME (.psf)",
        extensions=(".psf",),
        claims=lambda path, head: path.lower().endswith(".psf") and _is_pickle(head),
        read=read_point_spread,
        is_lazy=False,
    ),
    Reader(
        name="sf",
        title="fields of shifts of PYME (.sf)",
        extensions=(".sf",),
        claims=lambda path, head: path.lower().endswith(".sf") and _is_pickle(head),
        read=read_shifts,
        is_lazy=False,
    ),
)
