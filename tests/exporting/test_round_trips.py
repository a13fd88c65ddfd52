"""h5USID -> Zarr -> h5USID -> netCDF -> h5USID keeps everything, step by step."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings

import usidx
from usidx.arrays.fields import to_dataset
from usidx.arrays.labels import to_dataarray
from usidx.errors import UsidError
from usidx.exporting import to_h5usid, to_netcdf, to_zarr
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Layout, Points
from usidx.model.main import MainSpec
from usidx.stores import store_at
from usidx.testing import make_main

CHAIN = (to_h5usid, to_zarr, to_h5usid, to_netcdf, to_h5usid)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=8)
DTYPES = ("?", "u1", "i2", "u4", "i8", "f2", "f4", "f8", "c8", "c16")


@st.composite
def sides(draw: Any, role: Any, names: str) -> Layout:
    """A grid in raster or another order, with or without a dependent coordinate, or points."""
    units = draw(st.sampled_from(["", "nm", "V", "a. u."]))
    count = draw(st.integers(1, len(names)))
    sizes = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    values = st.floats(-1e6, 1e6, width=32)
    if role == "position" and draw(st.booleans()):
        size = draw(st.integers(2, 6))
        columns = []
        for name in names[:count]:
            each = np.array(draw(st.lists(values, min_size=size, max_size=size, unique=True)))
            counters = np.unique(each, return_inverse=True)[1]
            columns.append(Coordinate(name, units, (role,), each, counters))
        return Points(role, tuple(columns), "some cells were not measured")
    dimensions = tuple(
        Dimension(name, units, sorted(draw(st.lists(values, min_size=n, max_size=n, unique=True))))
        for name, n in zip(names, sizes)
    )
    total = int(np.prod(sizes))
    order = np.array(draw(st.permutations(range(total))))
    return Grid(role, dimensions, order=None if (np.diff(order) == 1).all() else order)


@st.composite
def mains(draw: Any) -> xr.DataArray | xr.Dataset:
    """Mains of every dtype, layout and kind of attribute."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if draw(st.integers(0, 3)) == 0:
        dtype = np.dtype([("Amplitude [V]", "f4"), ("n", draw(st.sampled_from(["i2", "c8"])))])
    spec = MainSpec(
        path="/Measurement_000/Channel_000/Raw_Data",
        quantity=draw(TEXT),
        units=draw(TEXT),
        dtype=dtype,
        position=draw(sides("position", "ZYX")),
        spectroscopic=draw(sides("spectroscopic", "fV")),
        attrs=draw(
            st.dictionaries(
                st.sampled_from(["gain", "tip", "on", "list", "words", "µ"]),
                st.one_of(
                    st.integers(-5, 2**40),
                    st.floats(allow_nan=False),
                    TEXT,
                    st.lists(st.integers(0, 9), min_size=1, max_size=3),
                ),
            )
        ),
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def values(field: str | None = None) -> Any:
        kind = dtype if field is None else dtype[field]
        raw = 100 * rng.standard_normal((2, *spec.shape))
        return (raw[0] + 1j * raw[1]).astype(kind) if kind.kind == "c" else raw[0].astype(kind)

    if dtype.names is None:
        return to_dataarray(spec, values())
    return to_dataset(spec, values)


def check(back: Any, main: Any) -> None:
    """Whether values, dtypes, labels, units and attributes are those of `main`."""
    xr.testing.assert_equal(back, main)
    found = [(back, main)]
    if isinstance(main, xr.Dataset):
        found = [(back[name], main[name]) for name in main.data_vars]
    for new, old in found:
        assert (new.dtype, new.dims, new.name) == (old.dtype, old.dims, old.name)
        assert (new.attrs["quantity"], new.attrs["units"]) == (
            old.attrs["quantity"],
            old.attrs["units"],
        )
        for name, value in old.attrs.items():
            np.testing.assert_array_equal(new.attrs[name], value)
    for name, coordinate in main.coords.items():
        for key, value in coordinate.attrs.items():
            if key == "usid_reason":  # why rows are no grid is found out anew
                continue
            np.testing.assert_array_equal(back[name].attrs[key], value)


@given(mains())
@settings(max_examples=40, deadline=None)
def test_generated_mains(main: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = now = None
        for number, export in enumerate(CHAIN):
            now = usidx.open(export(main if now is None else now, f"{folder}/{number}"))
            if first is None:  # rows may turn out to be a grid, or one that is turned around
                first = now.compute()
                for name in [None] if isinstance(main, xr.DataArray) else list(main):
                    rows = [each if name is None else each[name] for each in (first, main)]
                    np.testing.assert_array_equal(*(each.usid.to_2d().values for each in rows))
            check(now.compute(), first)


def test_every_sample(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    count = 0
    files = sorted((samples / "h5usid").glob("*/*.h*5"))
    for number, file in enumerate(files):
        try:
            tree = usidx.open_tree(file, reader="h5usid")
        except UsidError:  # broken ones, and those of others
            continue
        paths = [each.path for each in usidx.list_mains(file)]
        original = {path: usidx.open(file, path).compute() for path in paths}
        now: Any = tree
        for step, export in enumerate(CHAIN[1:]):
            written = export(now, tmp_path / f"{number}-{step}")
            now = usidx.open_tree(written)
            assert {each.path for each in usidx.list_mains(written)} == set(paths)
            for path, main in original.items():
                check(usidx.open(written, path).compute(), main)
                count += 1
    assert count > 200


@usidx.step("Twice", version="3")
def twice(spectra: xr.DataArray, *, factor: float = 2.0) -> xr.DataArray:
    """The values times a factor."""
    return spectra * factor


def test_what_is_done_of_a_partial_group_is_listed_alike(
    samples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A fit that is half done beside a guess that is whole."""
    file = samples / "h5usid" / "pyusid" / "29_bglib_fitter_status_names.h5"
    listed = {each.path: each.status for each in usidx.list_mains(file)}
    assert sorted(listed.values()) == ["complete", "complete", "partial (53 %)"]
    tree = usidx.open_tree(file)
    for export, name in ((to_zarr, "a.zarr"), (to_netcdf, "a.nc"), (to_h5usid, "a.h5")):
        mains = usidx.list_mains(export(tree, tmp_path / name))
        assert {each.path: each.status for each in mains} == listed


def test_what_dimensions_measure(tmp_path: pathlib.Path) -> None:
    """Labels of plots, which USID has no place for."""
    main = usidx.from_array(
        np.arange(24.0).reshape(4, 3, 2), quantity="I", units="A",
        position=[Dimension("X", "um", [0, 1, 2, 5], quantity="Stage")],
        spectroscopic=[Dimension("V", "V", 3, quantity="Bias µ"), Dimension("t", "s", 2)],
    )  # fmt: skip
    now = main
    for number, export in enumerate(CHAIN):
        now = usidx.open(export(now, tmp_path / str(number)))
        assert [now[dim].attrs["long_name"] for dim in now.dims] == ["Stage", "Bias µ", "t"]
        assert now.usid.to_2d().shape == (4, 6)
    # another Main of the same values does not take them for its own
    other = usidx.from_array(
        np.zeros((4, 3)), quantity="I", units="A", name="Other",
        position=[Dimension("X", "um", [0, 1, 2, 5], quantity="Tip")],
        spectroscopic=[Dimension("V", "V", 3)],
    )  # fmt: skip
    path = to_h5usid({"First": main, "Second": other}, tmp_path / "both.h5")
    found = [usidx.open(path, name) for name in ("First", "Second")]
    assert [each.X.attrs["long_name"] for each in found] == ["Stage", "Tip"]
    assert usidx.validate(path, values=True).ok


def test_the_counters_of_points(samples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Rows that just count, as of sparse scans, are not counted by their values afterwards."""
    file = samples / "h5usid" / "pyusid" / "11_sparse_DimType_INCOMPLETE.h5"
    now: Any = usidx.open(file)
    for number, export in enumerate(CHAIN):
        path = export(now, tmp_path / str(number))
        now = usidx.open(path)
        if export is to_h5usid:
            with h5py.File(path) as written, h5py.File(file) as original:
                for name in ("Position_Indices", "Position_Values"):
                    place = f"Measurement_000/Channel_000/{name}"
                    np.testing.assert_array_equal(written[place], original[place])


def test_results_and_lineage(tmp_path: pathlib.Path) -> None:
    from usidx.testing import make_main

    now = to_h5usid(make_main(chunks={}), tmp_path / "0")
    group = usidx.open(now, "Raw_Data").usid.process(twice, factor=3.5).run()
    record = store_at(now).result(group.path)
    for number, export in enumerate(CHAIN[1:], 1):
        now = export(usidx.open_tree(now), tmp_path / str(number))
        found = usidx.open(now, "Raw_Data").usid.results("Twice")
        assert [each.path for each in found] == [group.path]
        again = store_at(now).result(group.path)
        for name in ("tool", "version", "fingerprint", "parameters", "status", "done", "total"):
            assert getattr(again, name) == getattr(record, name), name
        assert again.sources == (("", "/Measurement_000/Channel_000/Raw_Data"),)
        result = usidx.open(now, "Twice")
        np.testing.assert_array_equal(result, usidx.open(now, "Raw_Data") * 3.5)
        assert result.usid.source is not None
        assert result.usid.source.usid.spec.path == "/Measurement_000/Channel_000/Raw_Data"


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
@pytest.mark.parametrize("dtype", ["?", "i2", "f4", "c8", "c16"])
def test_xarray_reads_netcdf_by_itself(tmp_path: pathlib.Path, dtype: str, engine: str) -> None:
    from usidx.testing import make_main

    main = make_main(dtype="f8").astype(dtype)
    path = to_netcdf(main, tmp_path / "a.nc", compression="zlib")
    options = {"auto_complex": True} if engine == "netcdf4" else {}
    group = "Measurement_000/Channel_000/Raw_Data"
    with xr.open_dataset(path, group=group, engine=engine, **options) as plain:
        xr.testing.assert_equal(plain["Raw_Data"].load(), main)
        assert plain["Raw_Data"].attrs["units"] == "V"
        assert plain["Frequency"].attrs["units"] == "Hz"


def test_netcdf_is_validated(tmp_path: pathlib.Path) -> None:
    from usidx.testing import make_main

    path = to_netcdf(make_main(chunks={}), tmp_path / "a.nc")
    report = usidx.validate(path)
    assert report.ok
    assert report.findings.mains == ("/Measurement_000/Channel_000/Raw_Data",)
    whole = (tmp_path / "a.nc").read_bytes()
    values = make_main().values.tobytes()[:64]
    place = whole.index(values)
    (tmp_path / "a.nc").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert not usidx.validate(path, values=True).ok


@pytest.mark.parametrize("write", [to_h5usid, to_zarr, to_netcdf])
@pytest.mark.parametrize("lazy", [False, True])
def test_an_array_of_records_is_a_compound_main(
    tmp_path: pathlib.Path, write: Any, lazy: bool
) -> None:
    values = np.zeros((3, 4, 5), [("a", "f4"), ("n", "i2")])
    values["a"], values["n"] = np.random.default_rng(3).random((3, 4, 5)), np.arange(5)
    y, x, z = (usidx.Dimension(name, "m", size) for name, size in zip("YXZ", values.shape))
    main = usidx.from_array(values, "Counts", "1", position=[y, x], spectroscopic=[z])
    found: Any = usidx.open(write(main.chunk() if lazy else main, str(tmp_path / "scan")))
    assert list(found.data_vars) == ["a", "n"]
    for name in ("a", "n"):
        np.testing.assert_array_equal(found[name].values, values[name])
        assert found[name].dtype == values[name].dtype


def test_names_that_netcdf_keeps_for_itself(tmp_path: pathlib.Path) -> None:
    names = (
        "CLASS",
        "NAME",
        "DIMENSION_LIST",
        "REFERENCE_LIST",
        "a ",
        "ü",
        "1",
        "x\n",
        "_x",
        "a/b",
    )
    main = make_main((2, 3, 4)).assign_attrs({name: "GROUP" for name in names})
    tree = xr.DataTree.from_dict({"Measurement_000": xr.Dataset(attrs=dict.fromkeys(names, 3))})
    tree["Measurement_000/Channel_000"] = xr.DataTree(main.to_dataset())
    path = to_netcdf(tree, str(tmp_path / "scan.nc"))
    found = usidx.open_tree(path)
    again: Any = usidx.open(path)
    assert {name: again.attrs[name] for name in names} == dict.fromkeys(names, "GROUP")
    assert {name: found["Measurement_000"].attrs[name] for name in names} == dict.fromkeys(names, 3)
    with xr.open_dataset(path, group=usidx.list_mains(path)[0].path) as plain:
        np.testing.assert_array_equal(plain["Raw_Data"].values, main.values)
