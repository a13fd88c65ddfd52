"""Where the references of an open HDF5 file point, as bytes of the file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from itertools import count

import h5py
import numpy as np

from usidx.stores.hdf5.objects.place import REFERENCES

_ANCILLARIES = tuple(name.encode() for name in REFERENCES)
_UNDEFINED = 2**64 - 1
_OBJECT_BYTES, _REGION_BYTES = 8, 12


def out_of_bounds(
    obj: h5py.h5d.DatasetID | h5py.h5g.GroupID, size: int
) -> Iterator[tuple[str, str]]:
    """(attribute, what is wrong) of each reference that leads far behind the end of the file.

    A little behind it may have been an object that was deleted: such a reference dangles, and does
    no harm.

    Parameters
    ----------
    obj : a dataset, of which those to its ancillaries are looked at, or a group, of which those to
        its sources are
    size : of the file, in bytes
    """
    most = 16 * size + 2**16
    for name in _names(obj):
        for address in _addresses(h5py.h5a.open(obj, name)):
            if address > most and address != _UNDEFINED:
                detail = f"it leads to byte {address} of a file of {size} bytes"
                yield name.decode(), detail
                break


def _names(obj: h5py.h5d.DatasetID | h5py.h5g.GroupID) -> Iterator[bytes]:
    if isinstance(obj, h5py.h5d.DatasetID):
        yield from (name for name in _ANCILLARIES if h5py.h5a.exists(obj, name))
        return
    for number in count():
        name = f"source_{number:03d}".encode()
        if not h5py.h5a.exists(obj, name):
            return
        yield name


def _addresses(attribute: h5py.h5a.AttrID) -> list[int]:
    """The address in each reference: of an object, or of what describes a region."""
    if attribute.get_storage_size() == _OBJECT_BYTES:
        # as nearly all are; whatever is no reference cannot be read as one
        raw = np.zeros((), f"V{_OBJECT_BYTES}")
        try:
            attribute.read(raw, mtype=h5py.h5t.STD_REF_OBJ)
        except (TypeError, OSError, ValueError, RuntimeError):
            return []
        return [int.from_bytes(raw.tobytes(), sys.byteorder)]
    return _listed_addresses(attribute)


def _listed_addresses(attribute: h5py.h5a.AttrID) -> list[int]:
    kind = attribute.get_type()
    if kind.get_class() != h5py.h5t.REFERENCE:
        return []
    width, shape = kind.get_size(), attribute.shape
    # Others than these two old kinds hold no plain address, and many do not refer to an ancillary.
    if width not in (_OBJECT_BYTES, _REGION_BYTES) or not 0 < math.prod(shape) <= 1024:
        return []
    raw = np.zeros(shape, f"V{width}")
    attribute.read(raw, mtype=kind)
    held = raw.tobytes()
    return [
        int.from_bytes(held[start : start + _OBJECT_BYTES], sys.byteorder)
        for start in range(0, len(held), width)
    ]
