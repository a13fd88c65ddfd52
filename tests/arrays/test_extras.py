"""Datasets that are no Mains, as variables of a tree that never clash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from usidx.arrays.extras import (
    group_datasets,
    has_mains,
    is_extra,
    plain_dataarray,
    without_extras,
)


class Held:
    """A block array in memory."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)
        self.shape, self.dtype, self.ndim = self.values.shape, self.values.dtype, self.values.ndim

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __dask_tokenize__(self) -> Any:
        return self.shape, str(self.dtype)


@dataclass
class Dataset:
    path: str
    array: Any
    attrs: dict[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass
class Group:
    path: str
    datasets: tuple[Dataset, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def zeros(path: str, *shape: int, **options: Any) -> Dataset:
    return Dataset(path, Held(np.zeros(shape)), **options)


def test_dimensions_are_named_after_the_dataset() -> None:
    udvs = zeros("/c/UDVS", 3, 7, attrs={"units": "V"}, labels=("step", ""))
    group = Group("/c", (udvs,), {"gain": 2}, {"alias": "/d"}, {"t": "a named datatype"})
    node = group_datasets([Group("/"), group], {"X"}, dask=False)["/c"]
    assert node.UDVS.dims == ("UDVS_step", "UDVS_1")
    assert node.UDVS.attrs == {"units": "V", "usid_role": "extra"}
    assert node.attrs == {
        "gain": 2,
        "usid_links": ["alias -> /d"],
        "usid_unread": ["t : a named datatype"],
    }
    assert is_extra(node.UDVS)
    assert not has_mains(node)
    mixed = node.assign(Raw_Data=("X", [1.0]))
    assert has_mains(mixed)
    assert list(without_extras(mixed)) == ["Raw_Data"]


def test_scales_are_coordinates_without_an_index() -> None:
    wavelength = Dataset("/c/wl", Held([400.0, 500, 600]), scales=("/c/wl",))
    groups = [
        Group("/"),
        Group("/c", (wavelength, zeros("/c/a", 2, 3, scales=("", "/c/wl")))),
        Group("/d", (zeros("/d/b", 3, scales=("/c/wl",)),)),
    ]
    nodes = group_datasets(groups, (), dask=False)
    assert nodes["/c"].a.dims == ("a_0", "wl_0")
    assert nodes["/c"].coords["wl"].dims == ("wl_0",)
    assert nodes["/d"].b.coords["wl"].values.tolist() == [400, 500, 600]
    assert all(not node.xindexes for node in nodes.values())
    tree = xr.DataTree.from_dict(nodes)
    assert set(tree["c"].coords) == {"wl"}


def test_two_axes_with_one_scale_have_two_names() -> None:
    scale = Dataset("/e", Held([1.0, 2]), scales=("/e",))
    covariance = zeros("/covariance", 2, 2, scales=("/e", "/e"))
    node = group_datasets([Group("/", (scale, covariance))], (), dask=False)["/"]
    assert node.covariance.dims == ("e_0", "covariance_1")


def test_large_ones_come_in_blocks_and_small_ones_whole() -> None:
    large = Dataset("/large", Held(np.broadcast_to(np.float64(0), (3000, 3000))))
    chunked = Dataset("/chunked", large.array, chunks=(100, 70))
    nodes = group_datasets([Group("/", (large, chunked, zeros("/small", 4)))], (), dask=True)
    node = nodes["/"]
    assert node.large.chunks is not None
    assert node.small.chunks is None
    rows, columns = node.chunked.chunks
    assert columns == (3000,)
    assert rows[0] % 100 == 0
    assert node.large.chunks[0][0] * 3000 * 8 <= 32 * 2**20
    assert group_datasets([Group("/", (large,))], (), dask=False)["/"].large.chunks is None


def test_any_dataset_alone() -> None:
    array = plain_dataarray(Dataset("/c/v", Held(np.arange(6).reshape(2, 3)), labels=("t", "")))
    assert array.dims == ("v_t", "v_1")
    assert array[1, 2].item() == 5
    assert plain_dataarray(Dataset("/c/s", Held(7))).item() == 7


NAMES = st.sampled_from(["X", "Y", "a", "a_0", "a_0_", "X_0", "0"])
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_ever_clashes(data: st.DataObject) -> None:
    """Whatever names and shapes groups, datasets and Mains have, the tree comes together."""
    paths, groups, leaves = ["/"], [], {}
    for _ in range(data.draw(st.integers(0, 4))):
        above = data.draw(st.sampled_from(paths))
        paths.append(f"{above.rstrip('/')}/g{len(paths)}")
    scales: dict[str, int] = {}
    for path in paths:
        datasets = []
        for name in data.draw(st.lists(NAMES, unique=True, max_size=4)):
            shape = data.draw(SHAPES)
            whole = f"{path.rstrip('/')}/{name}"
            fitting = [
                data.draw(st.sampled_from(["", *(s for s, n in scales.items() if n == size)]))
                for size in shape
            ]
            if len(shape) == 1 and data.draw(st.booleans()):
                fitting, scales[whole] = [whole], shape[0]
            datasets.append(zeros(whole, *shape, scales=tuple(fitting)))
        groups.append(Group(path, tuple(datasets)))
        dims = data.draw(st.lists(NAMES, unique=True, max_size=2))
        sizes = [data.draw(st.integers(1, 3)) for _ in dims]
        main = xr.DataArray(np.zeros(sizes), dims=dims, coords=dict(zip(dims, map(range, sizes))))
        leaves[f"{path.rstrip('/')}/Main"] = main.to_dataset(name="Main")
    reserved = {str(dim) for leaf in leaves.values() for dim in leaf.dims}
    nodes = group_datasets(groups, reserved, dask=False)
    tree = xr.DataTree.from_dict(nodes | leaves)
    for path, leaf in leaves.items():
        assert set(tree[path].to_dataset().variables) == set(leaf.variables)
    for group in groups:
        for each in group.datasets:
            assert tree[group.path].to_dataset()[each.name].shape == each.array.shape
