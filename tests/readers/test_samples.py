"""Every sample file: opened, compared with its ground truth, under other names, and cut short."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import NotUsidError, UsidError
from usidx.readers.finding import store_of
from usidx.readers.store import ForeignStore

SAMPLES = pathlib.Path(__file__).resolve().parents[3] / "shared" / "samples"
OPTIONS: dict[str, dict[str, Any]] = {
    "frames.raw": {
        "reader": "raw", "dtype": "<u2", "sig_shape": (16, 20), "nav_shape": (4, 5)
    },
    "scan_000.tvips": {"nav_shape": (2, 3)},
}  # fmt: skip
# Why the values of a sample are compared elsewhere, or not at all.
ELSEWHERE = {
    "map_2022_12_21_15_47": "a folder of pictures: tests of stacking",
    "series_0000.edf..0005.edf": "several files: tests of stacking",
    "struct.npy": "compound: test_numpy_files.py",
    "results.h5r": "compound: test_pyme.py",
    "basic_4d.h5": "h5USID: tests of stores; here only what is no fit",
    "scan.dat": "text: test_spec.py",
    "spec_silxconvert.h5": "the link in it that is a Main leads to the dataset: test_hdf5_files.py",
    "flatfield_course.h5": "six datasets of one stack: test_flat_field.py",
    "image_export.csv": "text is read in double precision: test_tables.py",
    "meta.json": "no array, which is said: test_pyme.py",
    "meta.xml": "no array, which is said: test_pyme.py",
    "meta.md": "no array, which is said: test_pyme.py",
    "recipe.yaml": "no array",
    "img.bin": "bare values: test_fabio.py",
    "Merlin_Single_Quad.zip": "an archive: test_merlin.py",
    "olympus_SIS.tif": "needs imagecodecs: test_tiff.py",
    "stm__test.dat": "a table of which no truth is known",
    "oleg.dat": "text: test_spec.py",
    "astig_theory.psf": "no truth is known: test_pyme.py",
    "EMDReader_SpectrumImage_Si.emd": "no truth is known: test_rosettasciio.py",
}
# Texts say nowhere how long they are; some files have what is not needed at their end.
OPEN_ENDED = (".csv", ".dat", ".txt", ".msa", ".md", ".rpl", "frames.raw", "pyramid.ome.tif")
LARGEST_CUT, LARGEST_COPIED = 150_000, 500_000


def rows() -> list[Any]:
    """What is known of each sample."""
    found = []
    for folder in ("peers", "instruments"):
        manifest = SAMPLES / folder / "MANIFEST.json"
        for row in json.loads(manifest.read_text()) if manifest.is_file() else ():
            digest = row.get("sha256" if folder == "peers" else "sha256_array")
            told = {**row, "path": SAMPLES / folder / row["path"], "digest": digest}
            if str(row.get("dtype", "")).startswith("["):  # colours, an axis here
                fields = ast.literal_eval(row["dtype"])
                told |= {"dtype": fields[0][1], "shape": [*row["shape"], len(fields)]}
            found.append(pytest.param(told, id=f"{folder}/{row['path']}"))
    return found or [pytest.param({}, marks=pytest.mark.skip(f"no samples at {SAMPLES}"))]


def files() -> list[Any]:
    """Every sample once that is there, with the options that it needs."""
    found: dict[pathlib.Path, Any] = {}
    for row in rows():
        path = row.values[0].get("path")
        if path is not None and path.exists() and not path.name.startswith("map_"):
            found[path] = pytest.param(path, id=row.id)
    return list(found.values()) or rows()


def options(path: pathlib.Path) -> dict[str, Any]:
    external = {"allow_external": [path.parent]} if "_master" in path.name else {}
    return {**OPTIONS.get(path.name, {}), **external}


def digest(values: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def found_in(path: pathlib.Path, told: dict[str, Any]) -> xr.DataArray:
    """The Main that has these values."""
    wanted, size = np.dtype(told["dtype"]), math.prod(told["shape"])
    shapes = []
    for row in usidx.list_mains(path, **options(path)):
        shapes.append(row.shape)
        # a side of one cell may be shown there, and frames may be folded
        if row.dtype != wanted.newbyteorder("=") or math.prod(row.shape) != size:
            continue
        opened = usidx.open(path, row.path, **options(path))
        values = opened.values.astype(wanted)
        # energies of a Gatan spectrum image are first in its file
        for order in ([*range(values.ndim)], [values.ndim - 1, *range(values.ndim - 1)]):
            if digest(values.transpose(order)) == told["digest"]:
                return opened
    raise AssertionError(f"no Main of {path} has the values; there are {shapes}")


@pytest.mark.parametrize("told", rows())
def test_values(told: dict[str, Any]) -> None:
    path = told["path"]
    if any(path.name.endswith(each) for each in ELSEWHERE) or told["digest"] is None:
        return
    if path.suffix in (".dm3", ".dm4") or "instruments" in str(path):
        pytest.importorskip("rsciio", reason="pip install usidx[rosettasciio]")
    opened = found_in(path, told)
    axes = {each.get("name"): each for each in told.get("axes", ())}
    for dim in opened.dims:
        axis = axes.get(dim)
        if axis is None or not isinstance(axis.get("scale"), (int, float)):
            continue
        expected = (axis.get("offset") or 0) + axis["scale"] * np.arange(opened.sizes[dim])
        np.testing.assert_allclose(opened[dim], expected, rtol=1e-5, atol=1e-12)
        if str(axis.get("units")) not in ("None", "<undefined>", "n_m"):
            assert opened[dim].attrs["units"] == axis["units"]


def looked_at(path: pathlib.Path) -> tuple[str, list[Any]]:
    """Who reads a file, and what is in it; names of Mains may be that of the file."""
    store = store_of(path)
    name = store.reader.name if isinstance(store, ForeignStore) else type(store).__name__
    return name, [(each.dims, each.shape, each.dtype) for each in store.mains()]


@pytest.mark.parametrize("path", files())
def test_other_names(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The same reader without an ending and with a wrong one; or an error that says what is not."""
    if path.stat().st_size > LARGEST_COPIED:
        return
    try:
        expected = looked_at(path)
    except UsidError:
        expected = ("", [])
    wrong = "sample.h5" if path.suffix != ".h5" else "sample.tif"
    for name in ("sample", wrong):
        other = tmp_path / name
        if path.is_dir():
            shutil.copytree(path, other)
        else:
            shutil.copyfile(path, other)
        try:
            found = looked_at(other)
        except UsidError:
            continue
        if expected[0] in ("mib", "nion") and found != expected:
            # without the file beside them that says more
            assert found[0] in ("mib", "numpy")
            assert [each[2] for each in found[1]] == [each[2] for each in expected[1]]
            continue
        assert found == expected, name


