"""Stores behind URLs: what is read, how much of it, and what is told where that fails."""

from __future__ import annotations

import gc
import os
import pickle
import shutil

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.h5usid import RAW, channel, write_main
from tests.stores.remote.made import VALUES, write_scan
from usidx.errors import (
    DamagedStoreError,
    MainNotFoundError,
    MissingDependencyError,
    NotUsidError,
    OptionError,
    ReadOnlyStoreError,
    SourceChangedError,
    StoreAccessError,
    StoreNotFoundError,
    UnsafeStoreError,
)
from usidx.stores.remote import objects, pace
from usidx.stores.remote.url import Url, located

fsspec = pytest.importorskip("fsspec", reason="URLs are reached through fsspec")
pytest.importorskip("aiohttp", reason="fsspec reaches http:// through aiohttp")

LAYOUTS = [
    pytest.param({}, id="contiguous"),
    pytest.param({"chunks": (16, 8)}, id="chunked"),
    pytest.param({"chunks": (16, 8), "compression": "gzip", "shuffle": True}, id="gzip"),
    pytest.param({"chunks": (16, 8), "compression": "lzf"}, id="left to HDF5"),
]


@usidx.step("Half", version="1")
def half(array: xr.DataArray) -> xr.DataArray:
    return array * 0.5


def to_memory(memory, path, name):
    if os.path.isdir(path):
        memory.put(str(path), f"/{name}", recursive=True)
    else:
        memory.pipe(f"/{name}", path.read_bytes())
    return f"memory://{name}"


def write_zarr(path, **chunks):
    source = write_scan(path.with_suffix(".h5"))
    usidx.open(source).usid.to_zarr(path, chunks=chunks or None)
    os.unlink(source)
    return path


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize("where", ["memory", "http"])
def test_any_part_of_an_h5usid_file(served, memory, where, options):
    path = write_scan(served.folder / "scan.h5", **options)
    url = f"{served.url}/scan.h5" if where == "http" else to_memory(memory, path, "scan.h5")

    array = usidx.open(url)

    for key in (
        (), (3, 5), (slice(None), slice(None), 7), (slice(1, 7, 2), slice(None, None, -1), 3),
        (slice(2, 5), 4, slice(5, 60, 9)), (slice(None), 0, slice(None)),
    ):  # fmt: skip
        assert np.array_equal(array[key], VALUES[key]), key
    local = usidx.open(path)
    assert array.encoding["usid_origin"].identity == local.encoding["usid_origin"].identity
    xr.testing.assert_identical(array.compute(), local.compute())


@pytest.mark.parametrize("where", ["memory", "http"])
def test_any_part_of_a_zarr_store(served, memory, where):
    path = write_zarr(served.folder / "scan.zarr", Y=4, X=8, Bias=16)
    url = f"{served.url}/scan.zarr" if where == "http" else to_memory(memory, path, "scan.zarr")

    array = usidx.open(url)

    for key in ((), (3, 5), (slice(None), slice(None), 7), (slice(1, 7, 2), slice(None, None, -1))):
        assert np.array_equal(array[key], VALUES[key]), key
    local = usidx.open(path)
    assert array.encoding["usid_origin"].identity == local.encoding["usid_origin"].identity
    xr.testing.assert_identical(array.compute(), local.compute())
    assert [each.path for each in usidx.list_mains(url)] == [RAW]
    assert np.array_equal(usidx.open_tree(url)[RAW]["Raw_Data"], VALUES)


def test_compound_values_by_field(memory, tmp_path):
    kind = np.dtype([("amp", "f4"), ("phase", "f8")])
    rng = np.random.default_rng(1)
    values = np.zeros((12, 5), kind)
    values["amp"], values["phase"] = rng.normal(size=(2, 12, 5))
    with h5py.File(tmp_path / "fits.h5", "w") as file:
        group = channel(file)
        main = write_main(group)
        attrs = dict(main.attrs)
        del group["Raw_Data"]
        group.create_dataset("Raw_Data", data=values).attrs.update(attrs)

    found = usidx.open(to_memory(memory, tmp_path / "fits.h5", "fits.h5"))

    for name in ("amp", "phase"):
        assert np.array_equal(found[name], values[name].reshape(3, 4, 5))


