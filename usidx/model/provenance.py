"""Where a result comes from: book-keeping, parameters that can be stored, fingerprints."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from usidx.errors import PlanError
from usidx.model.dimension import Array

# every int below is a float64 of its own
_EXACT_INT = 2**53
# Digest of the labels of the source, in result groups that were converted together with it.
SOURCE_LABELS = "usid_source_labels"
TIMESTAMP_FORMAT = "%Y_%m_%d-%H_%M_%S"


def book_keeping() -> dict[str, str]:
    """Attributes that every new group and Main gets: machine, time, platform, version of usidx."""
    return {
        "machine_id": platform.node(),
        "timestamp": time.strftime(TIMESTAMP_FORMAT),
        "platform": platform.platform(),
        "usidx_version": own_version(),
    }


@lru_cache(maxsize=1)
def own_version() -> str:
    """Of usidx as it is installed; "unknown" where it is not, but only found."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("usidx")
    except PackageNotFoundError:
        return "unknown"


def canonical(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a step as plain values that any store can keep.

    Plain are None, str, bool, int, float, complex, lists and dicts of those, and numeric NumPy
    arrays; NumPy scalars and tuples are turned into them.

    Raises
    ------
    PlanError : for values that cannot be stored, all of them named
    """
    refused: list[str] = []
    plain = {str(name): _plain(value, str(name), refused) for name, value in parameters.items()}
    if refused:
        raise PlanError(
            f"these parameters cannot be kept beside a result: {'; '.join(refused)}. Use numbers, "
            "text, lists, dicts and NumPy arrays, or compute such values inside the step"
        )
    return plain


def _plain(value: Any, place: str, refused: list[str]) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biufcU":
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    # a subclass, such as a member of an Enum, becomes plain
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, complex):
        return complex(value)
    if isinstance(value, np.ndarray):
        return _plain_array(value, place, refused)
    if isinstance(value, (list, tuple)):
        return [_plain(each, f"{place}[{n}]", refused) for n, each in enumerate(value)]
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str) or key.startswith("$")]
        if not odd:
            return {key: _plain(each, f"{place}[{key!r}]", refused) for key, each in value.items()}
        refused.append(f"{place} has the key {odd[0]!r} (keys are text without a leading '$')")
        return None
    refused.append(f"{place} is a {type(value).__module__}.{type(value).__qualname__}")
    return None


def _plain_array(value: Array, place: str, refused: list[str]) -> Any:
    if value.dtype.kind == "U":
        return value.tolist()
    if value.dtype.kind not in "biufc" or value.dtype in (np.longdouble, np.clongdouble):
        refused.append(f"{place} is an array of {value.dtype}")
        return None
    if value.ndim == 0:
        return value.item()
    copy = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    copy.flags.writeable = False
    return copy


def dump_parameters(parameters: Mapping[str, Any]) -> str:
    """`canonical(parameters)` as JSON text that `load_parameters` reads back exactly.

    What JSON has no word for is a dict with one key: "$float" for NaN and infinities, "$complex",
    and "$array" with dtype, shape and the bytes in base64.
    """
    return json.dumps(_to_json(canonical(parameters)), allow_nan=False, ensure_ascii=False)


def load_parameters(text: str) -> dict[str, Any]:
    """The parameters that `dump_parameters` wrote.

    Raises
    ------
    ValueError : for text that it did not write
    """
    parameters = _from_json(json.loads(text))
    if not isinstance(parameters, dict):
        raise ValueError(f"parameters must be a JSON object, got {text[:40]!r}")
    return parameters


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, complex):
        return {"$complex": [_to_json(value.real), _to_json(value.imag)]}
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<"))
        text = base64.b64encode(little.tobytes()).decode("ascii")
        return {"$array": {"dtype": little.dtype.str, "shape": list(value.shape), "base64": text}}
    if isinstance(value, list):
        return [_to_json(each) for each in value]
    if isinstance(value, dict):
        return {key: _to_json(each) for key, each in value.items()}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(each) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$float"}:
        return float(value["$float"])
    if set(value) == {"$complex"}:
        return complex(*_from_json(value["$complex"]))
    if set(value) == {"$array"}:
        return _array_from_json(value["$array"])
    return {key: _from_json(each) for key, each in value.items()}


def _array_from_json(stored: Mapping[str, Any]) -> Array:
    dtype = np.dtype(str(stored["dtype"]))
    if dtype.kind not in "biufc":
        raise ValueError(f"an array parameter has the dtype {dtype}, which usidx never writes")
    flat = np.frombuffer(base64.b64decode(stored["base64"], validate=True), dtype=dtype)
    array = flat.reshape(stored["shape"]).astype(dtype.newbyteorder("="))
    array.flags.writeable = False
    return array


def fingerprint(
    step: str, version: str, parameters: Mapping[str, Any], sources: Sequence[str]
) -> str:
    """A sha256 in hex that two runs share exactly when they compute the same.

    Equal values are equal whatever holds them: 1 and 1.0, a list and an array, float32 and float64
    of the same values, NaN and NaN. 1 and True differ. The order of parameters does not matter,
    that of sources does.

    Parameters
    ----------
    step, version : of the step
    parameters : of the step, all of them, defaults included
    sources : identity of each source
    """
    digest = hashlib.sha256()
    everything = ["usidx-1", step, version, canonical(parameters), list(sources)]
    for token in _tokens(everything):
        digest.update(len(token).to_bytes(8, "little"))
        digest.update(token)
    return digest.hexdigest()


def _tokens(value: Any) -> list[bytes]:
    """`value` as a list of bytes, the same for equal values."""
    if isinstance(value, dict):
        inner = [_tokens(each) for pair in sorted(value.items()) for each in pair]
        return [b"dict", str(len(value)).encode(), *(token for each in inner for token in each)]
    if isinstance(value, list):
        array = _numeric(value)
        if array is None:
            inner = [_tokens(each) for each in value]
            return [b"list", str(len(value)).encode(), *(token for each in inner for token in each)]
        return _array_tokens(array)
    if isinstance(value, np.ndarray):
        return _array_tokens(value)
    if value is None:
        return [b"none"]
    if isinstance(value, str):
        return [b"text", value.encode("utf-8", "surrogatepass")]
    return _array_tokens(np.asarray(value))


def _numeric(value: list[Any]) -> Array | None:
    """A list of numbers (nested evenly) as an array, or None where it is another list."""
    leaves: list[Any] = value
    while leaves and all(isinstance(each, list) for each in leaves):
        leaves = [leaf for each in leaves for leaf in each]
    kinds = {type(each) for each in leaves}
    if not (kinds <= {int, float} or kinds in ({bool}, {complex})):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    rounded = array.dtype.kind == "f" and any(
        isinstance(each, int) and abs(each) >= _EXACT_INT for each in leaves
    )
    return np.asarray(value, dtype=object) if rounded else array


def _array_tokens(array: Array) -> list[bytes]:
    shape = str(array.shape).encode()
    if array.dtype.kind == "b":
        return [b"bool", shape, np.ascontiguousarray(array).tobytes()]
    if array.dtype.kind == "c":
        pair = np.stack([array.real, array.imag])
        return [b"complex", *_array_tokens(pair)]
    try:
        number = array.astype(np.float64)
        exact = _equal_or_nan(number, array)
    except (OverflowError, TypeError, ValueError):  # an int beyond every float
        exact = False
    if not exact:
        return [b"exact", shape, *(_exact_text(each) for each in array.ravel().tolist())]
    plain = np.where(np.isnan(number), np.nan, number + 0.0)  # one NaN; -0.0 becomes 0.0
    return [b"number", shape, plain.astype("<f8").tobytes()]


def _exact_text(number: float) -> bytes:
    whole = isinstance(number, int) or number.is_integer()
    return str(int(number) if whole else number).encode()


def _equal_or_nan(number: Array, array: Array) -> bool:
    """Whether float64 numbers are exactly the values of an array of ints or floats."""
    if array.dtype.kind == "f":
        return bool(np.array_equal(number, array, equal_nan=True))
    if array.dtype.kind in "iu" and array.dtype.itemsize < 8:
        return True
    if array.size == 0 or bool((np.abs(number) < _EXACT_INT).all()):
        return True
    # numpy compares int64 with float64 by rounding the ints; Python compares them exactly
    pairs = zip(number.ravel().tolist(), array.ravel().tolist(), strict=True)
    return all(a == b or (a != a and b != b) for a, b in pairs)