@pytest.mark.parametrize("path", files())
def test_cut_short(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A part of a file is refused when it is opened or read, by an error of usidx."""
    if path.is_dir() or path.stat().st_size > LARGEST_CUT or str(path).endswith(OPEN_ENDED):
        return
    whole = path.read_bytes()
    for part in (10, len(whole) // 2, len(whole) * 6 // 10):
        short = tmp_path / path.name
        short.write_bytes(whole[:part])
        with pytest.raises(UsidError):
            read_all(short)


def read_all(path: pathlib.Path) -> None:
    for row in usidx.list_mains(path, **options(path)):
        usidx.open(path, row.path, **options(path)).compute()


def test_every_sample_is_accounted_for() -> None:
    """Each name above is still that of a sample."""
    names = [str(each.values[0].get("path", "")) for each in rows()]
    if names == [""]:
        pytest.skip(f"no samples at {SAMPLES}")
    for name in (*ELSEWHERE, *OPTIONS):
        assert any(each.endswith(name) for each in names), name


def test_what_belongs_to_a_file_is_refused_by_itself() -> None:
    for name in ("image_export.json", "ripple.raw"):
        found = list((SAMPLES / "peers").rglob(name))
        for path in found:
            with pytest.raises(NotUsidError):
                usidx.open(path)
