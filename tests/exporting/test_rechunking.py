"""Stores for reading maps, or spectra: the same values in other chunks, in bounded memory."""

from __future__ import annotations

import os
import pathlib
import resource
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import usidx
from tests.chaos.children import in_child
from usidx.errors import NoSpaceError, OptionError, StoreExistsError
from usidx.exporting import rechunk_for, rechunking
from usidx.exporting.moving import bands, passes, sources, transposing
from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.stores import store_at
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.hdf5 import read as read_hdf5
from usidx.stores.hdf5.writing.encoding import Encoding
from usidx.testing import make_main

CHANNEL = "/Measurement_000/Channel_000"
ENDINGS = (".zarr", ".h5")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks, tiles and pieces of a few values, so that little data has many of them."""
    monkeypatch.setattr(bands, "_LEAST_MAPS", 64)
    monkeypatch.setattr(bands, "_LEAST_SPECTRA", 64)
    monkeypatch.setattr(bands, "_MOST_BYTES", 256)
    monkeypatch.setattr(transposing, "_PIECE", 128)
    for module in (passes, rechunking):
        monkeypatch.setattr(module, "TILE", 128)
    monkeypatch.setattr(passes, "_ASIDE_TILE", 512)
    monkeypatch.setattr(sources, "_LONG_RUN", 16)


def fresh(work: Any) -> Any:
    """How `work` ended in a forked child, where dask's threads of before are no more."""

    def child() -> Any:
        with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
            return work()

    return in_child(child, timeout=30)


def snake(shape: tuple[int, int, int]) -> xr.DataArray:
    """A Main whose positions were measured to and fro."""
    y, x, t = shape
    order = np.arange(y * x).reshape(y, x)
    order[1::2] = order[1::2, ::-1].copy()
    dims = (Dimension("Y", "um", y), Dimension("X", "um", x))
    position = Grid("position", dims, order=order.ravel())
    values = np.random.default_rng(0).random(shape).astype("f4")
    return usidx.from_array(
        values, "Height", "nm", position=position, spectroscopic=Dimension("t", "s", t)
    )


def compound(main: xr.DataArray) -> xr.Dataset:
    """A compound Main of two fields."""
    fields = {"Amplitude [V]": main * 2, "n": (main * 1000).astype("i4")}
    return xr.Dataset(fields, attrs={"usid_main": "Fit", "quantity": "SHO", "units": "a. u."})


