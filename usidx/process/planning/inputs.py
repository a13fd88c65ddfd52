"""Parameters of a step that are arrays themselves: further sources, beside the one it is run on.

A Main that is stored and untouched is a source like the first. A small array in memory is kept
among the parameters, values, labels and all, so that whoever finds the result can make it again.
Any other array is known by its dask token alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.lazy import to_dask
from usidx.errors import PlanError
from usidx.model.dimension import Array
from usidx.model.inputs import ARRAY, DATASET, FUNCTION
from usidx.model.layout import Layout
from usidx.model.provenance import canonical
from usidx.process.planning.code import function_token
from usidx.process.planning.identity import Labelled, Source, identify, is_lazy, opened_in
from usidx.process.planning.models import is_model, model_known
from usidx.step import Step

# An array in memory up to this many bytes is kept with the parameters.
KEPT = 2**20


@dataclass(frozen=True, eq=False)
class Input:
    """A parameter of a step that is a further source.

    Parameters
    ----------
    name : of the parameter
    source : what it is, as results record it
    value : what the step is called with
    """

    name: str
    source: Source
    value: Labelled

    @property
    def identity(self) -> str:
        """What the fingerprint of a result is made of."""
        return f"{self.name}={self.source.identity}"

    @property
    def told(self) -> str:
        """Where it is and how large, for people."""
        sizes = ", ".join(f"{dim}: {size}" for dim, size in self.value.sizes.items())
        if self.source.origin is None:
            return f"{self.source.name} ({sizes}), not stored"
        return f"{self.source.origin.main} ({sizes}), {self.source.origin.store}"


@dataclass(frozen=True, eq=False)
class Given:
    """The parameters of a step, told apart.

    Parameters
    ----------
    plain : those that are kept with the result
    inputs : those that are further sources, by name
    arguments : all of them as the step is called with them
    """

    plain: Mapping[str, Any]
    inputs: tuple[Input, ...]
    arguments: Mapping[str, Any]

    def along(self, source: Labelled) -> Given:
        """The same with inputs in the blocks of the source, along the dimensions they share.

        So the tasks of one block of the source read one block of each input.
        """
        inputs = tuple(replace(each, value=_along(each, source)) for each in self.inputs)
        return replace(
            self, inputs=inputs, arguments=dict(self.arguments) | {e.name: e.value for e in inputs}
        )


def given(parameters: Mapping[str, Any]) -> Given:
    """The parameters of a step, with those apart that are further sources.

    Raises
    ------
    PlanError : for a source that is a result which is not complete yet, for what is kept of a
        function in its place, and for a model of lmfit that cannot be told from others
    """
    plain: dict[str, Any] = {}
    inputs: list[Input] = []
    arguments: dict[str, Any] = {}
    for name, value in parameters.items():
        whole = unpacked(value) if is_packed(value) else value
        arguments[name] = whole
        if callable(whole) and not isinstance(whole, type):
            plain[name] = function_known(whole)
            continue
        if is_model(whole):
            plain[name] = model_known(whole)
            continue
        if isinstance(whole, Mapping) and set(whole) == {FUNCTION}:
            raise PlanError(
                f"{name!r} was the Python function {whole[FUNCTION].get('name')!r}, which no store "
                f"keeps: hand it over again, as in da.usid.process(step, {name}=...).run(), which "
                "goes on with the result that is there"
            )
        if not isinstance(whole, (xr.DataArray, xr.Dataset)):
            plain[name] = whole
            continue
        packed = packed_of(whole)
        if packed is not None:
            plain[name] = packed
        else:
            inputs.append(Input(name, _identified(name, whole), whole))
    return Given(plain, tuple(sorted(inputs, key=lambda each: each.name)), arguments)


def function_known(function: Callable[..., Any]) -> dict[str, Any]:
    """What is kept of a function that is a parameter: its name, and a digest of what it does.

    The same function, and the same text in another session, finds the result again.
    """
    name = str(getattr(function, "__qualname__", getattr(function, "__name__", repr(function))))
    return {FUNCTION: {"name": name, "token": function_token(function)}}


def _identified(name: str, value: Labelled) -> Source:
    try:
        return identify(value)
    except PlanError as error:
        raise PlanError(f"parameter {name!r} cannot be used: {error}") from error


def _along(each: Input, source: Labelled) -> Labelled:
    sizes, cut = source.sizes, source.chunksizes
    value = each.value
    chunks = {
        str(dim): tuple(cut[dim])
        for dim, size in value.sizes.items()
        if dim in cut and sizes[dim] == size
    }
    if each.source.origin is None:
        if isinstance(value, xr.DataArray):
            return _held(value, chunks).chunk(chunks)
        return value.map(_held, chunks=chunks).chunk(chunks)
    if is_lazy(value) and all(value.chunksizes[dim] == sizes for dim, sizes in chunks.items()):
        return value
    return opened_in(each.source, chunks)


@dataclass(frozen=True, eq=False)
class Held:
    """An array in memory that blocks are read from, so that other processes get it only once.

    Parameters
    ----------
    values : any ndarray
    token : what tells it from any other
    """

    values: Array
    token: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __getitem__(self, key: tuple[int | slice, ...], /) -> Array:
        return np.asarray(self.values[key])

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.token


def _held(array: xr.DataArray, chunks: Mapping[str, tuple[int, ...]]) -> xr.DataArray:
    """An array in memory as a lazy one, cut as `chunks` say; any other as it is."""
    if not isinstance(array.variable._data, np.ndarray) or not array.ndim:
        return array
    from dask.base import tokenize

    values = array.variable._data
    token = str(tokenize(values))
    cut = tuple(chunks.get(str(dim), (size,)) for dim, size in array.sizes.items())
    return array.copy(data=to_dask(Held(values, token), cut, name="held"))


def read_at_once(inputs: Iterable[Input], position: Layout) -> tuple[int, int]:
    """(bytes for each position, bytes beside them) that computing positions reads of inputs.

    An input with the positions of an output is read as they are. Of any other a chunk at a time
    is in memory.
    """
    each_position = beside = 0
    for each in inputs:
        sizes = each.value.sizes
        alike = all(
            sizes.get(dim) == size for dim, size in zip(position.dims, position.shape, strict=True)
        )
        if alike:
            each_position += -(-each.value.nbytes // position.size)
        else:
            beside += _largest_chunk(each.value)
    return each_position, beside


def _largest_chunk(value: Labelled) -> int:
    variables = [value] if isinstance(value, xr.DataArray) else list(value.data_vars.values())
    return sum(
        each.dtype.itemsize * math.prod(max(sizes, default=0) for sizes in each.chunks)
        if each.chunks
        else each.nbytes
        for each in variables
    )


def at(value: Any, places: Mapping[str, slice], source: Labelled) -> Any:
    """An array at some places along the dimensions that it shares with the source.

    Anything else comes back as it is.
    """
    if not isinstance(value, (xr.DataArray, xr.Dataset)):
        return value
    shared = {dim for dim in places if value.sizes.get(dim) == source.sizes[dim]}
    return value.isel({dim: part for dim, part in places.items() if dim in shared})


def call(step: Step[..., Any], source: Labelled, arguments: Mapping[str, Any]) -> Any:
    """What a step makes of a source, and of arrays among its arguments that fit it exactly.

    xarray computes with what two arrays have in common: where coordinates differ in their last
    digits that is a part of the map, or nothing, without a word.

    Raises
    ------
    PlanError : where arrays that are computed with each other have different coordinates
    """
    if not any(isinstance(each, (xr.DataArray, xr.Dataset)) for each in arguments.values()):
        return step(source, **arguments)
    try:
        with xr.set_options(arithmetic_join="exact"):
            return step(source, **arguments)
    except xr.AlignmentError as error:
        raise PlanError(
            f"step {step.name!r} computes with arrays whose coordinates differ ({error}); make "
            "them the same first, with flat.reindex_like(da, method='nearest', tolerance=...), or "
            "flat.assign_coords(X=da.X) where they mean the same places"
        ) from error


def packed_of(value: Labelled) -> dict[str, Any] | None:
    """A small array in memory as plain parameters; None for any other.

    Its values, dimensions, coordinates, name and attributes are in it; where something of that
    cannot be kept, nothing is.
    """
    variables = {str(name): each.variable for name, each in value.coords.items()}
    if isinstance(value, xr.Dataset):
        variables |= {str(name): each.variable for name, each in value.data_vars.items()}
    else:
        variables[""] = value.variable
    if not all(map(_is_in_memory, variables.values())):
        return None
    if sum(each.nbytes for each in variables.values()) > KEPT:
        return None
    try:
        if isinstance(value, xr.Dataset):
            names = [str(name) for name in value.data_vars]
            return {
                DATASET: canonical(
                    {
                        "variables": {name: _packed(value[name].variable) for name in names},
                        "coords": _packed_coords(value),
                        "attrs": dict(value.attrs),
                    }
                )
            }
        own = {"name": value.name, **_packed(value.variable), "coords": _packed_coords(value)}
        return {ARRAY: canonical(own)}
    except PlanError:  # dates, objects: known by their token instead
        return None


def _is_in_memory(variable: xr.Variable) -> bool:
    # an index is in memory, whatever wraps it
    return isinstance(variable, xr.IndexVariable) or isinstance(variable._data, np.ndarray)


def _packed(variable: xr.Variable) -> dict[str, Any]:
    values = np.asarray(variable.values)
    if values.dtype.kind == "O":
        raise PlanError("objects are no values that could be kept")
    return {
        "dims": [str(dim) for dim in variable.dims],
        # a list cannot say what it is a list of
        "values": values if values.ndim else values.item(),
        "dtype": values.dtype.str,
        "attrs": dict(variable.attrs),
    }


def _packed_coords(value: Labelled) -> dict[str, Any]:
    return {str(name): _packed(each.variable) for name, each in value.coords.items()}


def is_packed(value: Any) -> bool:
    """Whether a parameter is what `packed_of` gave."""
    return isinstance(value, Mapping) and set(value) in ({ARRAY}, {DATASET})


def unpacked(value: Mapping[str, Any]) -> Labelled:
    """The array that `packed_of` packed.

    Raises
    ------
    PlanError : for anything else
    """
    try:
        kind, told = next(iter(value.items()))
        coords = {str(name): _unpacked(each) for name, each in told["coords"].items()}
        if kind == DATASET:
            variables = {str(name): _unpacked(each) for name, each in told["variables"].items()}
            return xr.Dataset(variables, coords, attrs=told["attrs"])
        return xr.DataArray(_unpacked(told), coords, name=told["name"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(
            f"a parameter that is an array cannot be read ({type(error).__name__}: {error}); "
            "somebody changed it in the file: run the step again with the array itself"
        ) from error


def _unpacked(told: Mapping[str, Any]) -> xr.Variable:
    values = np.asarray(told["values"], dtype=np.dtype(str(told["dtype"])))
    return xr.Variable(tuple(told["dims"]), values, dict(told["attrs"]))
