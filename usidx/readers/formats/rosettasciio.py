"""Files of microscopes through RosettaSciIO, which is GPL and so an extra that is never required.

Navigation axes are positions, signal axes spectroscopic; energies of a Gatan spectrum image are
spectroscopic wherever they lie in the file. What RosettaSciIO reads lazily is read block by block,
anything else as a whole.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, MissingDependencyError, NotUsidError, UsidError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.closing import let_go
from usidx.readers.colours import ColourArray, colours, is_colour
from usidx.readers.formats.rosettasciio_formats import FORMATS, Format, format_of, is_panta_rhei
from usidx.readers.hierarchies import as_text, plain
from usidx.readers.raw import FileIdentity, LoadedArray
from usidx.readers.scans import scan

_ENERGIES = ("eV", "keV")
_SCANNED = ("R_x", "R_y", "Rx", "Ry")
_PANTA_RHEI = (
    "Panta Rhei files come back with wrong values when RosettaSciIO reads them lazily, and hold "
    "Python objects; save them as HDF5 or DM there"
)


def _claims(path: str, head: bytes) -> bool:
    return bool(head) and (is_panta_rhei(path, head) or format_of(path, head) is not None)


def read(
    path: str,
    *,
    n_position: int | None = None,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
) -> Sequence[Foreign]:
    """The signals in a file; what RosettaSciIO warned of is in the attribute `reader_warnings`.

    Parameters
    ----------
    n_position : how many axes, the first ones, are positions; as the file says when None
    nav_shape : shape of the scan, for signals that have one axis of frames
    sync_offset, fill_value : as for bare frames
    """
    found = _format(path)
    signals, warned = _opened(path, found)
    numbers = [n for n, each in enumerate(signals) if _is_shown(each["data"].dtype)]
    names = _names(path, [signals[number] for number in numbers])
    mains = [
        _signal(path, found, number, signals[number], name, warned, n_position)
        for number, name in zip(numbers, names, strict=True)
    ]
    if nav_shape is None and not sync_offset:
        return mains
    return [_folded(each, nav_shape, sync_offset, fill_value) for each in mains]


def _format(path: str) -> Format:
    """The format of a file that RosettaSciIO can be asked for."""
    with open(path, "rb") as file:
        head = file.read(512)
    if is_panta_rhei(path, head):
        raise NotUsidError(f"{path!r} is refused: {_PANTA_RHEI}")
    found = format_of(path, head)
    if found is None:
        raise NotUsidError(f"{path!r} is of no format that RosettaSciIO is asked for")
    size = os.path.getsize(path)
    if found.length is not None and size < found.length(head):
        raise DamagedStoreError(
            f"{path!r} has {size} of the {found.length(head)} bytes that it says: it is cut short"
        )
    if found.needs_name and not found.is_called(path):
        raise NotUsidError(
            f"{path!r} is a file of {' or '.join(found.extensions)} by its content, which "
            "RosettaSciIO reads under such a name only, with the files beside it that belong to "
            "it; give it back its name"
        )
    return found


def _is_shown(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biufc" or is_colour(dtype)


def _opened(path: str, found: Format) -> tuple[list[dict[str, Any]], list[str]]:
    """(the signals in a file, what RosettaSciIO warned of while it looked)."""
    with _heard() as heard:
        signals = _loaded(path, found, found.is_lazy)
    return signals, list(dict.fromkeys(heard))


def _loaded(path: str, found: Format, lazily: bool) -> list[dict[str, Any]]:
    try:
        plugin = importlib.import_module(f"rsciio.{found.module}")
        options: dict[str, Any] = {"lazy": lazily, **found.options}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signals: list[dict[str, Any]] = plugin.file_reader(path, **options)
    except ImportError as error:
        raise MissingDependencyError(
            f"RosettaSciIO needs something more to read {path!r} ({error}); install it: "
            'pip install "usidx[rosettasciio]"'
        ) from error
    except Exception as error:
        let_go(error)
        raise
    return signals


class _Ears(logging.Filter):
    """What RosettaSciIO logs in this thread, kept instead of printed while somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self.listening = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        heard: list[str] | None = getattr(self.listening, "heard", None)
        if heard is None:
            return True
        if record.levelno >= logging.WARNING:
            heard.append(record.getMessage())
        return False


