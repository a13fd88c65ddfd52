"""How frames are stacked, and what became of the files of a folder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from usidx.arrays.lazy import Chunks
from usidx.errors import OptionError, did_you_mean
from usidx.stacking.array import Preprocess
from usidx.stacking.listing import HIDDEN, OTHER, Path
from usidx.stacking.naming import Table

Missing = Literal["error", "nan", "drop", "cut"]
Check = Literal["first", "sample", "all"]
Order = Literal["raster", "snake"]


@dataclass(frozen=True)
class Report:
    """What became of the files of a folder; `report_of(da)` gives it.

    Parameters
    ----------
    folder : that was stacked
    files : how many of it are in the stack
    missing : how many frames a full grid would have besides
    left_out : names of files that are no frames, by the reason why
    """

    folder: str
    files: int
    missing: int
    left_out: Mapping[str, tuple[str, ...]]

    def lines(self) -> list[str]:
        """The reasons, each with how many files it leaves out and the first of them."""
        return [
            f"{len(names)} {why}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for why, names in self.left_out.items()
        ]


@dataclass(frozen=True)
class FrameOptions:
    """How frames are stacked; see `usidx.stack` for what each one is."""

    pattern: str | None = None
    positions: Path | Table | None = None
    metadata: Mapping[str, str] | None = None
    order: Order = "raster"
    dims: Sequence[str] | None = None
    sizes: Mapping[str, Any] | Sequence[int] | None = None
    spacing: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = "error"
    preprocess: Preprocess | None = None
    frame_dims: Sequence[str] | None = None
    pages: str = "page"
    first: int | None = None
    quantity: str = "Intensity"
    value_units: str = ""
    name: str = "Raw_Data"
    chunks: Chunks = "auto"
    check: Check = "sample"

    def __post_init__(self) -> None:
        _check_choice("missing", self.missing, ("error", "nan", "drop", "cut"))
        _check_choice("check", self.check, ("first", "sample", "all"))
        _check_choice("order", self.order, ("raster", "snake"))
        given = [each for each in ("pattern", "positions", "metadata") if getattr(self, each)]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} both say where frames are; give one of them")
        if self.preprocess is not None and not callable(self.preprocess):
            raise OptionError(f"preprocess={self.preprocess!r} is no function of a frame")


def sizes_of(options: FrameOptions) -> dict[str, Any]:
    """How many values, or which ones, by the names of the dimensions."""
    given = options.sizes
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if options.dims is None or len(options.dims) != len(given):
        raise OptionError(
            f"sizes={given!r} needs dims=(...) with a name for each, slowest first; or write "
            "sizes={'Y': 3, 'X': 4}"
        )
    return dict(zip(options.dims, given))


def _check_choice(what: str, given: object, known: Sequence[str]) -> None:
    if given not in known:
        raise OptionError(
            f"{what}={given!r} is not known{did_you_mean(str(given), known)}; use one of "
            f"{', '.join(map(repr, known))}"
        )


def check_known(what: str, given: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise OptionError(
                f"{what} names {name!r}, which is no dimension{did_you_mean(name, names)}; there "
                f"are {', '.join(names)}"
            )


def warn_of(report: Report) -> None:
    """Warn of what looks like frames and was left out."""
    odd = {why: names for why, names in report.left_out.items() if why not in (HIDDEN, OTHER)}
    if odd:
        told = Report(report.folder, report.files, 0, odd)
        warnings.warn(
            f"files of {report.folder!r} are left out of the stack: {'; '.join(told.lines())}",
            stacklevel=4,
        )
