"""Writing results into Zarr stores: whole chunks, marks after values, deaths at any moment."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
import zarr.codecs

from usidx.errors import (
    DamagedStoreError,
    LayoutError,
    NoSpaceError,
    NotUsidError,
    SourceChangedError,
)
from usidx.model.blocks import blocks_of
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores import store_at
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.zarr import ZarrStore
from usidx.stores.zarr.draft import draft

CHANNEL = "/Measurement_000/Channel_000"
GROUP = f"{CHANNEL}/Raw_Data-Fit_000"
SHAPE, BLOCK = (6, 3, 4), (2, 3, 4)
VALUES = np.arange(72.0).reshape(SHAPE) + 1


def spec(name: str) -> MainSpec:
    position = Grid("position", (Dimension("Y", "um", 6), Dimension("X", "um", 3)))
    spectroscopic = Grid("spectroscopic", (Dimension("t", "s", 4),))
    return MainSpec(f"{CHANNEL}/{name}", "Height", "m", np.dtype("f8"), position, spectroscopic)


def request() -> ResultRequest:
    return ResultRequest(
        parent=CHANNEL,
        main="Raw_Data",
        tool="Fit",
        version="1",
        parameters={},
        fingerprint="",
        sources=(("", f"{CHANNEL}/Raw_Data"),),
        outputs=(OutputRequest(spec("Fit"), BLOCK),),
    )


def work(claim: Any) -> None:
    """Write, mark and complete what is left to do."""
    writer = claim.writers["Fit"]
    done = writer.done()
    for block in blocks_of(SHAPE, BLOCK):
        if not done[block.key[:2]].all():
            writer.write(block.key, VALUES[block.key])
            writer.mark(block.key)
    claim.complete()


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    path = str(tmp_path / "scan.zarr")
    with draft(path, group=None, overwrite=False) as new:
        (target,) = new.add_main(spec("Raw_Data"), BLOCK)
        target[...] = VALUES
    return path


def test_a_block_is_made_of_whole_chunks(path: str) -> None:
    with ZarrStore(path).claim(request()) as claim:
        writer = claim.writers["Fit"]
        for key in [
            (slice(0, 1), slice(0, 3), slice(0, 4)),
            (slice(1, 3), slice(0, 3), slice(0, 4)),
            (slice(0, 2), slice(0, 3), slice(0, 2)),
        ]:
            with pytest.raises(LayoutError, match="whole chunks"):
                writer.write(key, VALUES[key])
            with pytest.raises(LayoutError, match="whole chunks"):
                writer.mark(key)
        several = (slice(2, 6), slice(None), slice(None))
        writer.write(several, VALUES[several])
        writer.mark(several)
        assert writer.done().sum() == 12


def test_a_marked_chunk_that_is_gone_is_noticed(path: str) -> None:
    store = ZarrStore(path)
    with store.claim(request()) as claim:
        writer = claim.writers["Fit"]
        for block in blocks_of(SHAPE, BLOCK):
            writer.write(block.key, VALUES[block.key])
            writer.mark(block.key)
        (pathlib.Path(path + GROUP) / "Fit" / "Fit" / "c" / "1" / "0" / "0").unlink()
        array = store.open_main(f"{GROUP}/Fit").array
        np.testing.assert_array_equal(array[0, :, :], VALUES[0])
        with pytest.raises(DamagedStoreError, match="missing"):
            array[2, 0, 0]
        with pytest.raises(DamagedStoreError, match="gone"):
            claim.complete()


def test_a_store_that_was_replaced_gets_no_results(path: str) -> None:
    store = ZarrStore(path)
    with store.claim(request()) as claim:
        shutil.rmtree(path)
        key = (slice(0, 2), slice(None), slice(None))
        with pytest.raises(SourceChangedError, match="run the step again"):
            claim.writers["Fit"].write(key, VALUES[key])
    assert not pathlib.Path(path).exists()


def test_results_make_a_store_where_there_is_none(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "results.zarr")
    with ZarrStore(path).claim(request()) as claim:
        work(claim)
    tree = xr.open_datatree(path, engine="zarr")
    np.testing.assert_array_equal(tree[f"{GROUP}/Fit"]["Fit"], VALUES)
    assert ZarrStore(path).results(f"{CHANNEL}/Raw_Data")[0].status == "complete"


def test_results_go_into_no_other_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(NotUsidError, match="no Zarr store"):
        ZarrStore(str(tmp_path)).claim(request())
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_disk_without_room_is_told_before_the_work(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(NoSpaceError, match="up to 576 bytes.*room for 100 bytes"):
        ZarrStore(path).claim(request())
    assert ZarrStore(path).results(f"{CHANNEL}/Raw_Data") == ()


def test_killed_at_any_moment_nothing_is_wrong(path: str, tmp_path: pathlib.Path) -> None:
    folders = [tmp_path / f"run{countdown}" for countdown in [*range(0, 60, 4), 1000]]
    for folder in folders:
        shutil.copytree(path, folder / "scan.zarr")
    script = textwrap.dedent(
        """
        import os, sys
        from tests.stores.zarr.test_write import request, work
        from usidx.stores.zarr import ZarrStore
        import usidx.stores.zarr.write
        def audit(event, args):
            global countdown
            if event in ("os.rename", "os.mkdir", "os.remove"):
                countdown -= 1
                if countdown < 0:
                    os._exit(9)
        for folder in sys.argv[1:]:
            if os.fork() == 0:
                countdown = int(os.path.basename(folder)[3:])
                sys.addaudithook(audit)
                with ZarrStore(os.path.join(folder, "scan.zarr")).claim(request()) as claim:
                    work(claim)
                os._exit(0)
            os.wait()
        """
    )
    root = pathlib.Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script, *map(str, folders)], cwd=root, check=True)
    counts = []
    for folder in folders:
        store = ZarrStore(str(folder / "scan.zarr"))
        records = store.results(f"{CHANNEL}/Raw_Data")
        counts.append(records[0].done if records else -1)
        if not records:
            with store.claim(request()) as claim:
                work(claim)
        elif records[0].status == "partial":
            stored = store.open_main(f"{GROUP}/Fit")
            assert stored.completed is not None
            done = stored.completed[:, :]
            np.testing.assert_array_equal(stored.array[:, :, :][done], VALUES[done])
            with store.reopen(GROUP) as claim:
                work(claim)
        np.testing.assert_array_equal(store.open_main(f"{GROUP}/Fit").array[:, :, :], VALUES)
        np.testing.assert_array_equal(store.open_main(f"{CHANNEL}/Raw_Data").array[:, :, :], VALUES)
        store_at(store.path)  # who opens it next tidies up
        assert not list(folder.rglob("*.partial"))
        assert [each.name for each in folder.iterdir()] == ["scan.zarr"]
    assert counts == sorted(counts)
    assert {-1, 0, 6, 12, 18} <= set(counts)


def test_blocks_at_the_edge_end_in_the_fill_value(tmp_path: pathlib.Path) -> None:
    path, block = str(tmp_path / "scan.zarr"), (4, 2, 4)
    with draft(path, group=None, overwrite=False) as new:
        new.add_main(spec("Raw_Data"), block)[0][...] = VALUES
    asked = dataclasses.replace(request(), outputs=(OutputRequest(spec("Fit"), block),))
    with ZarrStore(path).claim(asked) as claim:
        writer = claim.writers["Fit"]
        for each in blocks_of(SHAPE, block):
            writer.write(each.key, VALUES[each.key])
            writer.mark(each.key)
        claim.complete()
    array = zarr.open_array(f"{path}{GROUP}/Fit/Fit", mode="r+")
    np.testing.assert_array_equal(array[:], VALUES)
    array.resize((8, 4, 4))
    np.testing.assert_array_equal(array[:6, :3], VALUES)
    assert np.isnan(array[6:]).all()
    assert np.isnan(array[:, 3:]).all()


def test_arrays_that_somebody_compressed_anew_are_gone_on_with(path: str) -> None:
    with ZarrStore(path).claim(request()) as claim:
        claim.writers["Fit"].write((slice(0, 2), slice(0, 3), slice(0, 4)), VALUES[:2])
        claim.writers["Fit"].mark((slice(0, 2), slice(0, 3), slice(0, 4)))
    folder = pathlib.Path(f"{path}{GROUP}/Fit/Fit")
    before = zarr.open_array(folder, mode="r")
    values, attrs, dims = before[:], dict(before.attrs), before.metadata.dimension_names
    shutil.rmtree(folder)
    again = zarr.create_array(
        folder, shape=SHAPE, dtype="f8", chunks=BLOCK, dimension_names=dims, attributes=attrs,
        compressors=[zarr.codecs.GzipCodec()], fill_value=np.nan,
        config={"write_empty_chunks": True},
    )  # fmt: skip
    again[:2] = values[:2]
    with ZarrStore(path).reopen(GROUP) as claim:
        work(claim)
    found = zarr.open_array(folder, mode="r")
    np.testing.assert_array_equal(found[:], VALUES)
    assert found.compressors == (zarr.codecs.GzipCodec(),)
