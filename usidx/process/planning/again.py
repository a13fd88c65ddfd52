"""A lazy result that people made themselves, made again of its source in other chunks."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import stored_of, to_dask
from usidx.arrays.roles import known_roles
from usidx.arrays.views import Readable
from usidx.model.dimension import Array
from usidx.process.map import mapped_of
from usidx.process.planning.identity import Labelled
from usidx.process.running.program import Chunks, program_of
from usidx.process.running.routine import Routine

if TYPE_CHECKING:
    import dask.array

# What gives a value from the values at the same place alone; so does every ufunc of NumPy.
_ELEMENTWISE: tuple[Callable[..., Any], ...] = (
    operator.abs,
    operator.add,
    operator.and_,
    operator.eq,
    operator.floordiv,
    operator.ge,
    operator.gt,
    operator.inv,
    operator.le,
    operator.lt,
    operator.mod,
    operator.mul,
    operator.ne,
    operator.neg,
    operator.or_,
    operator.pos,
    operator.pow,
    operator.sub,
    operator.truediv,
    operator.xor,
    np.angle,
    np.clip,
    np.imag,
    np.isclose,
    np.nan_to_num,
    np.real,
    np.round,
    np.where,
)
_SCALARS = (int, float, complex, str, np.generic, np.dtype, type, type(None))


@dataclass(frozen=True, eq=False)
class Again:
    """Makes a result of the same stored values in other chunks, each position from itself alone.

    Parameters
    ----------
    result : as it was made
    array : the stored values that it was made of
    function : those values, lazily -> the values of the result
    """

    result: xr.DataArray
    array: Readable
    function: Callable[[dask.array.Array], dask.array.Array]

    def __call__(self, part: Labelled) -> xr.DataArray:
        """The result in the chunks of `part`, which is the source cut in another way."""
        lazy = to_dask(self.array, part.data.chunks, name=str(part.name))
        return self.result.copy(deep=False, data=self.function(lazy))


def again_of(result: Labelled, source: Labelled) -> Again | None:
    """How a result is made of its source in other chunks; None where that is not known.

    It is known of a result of `da.usid.map`, and of one that arithmetic and other functions of
    single values made of the source. Any other function may have looked at a chunk as a whole.
    """
    if not isinstance(result, xr.DataArray) or not isinstance(source, xr.DataArray):
        return None
    if result.chunks is None or source.chunks is None:
        return None
    array = stored_of(source.data)
    if array is None or array.shape != source.shape:
        return None
    function = _mapped(result, source) or _elementwise(result, source)
    return None if function is None else Again(result, array, function)


def _mapped(
    result: xr.DataArray, source: xr.DataArray
) -> Callable[[dask.array.Array], dask.array.Array] | None:
    mapped = mapped_of(result)
    if mapped is None or mapped.source.chunks is None:
        return None
    whole = mapped.source
    if whole.data.name != source.data.name or whole.dims != source.dims:
        return None

    def function(lazy: dask.array.Array) -> dask.array.Array:
        made: dask.array.Array = mapped.function(whole.copy(deep=False, data=lazy)).data
        return made

    return function


def _elementwise(
    result: xr.DataArray, source: xr.DataArray
) -> Callable[[dask.array.Array], dask.array.Array] | None:
    if result.dims != source.dims or result.chunks != source.chunks:
        return None
    if not all(result.shape):
        return None
    first = (0,) * source.ndim
    last = tuple(number - 1 for number in source.data.numblocks)
    routine = program_of(Chunks(first, last, source.data, (result.data,)))
    roles = [known_roles(source)[str(dim)] for dim in source.dims]
    n_position = roles.count("position")
    if routine is None or "position" in roles[n_position:]:
        return None
    if not _is_elementwise(routine, n_position, source.ndim):
        return None
    kernel = Elementwise(routine, str(result.data.name))

    def function(lazy: dask.array.Array) -> dask.array.Array:
        import dask.array

        made: dask.array.Array = dask.array.map_blocks(
            kernel, lazy, dtype=result.dtype, meta=result.data._meta
        )
        return made

    return function


def _is_elementwise(routine: Routine, n_position: int, ndim: int) -> bool:
    """Whether the calls of a routine act on single values, alike at every position.

    Parameters
    ----------
    n_position : how many of the axes, from the first, are positions
    ndim : how many axes there are
    """
    made = {0} | {call.target for call in routine.calls}
    fixed = [each for place, each in enumerate(routine.places) if place not in made]
    return all(_is_known(call.function) for call in routine.calls) and all(
        _is_alike(each, n_position, ndim) for each in fixed
    )


def _is_known(function: Any) -> bool:
    from dask.array import chunk

    if isinstance(function, np.ufunc):
        return function.signature is None
    return any(function is each for each in (*_ELEMENTWISE, chunk.astype))


def _is_alike(value: Any, n_position: int, ndim: int) -> bool:
    """Whether a value beside the source is the same for every position."""
    if not isinstance(value, np.ndarray):
        return isinstance(value, _SCALARS)
    before = max(0, n_position - (ndim - value.ndim))
    return value.ndim <= ndim and all(size == 1 for size in value.shape[:before])


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A routine of a single result, which dask knows by what it was made from.

    Parameters
    ----------
    routine : what is done to the values of a chunk
    name : dask's of the result
    """

    routine: Routine
    name: str

    def __call__(self, block: Array) -> Array:
        """The values of the result, of the shape of the block."""
        (made,) = self.routine(block)
        return made

    @property
    def __name__(self) -> str:
        return "elementwise"  # names the tasks

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (Elementwise.__qualname__, self.name)
