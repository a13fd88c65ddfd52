"""Where the values of a dataset are, and what tells that they are still there."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from usidx.stores.hdf5.objects import place


@pytest.mark.parametrize(
    "shape", [(20_000, 2), (16, 1100), (9000, 3, 2), (2, 20_000), (10, 10_000)]
)
def test_a_sample_past_hdf5_is_that_through_it(
    shape: tuple[int, ...], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).random(shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["before"], file["d"] = np.arange(7), values
    with h5py.File(tmp_path / "a.h5") as file:
        found = place.sample(file["d"])
        monkeypatch.setattr(place, "_descriptor", lambda _: None)
        assert found == place.sample(file["d"])
    assert found[:8] == values.tobytes()[:8]
