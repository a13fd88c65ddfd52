"""Where the references of an open HDF5 file point, as bytes of the file."""

from __future__ import annotations

import math
import os
import sys

import h5py
import numpy as np

_UNDEFINED = 2**64 - 1
_OBJECT_BYTES, _REGION_BYTES = 8, 12


def out_of_bounds(obj: h5py.HLObject, name: str) -> str | None:
    """In words, that the reference in the attribute `name` leads far behind the end of the file.

    None where it does not. A little behind the end may have been an object that was deleted: such a
    reference dangles, and does no harm.
    """
    size = os.fstat(int(obj.file.id.get_vfd_handle())).st_size
    for address in _addresses(h5py.h5a.open(obj.id, name.encode())):
        if address > 16 * size + 2**16 and address != _UNDEFINED:
            return f"it leads to byte {address} of a file of {size} bytes"
    return None


def _addresses(attribute: h5py.h5a.AttrID) -> list[int]:
    """The address in each reference: of an object, or of what describes a region."""
    kind = attribute.get_type()
    width = kind.get_size()
    # Others than these two old kinds hold no plain address, and many do not refer to an ancillary.
    if width not in (_OBJECT_BYTES, _REGION_BYTES) or not 0 < math.prod(attribute.shape) <= 1024:
        return []
    raw = np.zeros(attribute.shape, f"V{width}")
    attribute.read(raw, mtype=kind)
    first = np.frombuffer(raw.tobytes(), np.uint8).reshape(-1, width)[:, :_OBJECT_BYTES]
    return [int.from_bytes(each.tobytes(), sys.byteorder) for each in first]