def test_a_spectrum_and_a_map_fetch_a_small_part(served, monkeypatch):
    monkeypatch.setattr(objects, "learn", lambda *_: None)  # bytes cost nothing on one machine
    shape = (16, 16, 4096)
    noise = np.random.default_rng(0).normal(size=(256, 4096)).astype("f4")
    for name, options in (("maps", {"chunks": (256, 64), "compression": "gzip"}), ("plain", {})):
        path = write_scan(served.folder / f"{name}.h5", shape, **options)
        with h5py.File(path, "r+") as file:
            file[RAW][...] = noise
        size = os.path.getsize(path)
        assert size > 3e6
        array = usidx.open(f"{served.url}/{name}.h5")
        assert served.served < size / 3  # its structure, and samples by which it is known
        served.served = 0
        spectrum = array.isel(Y=3, X=4).values
        assert np.array_equal(spectrum, noise[3 * 16 + 4])
        if name == "plain":
            assert served.served == spectrum.nbytes
        served.served = 0
        assert np.array_equal(array.isel(Bias=77).values.ravel(), noise[:, 77])
        assert served.served == 256 * 4 if name == "plain" else 0 < served.served < size / 20
        served.served = 0


def test_a_map_of_long_spectra_fetches_its_values_alone(served):
    shape = (4, 4, 2**17)
    path = write_scan(served.folder / "long.h5", shape)
    array = usidx.open(f"{served.url}/long.h5")
    served.served = 0

    found = array.isel(Bias=1234).values

    assert np.array_equal(found.ravel(), np.arange(16) * 2**17 + 1234)
    assert served.served == found.nbytes
    assert os.path.getsize(path) > 8e6


def test_the_pace_of_a_host_decides_what_is_one_request(served, monkeypatch):
    monkeypatch.setattr(objects, "learn", lambda *_: None)
    shape = (16, 16, 256)
    write_scan(served.folder / "short.h5", shape)
    array = usidx.open(f"{served.url}/short.h5")

    def fetched():
        served.served = served.requests = 0
        assert np.array_equal(array.isel(Bias=7).values.ravel(), np.arange(256) * 256 + 7)
        return served.served, served.requests

    assert fetched() == (255 * 1024 + 4, 1)  # bytes are cheap where nothing is known
    for _ in range(10):
        pace.learn(served.url, 1, 2**21, 20.0)
        pace.learn(served.url, 100, 400, 0.01)
    assert pace.pace_of(served.url).near == 1024
    served.served = served.requests = 0
    assert np.array_equal(array.isel(X=3, Bias=7), (np.arange(16) * 16 + 3) * 256 + 7)
    assert (served.served, served.requests) == (16 * 4, 16)


def test_a_part_of_a_zarr_store_fetches_its_chunks(served):
    path = write_zarr(served.folder / "scan.zarr", Y=2, X=2, Bias=64)
    chunks = [each for each in path.rglob("c/*/*/*") if each.is_file()]
    array = usidx.open(f"{served.url}/scan.zarr")
    served.served = 0

    assert np.array_equal(array.isel(Y=0, X=0), VALUES[0, 0])
    assert 0 < served.served <= max(each.stat().st_size for each in chunks)


def test_tasks_in_other_processes_read_too(served):
    url = f"{served.url}/scan.h5"
    write_scan(served.folder / "scan.h5", chunks=(16, 8), compression="gzip")
    array = pickle.loads(pickle.dumps(usidx.open(url, storage_options={"block_size": 2**20})))

    with dask.config.set(scheduler="processes", num_workers=1):
        assert np.array_equal(array.compute(), VALUES)


