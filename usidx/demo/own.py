"""The demo on a file of somebody's own, which is only read unless they say otherwise."""

from __future__ import annotations

import pathlib
import shlex
from typing import TYPE_CHECKING, Any

import xarray as xr

from usidx.demo.folder import made_folder, size_on_disk
from usidx.demo.story import flat, opened
from usidx.demo.teller import Say, Teller
from usidx.demo.wording import by_sign, in_bytes
from usidx.errors import NotUsidError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from usidx.demo.pictures import Theme

EXPORT_LIMIT = 2_000_000_000  # bytes; nobody wants a surprise copy of more
SCRIPT = """\
import usidx

file = {file}
da = usidx.open(file, {main})

# nothing is computed before run, and what is there already is not computed again
process = da.usid.process(usidx.steps.{step}{parameters})
found = process.run({into}).open()
print(found)

{export}"""


def tell_of(file: str, main: str | None, out: str, *, in_place: bool, dark: bool, say: Say) -> None:
    """Show on a Main of `file` what usidx does; results go to the folder `out`.

    Parameters
    ----------
    file, main : the Main; the first raw one where `main` is None
    in_place : write the results into `file`, beside their source

    Raises
    ------
    UsidError : for a file that cannot be opened, and a folder that cannot be written
    """
    import usidx

    teller = Teller(say, pathlib.Path(out), dark)
    with teller.chapter("Open it: only labels are read"):
        mains = usidx.list_mains(file)
        path = chosen(file, mains, main)
        da = opened(file, path)
        if len(mains) > 1:
            teller.tell(f"{mains}\n")
        teller.tell(repr(da.usid))
    folder = made_folder(out)
    stem = pathlib.Path(file).stem
    step, parameters = suited_step(da)
    into = None if in_place else str(folder / f"{stem}-results.zarr")
    process = da.usid.process(getattr(usidx.steps, step), **parameters)
    again = ["usidx", "run", file, path, step]
    again += [f"--set={name}={value}" for name, value in parameters.items()]
    again += [] if into is None else ["--into", into]
    with teller.chapter(f"Run a step on it, block by block: {step}"):
        result = teller.run(process, shlex.join(again), into=into)
        teller.tell(repr(result))
    with teller.chapter("Run it again: what is there is not computed again"):
        teller.tell(f"{process.run(into=into).path} is complete already")
    found = result.open()
    with teller.chapter("Draw it: what the step found, and three positions"):
        teller.draw(f"{stem}.png", lambda theme: _slide(file, da, found, theme))
    export = _export(teller, da, file, path, str(folder / f"{stem}.zarr"))
    given = "".join(f", {name}={value!r}" for name, value in parameters.items())
    where = "" if into is None else f"into={into!r}"
    teller.script(
        SCRIPT.format(
            file=repr(file), main=repr(path), step=step, parameters=given, into=where, export=export
        )
    )
    teller.end()


def chosen(file: str, mains: Any, main: str | None) -> str:
    """Path of the Main to show: the one asked for, or the first raw one with plain values."""
    from usidx.opening import resolve

    if main is not None:
        return str(resolve(mains, main, file).path)
    plain = [each for each in mains if each.dtype.names is None]
    if not plain:
        raise NotUsidError(
            f"every Main of {file!r} is compound; usidx.open shows them as Datasets, the demo "
            "needs a Main of plain values"
        )
    return str(next((each for each in plain if each.kind == "raw"), plain[0]).path)


def suited_step(da: xr.DataArray) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a step that any Main of these values can take."""
    if da.dtype.kind != "c":
        return "statistics", {}
    longest = max(da.usid.spectroscopic_dims, key=lambda dim: da.sizes[dim])
    return "peak_response", {"along": longest}


def _slide(file: str, da: xr.DataArray, found: xr.DataArray | xr.Dataset, theme: Theme) -> Figure:
    from usidx.demo.overview import overview_slide

    mean = found["Mean"] if isinstance(found, xr.Dataset) else found
    single = da.size == mean.size
    what = "Mean" if isinstance(found, xr.Dataset) else "Largest magnitude"
    return overview_slide(
        da,
        flat(mean, da).load().assign_attrs(da.attrs),
        map_title="" if single else what,
        title=_capital(str(da.attrs.get("quantity") or da.name)),
        subtitle=f"{pathlib.Path(file).name}, {da.name}: {_sizes(da)}, {da.dtype}",
        theme=theme,
    )


def _sizes(da: xr.DataArray) -> str:
    """Of the axes that have more than one value."""
    long = {str(dim): size for dim, size in da.sizes.items() if size > 1}
    return by_sign(list(long.values()), list(long)) or "one value"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _export(teller: Teller, da: xr.DataArray, file: str, path: str, zarr: str) -> str:
    """Write the Main to Zarr, or say how where it is big; the line of Python that does it."""
    if da.nbytes > EXPORT_LIMIT:
        command = shlex.join(["usidx", "convert", file, zarr, "--main", path])
        with teller.chapter("Export it to Zarr"):
            teller.tell(f"left out, it has {in_bytes(da.nbytes)}; to do it: {command}")
        return f"# da.usid.to_zarr({zarr!r})   # {in_bytes(da.nbytes)}\n"
    with teller.chapter("Export it to Zarr"):
        da.usid.to_zarr(zarr, overwrite=True)
        teller.tell(f"-> {zarr} ({in_bytes(size_on_disk(zarr))})")
    return f"da.usid.to_zarr({zarr!r}, overwrite=True)   # plain xarray opens it too\n"
