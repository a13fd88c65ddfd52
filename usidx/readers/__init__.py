"""Files of other systems, opened like those of USID.

A reader is a frozen `Reader`: how its files are recognised by their content, and a function from a
path to the Mains in the file. `finding` has all of them, and those of plug-ins.
"""

from usidx.readers.base import Axis, Foreign, Reader, position, spectroscopic
from usidx.readers.finding import readers, store_behind, store_of
from usidx.readers.raw import FileIdentity, LoadedArray, RawArray

__all__ = [
    "Axis",
    "FileIdentity",
    "Foreign",
    "LoadedArray",
    "RawArray",
    "Reader",
    "position",
    "readers",
    "spectroscopic",
    "store_behind",
    "store_of",
]
