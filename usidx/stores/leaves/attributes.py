"""Attributes as Zarr keeps them: JSON, with the exact value beside what JSON cannot say."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from usidx.errors import OptionError
from usidx.model.dimension import Array

# xarray gives these a meaning of their own when it decodes a variable or a group (CF conventions),
# so that a measured attribute of such a name would change values or coordinates.
_MEANT_BY_XARRAY = frozenset(
    [
        "_FillValue",
        "_Unsigned",
        "_ARRAY_DIMENSIONS",
        "add_offset",
        "ancillary_variables",
        "bounds",
        "calendar",
        "cell_measures",
        "cell_methods",
        "climatology",
        "coordinates",
        "dtype",
        "flag_masks",
        "flag_meanings",
        "flag_values",
        "formula_terms",
        "grid_mapping",
        "leap_month",
        "leap_year",
        "missing_value",
        "month_lengths",
        "scale_factor",
        "valid_max",
        "valid_min",
        "valid_range",
    ]
)
_OWN = frozenset({"usid", "units", "long_name", "quantity"})
_MOST_LEGIBLE = 1000
RESERVED = _MEANT_BY_XARRAY | _OWN


def pack(attrs: Mapping[str, Any], place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(plain, exact): `attrs` as people read them, and those that `plain` cannot give back.

    `plain` goes into the attributes of an array or group. `exact` goes into its "usid" entry.

    Parameters
    ----------
    attrs : of a Main or a group
    place : where they belong, for the error

    Raises
    ------
    OptionError : for values that cannot be kept, all of them named
    """
    plain: dict[str, Any] = {}
    exact: dict[str, Any] = {}
    refused: list[str] = []
    for name, value in attrs.items():
        try:
            coded = _code(value)
        except TypeError as error:
            refused.append(f"{name!r} ({error})")
            continue
        if name in RESERVED:
            exact[name] = coded
        elif not _has_code(coded):
            plain[name] = coded
        else:
            exact[name] = coded
            if (legible := _legible(value)) is not None:
                plain[name] = legible
    if refused:
        raise OptionError(
            f"attributes of {place!r} cannot be kept in Zarr: {'; '.join(refused)}; drop them or "
            "make them text, numbers, lists or arrays of numbers"
        )
    return plain, exact


def unpack(plain: Mapping[str, Any], exact: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that `pack` was given, without those of the array that are not theirs."""
    attrs = {name: value for name, value in plain.items() if name not in RESERVED}
    attrs.update({name: _decode(value) for name, value in exact.items()})
    return attrs


def source_attrs(sources: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Sources as pyUSID names them, one in another store by two attributes; and all of them."""
    attrs: dict[str, Any] = {
        "num_source_dsets": len(sources),
        "usid_sources": [list(each) for each in sources],
    }
    for number, (store, path) in enumerate(sources):
        if not store:
            attrs[f"source_{number:03d}"] = path
        elif "source_file_path" not in attrs:
            attrs["source_file_path"] = store
            attrs["source_dataset_path"] = path
    return attrs


def _code(value: Any) -> Any:
    """`value` in JSON; what JSON has no word for becomes a dict with one key that starts with $."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return {"$complex": [_code(float(value.real)), _code(float(value.imag))]}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, np.generic):
        return {"$scalar": _code_array(np.asarray(value))}
    if isinstance(value, np.ndarray):
        return {"$array": _code_array(value)}
    if isinstance(value, (list, tuple)):
        return [_code(each) for each in value]
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str) or key.startswith("$")]
        if odd:
            raise TypeError(f"a dict with the key {odd[0]!r}")
        return {key: _code(each) for key, each in value.items()}
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__}")


def _code_array(array: Array) -> dict[str, Any]:
    text = array.dtype.kind == "U" or (
        array.dtype.kind == "O" and all(isinstance(each, str) for each in array.flat)
    )
    if text:
        return {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "text": array.ravel().tolist(),
        }
    if array.dtype.kind not in "biufcSmM" or array.dtype.char in "gG":
        raise TypeError(f"an array of {array.dtype}")
    code = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    # .str forgets the unit of a datetime64 only where it has none
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": code}


def _has_code(coded: Any) -> bool:
    if isinstance(coded, list):
        return any(_has_code(each) for each in coded)
    if isinstance(coded, dict):
        return any(key.startswith("$") or _has_code(each) for key, each in coded.items())
    return False


def _legible(value: Any) -> Any:
    """A list or number for people to read, None where JSON has none."""
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind not in "biufUO":
        return None
    if value.size > _MOST_LEGIBLE:
        return None
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        return None
    return value.tolist()


def _decode(coded: Any) -> Any:
    if isinstance(coded, list):
        return [_decode(each) for each in coded]
    if not isinstance(coded, dict):
        return coded
    if len(coded) == 1:
        (key, inner), *_ = coded.items()
        if key == "$float":
            return float(inner)
        if key == "$complex":
            return complex(*_decode(inner))
        if key == "$bytes":
            return base64.b64decode(inner)
        if key == "$scalar":
            return _decode_array(inner)[()]
        if key == "$array":
            return _decode_array(inner)
    return {key: _decode(each) for key, each in coded.items()}


def _decode_array(coded: Mapping[str, Any]) -> Array:
    shape = tuple(int(size) for size in coded["shape"])
    if "text" in coded:
        array: Array = np.empty(math.prod(shape), dtype=str(coded["dtype"]))
        array[:] = coded["text"]
        return array.reshape(shape)
    dtype = np.dtype(str(coded["dtype"]))
    if dtype.kind not in "biufcSmM":
        raise ValueError(f"an attribute has the dtype {dtype}, which usidx never writes")
    return np.frombuffer(base64.b64decode(coded["base64"]), dtype=dtype).reshape(shape).copy()
