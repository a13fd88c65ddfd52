"""What a reader of files of another system is, and what it gives."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from usidx.errors import LayoutError, MissingDependencyError
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate
from usidx.stores.base import BlockArray

CHANNEL = "/Measurement_000/Channel_000"


@dataclass(frozen=True)
class Axis:
    """One axis of an array: its dimension, and whether the position of the probe varies along it.

    `position` and `spectroscopic` make one.
    """

    dimension: Dimension
    role: Role


def position(
    name: str, units: str = "", values: Any = None, *, size: int = 0, quantity: str = ""
) -> Axis:
    """An axis along which the probe moves; values count from 0 where the file gives none.

    Parameters
    ----------
    name, units, quantity : of the dimension
    values : 1-D, along the axis
    size : of the axis, where there are no values

    Examples
    --------
    >>> position("X", "nm", [0.0, 0.5, 1.0]).dimension.size
    3
    """
    return Axis(_dimension(name, units, values, size, quantity), "position")


def spectroscopic(
    name: str, units: str = "", values: Any = None, *, size: int = 0, quantity: str = ""
) -> Axis:
    """An axis of what is measured at each position; parameters as for `position`."""
    return Axis(_dimension(name, units, values, size, quantity), "spectroscopic")


def _dimension(name: str, units: str, values: Any, size: int, quantity: str) -> Dimension:
    values = np.arange(size) if values is None else np.asarray(values)
    return Dimension(name, units, values, quantity=quantity)


@dataclass(frozen=True)
class Foreign:
    """One Main in a file of another system.

    Parameters
    ----------
    name : of the Main, or its whole path where the file has several in groups
    array : the values, lazily: picklable, without an open file, indexed by ints and slices
    axes : one for each axis of `array`, in its order
    quantity, units : of the values
    attrs : everything else that the file says of it, as plain values
    chunks : shape of the blocks that are quick to read, in the order of `array`; whole spectra or
        frames of some 32 MiB when None
    coordinates : quantities along some of the axes, such as the motors of a scan; one that is along
        positions and spectroscopic axes is an attribute of the Main
    identity : what tells the content from any other; the file's own size and time when ""
    kind : "raw", or "result" for what the other system computed from something else in the file
    """

    name: str
    array: BlockArray
    axes: tuple[Axis, ...]
    quantity: str = "Unknown"
    units: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None
    coordinates: tuple[Coordinate, ...] = ()
    identity: str = ""
    kind: Literal["raw", "result"] = "raw"

    def __post_init__(self) -> None:
        shape = tuple(each.dimension.size for each in self.axes)
        if shape != tuple(self.array.shape):
            raise LayoutError(
                f"{self.name!r} has values of shape {tuple(self.array.shape)}, and its axes "
                f"({', '.join(each.dimension.name for each in self.axes)}) have {shape}"
            )

    @property
    def path(self) -> str:
        """Of the Main, as usidx shows it."""
        return self.name if self.name.startswith("/") else f"{CHANNEL}/{self.name}"


@dataclass(frozen=True)
class Reader:
    """A kind of file of another system.

    Parameters
    ----------
    name : what people write: usidx.open(path, reader="...")
    title : of the system and its formats, for people
    extensions : that its files have, with the dot, in lower case; a hint where contents do not say
    claims : (path, first bytes) -> whether the content is of this kind. Reads little and imports
        nothing optional; the bytes are empty for a folder
    read : path, and options by keyword -> the Mains in the file, lazily
    requires : modules that must be there; they are imported when a file is read
    extra : of usidx, which installs them
    is_lazy : whether blocks are read when they are asked for; else the whole file is
    is_general : whether it reads files of many kinds, and so only what no other reader claims
    reaches_out : whether `read` takes `allow_external`, the folders that a file may reach into
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    claims: Callable[[str, bytes], bool]
    read: Callable[..., Sequence[Foreign]]
    requires: tuple[str, ...] = ()
    extra: str = ""
    is_lazy: bool = True
    is_general: bool = False
    reaches_out: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules that it needs and that are not installed."""
        return tuple(each for each in self.requires if importlib.util.find_spec(each) is None)

    @property
    def install(self) -> str:
        """The command that installs what is missing."""
        return (
            f'pip install "usidx[{self.extra}]"'
            if self.extra
            else (f"pip install {' '.join(self.missing)}")
        )

    def check_installed(self, path: str) -> None:
        """Nothing, where everything that it needs is there.

        Raises
        ------
        MissingDependencyError : saying what to install
        """
        if self.missing:
            raise MissingDependencyError(
                f"{path!r} is a file for the reader {self.name!r} ({self.title}), which needs "
                f"{', '.join(self.missing)}; install it: {self.install}"
            )


def default_positions(ndim: int) -> int:
    """How many axes are positions where nothing says it: the others are spectra, or frames.

    Examples
    --------
    >>> [default_positions(ndim) for ndim in (1, 2, 3, 4)]
    [0, 1, 2, 2]
    """
    return max(0, ndim - 1) if ndim <= 3 else ndim - 2


def text_of(value: Any) -> str:
    """Bytes or anything else as text, without what fills it up."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0 ")
    return str(value)


def evenly_spaced(size: int, step: float = 1.0, start: float = 0.0) -> Array:
    """Values `start`, `start + step`, ... along an axis.

    Examples
    --------
    >>> evenly_spaced(3, 0.5, -1.0)
    array([-1. , -0.5,  0. ])
    """
    return start + step * np.arange(size, dtype=np.float64)
