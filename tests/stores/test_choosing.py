"""The Main that a name means is found without a look at the others."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from tests.h5usid import RAW, channel, write_main, write_result
from usidx.errors import AmbiguousMainError, InvalidMainError, MainNotFoundError, NotUsidError
from usidx.stores import store_at
from usidx.stores.choosing import main_called


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(6):
            raw = write_main(file.create_group(f"Measurement_{number:03d}/Channel_000"))
        write_result(raw, raw.parent.create_group("Raw_Data-Fit_000"))
    return tmp_path / "a.h5"


def test_only_its_own_ancillaries_are_read(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    getitem = h5py.Dataset.__getitem__

    def noted(self: h5py.Dataset, *args: object, **options: object) -> object:
        read.append(str(self.name))
        return getitem(self, *args, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noted)
    store = store_at(path)
    assert main_called(store, "Fit").spec.name == "Fit"
    assert main_called(store, "Measurement_003/Channel_000/Raw_Data").spec.parent.count("003") == 1
    assert {each.split("/")[1] for each in read} == {"Measurement_003", "Measurement_005"}


def test_names_are_whole_parts_of_paths(path: pathlib.Path) -> None:
    store = store_at(path)
    for name in ("Fit_000/Fit", "aw_Data", "Measurement_00", "Channel_000", "fit", "", "/"):
        with pytest.raises(MainNotFoundError):
            main_called(store, name)
    with pytest.raises(AmbiguousMainError, match="6 Mains"):
        main_called(store, "Raw_Data")
    with pytest.raises(AmbiguousMainError, match="6 raw Mains"):
        main_called(store, None)


def test_a_whole_path_is_no_ending_of_another(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_main(file)
        write_main(file.create_group("inner"))
    store = store_at(tmp_path / "a.h5")
    assert main_called(store, "Raw_Data").spec.path == "/Raw_Data"
    assert main_called(store, "/Raw_Data/").spec.path == "/Raw_Data"


def test_a_broken_main_says_what_is_wrong(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_main(channel(file))
        broken = write_main(file.create_group("Measurement_001"), "Broken")
        del broken.attrs["units"]
        other = write_main(file.create_group("Measurement_002"))
        del other.attrs["units"]
    store = store_at(tmp_path / "a.h5")
    with pytest.raises(InvalidMainError, match="units"):
        main_called(store, "Broken")
    # of two that are called like that, the one that is a Main
    assert main_called(store, "Raw_Data").spec.path == RAW
    assert main_called(store, None).spec.path == RAW


def test_links_lead_to_mains(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = write_main(channel(file))
        file["favourite"] = h5py.SoftLink(RAW)
        file["zz_hard"] = raw
        file["broken"] = h5py.SoftLink("/nowhere")
        file["data"] = np.zeros((2, 2))
    store = store_at(tmp_path / "a.h5")
    for name in ("favourite", "/zz_hard"):
        stored = main_called(store, name)
        assert stored.array[1, 2].tolist() == [30, 31, 32, 33, 34]
    with pytest.raises(MainNotFoundError):
        main_called(store, "broken")
    with pytest.raises(InvalidMainError, match="Position_Indices"):
        main_called(store, "data")


def test_files_without_a_main(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((2, 2))
    with pytest.raises(NotUsidError):
        main_called(store_at(tmp_path / "a.h5"), None)
    with pytest.raises(NotUsidError):
        main_called(store_at(tmp_path / "a.h5"), "Raw_Data")
