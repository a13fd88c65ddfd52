"""Fingerprints are equal exactly where the work is; parameters come back as they were."""

from __future__ import annotations

import datetime
import enum
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from usidx.errors import PlanError
from usidx.model.dimension import same_values
from usidx.model.provenance import (
    book_keeping,
    canonical,
    dump_parameters,
    fingerprint,
    load_parameters,
)


def _digest(**parameters: Any) -> str:
    return fingerprint("Fit", "1", parameters, ["source"])


class Colour(enum.StrEnum):
    RED = "red"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.complex_numbers()
arrays = hnp.arrays(
    st.sampled_from(["f4", "f8", "i2", "u8", "?", "c8", ">f4", "f2"]), hnp.array_shapes(min_dims=0)
)
keys = st.text().filter(lambda key: not key.startswith("$"))
values = st.recursive(
    scalars | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and same_values(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, (float, complex)):
        return type(left) is type(right) and bool(np.array_equal(left, right, equal_nan=True))
    return type(left) is type(right) and left == right


@given(st.dictionaries(keys, values, max_size=4))
def test_parameters_come_back_and_keep_their_fingerprint(parameters: dict[str, Any]) -> None:
    plain = canonical(parameters)
    again = load_parameters(dump_parameters(parameters))
    assert _same(plain, again)
    assert _digest(**{"all": again}) == _digest(**{"all": parameters})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, np.uint8(1)),
        (0.5, np.float32(0.5)),
        (0.0, -0.0),
        (math.nan, np.float32("nan")),
        ([1, 2], (1.0, 2.0)),
        ([1, 2], np.array([1, 2], ">i2")),
        ([[1, math.nan]], np.array([[1, np.nan]], "f4")),
        (np.array([[0, 1], [2, 3]]), np.array([[0, 2], [1, 3]], "f4").T),
        (2**70, float(2**70)),
        ([True, False], np.array([True, False])),
        ("red", Colour.RED),
        (["a", "b"], np.array(["a", "b"])),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}),
        (1 + 2j, np.complex64(1 + 2j)),
        ([], np.zeros(0)),
    ],
)
def test_equal_values_have_the_same_fingerprint(left: Any, right: Any) -> None:
    assert _digest(value=left) == _digest(value=right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, None),
        (0, ""),
        (1, "1"),
        (1, [1]),
        ([1, 2], [2, 1]),
        ([1, 2, 3, 4], [[1, 2], [3, 4]]),
        (np.zeros(3), np.zeros(4)),
        (0.1, np.float32(0.1)),
        (2**53, 2**53 + 1),
        ([2**53, 0.5], [2**53 + 1, 0.5]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": 1}, {"b": 1}),
        ([1, 0], [True, False]),
        ([[1], [2, 3]], [[1, 2], [3]]),
    ],
)
def test_different_values_have_another_fingerprint(left: Any, right: Any) -> None:
    assert _digest(value=left) != _digest(value=right)


def test_everything_counts_but_the_order_of_parameters() -> None:
    assert _digest(a=1, b=2) == _digest(b=2, a=1)
    parameters = {"a": 1}
    different = {
        fingerprint("Fit", "1", parameters, ["x", "y"]),
        fingerprint("Fit", "1", parameters, ["y", "x"]),
        fingerprint("Fit", "1", parameters, ["xy"]),
        fingerprint("Fit", "2", parameters, ["x", "y"]),
        fingerprint("Fit2", "1", parameters, ["x", "y"]),
        fingerprint("Fit", "1", {"a": None}, ["x", "y"]),
        fingerprint("Fit", "1", {}, ["x", "y"]),
    }
    assert len(different) == 7
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in different)


def test_fingerprints_do_not_change_from_version_to_version() -> None:
    # results in files carry them
    expected = "d095f751c36174d19de497293fb3ea957f2637283e7526fab25dbf1a418068dd"
    assert fingerprint("SHO_Fit", "1", {"tries": 3, "window": [1.5, 2]}, ["a"]) == expected


def test_what_cannot_be_stored_is_named() -> None:
    parameters = {
        "when": datetime.date(2026, 1, 1),
        "deep": {"list": [1, object()]},
        "raw": b"bytes",
        "table": np.zeros(2, "f4,i4"),
        "keys": {1: "a"},
        "fine": 3,
    }
    with pytest.raises(PlanError) as raised:
        canonical(parameters)
    for part in ("when is a datetime.date", "deep['list'][1]", "raw", "table", "the key 1"):
        assert part in str(raised.value)
    assert "fine" not in str(raised.value)


def test_arrays_are_copies_that_cannot_change() -> None:
    array = np.arange(3.0)
    kept = canonical({"array": array})["array"]
    array[0] = 9
    assert kept.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1


@pytest.mark.parametrize(
    "text", ["[1]", '{"a": {"$array": {"dtype": "O", "shape": [1], "base64": "AAAA"}}}', "nothing"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parameters|dtype|Expecting"):
        load_parameters(text)


def test_book_keeping_has_what_pyusid_writes() -> None:
    attributes = book_keeping()
    assert set(attributes) == {"machine_id", "timestamp", "platform", "usidx_version"}
    assert all(attributes.values())
    datetime.datetime.strptime(attributes["timestamp"], "%Y_%m_%d-%H_%M_%S")
