"""Filters of HDF5 that come as plug-ins: made known where hdf5plugin is installed, else named."""

from __future__ import annotations

import contextlib
import importlib

import h5py

from usidx.errors import MissingDependencyError

# As the HDF Group registers them: https://github.com/HDFGroup/hdf5_plugins
_NAMES = {
    4: "SZIP",
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32006: "LPC-Rice",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32022: "Granular BitRound",
    32023: "BitGroom",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}
_INSTALL = "pip install hdf5plugin"


def require_filters(dataset: h5py.Dataset) -> None:
    """Nothing, where HDF5 has every filter that the chunks of a dataset went through.

    Raises
    ------
    MissingDependencyError : naming those that are missing
    """
    if dataset.chunks is None or not _missing(dataset):
        return
    # it makes its filters known to HDF5 when it is imported
    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")
    missing = _missing(dataset)
    if missing:
        raise MissingDependencyError(
            f"{dataset.name!r} of {dataset.file.filename!r} is compressed by "
            f"{', '.join(missing)}, a filter that HDF5 lacks here; install it: {_INSTALL}, or the "
            "plug-in of whoever made the file"
        )


def _missing(dataset: h5py.Dataset) -> list[str]:
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(number) for number in range(created.get_nfilters())]
    return [_called(each[0], each[3]) for each in filters if not h5py.h5z.filter_avail(each[0])]


def _called(number: int, told: bytes) -> str:
    """A filter by its name, as it is registered, or as the file has it."""
    name = _NAMES.get(number) or told.decode("utf-8", "replace").partition(";")[0].strip("\0 ")
    return f"{name} (filter {number})" if name else f"filter {number}"


def lacks_plugin(said: str) -> bool:
    """Whether HDF5 complains of a filter that it has not.

    Parameters
    ----------
    said : its message
    """
    return "plugin" in said or ("filter" in said and "not registered" in said)


def missing_plugin(path: str) -> MissingDependencyError:
    """The error for a file of which not everything can be read, where HDF5 does not say why."""
    return MissingDependencyError(
        f"{path!r} holds values that are compressed by a filter that HDF5 lacks here; install it: "
        f"{_INSTALL}, and write `import hdf5plugin` before they are read"
    )
