"""`usidx convert`: a file of any system, or one Main of it, into a format of USID."""

from __future__ import annotations

import os
import time

import click

from usidx.cli.readers import opened_with, reader_options
from usidx.demo.folder import size_on_disk
from usidx.demo.wording import in_bytes, in_time

EXAMPLES = """\b
Examples:
  usidx convert scan.h5 scan.zarr
  usidx convert scan.zarr scan.h5 --overwrite
  usidx convert scan.h5 raw.zarr --main Raw_Data
  usidx convert scan.h5 scan.nc
  usidx convert stack.npy stack.h5 --option n_position=2
"""
HDF5 = (".h5", ".hdf5", ".hf5", ".hdf")


@click.command(epilog=EXAMPLES, short_help="Write a file as h5USID, Zarr or netCDF.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--main", help="Only this Main (its path, or a unique ending of it).")
@click.option("--overwrite", is_flag=True, help="Replace OUT, once the new one is whole.")
@click.option(
    "--compression",
    metavar="NAME",
    help="lz4 or zstd for Zarr, gzip or lzf for h5USID, zlib or zstd for netCDF, or none.",
)
@reader_options
def convert(
    source: str,
    target: str,
    main: str | None,
    overwrite: bool,
    compression: str | None,
    reader: str | None,
    settings: tuple[str, ...],
) -> None:
    """Write what IN holds to OUT: h5USID, Zarr or netCDF, as the ending of OUT says.

    IN is a store of USID, or a file of any system that usidx has a reader for.
    """
    import usidx
    from usidx.errors import StoreExistsError

    suffix = os.path.splitext(target.rstrip("/"))[1].lower()
    if suffix not in (*HDF5, ".zarr", ".nc"):
        raise click.UsageError(
            f"OUT must end in .zarr, .nc, or in {', '.join(HDF5)}; got {target!r}"
        )
    start = time.perf_counter()
    how = opened_with(reader, settings)
    held = usidx.open_tree(source, **how) if main is None else usidx.open(source, main, **how)
    writers = {".zarr": held.usid.to_zarr, ".nc": held.usid.to_netcdf}
    write = writers.get(suffix, held.usid.to_h5usid)
    chosen: dict[str, str | None] = {} if compression is None else {"compression": compression}
    if compression == "none":
        chosen["compression"] = None
    try:
        path = write(target, overwrite=overwrite, progress=True, **chosen)
    except StoreExistsError:
        if overwrite:  # then what is there is something that is never replaced
            raise
        raise StoreExistsError(f"{target!r} is there already; --overwrite replaces it") from None
    seconds = time.perf_counter() - start
    click.echo(f"{path}: {in_bytes(size_on_disk(str(path)))} ({in_time(seconds)})")
