"""Writing frames as an EDF file, for FabIO and the programs of synchrotrons."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.roles import dims_by_role
from usidx.errors import LayoutError, OptionError
from usidx.exporting.moving.aside import aside
from usidx.exporting.moving.storing import Progress, told
from usidx.model.blocks import block_shape, chunks_of
from usidx.model.dimension import Array
from usidx.stores.remote.url import path_on_disk

log = logging.getLogger("usidx")

_BLOCK = 512
_BLOCK_BYTES = 32 * 2**20
_TYPES = {
    "i1": "SignedByte",
    "u1": "UnsignedByte",
    "i2": "SignedShort",
    "u2": "UnsignedShort",
    "i4": "SignedInteger",
    "u4": "UnsignedInteger",
    "i8": "Signed64",
    "u8": "Unsigned64",
    "f4": "FloatValue",
    "f8": "DoubleValue",
}
# What EDF has no type for, and the type that holds the same values.
_WIDER = {"b1": "u1", "f2": "f4"}
_METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12}
# Keys that the format itself needs, and those that only xarray has a use for.
_OWN = re.compile(
    r"(?i)edf_.*|headerid|image|byteorder|datatype|dim_\d|psize_\d|size|compression"
    r"|(motor|counter)_(mne|pos)|long_name|usid_.*"
)
_UNFIT = re.compile(r"[;{}\r\n]")


def to_edf(
    obj: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = False,
) -> str:
    """Write a frame, or one frame for each position, as an EDF file, and return its path.

    A frame has the spectroscopic axes, up to three; of a Main without any, such as a map, it has
    the last two axes of positions. Coordinates of positions are motors in the header of each frame,
    attributes such as "motors.srot" and "counters.mon" go where they came from, others that are
    numbers or text become keys of their own; those that a header cannot hold (braces, semicolons,
    line breaks, characters that are not in Latin-1) are left out with a warning in the log. Of an
    axis with units of length, the step is written (in metres, as `PSize_n`), the origin is not.

    Parameters
    ----------
    obj : a Main; values are computed a few frames at a time
    path : of the file
    overwrite : replace the file that is there; it stays whole until the new one is
    progress : True for a bar, or a function that is called with (blocks done, blocks in all)

    Raises
    ------
    StoreExistsError : where there is a file and `overwrite` is False
    StoreNotFoundError, ReadOnlyStoreError, NoSpaceError : where it cannot be written
    LayoutError : where a frame has no axis, or more than three
    OptionError : for a Dataset, and values that EDF has no type for, such as complex ones

    Examples
    --------
    >>> import os, tempfile, usidx
    >>> from usidx.testing import make_main
    >>> path = os.path.join(tempfile.mkdtemp(), "scan.edf")
    >>> usidx.open(make_main((2, 2, 3)).usid.to_edf(path)).shape
    (4, 3)
    """
    path = path_on_disk(path, "an EDF file")
    if not isinstance(obj, xr.DataArray):
        raise OptionError("a compound Main has several values in one place; write its fields alone")
    outer, inner = _sides(obj)
    kind = obj.dtype.newbyteorder("=").str[1:]
    kind = _WIDER.get(kind, kind)
    if kind not in _TYPES:
        raise OptionError(
            f"EDF has no type for values of {obj.dtype}; convert them first, or write the real and "
            "imaginary part of complex ones (usid.to_real()) to files of their own"
        )
    array = obj.transpose(*outer, *inner)
    headers = _headers(array, outer, inner, kind)
    keys = list(_blocks(array, len(outer)))
    with aside(path, overwrite) as file, told(progress) as tell:
        for number, key in enumerate(keys, 1):
            values = np.asarray(array[key].values, dtype="<" + kind)
            for frame in values.reshape(-1, *values.shape[len(outer) :]):
                file.write(next(headers))
                file.write(np.ascontiguousarray(frame).tobytes())
            tell(number, len(keys))
    return path


def _sides(obj: xr.DataArray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(axes along which frames lie one after the other, axes of a frame)"""
    position, spectroscopic = dims_by_role(obj)
    if not spectroscopic or all(obj.sizes[dim] == 1 for dim in spectroscopic):
        # axes of one cell say nothing, wherever they are
        outer, inner = (*spectroscopic, *position[:-2]), position[-2:]
    else:
        outer, inner = position, spectroscopic
    if not 1 <= len(inner) <= 3:
        raise LayoutError(
            f"a frame of EDF has one to three axes, and here it would have {len(inner)} "
            f"({', '.join(inner)}); select of some of them, or give them the role of positions "
            "(usid.assign_roles)"
        )
    return outer, inner


def _blocks(array: xr.DataArray, n_outer: int) -> Iterator[tuple[slice, ...]]:
    """Runs of whole frames, one after the other."""
    block = block_shape(array.shape, max(1, n_outer), array.dtype.itemsize, budget=_BLOCK_BYTES)
    block = (*block[:n_outer], *array.shape[n_outer:])
    sizes = chunks_of(array.shape, block)
    starts = [np.cumsum((0, *each[:-1])).tolist() for each in sizes]
    for place in np.ndindex(*(len(each) for each in sizes)):
        yield tuple(
            slice(start[n], start[n] + size[n]) for n, start, size in zip(place, starts, sizes)
        )


