"""Layouts of real and written files, against what pyUSID and an independent scatter say of them."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from usidx.model.ancillary import file_labels, index_matrix, infer_layout, value_matrix
from usidx.model.dimension import Array
from usidx.model.layout import Coordinate, Grid, Layout, Points, file_rows

# the samples of the fixture, wanted here while tests are still being collected
FOLDER = pathlib.Path(__file__).resolve().parents[3] / "shared" / "samples" / "h5usid"


def _mains() -> Iterator[Any]:
    truth = FOLDER / "ground_truth.json"
    if not truth.is_file():
        yield pytest.param("", {}, marks=pytest.mark.skip(reason=f"there is no {truth}"))
        return
    for file, entry in json.loads(truth.read_text())["files"].items():
        for main in entry["mains"]:
            if "reference" in main and (FOLDER / file).is_file():
                yield pytest.param(file, main, id=f"{pathlib.Path(file).name}:{main['path']}")


def _text(value: Any) -> str:
    raw = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return raw.rstrip("\0").strip()


def _read(file: h5py.File, main: str, side: str) -> tuple[list[str], list[str], Array, Array]:
    attrs = file[main].attrs
    indices = file[attrs[f"{side}_Indices"]]
    values = file[attrs[f"{side}_Values"]]
    labels, units = (
        [_text(each) for each in np.atleast_1d(indices.attrs[name])] for name in ("labels", "units")
    )
    matrices = indices[()], values[()]
    if side == "Spectroscopic":
        return labels, units, matrices[0].T, matrices[1].T
    return labels, units, *matrices


def _fold(raw: Array, position: Layout, spectroscopic: Layout) -> Array:
    rows, columns = file_rows(position, ()), file_rows(spectroscopic, ())
    return raw[rows][:, columns].reshape(position.shape + spectroscopic.shape)


def _sha256(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _side_is_kept(layout: Layout, labels: list[str], indices: Array, values: Array) -> None:
    """Every index and value of the file is in the layout, in the file's rows."""
    columns = [labels.index(label) for label in file_labels(layout)]
    assert sorted(columns) == list(range(len(labels)))
    np.testing.assert_array_equal(value_matrix(layout), values[:, columns])
    np.testing.assert_array_equal(index_matrix(layout), indices[:, columns])


@pytest.mark.parametrize(("path", "truth"), list(_mains()))
def test_layout_agrees_with_ground_truth(path: str, truth: dict[str, Any]) -> None:
    with h5py.File(FOLDER / path) as file:
        raw = file[truth["path"]][()]
        sides = [_read(file, truth["path"], side) for side in ("Position", "Spectroscopic")]
    position = infer_layout("position", *sides[0])
    spectroscopic = infer_layout("spectroscopic", *sides[1])
    reference = truth["reference"]
    for layout, side, full in (
        (position, sides[0], reference["pos_is_full_grid"]),
        (spectroscopic, sides[1], reference["spec_is_full_grid"]),
    ):
        if "swapped" not in truth["path"]:
            _side_is_kept(layout, side[0], *side[2:])
        tied = isinstance(layout, Grid) and len(layout.dimensions) < len(side[0])
        assert full == (isinstance(layout, Grid) and not tied)
        if isinstance(layout, Points):
            assert layout.reason
    if not (reference["pos_is_full_grid"] and reference["spec_is_full_grid"]):
        return
    _agrees(_fold(raw, position, spectroscopic), position, spectroscopic, sides, truth)


def _agrees(
    folded: Array, position: Grid, spectroscopic: Grid, sides: list[Any], truth: dict[str, Any]
) -> None:
    labels = [each.file_label for each in (*position.dimensions, *spectroscopic.dimensions)]
    sides_of = ["p"] * len(position.dimensions) + ["s"] * len(spectroscopic.dimensions)
    mine = list(zip(sides_of, labels, strict=True))
    in_file = [("p", each) for each in sides[0][0]] + [("s", each) for each in sides[1][0]]
    agreed = 0
    for order, form in _stated_forms(truth, in_file):
        transposed = folded.transpose([mine.index(each) for each in order])
        assert list(transposed.shape) == form["shape"]
        assert _sha256(transposed) == form["sha256_C"]
        agreed += 1
    assert agreed


