"""Every Main of the samples against what pyUSID and an independent NumPy scatter say of it."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re

import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.model.layout import Grid

H5USID = pathlib.Path(__file__).resolve().parents[2] / "shared" / "samples" / "h5usid"


def known_mains():
    """(file, facts of one Main) for everything that pyUSID takes for a Main."""
    path = H5USID / "ground_truth.json"
    if not path.is_file():
        return [pytest.param("", {}, marks=pytest.mark.skip(f"no ground truth at {path}"))]
    return [
        pytest.param(file, facts, id=file + ":" + "/".join(facts["path"].split("/")[-2:]))
        for file, content in json.loads(path.read_text())["files"].items()
        for facts in content["mains"]
        if facts.get("check_if_main") is True
    ]


def packed(opened, dtype, dims):
    """The values in the dtype of the file, with the axes in the order `dims`."""
    if isinstance(opened, xr.DataArray):
        values = opened.transpose(*dims).values
        assert values.dtype.newbyteorder("=") == dtype.newbyteorder("=")
        return np.ascontiguousarray(values.astype(dtype))
    first = next(iter(opened.data_vars.values())).transpose(*dims)
    values = np.empty(first.shape, dtype)
    assert tuple(opened.data_vars) == dtype.names
    for name, variable in opened.data_vars.items():
        values[name] = variable.transpose(*dims).values
    return values


def digest(values):
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def dtype_in(file, facts):
    import h5py

    with h5py.File(H5USID / file) as handle:
        return handle[facts["path"]].dtype


def dims_of_labels(opened, facts):
    """The dimension of each label of the file, positions first."""
    spec = opened.usid.spec
    dims = []
    for side, sizes in ((spec.position, "pos_sizes"), (spec.spectroscopic, "spec_sizes")):
        count = len(facts["reference"][sizes])
        labels = [text.strip() for text in facts["file_labels"][len(dims) : len(dims) + count]]
        by_label = {each.file_label: each.name for each in side.dimensions}
        dims += [by_label[label] for label in labels]
    return dims


@pytest.mark.parametrize(("file", "facts"), known_mains())
def test_rows_are_those_of_the_file(file, facts):
    dtype = dtype_in(file, facts)
    opened = usidx.open(H5USID / file, facts["path"], form="2d")
    if opened.attrs.get("usid_status") == "partial":
        pytest.skip("what is not computed is NaN, in the file it is anything")
    values = packed(opened, dtype, ("position", "spectroscopic"))
    assert list(values.shape) == facts["raw_2d"]["shape"]
    assert digest(values) == facts["raw_2d"]["sha256_C"]


@pytest.mark.parametrize(("file", "facts"), known_mains())
def test_grids_are_where_the_indices_say(file, facts):
    expected = facts.get("reference", {}).get("nd_file_order")
    if not isinstance(expected, dict):
        pytest.skip("no grid, or none that the ground truth could make")
    opened = usidx.open(H5USID / file, facts["path"])
    if opened.attrs.get("usid_status") == "partial":
        pytest.skip("what is not computed is NaN, in the file it is anything")
    values = packed(opened, dtype_in(file, facts), dims_of_labels(opened, facts))
    assert list(values.shape) == expected["shape"]
    assert digest(values) == expected["sha256_C"]


@pytest.mark.parametrize(("file", "facts"), known_mains())
def test_quantity_units_and_values_along_dimensions(file, facts):
    if "quantity_units" not in facts:
        pytest.skip("the ground truth has none")
    if "swapped" in file + facts["path"]:
        pytest.skip("pyUSID takes the indices for the values")
    opened = usidx.open(H5USID / file, facts["path"])
    said = [opened.attrs["quantity"], opened.attrs["units"]]
    assert said == [re.sub("^b'(.*)'$", r"\1", text).strip() for text in facts["quantity_units"]]
    spec = opened.usid.spec
    first = len(facts.get("reference", {}).get("pos_sizes", ()))
    for side, part, known in (
        (spec.position, slice(0, first), "pos_values"),
        (spec.spectroscopic, slice(first, None), "spec_values"),
    ):
        labels, units = (facts.get(key, [])[part] for key in ("file_labels", "file_units"))
        expected = {label.strip(): unit.strip() for label, unit in zip(labels, units)}
        for each in side.dimensions if isinstance(side, Grid) else ():
            if each.name == f"{each.file_label}_index" or each.file_label not in expected:
                continue
            assert each.units == expected[each.file_label]
            found = facts[known].get(each.file_label)
            if isinstance(found, dict):
                assert digest(each.values.astype(found["dtype"])) == found["sha256_C"]


@pytest.mark.parametrize(("file", "facts"), known_mains())
def test_axes_go_from_slow_to_fast(file, facts):
    known = facts.get("toggled_to_sorted", {})
    if not known.get("equals_reference"):
        pytest.skip("pyUSID has no right N-D form of it")
    opened = usidx.open(H5USID / file, facts["path"])
    array = opened if isinstance(opened, xr.DataArray) else next(iter(opened.data_vars.values()))
    long = [dim for dim in array.dims if array.sizes[dim] > 1]
    labels = [str(array[dim].attrs.get("usid_label", dim)) for dim in long]
    sizes = zip(known["n_dim_labels"], known["n_dim_form"]["shape"])
    assert labels == [label.strip() for label, size in sizes if size > 1]