def _headers(
    array: xr.DataArray, outer: tuple[str, ...], inner: tuple[str, ...], kind: str
) -> Iterator[bytes]:
    """The header of each frame."""
    shape = tuple(array.sizes[dim] for dim in outer)
    count, frame = math.prod(shape), tuple(array.sizes[dim] for dim in inner)
    size = math.prod(frame) * np.dtype(kind).itemsize
    motors = _motors(array, outer)
    fixed = {which: _prefixed(array.attrs, f"{which}s.") for which in ("motor", "counter")}
    fixed["motor"] = {name: text for name, text in fixed["motor"].items() if name not in motors}
    others, varying = _others(array.attrs, count)
    steps = _steps(array, inner)
    for number in range(count):
        rows: dict[str, Any] = {
            "EDF_DataBlockID": f"{number}.Image.Psd",
            "EDF_BinarySize": size,
            "EDF_HeaderSize": "",
            "ByteOrder": "LowByteFirst",
            "DataType": _TYPES[kind],
            **{f"Dim_{n}": each for n, each in enumerate(reversed(frame), 1)},
            "Image": number,
            "HeaderID": f"EH:{number:06d}:000000:000000",
            "Size": size,
            **steps,
        }
        moved = {name: _number(values[number]) for name, values in motors.items()}
        for which, names in (("motor", {**moved, **fixed["motor"]}), ("counter", fixed["counter"])):
            if names:
                rows[f"{which}_mne"] = " ".join(names)
                rows[f"{which}_pos"] = " ".join(names.values())
        rows.update(others)
        rows.update({name: texts[number] for name, texts in varying.items()})
        yield _packed(rows)


def _packed(rows: Mapping[str, Any]) -> bytes:
    """A header, filled up to whole blocks."""
    lines = [f"{name} = {text} ;\n" for name, text in rows.items()]
    length = len("{\n") + sum(map(len, lines)) + 8 + len("}\n")
    length += -length % _BLOCK
    whole = "".join(lines).replace("EDF_HeaderSize =  ;", f"EDF_HeaderSize = {length:8d} ;", 1)
    return ("{\n" + whole).ljust(length - 2).encode("latin-1") + b"}\n"


def _motors(array: xr.DataArray, outer: tuple[str, ...]) -> dict[str, Array]:
    """Values of the coordinates of positions, one for each frame."""
    shape = tuple(array.sizes[dim] for dim in outer)
    found: dict[str, Array] = {}
    for name, each in array.coords.items():
        plain = each.dtype.kind in "biuf" and each.ndim and set(each.dims) <= set(outer)
        counts = str(name) == "frame" and np.array_equal(each, np.arange(each.size))
        if plain and not counts:
            spread = each.broadcast_like(array.isel(dict.fromkeys(set(array.dims) - set(outer), 0)))
            values = spread.transpose(*outer).values.reshape(math.prod(shape))
            found[re.sub(r"\s+", "_", str(name))] = values
    return {name: values for name, values in found.items() if _fits(name)}


def _prefixed(attrs: Mapping[Any, Any], prefix: str) -> dict[str, str]:
    """Numbers among the attributes whose names begin with `prefix`."""
    return {
        str(name).removeprefix(prefix): _number(value)
        for name, value in attrs.items()
        if str(name).startswith(prefix)
        and np.ndim(value) == 0
        and np.asarray(value).dtype.kind in "biuf"
        and not re.search(r"\s", str(name))
    }


def _others(
    attrs: Mapping[Any, Any], count: int
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """(attributes that are the same in all frames, those with a text for each frame)"""
    fixed: dict[str, str] = {}
    varying: dict[str, tuple[str, ...]] = {}
    left_out = []
    for key, value in attrs.items():
        name = str(key).strip()
        if _OWN.fullmatch(name) or name.startswith(("motors.", "counters.")):
            continue
        many = isinstance(value, (list, tuple)) and len(value) == count > 1
        texts = tuple(_text(each) for each in (value if many else [value]))
        if "=" in name or not _fits(name) or any(text is None or not _fits(text) for text in texts):
            left_out.append(name)
        elif many:
            varying[name] = tuple(map(str, texts))
        else:
            fixed[name] = str(texts[0])
    if left_out:
        log.warning("attributes that no EDF header can hold are left out: %s", ", ".join(left_out))
    return fixed, varying


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    plain = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
    return _number(value) if plain else None


def _number(value: Any) -> str:
    """A number as the shortest text that reads back as it."""
    item = np.asarray(value).item()
    return repr(int(item) if isinstance(item, bool) else item)


def _fits(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return not _UNFIT.search(text)


def _steps(array: xr.DataArray, inner: tuple[str, ...]) -> dict[str, str]:
    """Sizes of pixels in metres, of axes whose steps are all the same."""
    found = {}
    for place, dim in enumerate(reversed(inner), 1):
        scale = _METRES.get(str(array[dim].attrs.get("units", "")))
        steps = np.diff(array[dim].values.astype(float)) if scale else np.empty(0)
        if scale and steps.size and steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6):
            found[f"PSize_{place}"] = repr(float(steps.mean()) * scale)
    return found