class TestValues:
    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        shape=st.lists(st.integers(1, 9), min_size=2, max_size=4),
        n_position=st.integers(1, 3),
        dtype=st.sampled_from(["<f4", ">f8", "i2", "?", "c8"]),
        chunks=st.lists(st.integers(1, 9), min_size=4, max_size=4),
        access=st.sampled_from(["maps", "spectra"]),
        ending=st.sampled_from(ENDINGS),
        source=st.sampled_from(["memory", "lazy", "contiguous", "chunked", "zarr"]),
        memory=st.integers(2_000, 6_000),
        workers=st.integers(1, 3),
    )
    def test_any_shape_in_any_memory(
        self,
        tmp_path: pathlib.Path,
        small: None,
        shape: list[int],
        n_position: int,
        dtype: str,
        chunks: list[int],
        access: Any,
        ending: str,
        source: str,
        memory: int,
        workers: int,
    ) -> None:
        n_position = min(n_position, len(shape) - 1)
        values = (np.random.default_rng(0).random(shape) * 1000).astype(dtype)
        dims = [Dimension(*each) for each in zip("ABCD", ["um"] * 4, shape)]
        main = usidx.from_array(
            values, "I", "nA", position=dims[:n_position], spectroscopic=dims[n_position:]
        )
        path = str(tmp_path / f"source{'.zarr' if source == 'zarr' else '.h5'}")
        cut = dict(zip("ABCD", chunks[: len(shape)]))
        if source == "zarr":
            read = usidx.open(main.usid.to_zarr(path, chunks=cut, overwrite=True))
        elif source in ("contiguous", "chunked"):
            compressed = "gzip" if source == "chunked" else None
            lies = {"checksums": source == "chunked", "compression": compressed}
            read = usidx.open(main.chunk(cut).usid.to_h5usid(path, overwrite=True, **lies))
        else:
            read = main if source == "memory" else main.chunk(cut)
        into = str(tmp_path / f"into{ending}")
        try:
            rechunk_for(read, access, into, memory=memory, workers=workers, overwrite=True)
        except OptionError:  # it says how much is enough, which is below
            rechunk_for(read, access, into, overwrite=True)
        found = usidx.open(into)
        assert found.dims == main.dims
        assert found.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found.values, values)

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("access", ["maps", "spectra"])
    def test_coordinates_and_attributes_stay(
        self, tmp_path: pathlib.Path, small: None, access: Any, ending: str
    ) -> None:
        main = make_main((4, 5, 12), chunks={"Y": 1}).assign_attrs(tip="blunt")
        read = usidx.open(main.usid.to_h5usid(tmp_path / "scan.h5"))
        into = read.usid.rechunk_for(access, tmp_path / f"into{ending}", memory=6000, workers=2)
        assert into == str(tmp_path / f"into{ending}")
        xr.testing.assert_identical(usidx.open(into).load(), read.load())
        assert [each.path for each in usidx.list_mains(into)] == [f"{CHANNEL}/Raw_Data"]

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("lazy", [True, False])
    def test_fields_of_a_compound_main(
        self, tmp_path: pathlib.Path, small: None, ending: str, lazy: bool
    ) -> None:
        fields = compound(make_main((4, 5, 12), chunks={"Y": 1} if lazy else None))
        into = fields.usid.rechunk_for("maps", tmp_path / f"into{ending}", memory=12000, workers=2)
        found = usidx.open(into)
        assert set(found) == {"Amplitude [V]", "n"}
        for name, each in fields.items():
            np.testing.assert_array_equal(found[name], each)
        again = found.usid.rechunk_for("spectra", tmp_path / "again.h5", memory=12000)
        np.testing.assert_array_equal(usidx.open(again)["n"], fields["n"])
        only = found["n"].usid.rechunk_for("maps", tmp_path / "n.zarr", memory=12000)
        np.testing.assert_array_equal(usidx.open(only), fields["n"])

    @pytest.mark.parametrize("access", ["maps", "spectra"])
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_the_order_of_acquisition_stays(
        self, tmp_path: pathlib.Path, small: None, access: Any, ending: str
    ) -> None:
        main = snake((6, 8, 10))
        read = usidx.open(main.usid.to_h5usid(tmp_path / "scan.h5"))
        into = usidx.open(read.usid.rechunk_for(access, tmp_path / f"into{ending}", memory=5000))
        xr.testing.assert_identical(into.load(), read.load())
        np.testing.assert_array_equal(into.usid.to_2d(), read.usid.to_2d())
        if ending == ".h5":
            with h5py.File(tmp_path / "into.h5") as new, h5py.File(tmp_path / "scan.h5") as old:
                np.testing.assert_array_equal(
                    new[f"{CHANNEL}/Raw_Data"][()], old[f"{CHANNEL}/Raw_Data"][()]
                )

    def test_any_order_is_for_zarr_where_memory_is_short(
        self, tmp_path: pathlib.Path, small: None
    ) -> None:
        order = np.random.default_rng(1).permutation(48)
        dims = (Dimension("Y", "um", 6), Dimension("X", "um", 8))
        position = Grid("position", dims, order=order)
        values = np.random.default_rng(0).random((6, 8, 40)).astype("f4")
        main = usidx.from_array(
            values, "I", "nA", position=position, spectroscopic=Dimension("t", "s", 40)
        )
        read = usidx.open(main.usid.to_h5usid(tmp_path / "scan.h5", checksums=False))
        with pytest.raises(
            OptionError, match=r"give memory='1MB' or more, or write a \.zarr store"
        ):
            read.usid.rechunk_for("spectra", tmp_path / "into.h5", memory=4000, workers=1)
        for into in (
            read.usid.rechunk_for("spectra", tmp_path / "into.zarr", memory=4000, workers=1),
            read.usid.rechunk_for("spectra", tmp_path / "into.h5"),
            read.usid.rechunk_for("maps", tmp_path / "maps.h5", memory=4000, workers=1),
        ):
            xr.testing.assert_identical(usidx.open(into).load(), read.load())

    def test_a_list_of_points(self, tmp_path: pathlib.Path, small: None) -> None:
        columns = tuple(
            Coordinate(name, "um", ("position",), np.arange(7.0) ** power, np.arange(7))
            for name, power in (("Y", 1), ("X", 2))
        )
        main = usidx.from_array(
            np.random.default_rng(0).random((7, 30)),
            "Height",
            "nm",
            position=Points("position", columns),
            spectroscopic=Dimension("t", "s", 30),
        )
        read = usidx.open(main.usid.to_h5usid(tmp_path / "scan.h5"))
        for ending in ENDINGS:
            into = read.usid.rechunk_for("maps", tmp_path / f"a{ending}", memory=4000)
            found = usidx.open(into)
            np.testing.assert_array_equal(found, main)
            for name in ("X", "Y"):
                np.testing.assert_array_equal(found[name], main[name])

    def test_results_keep_where_they_come_from(self, tmp_path: pathlib.Path) -> None:
        read = usidx.open(make_main((4, 5, 12)).usid.to_h5usid(tmp_path / "scan.h5"))
        result = read.usid.save(read * 2, "Double", {"by": 2})
        into = result.open().usid.rechunk_for("maps", tmp_path / "double.zarr")
        found = usidx.open(into, "Double")
        np.testing.assert_array_equal(found, read * 2)
        assert found.attrs["usid_status"] == "complete"
        xr.testing.assert_identical(found.usid.source.load(), read.load())

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_tree_goes_as_a_whole(self, tmp_path: pathlib.Path, small: None, ending: str) -> None:
        main = make_main((4, 5, 12), chunks={"Y": 1})
        path = usidx.to_h5usid([main, main * 2], tmp_path / "scan.h5", compression="lzf")
        with h5py.File(path, "r+") as file:
            file[CHANNEL].attrs["operator"] = "Ada"
            file[CHANNEL]["Image"] = np.arange(6).reshape(2, 3)
        into = usidx.open_tree(path).usid.rechunk_for("maps", tmp_path / f"a{ending}", memory=6000)
        assert [each.path for each in usidx.list_mains(into)] == [
            f"/Measurement_000/Channel_00{number}/Raw_Data" for number in range(2)
        ]
        for number in range(2):
            found = usidx.open(into, f"Channel_00{number}/Raw_Data")
            np.testing.assert_array_equal(found, main * (number + 1))
        assert usidx.open_tree(into)[CHANNEL].attrs["operator"] == "Ada"
        if ending == ".h5":
            with h5py.File(into) as file:
                np.testing.assert_array_equal(file[CHANNEL]["Image"], np.arange(6).reshape(2, 3))

    def test_what_was_not_computed_stays_so(self, tmp_path: pathlib.Path) -> None:
        store = store_at(make_main((4, 5, 12)).usid.to_zarr(tmp_path / "scan.zarr"))
        source = store.open_main(RAW).spec
        output = OutputRequest(replace(source, path="/Copy"), (1, 5, 12))
        sources = (("", source.path),)
        request = ResultRequest(CHANNEL, "Raw_Data", "Copy", "1", {}, "", sources, (output,))
        with store.claim(request) as claim:
            key = (slice(1, 2), slice(0, 5), slice(0, 12))
            claim.writers["Copy"].write(key, make_main((4, 5, 12)).values[key])
            claim.writers["Copy"].mark(key)
        partial = usidx.open(store.path, "Copy")
        assert partial.isnull().sum() == 3 * 5 * 12
        for ending in ENDINGS:
            into = partial.usid.rechunk_for("maps", tmp_path / f"copy{ending}")
            found = usidx.open(into, "Copy")
            np.testing.assert_array_equal(found, partial)
            assert found.attrs["usid_status"] == "partial"


