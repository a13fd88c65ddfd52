"""Files of microscopes through RosettaSciIO, which is GPL and so an extra that is never required.

Navigation axes are positions, signal axes spectroscopic; energies of a Gatan spectrum image are
spectroscopic wherever they lie in the file. What RosettaSciIO reads lazily is read block by block,
anything else as a whole.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.readers.base import Axis, Foreign, Reader, evenly_spaced, position, spectroscopic
from usidx.readers.hierarchies import HDF5_SIGNATURE, as_text, plain
from usidx.readers.raw import FileIdentity, LoadedArray


@dataclass(frozen=True)
class Format:
    """A format of RosettaSciIO.

    Parameters
    ----------
    module : of rsciio
    extensions : of its files
    signature : the first bytes of its files; () where nothing but the extension tells
    is_lazy : whether its lazy reading gives the right values, as measured on real files
    """

    module: str
    extensions: tuple[str, ...]
    signature: tuple[bytes, ...] = ()
    is_lazy: bool = False


FORMATS = (
    Format("digitalmicrograph", (".dm3", ".dm4"), (b"\0\0\0\3", b"\0\0\0\4"), True),
    Format("blockfile", (".blo",), (b"IMGBLO",), True),
    Format("tia", (".ser",), (b"II\x97\x01",), True),
    Format("tia", (".emi",), (b"JK\0\2",), True),
    Format("tvips", (".tvips",), (b"\0\1\0\0",), True),
    Format("bruker", (".bcf",), (b"AAMVHFSS",), True),
    Format("renishaw", (".wdf",), (b"WDF1",)),
    Format("digitalsurf", (".sur", ".pro"), (b"DIGITAL SURF", b"DSCOMPRESSED")),
    Format("quantumdetector", (".mib",), (b"MQ1,",), True),
    Format("msa", (".msa", ".emsa"), (b"#FORMAT",)),
    Format("ripple", (".rpl",), (), True),
    Format("mrc", (".mrc", ".ali"), (), True),
    Format("trivista", (".tvf",)),
    Format("jobinyvon", (".xml",), (b"<?xml",)),
    Format("protochips", (".csv",), (b"Time, No", b'"Time"')),
    Format("dens", (".dens",)),
    Format("edax", (".spd", ".spc")),
    Format("quadstar", (".sac",)),
    Format("phenom", (".elid",)),
    Format("semper", (".unf",), (), True),
    Format("emd", (".emd",), (HDF5_SIGNATURE,), True),
    Format("topspin", (".app5",), (HDF5_SIGNATURE,), True),
    Format("nexus", (".nxs",), (HDF5_SIGNATURE,), True),
)
# Their extension says too little for the signature to be enough, or the other way round.
_BY_BOTH = ("tvips", "jobinyvon", "protochips", "emd", "topspin", "nexus", "quantumdetector")
# HDF5 files that say by their content whose they are.
_BY_GROUPS = {"delmic": "Acquisition0", "arina": "entry/instrument/detector/detectorSpecific"}
_ENERGIES = ("eV", "keV")
_REFUSED = {
    ".prz": "Panta Rhei files come back with wrong values when RosettaSciIO reads them lazily; "
    "save them as HDF5 or DM there"
}


def format_of(path: str, head: bytes) -> Format | None:
    """The format of a file by its first bytes, and by its extension where those do not tell."""
    lower = path.lower()
    for each in FORMATS:
        starts = head.startswith(each.signature) if each.signature else True
        called = lower.endswith(each.extensions)
        by_both = not each.signature or each.module in _BY_BOTH
        if starts and (called or not by_both):
            return each
    if head.startswith(HDF5_SIGNATURE) and lower.endswith((".h5", ".hdf5")):
        return _of_groups(path)
    return None


def _of_groups(path: str) -> Format | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            for module, group in _BY_GROUPS.items():
                if group in file:
                    return Format(module, (".h5",))
    except OSError:
        return None
    return None


def _claims(path: str, head: bytes) -> bool:
    if path.lower().endswith(tuple(_REFUSED)):
        return True
    return bool(head) and format_of(path, head) is not None


def read(path: str) -> Sequence[Foreign]:
    """The signals in a file, those that are images of colours left out where there are others."""
    for ending, reason in _REFUSED.items():
        if path.lower().endswith(ending):
            raise NotUsidError(f"{path!r} is refused: {reason}")
    with open(path, "rb") as file:
        found = format_of(path, file.read(512))
    if found is None:
        raise NotUsidError(f"{path!r} is of no format that RosettaSciIO is asked for")
    signals = _loaded(path, found.module, found.is_lazy)
    numbers = [n for n, each in enumerate(signals) if each["data"].dtype.kind in "biufc"]
    names = _names(path, [signals[number] for number in numbers])
    return [
        _signal(path, found, number, signals[number], name)
        for number, name in zip(numbers, names, strict=True)
    ]


def _loaded(path: str, module: str, lazily: bool) -> list[dict[str, Any]]:
    plugin = importlib.import_module(f"rsciio.{module}")
    options: dict[str, Any] = {"lazy": lazily}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: list[dict[str, Any]] = plugin.file_reader(path, **options)
    return found


@dataclass(frozen=True, eq=False)
class SignalArray:
    """Values of one signal, read lazily by RosettaSciIO for each block.

    Parameters
    ----------
    path, module : what to read with what
    number : of the signal in the file
    shape, dtype : of the values
    """

    path: str
    module: str
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
        return "usidx.SignalArray", self.path, self.module, self.number, self.identity

    def __getitem__(self, key: Any, /) -> Array:
        self.identity.check(self.path)
        try:
            data = _loaded(self.path, self.module, True)[self.number]["data"]
            block = data[key]
            if hasattr(block, "compute"):
                block = block.compute(scheduler="synchronous")
        except Exception as error:
            raise DamagedStoreError(
                f"a block of {self.path!r} cannot be read ({type(error).__name__}: {error})"
            ) from error
        return np.array(block, dtype=self.dtype)


def _signal(path: str, found: Format, number: int, signal: Mapping[str, Any], name: str) -> Foreign:
    data = signal["data"]
    shape = tuple(int(size) for size in data.shape)
    dtype = np.dtype(data.dtype).newbyteorder("=")
    array: Any
    if found.is_lazy:
        array = SignalArray(path, found.module, number, shape, dtype)
    else:
        load = functools.partial(_whole, path, found.module, number)
        token = (path, FileIdentity.of(path), found.module, number)
        array = LoadedArray(load, shape, dtype, token)
    metadata = signal.get("metadata") or {}
    quantity, units = _quantity(metadata)
    attrs = {f"metadata.{name}": value for name, value in _flat(metadata)}
    original = signal.get("original_metadata")
    if original:
        attrs["original_metadata"] = as_text(dict(_flat(original)))
    return Foreign(
        name=name,
        array=array,
        axes=_axes(signal, shape, found.module),
        quantity=quantity,
        units=units,
        attrs=attrs,
        chunks=None if found.is_lazy else shape,
    )


def _whole(path: str, module: str, number: int) -> Array:
    values: Array = np.asarray(_loaded(path, module, False)[number]["data"])
    return values


def _axes(signal: Mapping[str, Any], shape: tuple[int, ...], module: str) -> tuple[Axis, ...]:
    said = list(signal.get("axes") or [{} for _ in shape])
    energies = module == "digitalmicrograph" and [
        axis.get("units") in _ENERGIES and bool(axis.get("navigate")) for axis in said
    ]
    swap = bool(energies and any(energies))
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
        navigate = bool(axis.get("navigate"))
        if swap and energies:
            navigate = not energies[number]
        make = position if navigate else spectroscopic
        axes.append(make(name, _units(axis.get("units")), values))
    return tuple(axes)


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
        extensions=(*sorted({end for each in FORMATS for end in each.extensions}), ".h5"),
        claims=_claims,
        read=read,
        requires=("rsciio",),
        extra="rosettasciio",
    ),
)
