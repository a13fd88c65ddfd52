"""`usidx convert`: a file of any system, or one Main of it, into one of USID or of others."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from usidx.cli.readers import reader_options
from usidx.cli.selecting import Held, selected
from usidx.cli.storage import storage_options
from usidx.demo.folder import size_on_disk
from usidx.demo.wording import in_bytes, in_time

EXAMPLES = """\b
Examples:
  usidx convert scan.h5 scan.zarr
  usidx convert scan.zarr scan.h5 --overwrite
  usidx convert scan.h5 raw.zarr --main Raw_Data
  usidx convert scan.h5 scan.nc
  usidx convert scan.h5 scan.hspy
  usidx convert scan.h5 scan.nsid.h5
  usidx convert scan.h5 part.zarr --select Frequency=300e3:310e3 --iselect X=0:10
  usidx convert scan.h5 maps.zarr --access maps --shards
  usidx convert scan.h5 old.zarr --zarr-format 2
  usidx convert stack.npy stack.h5 --option n_position=2
  usidx convert scan.h5 s3://lab/scan.zarr --storage-options s3.json
"""
HDF5 = (".h5", ".hdf5", ".hf5", ".hdf")
# Files of others, for HyperSpy and for sidpy.
FOREIGN = (".hspy", ".nsid.h5", ".nsid.hf5")


@click.command(epilog=EXAMPLES, short_help="Write a file as h5USID, Zarr, netCDF, .hspy or NSID.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "--main", "mains", multiple=True, metavar="MAIN",
    help="Only this Main (its path, or a unique ending of it). Repeat for more.",
)  # fmt: skip
@click.option(
    "--select", "labels", multiple=True, metavar="DIM=FROM:TO",
    help="Only what has labels in this range, both ends included, in the units of the file; "
    "DIM=VALUE takes the nearest. Repeat for other dimensions.",
)  # fmt: skip
@click.option(
    "--iselect", "numbers", multiple=True, metavar="DIM=FROM:TO",
    help="The same by numbers, from 0 and without TO.",
)  # fmt: skip
@click.option(
    "--access", type=click.Choice(["spectra", "maps", "both"]),
    help="What is to be read quickly from OUT (Zarr; maps or spectra for h5USID).",
)  # fmt: skip
@click.option("--shards", is_flag=True, help="Many chunks in each file of OUT (Zarr).")
@click.option(
    "--zarr-format", type=click.Choice(["2", "3"]),
    help="Of OUT that ends in .zarr: 2 is for programs that do not know 3.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace OUT, once the new one is whole.")
@click.option(
    "--compression",
    metavar="NAME",
    help="lz4 or zstd for Zarr, gzip or lzf for h5USID, .hspy and NSID, zlib or zstd for netCDF, "
    "or none.",
)
@reader_options
@storage_options
def convert(
    source: str,
    target: str,
    mains: tuple[str, ...],
    labels: tuple[str, ...],
    numbers: tuple[str, ...],
    access: str | None,
    shards: bool,
    zarr_format: str | None,
    overwrite: bool,
    compression: str | None,
    how: dict[str, Any],
) -> None:
    """Write what IN holds to OUT: h5USID, Zarr, netCDF, HyperSpy's .hspy or NSID (.nsid.h5), as the
    ending of OUT says.

    IN is a store of USID, or a file of any system that usidx has a reader for. Memory holds a few
    blocks at a time. Where a conversion to Zarr was interrupted, or killed, the same command goes
    on with what is written; until then that lies beside OUT, under a name that begins with a dot,
    and any other conversion to OUT removes it. Other formats, and --access, begin anew.
    """
    from usidx.errors import StoreExistsError
    from usidx.stores.remote.url import is_url

    suffix = _suffix(target)
    if access is not None and (
        suffix in (".nc", *FOREIGN) or (access == "both" and suffix != ".zarr")
    ):
        raise click.UsageError(f"--access {access} is for OUT that ends in .zarr")
    if zarr_format is not None and suffix != ".zarr":
        raise click.UsageError(f"--zarr-format {zarr_format} is for OUT that ends in .zarr")
    if shards and suffix != ".zarr":
        raise click.UsageError("--shards is for OUT that ends in .zarr")
    start = time.perf_counter()
    held = _held(source, mains, how)
    if labels or numbers:
        held = selected(held, labels, numbers)
    chosen: dict[str, Any] = {"overwrite": overwrite, "progress": True}
    if compression is not None:
        chosen["compression"] = None if compression == "none" else compression
    if zarr_format is not None:
        chosen["zarr_format"] = int(zarr_format)
    if shards:
        chosen["shards"] = True
    # of what is behind a URL nobody can say that it is the very same still
    far = is_url(source) or is_url(target)
    resumes = suffix == ".zarr" and access is None and not far
    if resumes:
        chosen["resume"] = _age(source)
    try:
        path = _written(held, target, suffix, access, chosen)
    except StoreExistsError:
        if overwrite:  # then what is there is something that is never replaced
            raise
        raise StoreExistsError(f"{target!r} is there already; --overwrite replaces it") from None
    except KeyboardInterrupt as stop:
        advice = "the same command goes on" if resumes else "the same command begins anew"
        raise KeyboardInterrupt(f"; {target!r} is not written, {advice}") from stop
    seconds = time.perf_counter() - start
    size = "" if is_url(path) else f" {in_bytes(size_on_disk(str(path)))}"
    click.echo(f"{path}:{size} ({in_time(seconds)})")


def _suffix(target: str) -> str:
    """The ending of OUT, by which its format is known."""
    lower = target.rstrip("/").lower()
    known = (*FOREIGN, *HDF5, ".zarr", ".nc")  # the longest first
    found = next((each for each in known if lower.endswith(each)), None)
    if found is None:
        raise click.UsageError(
            f"OUT must end in .zarr, .nc, in {', '.join(HDF5)}, or in {', '.join(FOREIGN)}; got "
            f"{target!r}"
        )
    return found


def _held(source: str, mains: tuple[str, ...], how: dict[str, Any]) -> Held:
    """All that a file holds, or some Mains by their paths."""
    import usidx
    from usidx.arrays.labels import origin_of

    if not mains:
        return usidx.open_tree(source, **how)
    opened = [usidx.open(source, main, **how) for main in mains]
    origins = [
        origin_of(each)
        or (origin_of(next(iter(each.data_vars.values()))) if hasattr(each, "data_vars") else None)
        for each in opened
    ]
    return {
        each.usid.spec.path if origin is None else origin.main: each
        for each, origin in zip(opened, origins, strict=True)
    }


def _written(
    held: Held, target: str, suffix: str, access: str | None, options: dict[str, Any]
) -> str:
    from usidx import exporting

    if access is not None and suffix != ".zarr":
        if options.get("compression", "") is None:
            options["compression"] = False
        return exporting.rechunk_for(held, access, target, **options)  # type: ignore[arg-type]
    if suffix == ".zarr":
        return exporting.to_zarr(held, target, access=access, **options)  # type: ignore[arg-type]
    others: dict[str, Any] = {".nc": exporting.to_netcdf, ".hspy": exporting.to_hspy}
    others |= dict.fromkeys(FOREIGN[1:], exporting.to_nsid)
    written: str = others.get(suffix, exporting.to_h5usid)(held, target, **options)
    return written


def _age(source: str) -> str:
    """By which a source is known to be what it was when a conversion was interrupted."""
    place = os.path.realpath(source)
    if not os.path.exists(place):  # somewhere else than on this machine
        return source
    status = os.stat(place)
    return f"{place} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