@pytest.mark.parametrize("kind", ["h5", "zarr"])
@pytest.mark.parametrize("into", ["h5", "zarr"])
def test_results_go_where_they_are_sent(served, tmp_path, kind, into):
    write = write_scan if kind == "h5" else write_zarr
    write(served.folder / f"scan.{kind}")
    url = f"{served.url}/scan.{kind}"
    source = usidx.open(url)

    with pytest.raises(ReadOnlyStoreError, match="into="):
        source.usid.process(half).run()
    with pytest.raises(ReadOnlyStoreError, match="into="):
        source.usid.process(half).run(into=url)
    result = source.usid.process(half).run(into=tmp_path / f"results.{into}")

    found = result.open()
    assert np.array_equal(found, VALUES * 0.5)
    assert result.record.sources == ((url, RAW),)
    assert type(result.record.sources[0][0]) is str
    assert np.array_equal(found.usid.source, VALUES)
    assert url in str(found.usid.history)
    again = usidx.open(url).usid.process(half).run(into=tmp_path / f"results.{into}")
    assert again.path == result.path


def test_results_in_a_store_behind_a_url_are_found(memory, tmp_path):
    path = write_scan(tmp_path / "scan.h5")
    made = usidx.open(path).usid.process(half).run()
    url = to_memory(memory, path, "scan.h5")

    found = usidx.open(url)

    assert [each.path for each in found.usid.results()] == [made.path]
    assert np.array_equal(found.usid.results()[0].open(), VALUES * 0.5)
    assert found.usid.process(half).run().path == made.path  # nothing to be written


def test_nothing_there(served, memory):
    for url in (f"{served.url}/scan.h5", f"{served.url}/scan.zarr", "memory://scan.h5"):
        with pytest.raises(StoreNotFoundError, match="there is nothing at"):
            usidx.open(url)


