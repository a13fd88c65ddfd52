"""Many files, or many Mains, as one lazy Main."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    from usidx.arrays.lazy import Chunks
    from usidx.model.dimension import Array, Dimension
    from usidx.stacking.listing import Path
    from usidx.stacking.options import Report

__all__ = ["report_of", "stack"]

Labelled = xr.DataArray | xr.Dataset


def stack(
    paths: Path | Iterable[Path] | Sequence[Labelled],
    *,
    pattern: str | None = None,
    positions: Path | Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, str] | None = None,
    order: Literal["raster", "snake"] = "raster",
    dims: Sequence[str] | None = None,
    sizes: Mapping[str, Any] | Sequence[int] | None = None,
    spacing: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    missing: Literal["error", "nan", "drop", "cut"] = "error",
    preprocess: Callable[[Array], Any] | None = None,
    frame_dims: Sequence[str] | None = None,
    pages: str = "page",
    first: int | None = None,
    quantity: str = "Intensity",
    value_units: str = "",
    name: str = "Raw_Data",
    chunks: Chunks = "auto",
    check: Literal["first", "sample", "all"] = "sample",
    dim: str | Dimension | None = None,
    role: Literal["position", "spectroscopic"] = "position",
    join: Literal["exact", "override", "inner", "outer"] = "exact",
    main: str | None = None,
) -> Any:
    r"""A folder of frames as one lazy Main, or several Mains of one grid as one.

    Frames: each image is a position of the scan, and its pixels are the spectroscopic dimensions.
    Files are listed, sorted as people count (9 before 10) and given their places; the first and a
    few others are opened to learn shape and dtype, the rest when they are read. What is in the
    folder besides (hidden and empty files, notes, thumbnails of another format) is left out, said
    in `attrs["stack_left_out"]` and by `usidx.stacking.report_of`.

    Mains (`dim=`): each gets a place along a new dimension in front of the others.

    Parameters
    ----------
    paths : a folder, a pattern such as "map/\*.tif", or paths in the order in which they count; of
        TIFF, PNG, JPEG, NPY and EDF files, and those of detectors that `usidx.open` reads (MIB,
        MRC, DM, ...). With `dim`: Mains, or paths of files that hold them
    pattern : regular expression whose named groups are dimensions, r"(?P<Y>\d+)_(?P<X>\d+)", found
        in the names of the files (in the paths below the folder, where it has a "/"). Numbers
        become positions; where whole numbers are left out between others, frames are missing. Texts
        are positions too. A single group that `sizes` does not have counts through the sizes
    positions : table of positions instead: a CSV file with a line for each file, its name first and
        a column for each dimension ("X [um]"), a JSON file or mapping {name: {dimension: value}}
    metadata : {dimension: name} of what the files say of themselves instead: a TIFF tag (also a key
        of its description), a motor or another entry of an EDF header; every file is opened
    order : "raster", or "snake" where every other row was scanned backwards
    dims : names of the scan's dimensions, slowest first; as in `pattern` or `sizes` when None
    sizes : {dimension: size}, or all values {dimension: [...]}. Without a pattern, frames are
        counted through it by the number in their names (by their order, where names have none)
    spacing : {dimension: step} or (start, step), or all values; scan and frame dimensions.
        Measured positions are taken to the next multiple of a step
    units : {dimension: units}
    missing : "error" names the frames that are missing; "nan" has NaN in their place and a
        coordinate `measured`; "drop" gives a list of the positions that there are; "cut" ends the
        scan before the first entry of the slowest dimension that is not whole, as while a scan is
        still going on
    preprocess : function of a frame (ndarray -> ndarray), applied when frames are read
    frame_dims : names of the axes of a frame; ("v", "u"), and "channel" for colours, when None
    pages : name of the dimension of the frames within each file, where there are several
    first : number of the first frame of all, where the frames before the first file are missing
    quantity, value_units : of the values
    name : of the Main
    chunks : as for `usidx.open`; some 16 MiB of whole frames when "auto"
    check : "sample" opens some files to see whether they are alike, "all" every one and names all
        that differ, "first" only the first. A file that differs is named when it is read, too
    dim : name (or a Dimension, with values) of the new dimension of a stack of Mains
    role : of that dimension
    join : "exact" refuses Mains whose coordinates differ; "override" takes those of the first,
        "inner" what all have, "outer" what any has, with NaN
    main : path of the Main in each file, or an ending of it

    Raises
    ------
    StoreNotFoundError : where there is nothing to stack
    LayoutError : for missing frames, two frames at one place, frames that differ in shape or dtype,
        and Mains whose grids differ
    OptionError : for options that do not fit each other
    DamagedStoreError, NotUsidError, MissingDependencyError : for files that cannot be read

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> for number in range(6):
    ...     np.save(os.path.join(folder, f"scan_{number // 3}_{number % 3}.npy"), np.ones((4, 5)))
    >>> da = stack(folder, pattern=r"_(?P<Y>\d+)_(?P<X>\d+)", spacing={"X": 0.5}, units={"X": "um"})
    >>> da.sizes
    Frozen({'Y': 2, 'X': 3, 'v': 4, 'u': 5})
    >>> da.X.values
    array([0. , 0.5, 1. ])
    """
    if dim is not None or main is not None or _has_arrays(paths):
        from usidx.stacking.mains import stack_mains

        return stack_mains(paths, dim, role=role, join=join, main=main)
    from usidx.stacking.folder import stack_frames
    from usidx.stacking.options import FrameOptions

    options = FrameOptions(
        pattern=pattern, positions=positions, metadata=metadata, order=order, dims=dims,
        sizes=sizes, spacing=spacing or {}, units=units or {}, missing=missing,
        preprocess=preprocess, frame_dims=frame_dims, pages=pages, first=first,
        quantity=quantity, value_units=value_units, name=name, chunks=chunks, check=check,
    )  # fmt: skip
    return stack_frames(paths, options)


def report_of(stacked: xr.DataArray) -> Report | None:
    """What became of the files of a folder: a Report, or None for an array that no `stack` gave."""
    from usidx.stacking import folder

    return folder.report_of(stacked)


def _has_arrays(paths: Any) -> bool:
    return isinstance(paths, (list, tuple)) and any(
        isinstance(each, (xr.DataArray, xr.Dataset)) for each in paths
    )
