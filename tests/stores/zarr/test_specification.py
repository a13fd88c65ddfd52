"""What docs/usid_zarr.md says suffices to read a store: by zarr and NumPy alone."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

import usidx
from usidx.errors import UsidError
from usidx.exporting import to_zarr

Column = tuple[str, str, Any, Any]


def read_main(group: Any) -> tuple[Any, Any, dict[str, list[Column]]]:
    """(2-D form, which rows count, columns of the ancillaries of each side).

    A column is (label, units, indices, values).
    """
    entry = dict(group.attrs)["usid"]
    assert (entry["version"], entry["kind"]) == (1, "main")
    sides = [read_side(group, entry[role]) for role in ("position", "spectroscopic")]
    fields = []
    for field in entry["fields"]:
        values = group[field["key"]][...].reshape(len(sides[0][0]), len(sides[1][0]))
        table = np.empty_like(values)
        table[np.ix_(sides[0][0], sides[1][0])] = values
        fields.append((field["name"], table.astype(field["dtype"])))
    matrix = fields[0][1]
    if entry["compound"]:
        matrix = np.empty(matrix.shape, [(name, each.dtype) for name, each in fields])
        for name, each in fields:
            matrix[name] = each
    done = np.ones(len(matrix), bool)
    if entry["marks"] is not None:
        done[sides[0][0]] = group[entry["marks"]][...].reshape(-1) != 0
    return matrix, done, {"Position": sides[0][1], "Spectroscopic": sides[1][1]}


def read_side(group: Any, side: dict[str, Any]) -> tuple[Any, list[Column]]:
    """(row of each cell, columns) of one side."""
    if side["kind"] == "points":
        columns = [
            (each["label"] or each["name"], each["units"], *stored(group, each))
            for each in side["columns"]
        ]
        return np.arange(side["size"]), columns
    names = [each["name"] for each in side["dimensions"]]
    shape = tuple(each["size"] for each in side["dimensions"])
    cells = np.indices(shape).reshape(len(shape), -1)
    rows = np.arange(cells.shape[1])
    if side["order"] is not None:
        rows = group[side["order"]][...].reshape(-1)
    by_row = np.argsort(rows)
    found: list[tuple[int, Column]] = []
    shared = {}
    for each in side["dependent"]:
        axes = [names.index(dim) for dim in each["dims"]]
        label = each["label"] or each["name"]
        indices, values = stored(group, each)
        where = tuple(cells[axis][by_row] for axis in axes)
        own = [dim for dim in side["dimensions"] if (dim["label"] or dim["name"]) == label]
        if own and own[0]["name"] in each["dims"] and each["indices"] is None:
            shared[own[0]["name"]] = values[where]
        else:
            if each["indices"] is None:
                indices = np.arange(values.size).reshape(values.shape)
            found.append((max(axes), (label, each["units"], indices[where], values[where])))
    for axis, each in reversed(list(enumerate(side["dimensions"]))):
        indices, values = (column[cells[axis][by_row]] for column in stored(group, each))
        label = each["label"] or each["name"]
        values = shared.get(each["name"], values)
        found.insert(0, (axis, (label, each["units"], indices, values)))
    return rows, [column for _, column in sorted(found, key=lambda pair: pair[0])]


def stored(group: Any, each: dict[str, Any]) -> tuple[Any, Any]:
    """(indices, values) of a dimension or coordinate."""
    values = group[each["key"]][...].astype(each["dtype"])
    if each["indices"] is None:
        return np.arange(len(values)), values
    return group[each["indices"]["key"]][...], values


def mains_in(samples: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str]]]:
    """The h5USID files of the samples, each with the paths of its Mains."""
    for file in sorted((samples / "h5usid").glob("*/*.h5")):
        try:
            usidx.open_tree(file, reader="h5usid")
            yield file, [each.path for each in usidx.list_mains(file)]
        except UsidError:  # broken ones, and those of others
            continue


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_2d_form_and_all_ancillaries_follow(
    samples: pathlib.Path, tmp_path: pathlib.Path, zarr_format: Any
) -> None:
    seen = 0
    for number, (file, paths) in enumerate(mains_in(samples)):
        path = to_zarr(usidx.open_tree(file), tmp_path / str(number), zarr_format=zarr_format)
        root: Any = zarr.open_group(path, mode="r")
        with h5py.File(file) as original:
            for main in paths:
                matrix, done, sides = read_main(root[main.strip("/")])
                dataset = original[main]
                np.testing.assert_array_equal(matrix[done], dataset[...][done], f"{file} {main}")
                if main.endswith("swapped_inds_vals"):  # put right when it is opened
                    continue
                for side, columns in sides.items():
                    check_side(original, dataset, side, columns)
                seen += 1
    assert seen > 40


def check_side(file: Any, dataset: Any, side: str, columns: list[Column]) -> None:
    """Whether the columns are those of the file, in whatever order that has them."""
    tables = []
    for kind in ("Indices", "Values"):
        table = file[np.ravel(dataset.attrs[f"{side}_{kind}"])[0]]  # some keep a list of one
        tables.append(table[...].T if side == "Spectroscopic" else table[...])
    told = np.atleast_1d(table.attrs["labels"])
    labels = [each.decode() if isinstance(each, bytes) else str(each) for each in told]
    labels = [each.strip("\0 ") for each in labels]
    for label, _, indices, values in columns:
        place = labels.index(label.strip())
        np.testing.assert_array_equal(values, tables[1][:, place], f"{dataset.name} {label}")
        counted = tables[0][:, place]
        if counted.min() >= 0:
            np.testing.assert_array_equal(indices, counted, f"{dataset.name} {label}")
