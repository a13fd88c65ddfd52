"""Exports come back identical, replace the old store in one step, and leave nothing behind."""

from __future__ import annotations

import pathlib
import threading
import time
from dataclasses import replace
from typing import Any

import dask
import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.arrays.making import from_array
from usidx.arrays.roles import assign_roles
from usidx.errors import (
    LayoutError,
    OptionError,
    SourceChangedError,
    StoreExistsError,
    StoreNotFoundError,
)
from usidx.exporting import to_h5usid, to_zarr
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.stores import store_at
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.testing import make_main

CHANNEL = "/Measurement_000/Channel_000"


def compound(**chunks: int) -> xr.Dataset:
    """A compound Main of two fields."""
    main = make_main(chunks=chunks or None)
    fields = {"Amplitude [V]": main.max("Frequency"), "n": main.argmax("Frequency")}
    return xr.Dataset(fields, attrs={"usid_main": "Fit", "quantity": "SHO", "units": "a. u."})


def points() -> xr.DataArray:
    """A Main on a list of positions."""
    columns = tuple(
        Coordinate(name, "um", ("position",), values, np.unique(values, return_inverse=True)[1])
        for name, values in (("Y", np.array([0.0, 2.0, 5.0])), ("X", np.array([1.0, 1.0, 7.5])))
    )
    return from_array(
        np.arange(12.0).reshape(3, 4),
        "Height",
        "nm",
        position=Points("position", columns),
        spectroscopic=Dimension("t", "s", [0.0, 1.0, 2.0, 4.0]),
        attrs={"tip": "blunt"},
    )


def random_scan() -> xr.DataArray:
    """A Main whose positions were visited in a random order."""
    sides = Dimension("Y", "um", 3), Dimension("X", "um", 4)
    order = np.random.default_rng(0).permutation(12)
    return from_array(
        np.arange(24.0).reshape(3, 4, 2),
        "Height",
        "nm",
        position=Grid("position", sides, order=order),
        spectroscopic=Dimension("t", "s", 2),
    )


def roles_alone() -> xr.DataArray:
    """An array that never came from a file."""
    image = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("row", "column"), name="Photo")
    return assign_roles(image, ["row", "column"], quantity="Height", units="nm")


@usidx.step("Peak", version="1")
def peak(spectra: xr.DataArray, *, along: str) -> xr.DataArray:
    """The largest value of each spectrum."""
    return spectra.max(along)


