"""Files that stay open while several things are asked of them, and are closed then."""

from __future__ import annotations

import os
import pathlib

import h5py
import pytest

import usidx
from usidx.errors import MainNotFoundError
from usidx.stores.hdf5 import file as hdf5_file
from usidx.stores.hdf5.file import open_file
from usidx.stores.hdf5.read import opened
from usidx.stores.keeping import keeping_open
from usidx.testing import make_main


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(usidx.to_h5usid(make_main(), tmp_path / "scan.h5"))


def _open_descriptors(path: str) -> int:
    links = (os.path.join("/proc/self/fd", each) for each in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(each) == os.path.realpath(path) for each in links)


def test_a_file_is_opened_once_and_closed_at_the_end(path: str) -> None:
    with keeping_open():
        with open_file(path) as first:
            pass
        assert first.id.valid
        with opened(path) as one, opened(path) as other, keeping_open(), open_file(path) as again:
            assert one is other
            assert again == first == one.file
    assert not first.id.valid
    with open_file(path) as later:
        pass
    assert not later.id.valid


def test_opening_a_main_opens_its_file_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    opening = hdf5_file._open_unlocked

    def counted(where: str, timeout: float) -> h5py.File:
        made.append(where)
        return opening(where, timeout)

    monkeypatch.setattr(hdf5_file, "_open_unlocked", counted)
    usidx.open(path)
    assert made == [path]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc of Linux")
def test_no_file_stays_open_whatever_happens(path: str) -> None:
    usidx.open(path)
    with pytest.raises(MainNotFoundError):
        usidx.open(path, "Nothing")
    with pytest.raises(ZeroDivisionError), keeping_open(), open_file(path):
        raise ZeroDivisionError
    assert _open_descriptors(path) == 0


def test_what_could_not_be_opened_is_tried_again(path: str, tmp_path: pathlib.Path) -> None:
    with keeping_open():
        with pytest.raises(usidx.errors.StoreNotFoundError), open_file(str(tmp_path / "no.h5")):
            pass
        os.rename(path, tmp_path / "no.h5")
        with open_file(str(tmp_path / "no.h5")) as file:
            assert "Measurement_000" in file