class TestAccess:
    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("compression", [None, False])
    def test_one_map_is_read_in_one_piece(
        self,
        tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch,
        ending: str,
        compression: Any,
    ) -> None:
        monkeypatch.setattr(read_hdf5, "DEFAULT_BUDGET", 2**20)
        monkeypatch.setattr(read_hdf5, "_WIDEST", 2**20)
        main = make_main((256, 256, 32))
        read = usidx.open(main.usid.to_h5usid(tmp_path / "scan.h5", checksums=False))
        into = read.usid.rechunk_for(
            "maps", tmp_path / f"into{ending}", memory="40MB", compression=compression
        )
        found = usidx.open(into)
        one = found.isel(Frequency=17)
        expected = read.isel(Frequency=17).values
        np.testing.assert_array_equal(one, expected)  # and files are known from now on
        before = bytes_read()
        assert found.data.chunksize[:2] == (256, 256)
        assert ending == ".zarr" or found.data.chunksize[2] < 32
        again = found.isel(Frequency=18).values
        assert bytes_read() - before < 2 * again.nbytes
        np.testing.assert_array_equal(again, read.isel(Frequency=18))

    def test_what_people_ask_for(self, tmp_path: pathlib.Path) -> None:
        main = make_main((4, 5, 12))
        with pytest.raises(OptionError, match="did you mean 'maps'"):
            main.usid.rechunk_for("map", tmp_path / "a.zarr")  # type: ignore[arg-type]
        with pytest.raises(OptionError, match=r"end it with \.zarr or \.h5"):
            main.usid.rechunk_for("maps", tmp_path / "a.dat")
        with pytest.raises(OptionError, match="'gzip' is none that"):
            main.usid.rechunk_for("maps", tmp_path / "a.zarr", compression="gzip")
        with pytest.raises(OptionError, match="is no amount of memory"):
            main.usid.rechunk_for("maps", tmp_path / "a.zarr", memory="much")
        with pytest.raises(OptionError, match="memory are needed at least"):
            main.usid.rechunk_for("maps", tmp_path / "a.zarr", memory=100)
        with pytest.raises(OptionError, match="workers=0"):
            main.usid.rechunk_for("maps", tmp_path / "a.zarr", workers=0)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("compression", [False, "lz4", "zstd"])
    def test_chunks_are_those_of_zarr(
        self, tmp_path: pathlib.Path, small: None, compression: Any
    ) -> None:
        main = make_main((6, 7, 10), dtype="complex64")
        ours = main.usid.rechunk_for("maps", tmp_path / "ours.zarr", compression=compression)
        chunk = dict(zip(main.dims, store_at(ours).open_main(RAW).array.chunks))
        theirs = main.usid.to_zarr(
            tmp_path / "theirs.zarr", chunks=chunk, compression=compression or None
        )
        places = [
            os.path.join(os.path.relpath(parent, ours), name)
            for parent, _, names in os.walk(ours)
            for name in names
            if f"{os.sep}c{os.sep}" in os.path.join(parent, name)
        ]
        assert len(places) > 5
        for place in places:
            one, other = (pathlib.Path(root, place).read_bytes() for root in (ours, theirs))
            if 6 % chunk["Y"] == 0 and 10 % chunk["Frequency"] == 0:
                assert one == other, place

    @pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
    @pytest.mark.parametrize("dtype", ["f4", "u1", ">i4", "c16"])
    def test_chunks_are_those_of_hdf5(
        self, tmp_path: pathlib.Path, compression: str | None, dtype: str
    ) -> None:
        rng = np.random.default_rng(0)
        for values in (
            np.arange(60 * 7).reshape(60, 7).astype(dtype),
            np.frombuffer(rng.bytes(60 * 7 * np.dtype(dtype).itemsize), dtype).reshape(60, 7),
        ):
            encoding = Encoding(compression, compression is not None, (60, 7), np.dtype(dtype))
            skipped, data = encoding.encode(values)
            with h5py.File(tmp_path / "a.h5", "w") as file:
                main = file.create_dataset("a", (60, 7), dtype, **encoding.options())
                main.id.write_direct_chunk((0, 0), data, skipped)
            with h5py.File(tmp_path / "a.h5") as file:
                assert file["a"][()].tobytes() == values.tobytes()


