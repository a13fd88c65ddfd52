"""A file of another system as a store, with a reader that is made up."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from usidx.errors import DamagedStoreError, OptionError
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.raw import RawArray
from usidx.readers.store import ForeignStore


def read(path: str, *, names: str = "a,b,a,a_1,a") -> Sequence[Foreign]:
    """One value of the file for each name."""
    if names == "wrong":
        return [*names, 1 + "argument"]  # type: ignore[operator, list-item]
    arrays = [RawArray(path, (1,), np.dtype("u1"), number) for number in range(5)]
    axis = spectroscopic("E", size=1)
    return [Foreign(name, array, (axis,)) for name, array in zip(names.split(","), arrays)]


@pytest.fixture
def store(tmp_path: pathlib.Path) -> ForeignStore:
    (tmp_path / "a").write_bytes(bytes(range(5)))
    made = Reader("made", "Made up", (), lambda path, head: False, read)
    return ForeignStore(str(tmp_path / "a"), made)


def test_mains_of_one_name_are_told_apart(store: ForeignStore) -> None:
    paths = [each.path.rpartition("/")[2] for each in store.mains()]
    assert paths == ["a", "b", "a_2", "a_1", "a_3"]
    for number, entry in enumerate(store.mains()):
        assert int(np.asarray(store.open_main(entry.path).array[:]).item()) == number


def test_options_and_errors_of_readers(store: ForeignStore) -> None:
    """An option that a reader has not is no damage, and an error in it no option."""

    def told(**options: Any) -> ForeignStore:
        return ForeignStore(store.path, store.reader, options)

    with pytest.raises(OptionError, match="nmes"):
        told(nmes="a").mains()
    with pytest.raises(DamagedStoreError, match="Made up"):
        told(names="wrong").mains()
