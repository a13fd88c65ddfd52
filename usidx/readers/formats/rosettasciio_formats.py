"""Which format of RosettaSciIO a file is of, told by its content wherever that says it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from usidx.readers.hierarchies import HDF5_SIGNATURE

_GUID = [8, 4, 4, 4, 12]


@dataclass(frozen=True)
class Format:
    """A format of RosettaSciIO.

    Parameters
    ----------
    module : of rsciio
    extensions : of its files
    signature : the first bytes of its files, one of them; () where they do not tell
    within : something else that is among the first bytes
    groups : an open HDF5 file -> whether it is of this format
    is_lazy : whether its lazy reading gives the right values, as measured on files
    needs_name : whether RosettaSciIO finds files by these extensions alone
    options : that it is read with
    length : the first bytes of a file -> how many it must have, where they say it and RosettaSciIO
        does not notice what is missing
    """

    module: str
    extensions: tuple[str, ...]
    signature: tuple[bytes, ...] = ()
    within: bytes = b""
    groups: Callable[[Any], bool] | None = None
    is_lazy: bool = False
    needs_name: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    length: Callable[[bytes], int] | None = None

    @property
    def is_told(self) -> bool:
        """Whether content alone tells that a file is of this format."""
        return bool(self.signature or self.within or self.groups)

    def is_called(self, path: str) -> bool:
        """Whether a file has one of the extensions."""
        return path.lower().endswith(self.extensions)

    def starts(self, head: bytes) -> bool:
        """Whether the first bytes of a file are of this format; HDF5 files say it inside."""
        begins = not self.signature or head.startswith(self.signature)
        return begins and self.within in head


def _is_emd(file: Any) -> bool:
    """EMD of NCEM, also Prismatic's, py4DSTEM's and DE5, and of Velox."""
    said = [file.attrs, *(each.attrs for each in file.values() if each is not None)]
    if any({"version_major", "version_minor"} <= set(each) for each in said):
        return True
    version = file.get("Version")
    if not hasattr(version, "shape") or version.size != 1:
        return False
    try:
        told = json.loads(bytes(version[0]))
    except (TypeError, ValueError):
        return False
    return isinstance(told, dict) and told.get("format") in ("Velox", "DevelopersKit")


def _is_topspin(file: Any) -> bool:
    """Results have a GUID for a name, and a dataset with what the software said beside them."""
    ids = [name for name in file if [len(part) for part in name.split("-")] == _GUID]
    below = [file.get(name) for name in ids]
    return bool(ids) and ("Metadata" in file or any("Metadata" in each for each in below if each))


def _is_delmic(file: Any) -> bool:
    return "Acquisition0" in file


def _is_tofwerk(file: Any) -> bool:
    return "TofDAQ Version" in file.attrs and "FullSpectra" in file


def _length_of_bcf(head: bytes) -> int:
    """Of Bruker's container: chunks of one size behind a header."""
    size, chunks = (int.from_bytes(head[at : at + 4], "little") for at in (0x128, 0x148))
    return 0x118 + size * chunks


FORMATS = (
    Format("digitalmicrograph", (".dm3", ".dm4"), (b"\0\0\0\3", b"\0\0\0\4"), is_lazy=True),
    Format("blockfile", (".blo",), (b"IMGBLO",), is_lazy=True),
    Format("tia", (".ser",), (b"II\x97\x01",), is_lazy=True, needs_name=True),
    Format("tia", (".emi",), (b"JK\0\2",), is_lazy=True, needs_name=True),
    Format(
        "bruker", (".bcf",), (b"AAMVHFSS",), is_lazy=True, needs_name=True, length=_length_of_bcf
    ),
    Format("renishaw", (".wdf",), (b"WDF1",)),
    Format("digitalsurf", (".sur", ".pro"), (b"DIGITAL SURF", b"DSCOMPRESSED")),
    Format("quantumdetector", (".mib",), (b"MQ1,",), is_lazy=True),
    Format("msa", (".msa", ".emsa"), (b"#FORMAT",)),
    Format("ripple", (".rpl",), within=b"\ndata-length", is_lazy=True, needs_name=True),
    Format("jobinyvon", (".xml",), (b"<?xml",), b"<LSX_Data"),
    Format("protochips", (".csv",), (b"Time, No", b'"Time"')),
    Format("emd", (".emd", ".de5"), (HDF5_SIGNATURE,), groups=_is_emd, is_lazy=True),
    Format(
        "topspin", (".app5",), (HDF5_SIGNATURE,), groups=_is_topspin, is_lazy=True,
        options={"show_progressbar": False},
    ),
    Format("delmic", (".h5",), (HDF5_SIGNATURE,), groups=_is_delmic),
    Format(
        "tofwerk", (".h5",), (HDF5_SIGNATURE,), groups=_is_tofwerk,
        options={"show_progressbar": False},
    ),
    # of these nothing but the name tells
    Format("mrc", (".mrc", ".ali"), is_lazy=True),
    Format("trivista", (".tvf",)),
    Format("dens", (".dens",)),
    Format("edax", (".spd", ".spc")),
    Format("hamamatsu", (".img",)),
    Format("jeol", (".asw", ".eds", ".pts")),
    Format("quadstar", (".sac",)),
    Format("phenom", (".elid",)),
    Format("semper", (".unf",), is_lazy=True),
    Format("nexus", (".nxs",), is_lazy=True),
)  # fmt: skip


def format_of(path: str, head: bytes) -> Format | None:
    """The format of a file by its content, and by its extension where that does not tell.

    Parameters
    ----------
    path : of the file
    head : its first bytes
    """
    told = [each for each in FORMATS if each.is_told and each.starts(head)]
    sure = [each for each in told if each.groups is None] or _by_groups(path, told)
    if sure:
        return sure[0]
    called = [each for each in FORMATS if not each.is_told and each.is_called(path)]
    return next(iter(called), None)


def is_panta_rhei(path: str, head: bytes) -> bool:
    """Whether a file is of Panta Rhei: arrays in a zip file, with a description as one of them."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"data.npy", "meta_data.npy", "data_model.npy"} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return path.lower().endswith(".prz")


def _by_groups(path: str, formats: list[Format]) -> list[Format]:
    import h5py

    if not formats:
        return []
    try:
        with h5py.File(path, "r") as file:
            return [each for each in formats if each.groups is not None and each.groups(file)]
    except (OSError, RuntimeError, KeyError):
        return []  # damaged, which whoever opens it says