RAW = f"{CHANNEL}/Raw_Data"


def bytes_read() -> int:
    """Bytes that this process has read so far."""
    lines = pathlib.Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].split()[1])


class TestMemory:
    def test_what_is_computed_is_computed_once(
        self, tmp_path: pathlib.Path, small: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        computed: list[Any] = []
        aside: list[int] = []
        make = transposing.Spill.__init__

        def noted(self: Any, folder: str, cut: Any, dtype: Any, nbytes: int) -> None:
            aside.append(nbytes)
            make(self, folder, cut, dtype, nbytes)

        def block(values: Any, block_info: Any = None) -> Any:
            computed.append(tuple(block_info[None]["chunk-location"]))
            return values + 1

        monkeypatch.setattr(transposing.Spill, "__init__", noted)
        main = make_main((8, 6, 40), chunks={"Y": 2, "Frequency": 10})
        lazy = main.copy(
            data=main.data.map_blocks(block, dtype=main.dtype, meta=np.empty((0,) * 3))
        )
        computed.clear()
        into = lazy.usid.rechunk_for("maps", tmp_path / "into.zarr", memory=5000, workers=2)
        assert len(computed) == len(set(computed)) == 16
        assert aside == [main.nbytes]
        np.testing.assert_array_equal(usidx.open(into), main + 1)

    @pytest.mark.parametrize("source", ["contiguous", "lazy"])
    def test_memory_is_bounded(self, tmp_path: pathlib.Path, source: str) -> None:
        main = make_main((256, 256, 256))
        path = main.usid.to_h5usid(tmp_path / "scan.h5", checksums=False)
        read = usidx.open(path)
        small = make_main((8, 8, 8), chunks={"Y": 4})

        def work() -> int:
            rechunk_for(small, "maps", tmp_path / "small.zarr")
            usidx.open(tmp_path / "small.zarr").load()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            obj = read if source == "contiguous" else usidx.open(path, chunks={"Y": 4}) + 1
            rechunk_for(obj, "maps", tmp_path / "into.zarr", memory="24MB", workers=2)
            return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

        ended = fresh(work)
        assert ended.trouble == ""
        allocator = 20e6  # keeps what was let go of
        assert ended.result < 1.2 * 24e6 + allocator < main.nbytes
        expected = read[..., 99].values + (source == "lazy")
        np.testing.assert_array_equal(usidx.open(tmp_path / "into.zarr")[..., 99], expected)


class TestCrash:
    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("old", [True, False])
    @pytest.mark.parametrize("lazy", [True, False])
    def test_killed_in_the_middle(
        self, tmp_path: pathlib.Path, small: None, ending: str, old: bool, lazy: bool
    ) -> None:
        main = make_main((8, 6, 40), chunks={"Y": 2} if lazy else None)
        into = tmp_path / f"into{ending}"
        if old:
            (main * 3).usid.rechunk_for("spectra", into)

        def die(done: int, total: int) -> None:
            if done > total // 2:
                os.kill(os.getpid(), signal.SIGKILL)

        def work() -> None:
            main.usid.rechunk_for("maps", into, overwrite=True, memory=5000, progress=die)

        assert fresh(work).killed
        if old:
            np.testing.assert_array_equal(usidx.open(into), main * 3)
        else:
            assert not into.exists()
        main.usid.rechunk_for("maps", into, overwrite=True, memory=5000)
        np.testing.assert_array_equal(usidx.open(into), main)
        assert [name for name in os.listdir(tmp_path) if "usidx-p" in name] == []

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_what_fails_changes_nothing(
        self, tmp_path: pathlib.Path, small: None, ending: str
    ) -> None:
        main = make_main((8, 6, 40), chunks={"Y": 2})
        into = tmp_path / f"into{ending}"
        with pytest.raises(ZeroDivisionError):
            main.usid.rechunk_for("maps", into, memory=5000, progress=lambda n, m: 1 // (n - m + 9))
        assert not into.exists()
        main.usid.rechunk_for("maps", into)
        with pytest.raises(StoreExistsError):
            main.usid.rechunk_for("maps", into)
        broken = main.copy(data=main.data.map_blocks(fail, dtype=main.dtype))
        with pytest.raises(RuntimeError, match="no luck"):
            broken.usid.rechunk_for("maps", into, overwrite=True)
        np.testing.assert_array_equal(usidx.open(into), main)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_full_disk_is_seen_before(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, ending: str
    ) -> None:
        main = make_main((8, 6, 40), chunks={"Y": 2})
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(NoSpaceError, match="1000 bytes are free"):
            main.usid.rechunk_for("maps", tmp_path / f"into{ending}", compression=False)
        assert not (tmp_path / f"into{ending}").exists()

    def test_there_is_no_room_to_set_values_aside(
        self, tmp_path: pathlib.Path, small: None
    ) -> None:
        main = make_main((8, 6, 400), chunks={"Y": 2})

        def work() -> str:
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
            with pytest.raises(NoSpaceError) as error:
                main.usid.rechunk_for("maps", tmp_path / "into.zarr", memory=5000)
            return str(error.value)

        ended = fresh(work)
        assert ended.trouble == ""
        assert "to set 75.0 KiB of values aside" in ended.result
        assert not (tmp_path / "into.zarr").exists()


def fail(values: Any) -> Any:
    """What a step does that has a bug."""
    if values.size:
        raise RuntimeError("no luck")
    return values