_EARS = _Ears()


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What RosettaSciIO says meanwhile, which it would print."""
    import rsciio  # noqa: F401  makes its handler

    for handler in logging.getLogger("rsciio").handlers:
        handler.addFilter(_EARS)  # once: a filter that is there is not added again
    before = getattr(_EARS.listening, "heard", None)
    heard: list[str] = []
    _EARS.listening.heard = heard
    try:
        yield heard
    finally:
        _EARS.listening.heard = before


def _folded(
    main: Foreign, nav_shape: Sequence[int] | int | None, sync_offset: int, fill_value: Any
) -> Foreign:
    """A Main of frames as a scan; other Mains as they are."""
    roles = [each.role for each in main.axes]
    if roles[:1] != ["position"] or roles.count("position") != 1:
        return main
    return scan(
        main.name,
        main.array,
        main.axes[1:],
        nav_shape=nav_shape,
        sync_offset=sync_offset,
        fill_value=fill_value,
        quantity=main.quantity,
        units=main.units,
        attrs=main.attrs,
    )


@dataclass(frozen=True, eq=False)
class SignalArray:
    """Values of one signal, read lazily by RosettaSciIO for each block.

    Parameters
    ----------
    path, format : what to read as what
    number : of the signal in the file
    shape, dtype : of the values
    """

    path: str
    format: Format
    number: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    identity: FileIdentity = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identity", FileIdentity.of(self.path))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __dask_tokenize__(self) -> Any:
        return "usidx.SignalArray", self.path, self.format.module, self.number, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        self.identity.check(self.path)
        try:
            with _heard():
                block = _loaded(self.path, self.format, True)[self.number]["data"][key]
                if hasattr(block, "compute"):
                    block = block.compute(scheduler="synchronous")
        except UsidError:
            raise
        except Exception as error:
            raise DamagedStoreError(
                f"a block of {self.path!r} cannot be read ({type(error).__name__}: {error})"
            ) from error
        return np.array(_dense(block), dtype=self.dtype)


def _dense(values: Any) -> Any:
    """Values as an array of NumPy; RosettaSciIO gives spectra of X-rays as sparse ones."""
    return values.todense() if hasattr(values, "todense") else values


def _signal(
    path: str,
    found: Format,
    number: int,
    signal: Mapping[str, Any],
    name: str,
    warned: Sequence[str],
    n_position: int | None,
) -> Foreign:
    data = signal["data"]
    shape = tuple(int(size) for size in data.shape)
    dtype = np.dtype(data.dtype).newbyteorder("=")
    is_sparse = hasattr(getattr(data, "_meta", None), "todense")
    array: Any
    if found.is_lazy:
        array = SignalArray(path, found, number, shape, dtype)
    else:
        load = functools.partial(_whole, path, found, number)
        token = (path, FileIdentity.of(path), found.module, number)
        array = LoadedArray(load, shape, dtype, token)
    axes = _axes(signal, shape, found.module, n_position)
    # every block of sparse values unpacks them all
    chunks = None if found.is_lazy and not is_sparse else shape
    if is_colour(dtype):
        array, axes = ColourArray(array), (*axes, colours(dtype))
        chunks = None if chunks is None else array.shape
    metadata = signal.get("metadata") or {}
    quantity, units = _quantity(metadata)
    attrs = {f"metadata.{name}": value for name, value in _flat(metadata)}
    original = signal.get("original_metadata")
    if original:
        attrs["original_metadata"] = as_text(dict(_flat(original)))
    if warned:
        attrs["reader_warnings"] = list(warned)
    return Foreign(
        name=name,
        array=array,
        axes=axes,
        quantity=quantity,
        units=units,
        attrs=attrs,
        chunks=chunks,
    )


def _whole(path: str, found: Format, number: int) -> Array:
    with _heard():
        values: Array = np.asarray(_dense(_loaded(path, found, False)[number]["data"]))
    return values


def _axes(
    signal: Mapping[str, Any], shape: tuple[int, ...], module: str, n_position: int | None
) -> tuple[Axis, ...]:
    said = list(signal.get("axes") or [{} for _ in shape])
    if n_position is None:
        navigate = _navigation(said, module)
    else:
        navigate = [number < n_position for number in range(len(said))]
    names: list[str] = []
    axes = []
    for number, (axis, size) in enumerate(zip(said, shape, strict=True)):
        name = str(axis.get("name") or f"dim_{number}")
        name = name if name not in names else f"{name}_{number}"
        names.append(name)
        if axis.get("axis") is not None:
            values = np.asarray(axis["axis"])
        else:
            step, start = axis.get("scale"), axis.get("offset")
            step = 1.0 if step is None else float(step)
            values = evenly_spaced(size, step, float(start or 0.0))
        make = position if navigate[number] else spectroscopic
        axes.append(make(name, _units(axis.get("units")), values))
    return tuple(axes)


def _navigation(said: Sequence[Mapping[str, Any]], module: str) -> list[bool]:
    """Whether the probe moves along each axis.

    Energies of a Gatan spectrum image may come first in the file and be marked as navigation; an
    EMD file marks nothing, but py4DSTEM's names tell real space from reciprocal space.
    """
    marked = [bool(axis.get("navigate")) for axis in said]
    energies = [axis.get("units") in _ENERGIES for axis in said]
    scanned = [str(axis.get("name")) in _SCANNED for axis in said]
    if module == "emd" and not any(marked) and any(scanned) and not all(scanned):
        return scanned
    is_gatan = module == "digitalmicrograph" and any(
        energy and mark for energy, mark in zip(energies, marked)
    )
    is_bare = module == "emd" and not any(marked) and any(energies)
    return [not energy for energy in energies] if is_gatan or is_bare else marked


def _units(said: Any) -> str:
    return "" if said in (None, "_None_", "<undefined>") else str(said)


def _quantity(metadata: Mapping[str, Any]) -> tuple[str, str]:
    said = str((metadata.get("Signal") or {}).get("quantity") or "Intensity")
    matched = re.fullmatch(r"\s*(.*?)\s*(?:\((.*)\))?\s*", said)
    return (said, "") if matched is None else (matched[1] or "Intensity", matched[2] or "")


def _names(path: str, signals: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each signal: its title, else that of the file; with numbers where they repeat."""
    stem = os.path.splitext(os.path.basename(path))[0]
    titles = []
    for each in signals:
        general = (each.get("metadata") or {}).get("General") or {}
        titles.append(re.sub(r"[/\0]", "_", str(general.get("title") or stem)))
    seen: dict[str, int] = {}
    names = []
    for title in titles:
        count = seen[title] = seen.get(title, -1) + 1
        names.append(title if titles.count(title) == 1 else f"{title}_{count}")
    return names


def _flat(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if hasattr(node, "as_dictionary"):
        node = node.as_dictionary()
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        elif (known := plain(value)) is not None:
            found.append((f"{prefix}{name}", known))
    return found


READERS = (
    Reader(
        name="rosettasciio",
        title="electron microscopes and spectrometers through RosettaSciIO",
        extensions=tuple(sorted({end for each in FORMATS for end in each.extensions})),
        claims=_claims,
        read=read,
        requires=("rsciio",),
        extra="rosettasciio",
        is_general=True,
    ),
)