def _stated_forms(
    truth: dict[str, Any], in_file: list[tuple[str, str]]
) -> Iterator[tuple[list[tuple[str, str]], dict[str, Any]]]:
    """(order of dimensions, form) for each N-D form that is known to be right."""
    yield in_file, truth["reference"]["nd_file_order"]
    for view in ("sort_dims_False", "toggled_to_sorted"):
        stated = truth.get(view, {})
        if "reference_this_order" in stated:
            n_position = len(stated["pos_dim_labels"])
            order = [
                ("p" if at < n_position else "s", label.strip())
                for at, label in enumerate(stated["n_dim_labels"])
            ]
            yield order, stated["reference_this_order"]
            if stated.get("equals_reference"):
                yield order, stated["n_dim_form"]


def _layouts(samples: pathlib.Path, name: str) -> tuple[Layout, Layout]:
    with h5py.File(samples / "h5usid" / "pyusid" / name) as file:
        main = "/Measurement_000/Channel_000/Raw_Data"
        rows, columns = (_read(file, main, side) for side in ("Position", "Spectroscopic"))
    return infer_layout("position", *rows), infer_layout("spectroscopic", *columns)


def test_order_that_is_neither_slow_first_nor_fast_first(samples: pathlib.Path) -> None:
    position, spectroscopic = _layouts(samples, "28_beps_small_like_h5py.h5")
    assert position.dims == ("Y", "X")
    assert spectroscopic.dims == ("Cycle", "DC_Offset", "Field", "Frequency")
    assert spectroscopic.order is None


def test_values_that_change_with_another_dimension(samples: pathlib.Path) -> None:
    _, side = _layouts(samples, "13_dependent_values_regular_indices.h5")
    assert isinstance(side, Grid)
    assert side.dims == ("FORC", "DC_Offset_index", "Frequency")
    assert side.dimensions[1].units == ""
    values = np.array([[0, 1, 0, -1], [0, 2, 0, -2]], "f4")
    assert side.dependent == (Coordinate("DC_Offset", "V", ("FORC", "DC_Offset_index"), values),)


def test_column_tied_to_another(samples: pathlib.Path) -> None:
    _, side = _layouts(samples, "13b_dependent_extra_dim_h5py.h5")
    assert isinstance(side, Grid)
    assert side.dims == ("Step", "Frequency")
    (amplitude,) = side.dependent
    assert (amplitude.name, amplitude.units, amplitude.dims) == ("AC_Amplitude", "V", ("Step",))
    np.testing.assert_allclose(amplitude.values, [0, 0.1, 0.4, 0.9], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "side", "reason"),
    [
        ("11_sparse_DimType_INCOMPLETE.h5", 0, "40 rows has indices of its own in X and Y"),
        ("11b_sparse_incomplete_dimensions_attr_h5py.h5", 0, "each of the 8 rows"),
        ("12_incomplete_raster_h5py.h5", 0, "13 rows fill a part of the 15 cells of a 3 x 5 grid"),
        ("13d_forc_index_never_resets_h5py.h5", 1, "DC_Offset does not start again when FORC"),
    ],
)
def test_points_say_why(samples: pathlib.Path, name: str, side: int, reason: str) -> None:
    layout = _layouts(samples, name)[side]
    assert isinstance(layout, Points)
    assert reason in layout.reason


def test_indices_that_start_late_and_skip(samples: pathlib.Path) -> None:
    position, spectroscopic = _layouts(samples, "17_indices_offset_and_dtypes_h5py.h5")
    assert isinstance(position, Grid)
    assert position.dims == ("Y", "X")
    assert position.dimensions[1].counters.tolist() == [5, 7, 9, 11, 13]
    assert spectroscopic.dims == ("Bias", "Frequency")


def test_exchanged_references_are_put_right(samples: pathlib.Path) -> None:
    with h5py.File(samples / "h5usid" / "pyusid" / "15_not_quite_main_h5py.h5") as file:
        columns = _read(file, "/Measurement_000/Channel_000/swapped_inds_vals", "Position")
    layout = infer_layout("position", *columns)
    assert isinstance(layout, Grid)
    np.testing.assert_allclose(layout.dimensions[1].values, [0, 2.5, 5, 7.5, 10])
    assert layout.dimensions[1].indices is None
