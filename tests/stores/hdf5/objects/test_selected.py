"""What region references select, against what h5py itself reads through them."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.stores.hdf5.objects.selected import Selected, selected

SHAPE = (7, 9)
VALUES = np.arange(63).reshape(SHAPE)


@pytest.fixture(scope="module")
def dataset() -> Iterator[h5py.Dataset]:
    with h5py.File("regions", "w", driver="core", backing_store=False) as file:
        yield file.create_dataset("data", data=VALUES)


def values_of(found: Selected) -> np.ndarray:
    """The selected values, ascending."""
    if found.axes is not None:
        index = [np.arange(size)[axis] for axis, size in zip(found.axes, found.shape, strict=True)]
        return np.sort(VALUES[np.ix_(*index)].ravel())
    assert found.blocks is not None
    parts = [VALUES[tuple(slice(*axis) for axis in block.T)].ravel() for block in found.blocks]
    return np.sort(np.concatenate(parts))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (np.s_[:, :], "[:, :]"),
        (np.s_[2:5, 1:9:3], "[2:5, 1:8:3]"),
        (np.s_[3, 4], "[3:4, 4:5]"),
        (np.s_[[0, 2, 5], :], "[3 of 7, :]"),
        (np.s_[2:2, :], "[0:0, 0:0]"),
        (h5py.MultiBlockSlice(start=1, stride=3, count=2, block=2), "[4 of 7, :]"),
    ],
)
def test_rows_and_columns(dataset: h5py.Dataset, key: object, text: str) -> None:
    found = selected(dataset.regionref[key], dataset)
    assert found.axes is not None
    assert str(found) == text
    np.testing.assert_array_equal(values_of(found), np.sort(dataset[key].ravel()))


def test_everything_and_single_points(dataset: h5py.Dataset) -> None:
    space = h5py.h5s.create_simple(SHAPE)
    reference = h5py.h5r.create(dataset.id, b".", h5py.h5r.DATASET_REGION, space)
    assert str(selected(reference, dataset)) == "[:, :]"
    space.select_elements([(6, 8), (0, 0), (3, 1)])
    reference = h5py.h5r.create(dataset.id, b".", h5py.h5r.DATASET_REGION, space)
    found = selected(reference, dataset)
    assert str(found) == "[3 elements]"
    assert found.blocks is not None
    assert found.blocks[:, 0].tolist() == [[6, 8], [0, 0], [3, 1]]
    space.select_elements([(0, 0), (0, 2), (4, 0), (4, 2)])
    reference = h5py.h5r.create(dataset.id, b".", h5py.h5r.DATASET_REGION, space)
    assert str(selected(reference, dataset)) == "[0:5:4, 0:3:2]"


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 7), st.integers(1, 4)),
        min_size=1,
        max_size=4,
    )
)
def test_unions_of_boxes(dataset: h5py.Dataset, boxes: list[tuple[int, int, int, int]]) -> None:
    """Boxes may overlap, touch, or make a whole combination of rows and columns together."""
    space = h5py.h5s.create_simple(SHAPE)
    expected = np.zeros(SHAPE, bool)
    for number, (row, height, column, width) in enumerate(boxes):
        height, width = min(height, SHAPE[0] - row), min(width, SHAPE[1] - column)
        how = h5py.h5s.SELECT_OR if number else h5py.h5s.SELECT_SET
        space.select_hyperslab((row, column), (1, 1), block=(height, width), op=how)
        expected[row : row + height, column : column + width] = True
    reference = h5py.h5r.create(dataset.id, b".", h5py.h5r.DATASET_REGION, space)
    found = selected(reference, dataset)
    np.testing.assert_array_equal(values_of(found), VALUES[expected])
    is_product = expected.sum() == expected.any(axis=1).sum() * expected.any(axis=0).sum()
    assert (found.axes is not None) == is_product
