"""The demo on a measurement that is made up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import xarray as xr

from usidx.demo.folder import made_folder, size_on_disk
from usidx.demo.teller import Say, Teller
from usidx.demo.wording import by_sign, in_bytes
from usidx.errors import NotUsidError, StoreExistsError, UsidError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from usidx.demo.data import Recipe
    from usidx.demo.pictures import Theme

SCRIPT = """\
import usidx

file = {file}
da = usidx.open(file)              # lazy: only labels are read

# nothing is computed before run, and what is there already is not computed again
process = da.usid.process(usidx.steps.sho_guess)
fit = process.run(progress=True).open()

f0 = fit["Frequency [Hz]"].load()  # (Y, X) with units: plain xarray from here on
print(f"resonance {{float(f0.median()) / 1e3:.1f}} kHz in the median")
usidx.open_tree(file).usid.to_zarr({zarr}, overwrite=True)
"""


def tell(out: str, *, small: bool, dark: bool, say: Say) -> None:
    """Make a measurement up in the folder `out`, and show on it what usidx does.

    Raises
    ------
    ReadOnlyStoreError, NoSpaceError, StoreExistsError : where the folder cannot be made or
        written, or has something of somebody else under our names
    """
    import usidx
    from usidx.demo.data import FULL, SMALL

    folder = made_folder(out)
    file, zarr = str(folder / "band_excitation.h5"), str(folder / "band_excitation.zarr")
    teller = Teller(say, folder, dark)
    with teller.chapter("Make up a measurement: band excitation on a ferroelectric film"):
        _make(teller, SMALL if small else FULL, file)
    with teller.chapter("Open it: only labels are read"):
        da = opened(file)
        teller.tell(repr(da.usid))
    with teller.chapter("Look at it: one frequency, three spectra"):
        teller.draw("1_raw.png", lambda theme: _raw_slide(da, theme))
    process = da.usid.process(usidx.steps.sho_guess)
    with teller.chapter("Run a step: a harmonic oscillator for each spectrum, block by block"):
        result = teller.run(process, f"usidx run {file} Raw_Data sho_guess")
        teller.tell(repr(result))
    with teller.chapter("Run it again: what is there is not computed again"):
        teller.tell(f"{process.run().path} is complete already")
    with teller.chapter("Draw what was found"):
        fit = result.open()
        teller.draw("2_resonances.png", lambda theme: _fit_slide(da, fit, theme))
    with teller.chapter("Export all of it to Zarr"):
        usidx.open_tree(file).usid.to_zarr(zarr, overwrite=True, progress=not small)
        teller.tell(f"-> {zarr} ({in_bytes(size_on_disk(zarr))})")
    teller.script(SCRIPT.format(file=repr(file), zarr=repr(zarr)))
    teller.end()


def opened(file: str, main: str | None = None) -> xr.DataArray:
    """A Main of plain values, lazily.

    Raises
    ------
    NotUsidError : for a compound Main, of which this demo has no picture
    """
    import usidx

    held = usidx.open(file, main)
    if isinstance(held, xr.Dataset):
        raise NotUsidError(
            f"{main!r} of {file!r} is compound ({', '.join(map(str, held.data_vars))}); usidx.open "
            "shows it as a Dataset, the demo needs a Main of plain values"
        )
    return held


def flat(values: xr.DataArray, source: xr.DataArray) -> xr.DataArray:
    """Values over the positions of `source` alone; any other axis is held at its middle."""
    others = [dim for dim in values.dims if dim not in source.usid.position_dims]
    held = values.isel({dim: values.sizes[dim] // 2 for dim in others}, drop=True)
    return abs(held).assign_attrs(values.attrs) if held.dtype.kind == "c" else held


def _make(teller: Teller, recipe: Recipe, file: str) -> None:
    from usidx.demo.data import measurement

    _check_ours(file)
    long = recipe.nbytes > 100_000_000
    measurement(recipe).usid.to_h5usid(file, overwrite=True, progress=long)
    lowest, highest = (edge / 1e3 for edge in recipe.band)
    teller.tell(
        f"{recipe.lines} × {recipe.pixels} positions, {1e3 * recipe.pitch:.0f} nm apart; "
        f"{recipe.frequencies} frequencies, {lowest:.0f} .. {highest:.0f} kHz\n"
        f"complex64, {in_bytes(recipe.nbytes)} -> {file} ({in_bytes(size_on_disk(file))})"
    )


def _check_ours(file: str) -> None:
    """Raise StoreExistsError where `file` is there and no demo made it."""
    import usidx
    from usidx.demo.data import MAKER

    if not os.path.lexists(file):
        return
    try:
        made_by = usidx.open(file).attrs.get("made_by")
    except UsidError:
        made_by = None
    if made_by != MAKER:
        raise StoreExistsError(
            f"{file!r} is there already and was not made by the demo; "
            "name another folder with --out"
        )


def _raw_slide(da: xr.DataArray, theme: Theme) -> Figure:
    from usidx.demo.overview import overview_slide

    at = da.sel(Frequency=334e3, method="nearest")
    return overview_slide(
        da,
        abs(at).load().assign_attrs(da.attrs),
        map_title=f"Magnitude at {float(at['Frequency']) / 1e3:.1f} kHz",
        title="Band-excitation piezoresponse",
        subtitle=f"{by_sign(da.shape, [str(dim) for dim in da.dims])}, {da.dtype}, as measured",
        theme=theme,
    )


def _fit_slide(da: xr.DataArray, fit: xr.Dataset, theme: Theme) -> Figure:
    from usidx.demo.resonances import resonance_slide

    maps = {each.quantity: flat(each, da).load() for each in fit.data_vars.values()}
    lines, pixels, frequencies = da.shape
    return resonance_slide(
        da,
        maps["Amplitude"],
        maps["Frequency"],
        maps["Quality Factor"],
        maps["Phase"],
        title="Ferroelectric domains by band excitation",
        subtitle=f"A simple harmonic oscillator fitted at each of {lines} × {pixels} positions, "
        f"{frequencies} frequencies",
        theme=theme,
    )
