"""A map of spectra as a matrix: positions in rows, worked on block by block."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.apply import floating
from usidx.arrays.roles import dims_by_role
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.steps.spectra import check_whole

# Values that are converted at once.
_AT_ONCE = 2**20
# Values of a sample, which is kept in memory.
_SAMPLE = 2**20


@dataclass(frozen=True)
class Matrix:
    """Positions in rows, whole spectra in each block.

    Parameters
    ----------
    data : lazily, (*position, *spectral), in one chunk along `spectral`
    position, spectral : names of the dimensions of both sides
    """

    data: xr.DataArray
    position: tuple[str, ...]
    spectral: tuple[str, ...]

    @property
    def columns(self) -> int:
        """How many spectroscopic values a position has."""
        return math.prod(self.data.sizes[dim] for dim in self.spectral)

    @property
    def rows(self) -> int:
        """How many positions there are."""
        return math.prod(self.data.sizes[dim] for dim in self.position)

    def over_blocks(
        self, function: Callable[..., Any], join: Callable[[list[Any]], Any], *arguments: Any
    ) -> Any:
        """Delayed: what a function makes of all blocks, joined four at a time.

        Parameters
        ----------
        function : (ndarray, shape (rows, columns), *arguments) -> a partial result
        join : partial results -> one of them
        arguments : delayed or not
        """
        from dask._task_spec import List, Task, TaskRef
        from dask.base import tokenize
        from dask.core import flatten
        from dask.delayed import Delayed
        from dask.highlevelgraph import HighLevelGraph

        # one layer of all tasks: dask's delayed calls look through all that was made before
        blocks, called = self.data.data, getattr(function, "__name__", "function")
        name = f"{called}-{tokenize(function, join, blocks.name, self.columns, *arguments)}"
        given = [TaskRef(each.key) if isinstance(each, Delayed) else each for each in arguments]
        tasks: dict[Any, Any] = {}
        made: list[Any] = []
        for number, block in enumerate(flatten(blocks.__dask_keys__())):
            made.append((name, "of", number))
            tasks[made[-1]] = Task(
                made[-1], _of_rows, TaskRef(block), self.columns, *given, function=function
            )
        level = 0
        while len(made) > 1:  # a tree: few partial results are kept at a time
            parts = [made[start : start + 4] for start in range(0, len(made), 4)]
            made = [(name, level, number) for number in range(len(parts))]
            for key, keys in zip(made, parts, strict=True):
                tasks[key] = Task(key, join, List(*map(TaskRef, keys)))
            level += 1
        tasks[name] = tasks.pop(made[0]).substitute({}, key=name)
        needed = [blocks, *(each for each in arguments if isinstance(each, Delayed))]
        return Delayed(name, HighLevelGraph.from_collections(name, tasks, needed))

    def sample(self) -> Any:
        """Delayed: evenly spread rows, ndarray (rows, columns); all where they are few.

        Which ones does not depend on the blocks.
        """
        from dask.delayed import delayed

        sizes = {dim: self.data.sizes[dim] for dim in self.position}
        steps = sample_of(sizes, self.columns)
        chosen = {dim: slice(None, None, step) for dim, step in steps.items()}
        # copies, as views would keep the blocks that they are of
        values = self.data.isel(chosen).data.map_blocks(np.array, dtype=self.data.dtype)
        whole = values.rechunk(-1).to_delayed(optimize_graph=False).ravel()[0]
        return delayed(_in_rows, pure=True)(whole, self.columns)

    def by_row(
        self,
        function: Callable[..., Array],
        dtype: npt.DTypeLike,
        new: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> xr.DataArray:
        """Lazily what a function makes of each row, with the coordinates of positions.

        Parameters
        ----------
        function : (ndarray, shape (rows, columns), **kwargs) -> ndarray, shape (rows, *new)
        dtype : of the result
        new : dimensions that the result has in the place of spectra, with sizes; those of the
            spectra when None
        kwargs : delayed or not
        """
        import dask.array as da

        sizes = {dim: self.data.sizes[dim] for dim in self.spectral} if new is None else dict(new)
        n, chunks = len(self.position), self.data.data.chunks
        lazy = da.map_blocks(
            functools.partial(_by_row, function=function, n_position=n, columns=self.columns),
            self.data.data,
            shape=tuple(sizes.values()),
            kind=np.dtype(dtype),
            drop_axis=list(range(n, self.data.ndim)),
            new_axis=list(range(n, n + len(sizes))),
            chunks=(*chunks[:n], *sizes.values()),
            meta=np.empty((0,) * (n + len(sizes)), dtype),
            **kwargs,
        )
        return xr.DataArray(lazy, self.coords(self.position), (*self.position, *sizes))

    def spectra(self, values: Any, dtype: npt.DTypeLike, name: str, k: int) -> xr.DataArray:
        """Lazily k spectra, (name, *spectral), with the coordinates of the spectra.

        Parameters
        ----------
        values : delayed ndarray, of k times `columns` values
        dtype : of the result
        name : of the new dimension
        """
        import dask.array as da
        from dask.delayed import delayed

        shape = (k, *(self.data.sizes[dim] for dim in self.spectral))
        rows = delayed(_shaped, pure=True)(values, shape, np.dtype(dtype))
        coords = self.coords(self.spectral) | {name: np.arange(k)}
        return xr.DataArray(da.from_delayed(rows, shape, dtype), coords, (name, *self.spectral))

    def coords(self, dims: tuple[str, ...]) -> dict[str, xr.DataArray]:
        """The coordinates that are along these dimensions only."""
        return {str(k): v for k, v in self.data.coords.items() if set(v.dims) <= set(dims)}


def matrix_of(data: xr.DataArray, parts: int, name: str = "n_components") -> Matrix:
    """The matrix of a map, which so many "n_components" or "n_clusters" fit into.

    Raises
    ------
    PlanError : where they do not fit, or there are no positions, or no spectra
    """
    check_whole(**{name: parts})
    position, spectral = dims_by_role(data)
    n, d = (math.prod(data.sizes[dim] for dim in side) for side in (position, spectral))
    most = min(n, d) if name == "n_components" else n
    if not position or not spectral or not d or not 1 <= parts <= most:
        raise PlanError(
            f"{name}={parts} must be from 1 to the {most} that {n} positions "
            f"({', '.join(position) or 'none known'}) of {d} spectroscopic values "
            f"({', '.join(spectral) or 'none'}) have"
        )
    array = data.transpose(*position, *spectral)
    return Matrix(array.chunk(dict.fromkeys(spectral, -1)), position, spectral)


def sample_of(sizes: Mapping[str, int], columns: int) -> dict[str, int]:
    """Every how many-th position of a map is in a sample of it, along each dimension.

    Parameters
    ----------
    sizes : of the dimensions of positions
    columns : how many spectroscopic values a position has
    """
    thinner = math.ceil(math.prod(sizes.values()) * columns / _SAMPLE)
    steps: dict[str, int] = {}
    for dim, size in sizes.items():  # whole lines, where there are enough
        steps[dim] = max(1, min(thinner, size))
        thinner = math.ceil(thinner / steps[dim])
    return steps


def pieces(values: Array) -> list[slice]:
    """Slices of rows that are converted to double precision one after the other."""
    step = max(8, _AT_ONCE // max(1, values.shape[1]))
    return [slice(start, start + step) for start in range(0, values.shape[0], step)]


def double(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """float64 or complex128."""
    return np.result_type(dtype, np.float64)


def added(parts: list[Any]) -> Any:
    """The sum of arrays, or of tuples of arrays by place."""
    if isinstance(parts[0], tuple):
        return tuple(functools.reduce(np.add, each) for each in zip(*parts, strict=True))
    return functools.reduce(np.add, parts)


def signed(spectra: Array) -> Array:
    """Factors of size 1 that make the largest entry of each row positive, shape (rows, 1)."""
    largest = np.take_along_axis(spectra, np.abs(spectra).argmax(1)[:, np.newaxis], 1)
    size = np.abs(largest)
    return np.asarray(size / np.where(size > 0, largest, 1))


def check_finite(values: Array) -> None:
    """Nothing, where all values are finite.

    Raises
    ------
    PlanError : with what to do
    """
    if not np.isfinite(values).all():
        raise PlanError(
            "there are values that are not finite among the spectra, and components need all; "
            "crop them away, or fill them first, with array.fillna(...)"
        )


def decomposed(
    data: xr.DataArray, loadings: xr.DataArray, components: xr.DataArray, scree: Any
) -> xr.Dataset:
    """Maps and spectra of components, and how much each explains, as Mains of one group."""
    import dask.array as da

    k = components.sizes["Component"]
    units = {"units": data.attrs.get("units", "")}
    strengths = da.from_delayed(scree, (k,), np.dtype(float))
    number = {"Component": np.arange(k)}
    parts = {
        "Loadings": loadings.assign_coords(number).assign_attrs(units),
        "Components": components.assign_attrs(units=""),
        "Scree": xr.DataArray(strengths, number, ("Component",), attrs={"units": ""}),
    }
    return xr.Dataset({name: each.assign_attrs(quantity=name) for name, each in parts.items()})


def _of_rows(block: Array, columns: int, *arguments: Any, function: Callable[..., Any]) -> Any:
    return function(block.reshape(-1, columns), *arguments)


def _shaped(values: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.asarray(values, dtype).reshape(shape)


def _in_rows(block: Array, columns: int) -> Array:
    values = np.ascontiguousarray(block).reshape(-1, columns)
    return values.astype(floating(values.dtype), copy=False)


def _by_row(
    block: Array,
    *,
    function: Callable[..., Array],
    n_position: int,
    columns: int,
    shape: tuple[int, ...],
    kind: np.dtype[Any],
    **kwargs: Any,
) -> Array:
    found = function(block.reshape(-1, columns), **kwargs)
    return np.asarray(found, kind).reshape(*block.shape[:n_position], *shape)
