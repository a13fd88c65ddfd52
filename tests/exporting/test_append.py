"""`to_h5usid(..., append=)`: Mains come to a file as the next Measurement or Channel, identical."""

from __future__ import annotations

import pathlib
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import LayoutError, NotUsidError, OptionError, StoreExistsError
from usidx.exporting import to_h5usid, to_zarr
from usidx.stores import store_at
from usidx.testing import make_main

CHANNEL = "/Measurement_000/Channel_000"


def paths(path: str | pathlib.Path) -> list[str]:
    return [main.path for main in usidx.list_mains(path)]


def assert_same(back: Any, main: xr.DataArray) -> None:
    """Values, labels, units: everything but the book-keeping of the file."""
    xr.testing.assert_equal(back.load(), main.load())
    assert back.dtype == main.dtype
    assert {name: back.attrs[name] for name in main.attrs} == main.attrs
    for name, coordinate in main.coords.items():
        assert back[name].attrs == coordinate.attrs


def ancillaries(path: str, main: str) -> list[str]:
    with h5py.File(path, "r") as file:
        attrs = file[main].attrs
        return [file[attrs[f"{side}_Values"]].name for side in ("Position", "Spectroscopic")]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file with one Main."""
    return to_h5usid(make_main(), tmp_path / "scan.h5")


class TestPlaces:
    def test_the_next_measurement(self, path: str) -> None:
        assert make_main(seed=1).usid.to_h5usid(path, append=True) == path
        main = "/Measurement_001/Channel_000/Raw_Data"
        assert paths(path) == [f"{CHANNEL}/Raw_Data", main]
        assert_same(usidx.open(path, main), make_main(seed=1))
        assert_same(usidx.open(path, f"{CHANNEL}/Raw_Data"), make_main())
        assert ancillaries(path, main)[0].startswith("/Measurement_001")

    def test_the_next_channel(self, path: str) -> None:
        for number in (1, 2):
            make_main(seed=number).usid.to_h5usid(path, append="Measurement_000")
            main = f"/Measurement_000/Channel_00{number}/Raw_Data"
            assert_same(usidx.open(path, main), make_main(seed=number))
            shared = [f"{CHANNEL}/{side}_Values" for side in ("Position", "Spectroscopic")]
            assert ancillaries(path, main) == shared

    def test_another_group(self, path: str) -> None:
        to_h5usid(make_main().rename("Height"), path, append=CHANNEL)
        to_h5usid(make_main().rename("Phase"), path, append="/Extra")
        assert paths(path) == ["/Extra/Phase", f"{CHANNEL}/Height", f"{CHANNEL}/Raw_Data"]
        with pytest.raises(StoreExistsError, match=r"rename\(\.\.\.\)"):
            to_h5usid(make_main(), path, append=CHANNEL)

    def test_a_file_that_is_not_there_yet(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "new.h5"
        to_h5usid(make_main(), path, append="Measurement_004")
        to_h5usid(make_main(), path, append=True)
        assert paths(path) == [
            "/Measurement_004/Channel_000/Raw_Data",
            "/Measurement_005/Channel_000/Raw_Data",
        ]

    def test_what_is_no_hdf5_file(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("precious")
        with pytest.raises(NotUsidError, match="signature"):
            to_h5usid(make_main(), path, append=True)
        assert path.read_text() == "precious"

    def test_either_replaced_or_added_to(self, path: str) -> None:
        with pytest.raises(OptionError, match="not both"):
            to_h5usid(make_main(), path, append=True, overwrite=True)


class TestSeveral:
    def test_a_list_is_the_channels_of_one_measurement(self, path: str) -> None:
        channels = [make_main(seed=1), make_main(seed=2, dtype="complex64"), make_main((2, 3, 4))]
        to_h5usid(channels, path, append=True)
        for number, channel in enumerate(channels):
            main = f"/Measurement_001/Channel_00{number}/Raw_Data"
            assert_same(usidx.open(path, main), channel)
        first = "/Measurement_001/Channel_000/Position_Values"
        homes = [ancillaries(path, f"/Measurement_001/Channel_00{n}/Raw_Data")[0] for n in range(3)]
        assert homes == [first, first, "/Measurement_001/Channel_002/Position_Values"]

    def test_a_dict_has_names_or_paths(self, path: str) -> None:
        one, two = make_main(seed=1), make_main(seed=2)
        to_h5usid({"Height": one, "Phase": two}, path, append="Measurement_000")
        to_h5usid({"Measurement_000/Channel_000/Far": one}, path, append=True)
        assert paths(path)[1:] == [
            "/Measurement_000/Channel_001/Height",
            "/Measurement_000/Channel_002/Phase",
            "/Measurement_001/Channel_000/Far",
        ]
        assert_same(usidx.open(path, "Phase"), two.rename("Phase"))

    def test_in_new_stores_too(self, tmp_path: pathlib.Path) -> None:
        channels = {"Height": make_main(seed=1), "/a/b": make_main(seed=2)}
        for store in (
            to_h5usid(channels, tmp_path / "a.h5"),
            to_zarr(channels, tmp_path / "a.zarr"),
        ):
            assert set(paths(store)) == {"/Measurement_000/Channel_000/Height", "/a/b"}

    def test_a_tree_keeps_its_results(self, path: str, tmp_path: pathlib.Path) -> None:
        main = usidx.open(path)
        result = main.usid.process(usidx.steps.peak_response, along="Frequency").run()
        tree = usidx.open_tree(path)
        tree["Measurement_000"].attrs["operator"] = "Ada"
        other = to_h5usid(make_main(seed=5), tmp_path / "other.h5")
        tree.usid.to_h5usid(other, append=True)
        group = f"/Measurement_001/Channel_000/{result.name}"
        record = store_at(other).result(group)
        assert record.sources == (("", "/Measurement_001/Channel_000/Raw_Data"),)
        assert (record.status, record.parameters) == ("complete", {"along": "Frequency"})
        back = usidx.open(other, f"{group}/Peak_Response")
        np.testing.assert_array_equal(back, result.open())
        with h5py.File(other, "r") as file:
            assert file["Measurement_001"].attrs["operator"] == "Ada"
            assert "operator" not in file["Measurement_000"].attrs

    def test_a_result_alone_finds_its_source_in_the_file(self, path: str) -> None:
        main = usidx.open(path)
        result = main.usid.process(usidx.steps.peak_response, along="Frequency").run()
        result.open().usid.to_h5usid(path, append=True)
        record = store_at(path).result(f"/Measurement_001/Channel_000/{result.name}")
        assert record.sources == (("", f"{CHANNEL}/Raw_Data"),)

    def test_what_is_shared_is_computed_once(self, path: str) -> None:
        calls: list[int] = []

        def count(block: Any) -> Any:
            calls.append(1)
            return block

        main = make_main(chunks={"Y": 1})
        lazy = main.copy(data=main.data.map_blocks(count, meta=np.empty((0, 0, 0), "f4")))
        to_h5usid([lazy + 1, lazy * 2], path, append=True)
        assert len(calls) == 4

    def test_nothing_to_write(self, path: str) -> None:
        for nothing in ([], {}, xr.DataTree()):
            with pytest.raises(LayoutError, match="is empty"):
                to_h5usid(nothing, path, append=True)
        with pytest.raises(OptionError, match="from_array"):
            to_h5usid([np.zeros((2, 3))], path, append=True)  # type: ignore[list-item]
        with pytest.raises(OptionError, match="got a int"):
            to_h5usid(3, path, append=True)  # type: ignore[arg-type]


class TestValues:
    @pytest.mark.parametrize(
        "options", [{}, {"checksums": False}, {"compression": "gzip"}, {"compression": "lzf"}]
    )
    @pytest.mark.parametrize("dtype", ["f4", "c16", "u8"])
    def test_they_are_stored_as_asked(
        self, path: str, tmp_path: pathlib.Path, options: Any, dtype: str
    ) -> None:
        main = make_main(dtype=dtype, chunks={"Y": 1})
        to_h5usid(main, path, append=True, **options)
        new = to_h5usid(main, tmp_path / "new.h5", **options)
        for file_path, name in ((path, "/Measurement_001"), (new, "/Measurement_000")):
            back = usidx.open(file_path, f"{name}/Channel_000/Raw_Data")
            assert_same(back, main)
            with h5py.File(file_path, "r") as file:
                dataset = file[f"{name}/Channel_000/Raw_Data"]
                assert dataset.fletcher32 == options.get("checksums", True)
                assert dataset.compression == options.get("compression")

    def test_no_compression_without_checksums(self, tmp_path: pathlib.Path) -> None:
        with pytest.raises(OptionError, match="checksums"):
            to_h5usid(make_main(), tmp_path / "a.h5", compression="gzip", checksums=False)

    @pytest.mark.parametrize("checksums", [True, False])
    def test_they_may_come_from_the_file_itself(self, path: str, checksums: bool) -> None:
        main = usidx.open(path, chunks={"Y": 1})
        (main * 2).usid.to_h5usid(path, append="Measurement_000", checksums=checksums)
        added = usidx.open(path, "Measurement_000/Channel_001/Raw_Data")
        np.testing.assert_array_equal(added, make_main() * 2)
        np.testing.assert_array_equal(main, make_main())  # which is what it was

    def test_a_failure_changes_nothing(self, path: str) -> None:
        def fail(block: Any) -> Any:
            raise ZeroDivisionError("in the middle")

        before = pathlib.Path(path).read_bytes()
        main = make_main(chunks={"Y": 1})
        broken = main.copy(data=main.data.map_blocks(fail, meta=np.empty((0, 0, 0), "f4")))
        with pytest.raises(ZeroDivisionError):
            to_h5usid([main, broken], path, append=True)
        assert pathlib.Path(path).read_bytes() == before
        assert [each.name for each in pathlib.Path(path).parent.iterdir()] == ["scan.h5"]

    def test_a_file_of_another_program(self, tmp_path: pathlib.Path, samples: pathlib.Path) -> None:
        name = "28_beps_small_like_h5py.h5"
        path = tmp_path / name
        path.write_bytes((samples / "h5usid" / "pyusid" / name).read_bytes())
        before = usidx.open(path).load()
        (raw,) = paths(path)
        scaled = usidx.open(path) * 2
        scaled.usid.to_h5usid(path, append="Measurement_000")
        added = usidx.open(path, "Measurement_000/Channel_001/Raw_Data")
        np.testing.assert_array_equal(added, before * 2)
        np.testing.assert_array_equal(usidx.open(path, raw), before)
        main = "/Measurement_000/Channel_001/Raw_Data"
        assert ancillaries(str(path), main) == ancillaries(str(path), raw)
