"""Attributes of HDF5 objects as plain Python: text of every sort, references, and all the rest.

Files in the wild have been written by many versions of many programs, so text comes in every way
that HDF5 knows, and some that it does not (Latin-1 bytes that are declared ASCII). What cannot be
read becomes a text that says so; it is never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import h5py
import numpy as np

from usidx.model.dimension import Array
from usidx.model.rules import TextFact
from usidx.stores.hdf5.objects.selected import selected

# Gives the path of an object that a reference led to, None where no link leads to it.
PathOf = Callable[[h5py.HLObject], str | None]

# What h5py raises where an attribute or the target of a reference cannot be read.
_UNREADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError, NotImplementedError)
# Of an encoded type, the byte with the kind of variable length.
_VLEN_KIND = 3
_PADDING = " \t\r\n\v\f\0\xa0"

Found = Literal[
    "dataset", "group", "datatype", "missing", "null", "dangling", "region", "no reference"
]


@dataclass(frozen=True)
class Referred:
    """What a reference attribute leads to.

    Parameters
    ----------
    found : "dataset", or else what is wrong with it
    target : the dataset or group; None where there is neither
    detail : a word more on what was found, for messages
    listed : whether the reference stood in an array, alone
    """

    found: Found
    target: Any = None
    detail: str = ""
    listed: bool = False

    def __str__(self) -> str:
        said = {
            "missing": "nothing",
            "null": "a null reference",
            "dangling": "a dangling reference",
            "region": "a region reference",
            "group": "a reference to a group",
            "datatype": "a reference to a named datatype",
            "dataset": "a reference to a dataset",
            "no reference": "no reference",
        }[self.found]
        return f"{said} ({self.detail})" if self.detail else said

    @property
    def odd(self) -> str:
        """What was found, where it is not a reference to a dataset by itself; else ""."""
        if self.found != "dataset":
            return "" if self.found == "missing" else str(self)
        return "a list of 1 reference" if self.listed else ""


def names(obj: h5py.HLObject) -> tuple[str, ...]:
    """Names of all attributes, in the order of the file."""
    return tuple(text(name) for name in _raw_names(obj))


def _raw_names(obj: h5py.HLObject) -> Iterator[bytes]:
    count = h5py.h5a.get_num_attrs(obj.id)
    return (h5py.h5a.open(obj.id, index=index).name for index in range(count))


def text(value: bytes | str) -> str:
    """One text as a person wrote it: UTF-8, else Latin-1, without the padding around it.

    Examples
    --------
    >>> text("µm".encode("latin-1")), text(b" m\\n\\0\\0")
    ('µm', 'm')
    """
    return _decode(value).strip(_PADDING)


def _decode(value: bytes | str) -> str:
    if isinstance(value, str):
        # h5py hides bytes that are no UTF-8 as lone surrogates
        value = value.encode("utf-8", "surrogateescape")
    try:
        return value.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return value.decode("latin-1").rstrip("\0")


def read_text(obj: h5py.HLObject, name: str) -> TextFact:
    """A text attribute, and what it was where it is not one text by itself."""
    value = _read(obj, name)
    if value is None:
        present = h5py.h5a.exists(obj.id, name.encode())
        return TextFact(None, "something that cannot be read" if present else "")
    if isinstance(value, h5py.Empty):
        return TextFact("" if value.dtype.kind in "SO" else None, "an empty attribute")
    if isinstance(value, (bytes, str)):
        return TextFact(text(value))
    if isinstance(value, np.ndarray) and value.dtype.kind in "SUO":
        listed = list(value.reshape(-1))
        odd = f"a list of {len(listed)} text{'s' * (len(listed) != 1)}"
        alone = len(listed) == 1 and isinstance(listed[0], (bytes, str))
        return TextFact(text(listed[0]) if alone else None, odd)
    found = plain(obj, value)
    number = isinstance(found, (int, float, complex)) and not isinstance(found, bool)
    return TextFact(None, _shorten(f"the number {found}" if number else repr(found)))


def read_texts(obj: h5py.HLObject, name: str) -> tuple[str, ...] | None:
    """The texts of an attribute, one where it is a scalar; None where it is something else."""
    value = _read(obj, name)
    if isinstance(value, (bytes, str)):
        return (text(value),)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "SUO":
        return None
    listed = list(value.reshape(-1))
    if not all(isinstance(each, (bytes, str)) for each in listed):
        return None
    return tuple(text(each) for each in listed)


def read_reference(obj: h5py.HLObject, name: str) -> Referred:
    """What the object reference in the attribute `name` leads to."""
    value = _read(obj, name)
    if value is None:
        present = h5py.h5a.exists(obj.id, name.encode())
        return Referred("no reference", detail="unreadable") if present else Referred("missing")
    if isinstance(value, np.ndarray):
        if value.size != 1:
            return Referred("no reference", detail=f"an array of shape {value.shape}")
        return replace(_referred(obj, value.reshape(-1)[0]), listed=True)
    return _referred(obj, value)


def _referred(obj: h5py.HLObject, value: Any) -> Referred:
    # a region reference also is a reference: it has to be asked for first
    if isinstance(value, h5py.RegionReference):
        return Referred("region")
    if not isinstance(value, h5py.Reference):
        return Referred("no reference", detail=_shorten(repr(plain(obj, value))))
    return follow(obj, value)


def follow(obj: h5py.HLObject, reference: h5py.Reference) -> Referred:
    """What `reference`, found on `obj`, leads to."""
    if not reference:
        return Referred("null")
    try:
        target = h5py.h5r.dereference(reference, obj.id)
    except _UNREADABLE as error:
        return Referred("dangling", detail=_shorten(str(error)))
    if isinstance(target, h5py.h5d.DatasetID):
        return Referred("dataset", h5py.Dataset(target))
    if isinstance(target, h5py.h5g.GroupID):
        group = h5py.Group(target)
        return Referred("group", group, detail=str(group.name))
    if target is None:
        return Referred("dangling")
    return Referred("datatype", h5py.Datatype(target))


def read_number(obj: h5py.HLObject, name: str) -> float | None:
    """A numeric attribute, scalar or of one element; None where it is missing or something else."""
    value = _read(obj, name)
    if not isinstance(value, (np.ndarray, np.generic)) or value.size != 1:
        return None
    return float(value.reshape(-1)[0]) if value.dtype.kind in "biuf" else None


def read_all(
    obj: h5py.HLObject, skip: frozenset[str] = frozenset(), path_of: PathOf | None = None
) -> dict[str, Any]:
    """Every attribute but those in `skip`, as plain values.

    Text becomes str, scalars become Python numbers, arrays of numbers stay NumPy arrays, arrays of
    text become lists, references become the path they lead to (and what they select there),
    compounds become dicts.

    Parameters
    ----------
    path_of : gives the paths that references lead to; HDF5 is asked for each when None, which
        takes long in large files
    """
    found: dict[str, Any] = {}
    for raw in _raw_names(obj):
        name = text(raw)
        if name not in skip:
            # two names that differ in blanks alone are two attributes
            found[_decode(raw) if name in found else name] = _readable(obj, raw, path_of)
    return found


def _readable(obj: h5py.HLObject, raw_name: bytes, path_of: PathOf | None) -> Any:
    try:
        return plain(obj, value_of(obj, raw_name), path_of)
    except _UNREADABLE as error:
        return f"(unreadable: {_shorten(str(error) or type(error).__name__)})"


def value_of(obj: h5py.HLObject, raw_name: bytes) -> Any:
    """An attribute as h5py gives it.

    Raises
    ------
    OSError, RuntimeError, ValueError, TypeError, KeyError : where it cannot be read
    """
    kind = h5py.h5a.open(obj.id, raw_name).get_type()
    # HDF5 knows two kinds of values of variable length, and crashes on any other
    if kind.get_class() == h5py.h5t.VLEN and kind.encode()[_VLEN_KIND] & 0x0F not in (0, 1):
        raise ValueError("values of variable length of a kind that HDF5 does not know")
    return obj.attrs[raw_name]


def _read(obj: h5py.HLObject, name: str) -> Any:
    """The value as h5py gives it; None where it is missing or cannot be read."""
    if not h5py.h5a.exists(obj.id, name.encode()):
        return None
    try:
        return value_of(obj, name.encode())
    except _UNREADABLE:
        return None


def plain(obj: h5py.HLObject, value: Any, path_of: PathOf | None = None) -> Any:
    """`value`, found on `obj`, without anything that only h5py knows."""
    if isinstance(value, (bytes, str)):
        return _decode(value)
    if isinstance(value, h5py.RegionReference):
        where = _target_name(obj, value, path_of)
        return f"{where}{selected(value, obj)}" if where.startswith("/") else where
    if isinstance(value, h5py.Reference):
        return _target_name(obj, value, path_of)
    if isinstance(value, h5py.Empty):
        return "" if value.dtype.kind in "SO" else np.empty(0, value.dtype)
    if isinstance(value, np.void):
        if value.dtype.names is None:
            return value.tobytes().hex()
        return {text(name): plain(obj, value[name], path_of) for name in value.dtype.names}
    if isinstance(value, np.ndarray):
        return _plain_array(obj, value, path_of)
    if isinstance(value, np.generic):
        return str(value) if value.dtype.kind in "Mm" else value.item()
    if value is None or isinstance(value, (bool, int, float, complex)):
        return "" if value is None else value
    return _shorten(repr(value))


def _plain_array(obj: h5py.HLObject, value: Array, path_of: PathOf | None) -> Any:
    if value.dtype.kind in "biufc":
        # without the names of an enum, and in the byte order of the machine
        return np.array(value, np.dtype(value.dtype.str).newbyteorder("="))
    if value.ndim == 0:
        return plain(obj, value[()], path_of)
    return [plain(obj, each, path_of) for each in value]


def _target_name(obj: h5py.HLObject, reference: h5py.Reference, path_of: PathOf | None) -> str:
    led = follow(obj, reference)
    if led.target is None:
        return f"({led.found} reference)"
    found = led.target.name if path_of is None else path_of(led.target)
    return str(found) if found else "(an object without a name)"


def _shorten(said: str, most: int = 120) -> str:
    said = " ".join(said.split())
    return said if len(said) <= most else said[: most - 1] + "…"
