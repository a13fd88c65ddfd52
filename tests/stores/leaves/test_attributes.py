"""Attributes go through JSON and come back as they were."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from usidx.errors import OptionError
from usidx.stores.leaves.attributes import pack, unpack


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**70,
        -0.1,
        float("inf"),
        float("nan"),
        "µm",
        b"\x00\xff",
        1 - 2j,
        np.float32(0.1),
        np.int64(-5),
        np.bool_(True),
        np.complex64(1j),
        np.datetime64("2026-01-01", "D"),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array([1.0, np.nan]),
        np.array(["a", "bé"]),
        np.array([b"ab", b"c"]),
        np.array(["x", "y"], dtype=object),
        np.zeros((0, 3)),
        [1, [2.5, "x"], {"deep": float("nan")}],
        {"a": {"b": [1, 2]}, "c": None},
        list(range(5000)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_round_trip(value: Any) -> None:
    plain, exact = json.loads(json.dumps(pack({"name": value}, "/Main"), allow_nan=False))
    back = unpack(plain, exact)["name"]
    assert type(back) is type(value)
    if isinstance(value, np.ndarray | np.generic):
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)
    else:
        assert repr(back) == repr(value)


def test_arrays_can_be_read_by_people() -> None:
    plain, _ = pack({"limits": np.array([1.5, 2.5]), "gain": np.float64(2)}, "/Main")
    assert plain == {"limits": [1.5, 2.5], "gain": 2.0}


def test_names_that_xarray_gives_a_meaning_are_kept_out_of_its_sight() -> None:
    attrs = {"_FillValue": 0, "scale_factor": 2.0, "coordinates": "X", "units": "V"}
    plain, exact = pack(attrs, "/Main")
    assert plain == {}
    assert unpack({"units": "the array's own"}, exact) == attrs


def test_all_that_cannot_be_kept_is_named() -> None:
    with pytest.raises(OptionError, match=r"'/Main'.*'a' \(.*object.*'b' \(a dict with the key 1"):
        pack({"a": object(), "b": {1: 2}, "c": 3}, "/Main")
