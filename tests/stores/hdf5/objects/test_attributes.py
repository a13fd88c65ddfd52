"""Attributes come out as plain Python, whoever wrote them and however."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from usidx.stores.hdf5.objects import attributes


@pytest.fixture
def file(tmp_path: pathlib.Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        yield opened


def set_raw(obj: Any, name: str, value: bytes, kind: str, pad: int | None = None) -> None:
    """An attribute of just these bytes: vlen or fixed, declared "ascii" or "utf-8"."""
    length = len(value) if pad is not None else None
    declared = h5py.h5t.py_create(h5py.string_dtype(kind, length), logical=True).copy()
    if pad is not None:
        declared.set_strpad(pad)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    attribute = h5py.h5a.create(obj.id, name.encode(), declared, space)
    if pad is None:
        attribute.write(np.array(value, dtype=h5py.string_dtype(kind)))
    else:
        attribute.write(np.array(value, dtype=f"S{length}"), mtype=declared)


@pytest.mark.parametrize("kind", ["ascii", "utf-8"])
@pytest.mark.parametrize("code", ["latin-1", "utf-8"])
@pytest.mark.parametrize("pad", [None, h5py.h5t.STR_NULLPAD, h5py.h5t.STR_SPACEPAD])
def test_text_of_every_sort(file: h5py.File, kind: str, code: str, pad: int | None) -> None:
    set_raw(file, "units", "µm".encode(code), kind, pad)
    assert attributes.read_text(file, "units").value == "µm"
    assert attributes.read_text(file, "units").odd == ""
    assert attributes.read_texts(file, "units") == ("µm",)
    assert attributes.read_all(file) == {"units": "µm"}


@pytest.mark.parametrize(
    "stored",
    [
        np.array([b"X", b"Y "], "S4"),
        np.array(["X", "Y"], h5py.string_dtype()),
        np.array(["X", "Y"], h5py.string_dtype("ascii")),
        np.array([b"X", b"Y"], h5py.string_dtype("utf-8", 6)),
        np.array([[b"X", b"Y\0\0"]], "S3"),
    ],
)
def test_lists_of_text(file: h5py.File, stored: Any) -> None:
    file.attrs["labels"] = stored
    assert attributes.read_texts(file, "labels") == ("X", "Y")


def test_units_lose_their_padding_but_other_texts_keep_theirs(file: h5py.File) -> None:
    file.attrs["units"] = " m\n"
    file.attrs["separator"] = ", "
    assert attributes.read_text(file, "units").value == "m"
    assert attributes.read_all(file)["separator"] == ", "


@pytest.mark.parametrize(
    ("stored", "value", "odd"),
    [
        (np.array([b"nA"]), "nA", "a list of 1 text"),
        (np.array([b"nA", b"V"]), None, "a list of 2 texts"),
        (3, None, "the number 3"),
        (2.5, None, "the number 2.5"),
        (True, None, "True"),
        (np.arange(3), None, "array([0, 1, 2])"),
        (h5py.Empty("S1"), "", "an empty attribute"),
        (h5py.Empty("f4"), None, "an empty attribute"),
        ("", "", ""),
        (b"nA", "nA", ""),
    ],
)
def test_what_is_no_single_text(file: h5py.File, stored: Any, value: str, odd: str) -> None:
    file.attrs["units"] = stored
    fact = attributes.read_text(file, "units")
    assert (fact.value, fact.odd) == (value, odd)
    assert attributes.read_text(file, "absent").value is None
    assert attributes.read_text(file, "absent").odd == ""


def test_no_texts_where_there_are_others(file: h5py.File) -> None:
    file.attrs["n"] = np.arange(3)
    file.attrs["refs"] = np.array([file.ref], h5py.ref_dtype)
    assert attributes.read_texts(file, "n") is None
    assert attributes.read_texts(file, "refs") is None
    assert attributes.read_texts(file, "absent") is None


def test_references(file: h5py.File) -> None:
    data = file.create_dataset("data", data=np.zeros((3, 4)))
    group = file.create_group("group")
    file["type"] = np.dtype("f4")
    gone = file.create_dataset("gone", data=np.zeros(3))
    file.attrs["plain"] = data.ref
    file.attrs["listed"] = np.array([data.ref], h5py.ref_dtype)
    file.attrs["two"] = np.array([data.ref, data.ref], h5py.ref_dtype)
    file.attrs["group"] = group.ref
    file.attrs["type"] = file["type"].ref
    file.attrs["region"] = data.regionref[0:1]
    file.attrs["null"] = np.array(None, h5py.ref_dtype)
    file.attrs["dangling"] = gone.ref
    file.attrs["text"] = "/data"
    del file["gone"], gone
    found = {name: attributes.read_reference(file, name) for name in [*file.attrs, "absent"]}
    assert {name: each.found for name, each in found.items()} == {
        "plain": "dataset",
        "listed": "dataset",
        "two": "no reference",
        "group": "group",
        "type": "datatype",
        "region": "region",
        "null": "null",
        "dangling": "dangling",
        "text": "no reference",
        "absent": "missing",
    }
    assert found["plain"].target == data
    assert found["plain"].odd == ""
    assert found["listed"].odd == "a list of 1 reference"
    assert found["group"].odd == "a reference to a group (/group)"
    assert found["null"].odd == "a null reference"
    assert found["text"].odd == "no reference ('/data')"
    assert found["absent"].odd == ""


def test_all_attributes_as_plain_values(file: h5py.File) -> None:
    data = file.create_dataset("data", data=np.zeros((3, 4)))
    obj = file.create_group("obj")
    stored = {
        "int": np.int32(3),
        "float": np.float32(0.5),
        "bool": True,
        "complex": 1 + 2j,
        "text": "Übung",
        "big": np.arange(3, dtype=">i4"),
        "flags": np.array([True, False]),
        "texts": np.array(["a", "µ"], h5py.string_dtype()),
        "reference": data.ref,
        "references": np.array([data.ref, None], h5py.ref_dtype),
        "region": data.regionref[1:2],
        "compound": np.array((1.5, 2), [("a", "f4"), ("b", "i2")]),
        "empty": h5py.Empty("f4"),
        "no text": h5py.Empty("S1"),
        "opaque": np.void(b"\x01\xff"),
    }
    for name, value in stored.items():
        obj.attrs[name] = value
    obj.attrs.create("enum", 2, dtype=h5py.enum_dtype({"A": 1, "B": 2}))
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(2), np.arange(3)]
    obj.attrs.create("ragged", ragged, dtype=h5py.vlen_dtype("i4"))

    found = attributes.read_all(obj, skip=frozenset({"empty"}))
    assert set(found) == {*stored, "enum", "ragged"} - {"empty"}
    big, flags, ragged_found = found.pop("big"), found.pop("flags"), found.pop("ragged")
    assert found == {
        "int": 3,
        "float": 0.5,
        "bool": True,
        "complex": 1 + 2j,
        "text": "Übung",
        "texts": ["a", "µ"],
        "reference": "/data",
        "references": ["/data", "(null reference)"],
        "region": "/data[1:2, :]",
        "compound": {"a": 1.5, "b": 2},
        "no text": "",
        "opaque": "01ff",
        "enum": 2,
    }
    assert type(found["int"]) is int
    assert type(found["bool"]) is bool
    assert big.dtype == np.dtype("=i4")
    assert big.tolist() == [0, 1, 2]
    assert flags.dtype == bool
    assert [each.tolist() for each in ragged_found] == [[0, 1], [0, 1, 2]]
    assert attributes.read_all(obj)["empty"].size == 0


def test_what_cannot_be_read_says_so(file: h5py.File) -> None:
    """A 3-byte float is a type that NumPy does not have."""
    odd = h5py.h5t.IEEE_F32LE.copy()
    odd.set_fields(23, 18, 5, 0, 18)
    odd.set_size(3)
    h5py.h5a.create(file.id, b"odd", odd, h5py.h5s.create(h5py.h5s.SCALAR))
    dangling = file.create_dataset("gone", data=[1])
    file.attrs["gone"] = dangling.ref
    del file["gone"], dangling
    found = attributes.read_all(file)
    assert found["gone"] == "(dangling reference)"
    assert isinstance(found["odd"], (str, float))
    assert attributes.read_text(file, "odd").value is None


def test_names_that_are_no_utf8(file: h5py.File) -> None:
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    made = h5py.h5a.create(file.id, "größe".encode("latin-1"), h5py.h5t.NATIVE_INT32, space)
    made.write(np.array(7, "i4"))
    assert attributes.read_all(file) == {"größe": 7}
    assert attributes.names(file) == ("größe",)


def test_numbers(file: h5py.File) -> None:
    file.attrs["one"] = np.int32(15)
    file.attrs["listed"] = np.array([6])
    file.attrs["text"] = "15"
    assert attributes.read_number(file, "one") == 15
    assert attributes.read_number(file, "listed") == 6
    assert attributes.read_number(file, "text") is None
    assert attributes.read_number(file, "absent") is None