def test_something_else_there(served, memory):
    (served.folder / "notes.txt").write_bytes(b"what I did today")
    (served.folder / "empty.h5").write_bytes(b"")

    for name in ("notes.txt", "empty.h5"):
        with pytest.raises(NotUsidError, match="neither an HDF5 file nor a Zarr v3 group"):
            usidx.open(f"{served.url}/{name}")
    with h5py.File(served.folder / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(NotUsidError, match="without any Main"):
        usidx.list_mains(f"{served.url}/other.h5")


def test_no_such_main(served):
    write_scan(served.folder / "scan.h5")

    with pytest.raises(MainNotFoundError):
        usidx.open(f"{served.url}/scan.h5", "Nothing")


def test_a_file_that_was_cut_short(served):
    path = write_scan(served.folder / "scan.h5", (64, 64, 64))
    os.truncate(path, os.path.getsize(path) // 2)

    with pytest.raises(DamagedStoreError, match="cannot be read|cut short"):
        usidx.open(f"{served.url}/scan.h5").compute()


@pytest.mark.parametrize("options", LAYOUTS)
def test_a_file_that_changed_is_not_read(served, options):
    path = write_scan(served.folder / "scan.h5", **options)
    array = usidx.open(f"{served.url}/scan.h5")
    write_scan(path, (8, 8, 65))

    with pytest.raises(SourceChangedError, match="open it again"):
        array.isel(Y=0).compute()


def test_a_file_that_is_gone(memory, tmp_path):
    array = usidx.open(to_memory(memory, write_scan(tmp_path / "scan.h5"), "scan.h5"))
    memory.rm("/scan.h5")

    with pytest.raises(StoreNotFoundError):
        array.compute()


def test_a_chunk_that_is_missing(served):
    path = write_zarr(served.folder / "scan.zarr", Y=4, X=8, Bias=16)
    array = usidx.open(f"{served.url}/scan.zarr")
    chunk = next(each for each in path.rglob("c/1/0/2"))
    chunk.unlink()

    with pytest.raises(DamagedStoreError, match="'c/1/0/2'.*missing"):
        array.compute()
    assert np.array_equal(array.isel(Y=slice(0, 4)), VALUES[:4])


def test_a_partial_result_behind_a_url(memory, tmp_path):
    path = write_zarr(tmp_path / "scan.zarr", Y=2, X=8, Bias=64)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        usidx.open(path).usid.process(half).run(on_block=stop, memory="20 kB", workers=1)
    local = usidx.open(path, "Half")
    url = to_memory(memory, path, "scan.zarr")

    found = usidx.open(url, "Half")

    assert found.attrs["usid_status"] == "partial"
    assert np.array_equal(found.values, local.values, equal_nan=True)
    assert np.isnan(found.values).any()


def test_a_server_without_ranges(served):
    write_scan(served.folder / "scan.h5", (64, 64, 64))
    served.ranges = False

    with pytest.raises(StoreAccessError, match="whole files"):
        usidx.open(f"{served.url}/scan.h5")


def test_a_server_that_does_not_answer():
    with pytest.raises(StoreAccessError, match="cannot be reached"):
        usidx.open("http://127.0.0.1:9/scan.h5")


def test_a_connection_that_is_cut(served):
    write_scan(served.folder / "plain.h5")
    write_zarr(served.folder / "scan.zarr")
    arrays = [usidx.open(f"{served.url}/{name}") for name in ("plain.h5", "scan.zarr")]
    served.cut = True

    for array in arrays:
        with pytest.raises(StoreAccessError, match="cut; try again"):
            array.compute()


def test_a_server_that_refuses(served):
    write_scan(served.folder / "scan.h5")
    served.refuses = True

    with pytest.raises(StoreAccessError, match="403.*say who you are"):
        usidx.open(f"{served.url}/scan.h5")


def test_a_file_that_reaches_elsewhere_is_refused(served, tmp_path):
    path = write_scan(served.folder / "scan.h5")
    with h5py.File(path, "r+") as file:
        file["more"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")

    with pytest.raises(UnsafeStoreError, match="reaches outside itself"):
        usidx.open(f"{served.url}/scan.h5", allow_external=[tmp_path])


def test_what_storage_options_are_for(tmp_path):
    path = write_scan(tmp_path / "scan.h5")

    with pytest.raises(OptionError, match="storage_options are for URLs"):
        usidx.open(path, storage_options={"key": "k"})
    with pytest.raises(OptionError, match="password"):
        usidx.open("http://me:secret@127.0.0.1/scan.h5")
    assert np.array_equal(usidx.open(f"file://{path}"), VALUES)


def test_the_store_of_a_library_is_no_path():
    import zarr

    with pytest.raises(OptionError, match="got MemoryStore; .* give the URL"):
        usidx.open(zarr.storage.MemoryStore())


def test_what_is_not_installed_is_named():
    with pytest.raises((MissingDependencyError, StoreAccessError), match="cannot be reached"):
        usidx.open("nosuchthing://scan.h5")


def test_secrets_are_in_no_text():
    url = located("s3://lab/scan.h5", {"secret": "hidden"})

    assert isinstance(url, Url)
    assert "hidden" not in f"{url} {url!r}"
    below = os.path.join(url, "a", "b")
    assert below == "s3://lab/scan.h5/a/b"
    assert isinstance(below, Url)
    assert pickle.loads(pickle.dumps(below)).options == {"secret": "hidden"}


@pytest.mark.parametrize("near", [0, 1, 10, 10_000])
def test_ranges_are_merged_where_they_are_near(memory, monkeypatch, near):
    monkeypatch.setattr(objects, "near", lambda url: near)
    content = np.random.default_rng(near).bytes(5000)
    memory.pipe("/some", content)
    rng = np.random.default_rng(2)
    ranges = [(start, start + length) for start, length in rng.integers(1, 200, (40, 2)).tolist()]
    ranges += [(4000, 4500), (0, 5000), (4999, 5000)]

    found = objects.read_ranges(located("memory://some"), ranges)

    assert [bytes(each) for each in found] == [content[start:stop] for start, stop in ranges]


def test_garbage_is_collected_afterwards(served):
    write_scan(served.folder / "scan.h5")
    usidx.open(f"{served.url}/scan.h5")

    assert gc.isenabled()


def test_a_local_file_that_looks_like_a_url_is_none(tmp_path):
    shutil.copy(write_scan(tmp_path / "scan.h5"), tmp_path / "a:b.h5")

    assert np.array_equal(usidx.open(tmp_path / "a:b.h5"), VALUES)
