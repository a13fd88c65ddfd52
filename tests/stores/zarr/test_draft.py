"""New stores take the place of old ones in one step, or not at all."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import xarray as xr

from usidx.errors import (
    NoSpaceError,
    NotUsidError,
    ReadOnlyStoreError,
    StoreExistsError,
    StoreLockedError,
    StoreNotFoundError,
)
from usidx.model.dimension import Dimension
from usidx.model.layout import Grid
from usidx.model.main import MainSpec
from usidx.stores import disk
from usidx.stores.base import OutputRequest, ResultRequest
from usidx.stores.zarr import ZarrStore, staging
from usidx.stores.zarr.draft import draft

MAIN = "/Measurement_000/Channel_000/Raw_Data"


def spec(path: str = MAIN) -> MainSpec:
    position = Grid("position", (Dimension("Y", "um", 4),))
    spectroscopic = Grid("spectroscopic", (Dimension("t", "s", 3),))
    return MainSpec(path, "Height", "m", np.dtype("f8"), position, spectroscopic)


def write(path: Any, value: float, *, group: str | None = None, overwrite: bool = False) -> None:
    with draft(str(path), group=group, overwrite=overwrite) as new:
        (target,) = new.add_main(spec(group or MAIN), (2, 3))
        target[...] = np.full((4, 3), value)


def read(path: Any, main: str = MAIN) -> Any:
    return ZarrStore(str(path)).open_main(main).array[:, :].max()


@pytest.fixture
def old(tmp_path: pathlib.Path) -> pathlib.Path:
    write(tmp_path / "a.zarr", 1.0)
    return tmp_path / "a.zarr"


def beside(path: pathlib.Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_nothing_is_there_before_the_end(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.zarr"
    with draft(str(path), group=None, overwrite=False) as new:
        (target,) = new.add_main(spec(), (2, 3))
        target[...] = np.zeros((4, 3))
        assert not path.exists()
    assert beside(path) == ["a.zarr"]


def test_the_old_store_is_whole_until_the_new_one_is(old: pathlib.Path) -> None:
    with draft(str(old), group=None, overwrite=True) as new:
        (target,) = new.add_main(spec(), (2, 3))
        target[...] = np.full((4, 3), 2.0)
        assert read(old) == 1.0
    assert read(old) == 2.0
    assert beside(old) == ["a.zarr"]


def test_a_failure_leaves_the_old_store_and_nothing_else(old: pathlib.Path) -> None:
    def fail() -> None:
        with draft(str(old), group=None, overwrite=True) as new:
            new.add_main(spec(), (2, 3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read(old) == 1.0
    assert beside(old) == ["a.zarr"]


def test_without_an_exchange_of_names_it_works_too(
    old: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "EXCHANGE", False)
    write(old, 2.0, overwrite=True)
    assert read(old) == 2.0
    assert beside(old) == ["a.zarr"]


def test_a_failed_swap_gives_the_old_store_its_name_back(
    old: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "EXCHANGE", False)
    rename = os.replace

    def refuse_new(source: str, target: str) -> None:
        if source.endswith("new") and target == str(old):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(disk, "replace", refuse_new)
    with pytest.raises(OSError, match="Input/output"):
        write(old, 2.0, overwrite=True)
    monkeypatch.undo()
    assert read(old) == 1.0
    assert beside(old) == ["a.zarr"]


def test_a_crash_between_the_names_is_mended(old: pathlib.Path) -> None:
    os.rename(old, old.parent / ".a.zarr.usidx-old-123")
    (old.parent / ".a.zarr.usidx-partial-123").mkdir()
    with pytest.raises(StoreExistsError):
        # mended before anything else is looked at
        write(old, 2.0)
    assert read(old) == 1.0
    assert beside(old) == ["a.zarr"]


def test_overwriting_is_asked_for(old: pathlib.Path) -> None:
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        write(old, 2.0)
    assert read(old) == 1.0


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_things_are_never_replaced(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "thesis"
    if kind == "file":
        path.write_text("years of work")
    else:
        path.mkdir()
        (path / "chapter.tex").write_text("years of work")
    with pytest.raises(StoreExistsError, match="no (folder|Zarr store)"):
        write(path, 1.0, overwrite=True)
    assert "years of work" in (path if kind == "file" else path / "chapter.tex").read_text()


def test_an_empty_folder_is_taken(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    write(tmp_path / "a.zarr", 3.0)
    assert read(tmp_path / "a.zarr") == 3.0


def test_a_folder_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "a.zarr", 1.0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(ReadOnlyStoreError):
        write(folder / "a.zarr", 1.0)


def test_a_full_disk_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NoSpaceError, match="room"), staging.writing(str(tmp_path / "a.zarr")):
        raise OSError(28, "No space left on device")


def test_a_main_is_added_to_a_store(old: pathlib.Path) -> None:
    write(old, 5.0, group="/Measurement_001/Channel_000/Raw_Data")
    write(old, 6.0, group="/Measurement_000/Channel_000/Other")
    assert read(old) == 1.0
    assert read(old, "/Measurement_001/Channel_000/Raw_Data") == 5.0
    assert read(old, "/Measurement_000/Channel_000/Other") == 6.0
    tree = xr.open_datatree(old, engine="zarr")
    assert float(tree["Measurement_001/Channel_000/Raw_Data"]["Raw_Data"].max()) == 5.0
    assert len(ZarrStore(str(old)).mains()) == 3


def test_a_main_is_replaced_in_a_store(old: pathlib.Path) -> None:
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        write(old, 5.0, group=MAIN)
    write(old, 5.0, group=MAIN, overwrite=True)
    assert read(old) == 5.0


def test_a_group_of_many_is_not_replaced_by_a_main(old: pathlib.Path) -> None:
    with pytest.raises(StoreExistsError, match="no Main"):
        write(old, 5.0, group="/Measurement_000", overwrite=True)
    with pytest.raises(StoreExistsError, match="is a Main"):
        write(old, 5.0, group=f"{MAIN}/Inner")
    assert read(old) == 1.0


def test_a_main_is_added_to_zarr_only(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "notes.txt").touch()
    with pytest.raises(NotUsidError, match="no Zarr store"):
        write(tmp_path / "a.zarr", 1.0, group=MAIN)


def test_a_store_with_a_run_in_it_is_not_replaced(old: pathlib.Path) -> None:
    request = ResultRequest(
        parent="/Measurement_000/Channel_000",
        main="Raw_Data",
        tool="Fit",
        version="1",
        parameters={},
        fingerprint="",
        sources=(("", MAIN),),
        outputs=(OutputRequest(spec("/Fit"), (2, 3)),),
    )
    with (
        ZarrStore(str(old)).claim(request),
        pytest.raises(StoreLockedError, match="results are being written"),
    ):
        write(old, 2.0, overwrite=True)
    write(old, 2.0, overwrite=True)
    assert read(old) == 2.0


def test_killed_at_any_moment_the_store_is_the_old_or_the_new_one(old: pathlib.Path) -> None:
    countdowns = [*range(0, 72, 3), 1000]
    folders = [old.parent / str(countdown) for countdown in countdowns]
    for folder in folders:
        shutil.copytree(old, folder / "a.zarr")
    # One interpreter, forked for each death before Zarr has started any thread.
    script = textwrap.dedent(
        """
        import os, sys
        from tests.stores.zarr.test_draft import write
        def audit(event, args):
            global countdown
            if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link"):
                countdown -= 1
                if countdown < 0:
                    os._exit(9)
        for folder in sys.argv[1:]:
            if os.fork() == 0:
                countdown = int(os.path.basename(folder))
                sys.addaudithook(audit)
                write(os.path.join(folder, "a.zarr"), 2.0, overwrite=True)
                os._exit(0)
            os.wait()
        """
    )
    subprocess.run(
        [sys.executable, "-c", script, *map(str, folders)],
        cwd=pathlib.Path(__file__).parents[3],
        check=True,
    )
    values = [read(folder / "a.zarr") for folder in folders]
    assert set(values) == {1.0, 2.0}
    assert values == sorted(values)
    for folder in folders:
        write(folder / "a.zarr", 3.0, overwrite=True)
        assert beside(folder / "a.zarr") == ["a.zarr"]