def beside(path: pathlib.Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


class TestToZarr:
    """`to_zarr`."""

    @pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i2"])
    @pytest.mark.parametrize("chunks", [None, {"Y": 1}, {"Y": 3, "X": 2}])
    def test_a_main_comes_back(self, tmp_path: pathlib.Path, dtype: str, chunks: Any) -> None:
        main = make_main(dtype=dtype, chunks=chunks)
        path = to_zarr(main, tmp_path / "a.zarr")
        assert path == str(tmp_path / "a.zarr")
        xr.testing.assert_identical(usidx.open(path).load(), main.load())
        plain = xr.open_zarr(path, group=f"{CHANNEL}/Raw_Data")["Raw_Data"]
        xr.testing.assert_equal(plain.load(), main)
        assert plain.attrs["units"] == "V"
        assert plain.Frequency.attrs["units"] == "Hz"

    @pytest.mark.parametrize("make", [points, random_scan], ids=lambda make: make.__name__)
    def test_odd_layouts_come_back(self, tmp_path: pathlib.Path, make: Any) -> None:
        main = make()
        path = to_zarr(main, tmp_path / "a.zarr")
        xr.testing.assert_identical(usidx.open(path).load(), main)
        plain = xr.open_zarr(path, group=f"{CHANNEL}/Raw_Data")["Raw_Data"]
        np.testing.assert_array_equal(plain.usid.to_2d(), main.usid.to_2d())

    def test_the_2d_form_comes_back_nd(self, tmp_path: pathlib.Path) -> None:
        main = random_scan()
        path = to_zarr(main.usid.to_2d(), tmp_path / "a.zarr")
        np.testing.assert_array_equal(usidx.open(path), main)

    @pytest.mark.parametrize("chunks", [{}, {"Y": 2}])
    def test_a_compound_main_comes_back(self, tmp_path: pathlib.Path, chunks: Any) -> None:
        fields = compound(**chunks)
        path = to_zarr(fields, tmp_path / "a.zarr")
        back = usidx.open(path)
        assert isinstance(back, xr.Dataset)
        assert list(back.data_vars) == ["Amplitude [V]", "n"]
        assert back.attrs["quantity"] == "SHO"
        for name, field in fields.data_vars.items():
            np.testing.assert_array_equal(back[name].squeeze(), field)
        plain = xr.open_zarr(path, group=f"{CHANNEL}/Fit")
        np.testing.assert_array_equal(plain["n"].squeeze(), fields["n"])

    def test_arrays_without_a_file(self, tmp_path: pathlib.Path) -> None:
        path = to_zarr(roles_alone(), tmp_path / "a.zarr")
        back = usidx.open(path)
        assert back.dims == ("row", "column")
        assert (back.name, back.attrs["units"]) == ("Photo", "nm")
        np.testing.assert_array_equal(back.squeeze(), roles_alone())

    @pytest.mark.parametrize("export", [to_zarr, to_h5usid])
    @pytest.mark.parametrize("left", [["Frequency"], ["Y", "X"], ["Y", "X", "Frequency"]])
    def test_a_side_that_was_left_out_is_so_again(
        self, tmp_path: pathlib.Path, export: Any, left: list[str]
    ) -> None:
        reduced = make_main().mean(left)
        back = usidx.open(export(reduced, tmp_path / "a"))
        assert back.dims == reduced.dims
        np.testing.assert_array_equal(back, reduced)

    def test_dimensions_without_roles_are_told(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(LayoutError, match="assign_roles"):
            to_zarr(xr.DataArray(np.zeros((2, 3)), dims=("a", "b")), tmp_path / "a.zarr")
        assert beside(tmp_path / "a.zarr") == []

    def test_what_was_selected_and_computed(self, tmp_path: pathlib.Path) -> None:
        main = make_main(chunks={"Y": 2})
        part = (main * 2).isel(X=slice(1, 4), Frequency=3)
        path = to_zarr(part.rename("Part"), tmp_path / "a.zarr")
        np.testing.assert_array_equal(usidx.open(path).squeeze(), part)

    def test_a_tree_comes_back(self, tmp_path: pathlib.Path) -> None:
        main = make_main()
        tree = xr.DataTree.from_dict(
            {
                f"{CHANNEL}/Raw_Data": main.to_dataset(),
                f"{CHANNEL}/Other": points().rename("Other").to_dataset(),
                f"{CHANNEL}/Fit": compound(),
            }
        )
        tree["Measurement_000"].attrs["operator"] = "Ada"
        path = to_zarr(tree, tmp_path / "a.zarr")
        assert {row.path for row in usidx.list_mains(path)} == {
            f"{CHANNEL}/Raw_Data",
            f"{CHANNEL}/Other",
            f"{CHANNEL}/Fit",
        }
        xr.testing.assert_identical(usidx.open(path, "Raw_Data").load(), main)
        np.testing.assert_array_equal(usidx.open(path, "Other"), points())
        assert set(usidx.open(path, "Fit").data_vars) == {"Amplitude [V]", "n"}
        plain = xr.open_datatree(path, engine="zarr")
        assert plain["Measurement_000"].attrs["operator"] == "Ada"

    def test_it_keeps_the_path_it_came_from(self, tmp_path: pathlib.Path) -> None:
        other = "/Measurement_007/Channel_001/Raw_Data"
        first = to_zarr(make_main(), tmp_path / "a.zarr", group=other)
        second = to_zarr(usidx.open(first), tmp_path / "b.zarr")
        assert [row.path for row in usidx.list_mains(second)] == [other]

    def test_results_keep_where_they_come_from(self, tmp_path: pathlib.Path) -> None:
        first = to_zarr(make_main(), tmp_path / "a.zarr")
        result = usidx.open(first).usid.process(peak, along="Frequency").run(progress=False)
        second = to_zarr(usidx.open_tree(first), tmp_path / "b.zarr")
        again = usidx.open(second, result.name + "/Peak")
        np.testing.assert_array_equal(again, result.open())
        (record,) = store_at(second).results(f"{CHANNEL}/Raw_Data")
        assert (record.tool, record.status) == ("Peak", "complete")
        assert record.parameters == {"along": "Frequency"}
        assert record.sources == (("", f"{CHANNEL}/Raw_Data"),)
        # alone, it still knows its source
        third = to_zarr(result.open(), tmp_path / "c.zarr")
        record = store_at(third).result(f"{CHANNEL}/{result.name}")
        assert record.sources == ((first, f"{CHANNEL}/Raw_Data"),)

    def test_other_coordinates_are_kept_for_plain_xarray(self, tmp_path: pathlib.Path) -> None:
        main = (
            make_main()
            .isel(X=2)
            .assign_coords(
                mask=(("Y", "Frequency"), np.ones((4, 16), bool), {"long_name": "good"}),
                operator="Ada",
            )
        )
        path = to_zarr(main, tmp_path / "a.zarr")
        plain = xr.open_zarr(path, group=f"{CHANNEL}/Raw_Data")["Raw_Data"].load()
        xr.testing.assert_equal(plain.drop_vars("operator"), main.drop_vars("operator"))
        assert plain.operator.item() == "Ada"
        assert plain.mask.attrs["long_name"] == "good"
        np.testing.assert_array_equal(usidx.open(path), main)

    def test_a_main_is_added(self, tmp_path: pathlib.Path) -> None:
        path = to_zarr(make_main(), tmp_path / "a.zarr")
        to_zarr(make_main(seed=1), path, group=f"{CHANNEL}/Again")
        np.testing.assert_array_equal(usidx.open(path, "Again"), make_main(seed=1))
        np.testing.assert_array_equal(usidx.open(path, "Raw_Data"), make_main())
        tree = xr.DataTree.from_dict({f"/{n}": make_main().to_dataset() for n in "ab"})
        with pytest.raises(OptionError, match="takes one Main"):
            to_zarr(tree, path, group=f"{CHANNEL}/Two")

    def test_a_store_is_replaced_by_what_is_computed_from_it(self, tmp_path: pathlib.Path) -> None:
        path = to_zarr(make_main(), tmp_path / "a.zarr")
        main = usidx.open(path, chunks={"Y": 1})
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            to_zarr(main + 1, path)
        to_zarr((main + 1).rename("Raw_Data"), path, overwrite=True)
        np.testing.assert_allclose(usidx.open(path), make_main() + 1)
        with pytest.raises(SourceChangedError):
            main.load()
        assert beside(tmp_path / "a.zarr") == ["a.zarr"]

    def test_nothing_is_left_of_an_export_that_fails(self, tmp_path: pathlib.Path) -> None:
        def fail(block: Any) -> Any:
            raise ZeroDivisionError("in the middle")

        main = make_main(chunks={"Y": 1})
        broken = main.copy(data=main.data.map_blocks(fail, meta=np.empty((0, 0, 0), "f4")))
        with pytest.raises(ZeroDivisionError):
            to_zarr(broken, tmp_path / "a.zarr")
        assert beside(tmp_path / "a.zarr") == []

    def test_a_folder_that_is_missing_is_named(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(StoreNotFoundError, match="nowhere"):
            to_zarr(make_main(), tmp_path / "nowhere" / "a.zarr")

    @pytest.mark.parametrize("compression", ["lz4", "zstd", None])
    def test_compressions(self, tmp_path: pathlib.Path, compression: Any) -> None:
        path = to_zarr(make_main(), tmp_path / "a.zarr", compression=compression)
        np.testing.assert_array_equal(usidx.open(path), make_main())

    def test_options_are_checked(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(OptionError, match="'gzip' is none of"):
            to_zarr(make_main(), tmp_path / "a.zarr", compression="gzip")  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="chunks="):
            to_zarr(make_main(), tmp_path / "a.zarr", chunks={"Z": 1})
        assert beside(tmp_path / "a.zarr") == []

    def test_chunks_are_as_asked(self, tmp_path: pathlib.Path) -> None:
        main = make_main((4, 5, 16), chunks={"Y": 3, "Frequency": 5})
        path = to_zarr(main, tmp_path / "a.zarr", chunks={"X": 2, "Frequency": 7})
        plain = xr.open_zarr(path, group=f"{CHANNEL}/Raw_Data")["Raw_Data"]
        assert plain.encoding["chunks"] == (4, 2, 7)
        np.testing.assert_array_equal(plain, make_main())

    def test_progress_is_told(self, tmp_path: pathlib.Path) -> None:
        told: list[tuple[int, int]] = []
        main = make_main(chunks={"Y": 1})
        to_zarr(main, tmp_path / "a.zarr", progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_what_arrays_share_is_computed_once(self, tmp_path: pathlib.Path) -> None:
        calls: list[int] = []

        def count(block: Any) -> Any:
            calls.append(1)
            return block

        main = make_main(chunks={"Y": 1})
        shared = main.copy(data=main.data.map_blocks(count, meta=np.empty((0, 0, 0), "f4")))
        fields = xr.Dataset(
            {"low": shared.min("Frequency"), "high": shared.max("Frequency")},
            attrs={"usid_main": "Fit"},
        )
        to_zarr(fields, tmp_path / "a.zarr")
        assert len(calls) == 4

    def test_few_blocks_are_held_at_once(self, tmp_path: pathlib.Path) -> None:
        held, most, lock = 0, 0, threading.Lock()

        class Block(np.ndarray):
            def __del__(self) -> None:
                nonlocal held
                with lock:
                    held -= 1

        def make(number: Any) -> Any:
            nonlocal held, most
            with lock:
                held += 1
                most = max(most, held)
            return np.zeros((1, 100, 1000)).view(Block)

        blocks = [
            dask.array.from_delayed(dask.delayed(make)(n), (1, 100, 1000), dtype=float)
            for n in range(50)
        ]
        main = from_array(
            dask.array.concatenate(blocks),
            "Height",
            "nm",
            position=[Dimension("Y", "um", 50), Dimension("X", "um", 100)],
            spectroscopic=Dimension("t", "s", 1000),
        )
        with dask.config.set(scheduler="threads", num_workers=2):
            to_zarr(main, tmp_path / "a.zarr")
        assert most <= 6


class TestToH5usid:
    """`to_h5usid`."""

    @pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
    @pytest.mark.parametrize("dtype", ["f4", "c16", "i2"])
    @pytest.mark.parametrize("chunks", [None, {"Y": 1}, {"Y": 3, "X": 2}])
    def test_a_main_comes_back(
        self, tmp_path: pathlib.Path, dtype: str, chunks: Any, compression: Any
    ) -> None:
        main = make_main(dtype=dtype, chunks=chunks)
        path = to_h5usid(main, tmp_path / "a.h5", compression=compression)
        assert path == str(tmp_path / "a.h5")
        back = usidx.open(path).load()
        xr.testing.assert_equal(back, main)
        assert back.dtype == main.dtype
        assert back.attrs["quantity"] == main.attrs["quantity"]
        for name, coordinate in main.coords.items():
            assert back[name].attrs == coordinate.attrs
        assert beside(tmp_path / "a.h5") == ["a.h5"]

    def test_h5py_reads_what_pyusid_would(self, tmp_path: pathlib.Path) -> None:
        main = make_main(chunks={"Y": 2})
        path = to_h5usid(main, tmp_path / "a.h5")
        with h5py.File(path) as file:
            dataset = file[f"{CHANNEL}/Raw_Data"]
            np.testing.assert_array_equal(dataset[()], main.values.reshape(20, 16))
            assert (dataset.attrs["quantity"], dataset.attrs["units"]) == (
                main.attrs["quantity"],
                "V",
            )
            values = file[dataset.attrs["Position_Values"]]
            assert list(values.attrs["labels"]) == [b"Y", b"X"]
            np.testing.assert_allclose(values[:, 1], np.tile(main.X, 4), rtol=1e-6)

    @pytest.mark.parametrize("make", [points, random_scan, roles_alone], ids=lambda m: m.__name__)
    def test_odd_layouts_come_back(self, tmp_path: pathlib.Path, make: Any) -> None:
        main = make()
        back = usidx.open(to_h5usid(main, tmp_path / "a.h5"))
        np.testing.assert_array_equal(back.squeeze(), main)
        np.testing.assert_array_equal(back.usid.to_2d(), main.usid.to_2d())

    @pytest.mark.parametrize("chunks", [{}, {"Y": 2}])
    def test_a_compound_main_comes_back(self, tmp_path: pathlib.Path, chunks: Any) -> None:
        fields = compound(**chunks)
        back = usidx.open(to_h5usid(fields, tmp_path / "a.h5"))
        assert isinstance(back, xr.Dataset)
        for name, field in fields.data_vars.items():
            np.testing.assert_array_equal(back[name].squeeze(), field)
            assert back[name].dtype == field.dtype

    def test_results_keep_where_they_come_from(self, tmp_path: pathlib.Path) -> None:
        first = to_zarr(make_main(), tmp_path / "a.zarr")
        result = usidx.open(first).usid.process(peak, along="Frequency").run(progress=False)
        second = to_h5usid(usidx.open_tree(first), tmp_path / "b.h5")
        (record,) = store_at(second).results(f"{CHANNEL}/Raw_Data")
        assert (record.tool, record.status) == ("Peak", "complete")
        assert record.parameters == {"along": "Frequency"}
        assert record.sources == (("", f"{CHANNEL}/Raw_Data"),)
        third = to_zarr(usidx.open_tree(second), tmp_path / "c.zarr")
        (record,) = store_at(third).results(f"{CHANNEL}/Raw_Data")
        assert (record.tool, record.status) == ("Peak", "complete")
        assert record.parameters == {"along": "Frequency"}
        assert record.sources == (("", f"{CHANNEL}/Raw_Data"),)
        again = usidx.open(third, result.name + "/Peak")
        np.testing.assert_array_equal(again, result.open())

    def test_a_file_is_replaced_by_what_is_computed_from_it(self, tmp_path: pathlib.Path) -> None:
        path = to_h5usid(make_main(), tmp_path / "a.h5")
        main = usidx.open(path, chunks={"Y": 1})
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            to_h5usid(main + 1, path)
        to_h5usid((main + 1).rename("Raw_Data"), path, overwrite=True)
        np.testing.assert_allclose(usidx.open(path), make_main() + 1)
        assert beside(tmp_path / "a.h5") == ["a.h5"]

    def test_nothing_is_left_of_an_export_that_fails(self, tmp_path: pathlib.Path) -> None:
        def fail(block: Any) -> Any:
            raise ZeroDivisionError("in the middle")

        main = make_main(chunks={"Y": 1})
        broken = main.copy(data=main.data.map_blocks(fail, meta=np.empty((0, 0, 0), "f4")))
        with pytest.raises(ZeroDivisionError):
            to_h5usid(broken, tmp_path / "a.h5")
        assert beside(tmp_path / "a.h5") == []

    def test_progress_is_told(self, tmp_path: pathlib.Path) -> None:
        told: list[tuple[int, int]] = []
        main = make_main(chunks={"Y": 1})
        to_h5usid(main, tmp_path / "a.h5", progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


REAL = [
    "pyusid/06*",
    "pyusid/07_compound*",
    "pyusid/11*",
    "pyusid/12*",
    "pyusid/13*",
    "pyusid/14*",
    "pyusid/16_duplicate*",
    "pyusid/17*",
    "pyusid/23*",
    "pyusid/28*",
    "real/*AFM*",
]


@pytest.mark.parametrize("export", [to_zarr, to_h5usid], ids=lambda export: export.__name__)
@pytest.mark.parametrize("pattern", REAL)
def test_real_files_come_back(
    samples: pathlib.Path, tmp_path: pathlib.Path, export: Any, pattern: str
) -> None:
    files = sorted((samples / "h5usid").glob(f"{pattern}.h5"))
    assert files
    for number, file in enumerate(files):
        for place, row in enumerate(usidx.list_mains(file)):
            main = usidx.open(file, row.path)
            path = export(main, tmp_path / f"{number}-{place}")
            back = usidx.open(path, row.path)
            assert type(back) is type(main)
            xr.testing.assert_equal(back, main)
            for name, coordinate in main.coords.items():
                assert back[name].attrs == coordinate.attrs
            if export is to_zarr:
                assert {name: each.dtype for name, each in back.coords.items()} == {
                    name: each.dtype for name, each in main.coords.items()
                }
                plain = xr.open_zarr(path, group=row.path)
                for array in [main] if isinstance(main, xr.DataArray) else main.data_vars.values():
                    xr.testing.assert_equal(plain[array.name].variable, array.variable)


@pytest.mark.parametrize("export", [to_zarr, to_h5usid], ids=lambda export: export.__name__)
def test_threads_that_go_on_after_an_error_write_nothing(
    tmp_path: pathlib.Path, export: Any
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def compute(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"][0] == 0:
            begun.wait(10)
            raise ZeroDivisionError("in one block")
        begun.set()
        time.sleep(0.3)
        ended.set()
        return block

    main = make_main((2, 5, 16), chunks={"Y": 1})
    slow = main.copy(data=main.data.map_blocks(compute, meta=np.empty((0, 0, 0), "f4")))
    with (
        dask.config.set(scheduler="threads", num_workers=2),
        pytest.raises(ZeroDivisionError),
    ):
        export(slow, tmp_path / "a")
    assert ended.wait(10)
    time.sleep(0.1)
    assert beside(tmp_path / "a") == []


@pytest.mark.parametrize("export", [to_zarr, to_h5usid], ids=lambda export: export.__name__)
def test_a_cluster_computes_what_is_exported(tmp_path: pathlib.Path, export: Any) -> None:
    from distributed import Client, LocalCluster

    main = make_main(chunks={"Y": 1})
    told: list[tuple[int, int]] = []
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster),
    ):
        path = export(main * 2, tmp_path / "a", progress=lambda *each: told.append(each))
    np.testing.assert_array_equal(usidx.open(path), make_main() * 2)
    assert told[-1] == (4, 4)


@pytest.mark.parametrize("export", [to_zarr, to_h5usid], ids=lambda export: export.__name__)
def test_partial_results_stay_partial(tmp_path: pathlib.Path, export: Any) -> None:
    first = to_zarr(make_main(chunks={"Y": 1}), tmp_path / "a.zarr")
    store = store_at(first)
    source = store.open_main(f"{CHANNEL}/Raw_Data").spec
    output = replace(source, path="/Copy")
    request = ResultRequest(
        parent=CHANNEL,
        main="Raw_Data",
        tool="Copy",
        version="1",
        parameters={"a": [1.5, None]},
        fingerprint="",
        sources=(("", source.path),),
        outputs=(OutputRequest(output, (1, 5, 16)),),
    )
    with store.claim(request) as claim:
        key = (slice(1, 2), slice(0, 5), slice(0, 16))
        claim.writers["Copy"].write(key, make_main().values[key])
        claim.writers["Copy"].mark(key)
    second = export(usidx.open_tree(first), tmp_path / "b")
    record = store_at(second).result(claim.group)
    assert (record.status, record.done, record.total) == ("partial", 5, 20)
    assert record.parameters == {"a": [1.5, None]}
    back = usidx.open(second, "Copy")
    assert back.isel(Y=[0, 2, 3]).isnull().all()
    np.testing.assert_array_equal(back[1], make_main()[1])
