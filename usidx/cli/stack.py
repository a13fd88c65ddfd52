"""`usidx stack`: a folder of frames into one store."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from usidx.cli.convert import HDF5
from usidx.cli.storage import storage_options
from usidx.demo.folder import size_on_disk
from usidx.demo.wording import as_json, by_sign, in_bytes, in_time

if TYPE_CHECKING:
    import xarray as xr

EXAMPLES = """\b
Examples:
  usidx stack map out.zarr --size Y=20 --size X=25 --filter gaussian:sigma=10
  usidx stack map out.zarr --pattern '(?P<Y>\\d+)_(?P<X>\\d+)' --spacing X=0.5 --units X=um
  usidx stack 'map/*.tif' out.h5 --size Y=20 --size X=25 --order snake --missing nan
  usidx stack map out.zarr --positions stage.csv --overwrite
  usidx stack map out.zarr --metadata X=stage_x --metadata Y=stage_y
  usidx stack map out.zarr --pattern '(?P<Y>\\d+)_(?P<X>\\d+)' --size X=25 --missing cut --extend
"""


@click.command(epilog=EXAMPLES, short_help="Write a folder of frames as one Main.")
@click.argument("folder")
@click.argument("target", metavar="OUT")
@click.option(
    "--pattern", metavar="REGEX", help="Named groups of it, in file names, are dimensions."
)
@click.option("--positions", metavar="FILE", help="A CSV or JSON table of positions instead.")
@click.option(
    "--metadata", multiple=True, metavar="DIM=NAME",
    help="A TIFF tag, or an entry of an EDF header, that is a dimension. Repeat for others.",
)  # fmt: skip
@click.option(
    "--size", multiple=True, metavar="DIM=N",
    help="How many positions a dimension has, slowest first; frames are counted through them.",
)  # fmt: skip
@click.option("--order", type=click.Choice(["raster", "snake"]), default="raster")
@click.option("--dims", metavar="Y,X", help="Dimensions of the scan, slowest first.")
@click.option("--spacing", multiple=True, metavar="DIM=STEP", help="Distance of neighbours.")
@click.option("--units", multiple=True, metavar="DIM=UNITS", help="Units of a dimension.")
@click.option("--frame-dims", metavar="v,u", help="Names of the axes of a frame.")
@click.option("--pages", default="page", metavar="DIM", help="Name for the frames in each file.")
@click.option("--first", type=int, help="Number that the first frame of all has.")
@click.option(
    "--missing", type=click.Choice(["error", "nan", "drop", "cut"]), default="error",
    help="Where frames are missing: drop makes a list of positions, cut ends the scan before.",
)  # fmt: skip
@click.option(
    "--check", type=click.Choice(["first", "sample", "all"]), default="sample", show_default=True,
    help="Which files to open before the work, to see whether they are alike.",
)  # fmt: skip
@click.option(
    "--filter", "filters", multiple=True, metavar="NAME:KEY=VALUE",
    help="Applied to each frame: gaussian:sigma=10, median:size=3, bin:by=2. Repeat for more.",
)  # fmt: skip
@click.option("--quantity", default="Intensity", show_default=True, help="What was measured.")
@click.option("--value-units", default="", help="Units of the values.")
@click.option("--compression", metavar="NAME", help="lz4, zstd (Zarr), gzip, lzf (HDF5), or none.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, once the new one is whole.")
@click.option(
    "--extend", is_flag=True, help="Add the rows that are new to OUT (Zarr), if it is there."
)
@click.option("--json", "machine", is_flag=True, help="Report as JSON.")
@storage_options
def stack(folder: str, target: str, machine: bool, **options: Any) -> None:
    """Write the frames in FOLDER (or a pattern such as 'map/*.tif') to OUT as one Main.

    Each frame is a position of the scan. OUT is Zarr where it ends in .zarr, h5USID where it ends
    in .h5. What is in the folder besides frames is left out, and named.
    """
    suffix = os.path.splitext(target.rstrip("/"))[1].lower()
    if suffix not in (*HDF5, ".zarr"):
        raise click.UsageError(f"OUT must end in .zarr, or in {', '.join(HDF5)}; got {target!r}")
    if options["extend"] and suffix != ".zarr":
        raise click.UsageError("--extend is for OUT that ends in .zarr")
    start = time.perf_counter()
    stacked = _stacked(folder, options)
    write = stacked.usid.to_zarr if suffix == ".zarr" else stacked.usid.to_h5usid
    if options["extend"]:
        write = functools.partial(write, extend=True)
    path = _written(write, target, options["overwrite"], options["compression"])
    _report(stacked, path, time.perf_counter() - start, machine)


def _stacked(folder: str, options: dict[str, Any]) -> xr.DataArray:
    import usidx
    from usidx.stacking.filters import parsed

    def names(text: str | None) -> list[str] | None:
        return None if text is None else [each.strip() for each in text.split(",")]

    stacked: xr.DataArray = usidx.stack(
        folder,
        pattern=options["pattern"],
        positions=options["positions"],
        metadata=_pairs("--metadata", options["metadata"], str) or None,
        sizes=_pairs("--size", options["size"], int) or None,
        order=options["order"],
        dims=names(options["dims"]),
        spacing=_pairs("--spacing", options["spacing"], float),
        units=_pairs("--units", options["units"], str),
        frame_dims=names(options["frame_dims"]),
        pages=options["pages"],
        first=options["first"],
        missing=options["missing"],
        check=options["check"],
        preprocess=parsed(options["filters"]),
        quantity=options["quantity"],
        value_units=options["value_units"],
    )
    return stacked


def _pairs(option: str, texts: tuple[str, ...], kind: Callable[[str], Any]) -> dict[str, Any]:
    """{name: value} of NAME=VALUE texts."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (each.strip() for each in text.partition("="))
        try:
            found[name] = kind(value)
        except ValueError as error:
            raise click.BadParameter(f"{text!r}: {error}", param_hint=repr(option)) from error
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=repr(option))
    return found


def _written(
    write: Callable[..., str], target: str, overwrite: bool, compression: str | None
) -> str:
    from usidx.errors import StoreExistsError

    chosen: dict[str, Any] = {}
    if compression is not None:
        chosen["compression"] = None if compression == "none" else compression
    try:
        return write(target, overwrite=overwrite, progress=True, **chosen)
    except StoreExistsError:
        if overwrite:  # then what is there is something that is never replaced
            raise
        raise StoreExistsError(f"{target!r} is there already; --overwrite replaces it") from None


def _report(stacked: xr.DataArray, path: str, seconds: float, machine: bool) -> None:
    from usidx.stacking import report_of
    from usidx.stores.remote.url import is_url

    report = report_of(stacked)
    assert report is not None  # for `stack` gave the array
    if machine:
        click.echo(
            as_json(
                {
                    "store": path,
                    "dims": stacked.dims,
                    "shape": stacked.shape,
                    "dtype": str(stacked.dtype),
                    "files": report.files,
                    "missing": report.missing,
                    "left_out": report.left_out,
                    "seconds": round(seconds, 6),
                }
            )
        )
        return
    size = "" if is_url(path) else f", {in_bytes(size_on_disk(str(path)))}"
    click.echo(
        f"{path}: {by_sign(stacked.shape, [str(dim) for dim in stacked.dims])}, {stacked.dtype}"
        f"{size} ({in_time(seconds)})"
    )
    if report.missing:
        click.echo(f"  missing: {report.missing} frames")
    for line in report.lines():
        click.echo(f"  left out: {line}")
