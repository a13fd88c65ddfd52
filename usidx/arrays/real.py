"""Complex or compound values as real numbers along one more dimension, and back, exactly.

Libraries for machine learning take arrays of real numbers and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import plain_attrs
from usidx.arrays.lazy import stored_array
from usidx.arrays.roles import ROLE
from usidx.errors import LayoutError, OptionError
from usidx.model.dimension import Array

# Attribute of the coordinate that names the components: what they are components of.
COMPONENTS = "usid_components"


@dataclass(frozen=True)
class Component:
    """One real number of a value.

    Parameters
    ----------
    label : as the coordinate has it
    field : the variable it belongs to; "" for an array that is no Dataset
    part : "real" or "imag" of a complex number, "" for a real one
    dtype : of the field
    """

    label: str
    field: str
    part: str
    dtype: np.dtype[Any]

    @property
    def real_dtype(self) -> np.dtype[Any]:
        """Of this number alone."""
        return np.empty(0, self.dtype).real.dtype


def to_real(obj: xr.DataArray | xr.Dataset, *, dim: str = "component") -> xr.DataArray:
    """Complex or compound values as an array of real numbers with one more dimension, the last.

    A complex array gets the components "real" and "imag", a compound Main one for each field, or
    two for each complex field. The dtype is the smallest that holds all of them. Lazy where `obj`
    is; `from_real` gives back the same, to the bit.

    Parameters
    ----------
    obj : DataArray, or Dataset of variables with the same dimensions
    dim : name of the new dimension

    Raises
    ------
    LayoutError : where variables differ in dimensions, or there is a dimension of that name
    OptionError : for values that are no numbers, and, when they are computed, for integers that
        are too large for the float they are to become

    Examples
    --------
    >>> spectra = xr.DataArray(np.array([1 + 2j, 3 - 4j]), dims="Frequency")
    >>> to_real(spectra).values.tolist()
    [[1.0, 2.0], [3.0, -4.0]]
    >>> from_real(to_real(spectra)).identical(spectra)
    True
    """
    variables = [obj] if isinstance(obj, xr.DataArray) else list(obj.data_vars.values())
    _check(obj, variables, dim)
    components = tuple(_components(obj))
    dtype = np.result_type(*(each.real_dtype for each in components))
    first = variables[0]
    dims = first.dims
    alike: Any = xr.unify_chunks(*map(_lazy, variables))
    data = [each.transpose(*dims).data for each in alike]
    values = _per_block(_parted, data, len(components), dtype, components=components, to=dtype)
    told = {"units": "", "long_name": "component", ROLE: "spectroscopic"}
    told[COMPONENTS] = _dumped(obj, components, dtype)
    coords = {name: each.variable for name, each in obj.coords.items()}
    coords[dim] = xr.Variable((dim,), [each.label for each in components], told)
    name = obj.name if isinstance(obj, xr.DataArray) else obj.attrs.get("usid_main")
    return xr.DataArray(xr.Variable((*dims, dim), values, obj.attrs), coords=coords, name=name)


def from_real(
    array: xr.DataArray, *, dim: str = "component", restore: bool = True
) -> xr.DataArray | xr.Dataset:
    """The complex array, or the Dataset, that `to_real` made `array` from; lazy where that is.

    Parameters
    ----------
    array : what `to_real` gave, or a result of it that has the same components
    dim : name of the dimension of components
    restore : whether values get the dtypes that they had. Where `array` has another dtype by now,
        or with False, they have the precision of `array`, and what were integers are floats

    Raises
    ------
    LayoutError : where the array has no such dimension, or not both parts of a complex number
    OptionError : when values are computed that cannot be the integers that they were
    """
    told, components = _loaded(array, dim)
    same = restore and np.dtype(told["dtype"]) == array.dtype
    fields: dict[str, list[int]] = {}
    for place, each in enumerate(components):
        fields.setdefault(each.field, []).append(place)
    variables = {
        field: _joined(array, dim, places, [components[place] for place in places], same)
        for field, places in fields.items()
    }
    if list(fields) == [""]:
        return variables[""].assign_attrs(array.attrs)
    for field, variable in variables.items():
        variable.attrs = dict(told["attrs"].get(field, {}))
    return xr.Dataset(variables, attrs=array.attrs)


def _check(obj: xr.DataArray | xr.Dataset, variables: list[xr.DataArray], dim: str) -> None:
    if not variables:
        raise LayoutError("the Dataset has no variables whose values could become real numbers")
    for each in variables:
        if set(each.dims) != set(variables[0].dims):
            raise LayoutError(
                f"variables need the same dimensions to become components, but "
                f"{variables[0].name!r} has {variables[0].dims} and {each.name!r} has {each.dims}"
            )
        if each.dtype.kind not in "biufc":
            raise OptionError(f"{each.name!r} has values of {each.dtype}, which are no numbers")
    if dim in obj.dims or dim in obj.coords:
        raise LayoutError(f"there is a {dim!r} already; call the new dimension to_real(dim=...)")


def _components(obj: xr.DataArray | xr.Dataset) -> Iterator[Component]:
    if isinstance(obj, xr.DataArray):
        fields = [("", obj.dtype)]
    else:
        fields = [(str(name), each.dtype) for name, each in obj.data_vars.items()]
    for field, dtype in fields:
        if dtype.kind != "c":
            yield Component(field or "real", field, "", dtype)
            continue
        for part in ("real", "imag"):
            yield Component(f"{field}.{part}" if field else part, field, part, dtype)


def _dumped(
    obj: xr.DataArray | xr.Dataset, components: tuple[Component, ...], dtype: np.dtype[Any]
) -> str:
    """What the components are, as text that any file can hold."""
    attrs = {}
    if isinstance(obj, xr.Dataset):
        attrs = {str(name): plain_attrs(each.attrs) for name, each in obj.data_vars.items()}
    listed = [[each.label, each.field, each.part, each.dtype.str] for each in components]
    told = {"dtype": dtype.str, "components": listed, "attrs": attrs}
    return json.dumps(told, default=str, ensure_ascii=False)


def _loaded(array: xr.DataArray, dim: str) -> tuple[dict[str, Any], list[Component]]:
    """(what was written down, the components that the array has)."""
    coordinate = array.coords.get(dim)
    if coordinate is None or COMPONENTS not in coordinate.attrs:
        raise LayoutError(
            f"the array has no dimension {dim!r} that to_real has made; it has "
            f"{', '.join(map(str, array.dims))}"
        )
    told: dict[str, Any] = json.loads(coordinate.attrs[COMPONENTS])
    known = {
        label: Component(label, field, part, np.dtype(dtype))
        for label, field, part, dtype in told["components"]
    }
    labels = [str(label) for label in np.atleast_1d(coordinate.values)]
    if dim not in array.dims or not all(label in known for label in labels):
        raise LayoutError(f"components {labels} of {dim!r} are none of {list(known)}")
    return told, [known[label] for label in labels]


def _joined(
    array: xr.DataArray, dim: str, places: list[int], parts: list[Component], same: bool
) -> xr.DataArray:
    """One field of the components at `places`."""
    first = parts[0]
    wanted = ["real", "imag"] if first.dtype.kind == "c" else [""]
    if sorted(each.part for each in parts) != sorted(wanted):
        has = ", ".join(each.label for each in parts)
        raise LayoutError(
            f"a complex value needs both of its parts, and {first.field or array.name!r} has only "
            f"{has}; keep both, or take the values as they are"
        )
    order = [places[[each.part for each in parts].index(part)] for part in wanted]
    dtype = first.dtype if same else _as_precise(array.dtype, first.dtype)
    picked = _lazy(array).isel({dim: order}).transpose(..., dim)
    values = _per_block(_whole, [picked.data], None, dtype, to=dtype, field=first.field)
    dims = [each for each in picked.dims if each != dim]
    coords = {name: each.variable for name, each in array.coords.items() if dim not in each.dims}
    return xr.DataArray(xr.Variable(dims, values), coords=coords, name=first.field or array.name)


def _as_precise(dtype: np.dtype[Any], before: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a field as precise as `dtype`: complex where it was."""
    return np.result_type(dtype, np.complex64) if before.kind == "c" else dtype


def _lazy(array: xr.DataArray) -> xr.DataArray:
    """The array, with blocks where xarray would read it as a whole."""
    return array if stored_array(array.variable) is None else array.chunk()


def _per_block(
    function: Any, arrays: list[Any], added: int | None, dtype: np.dtype[Any], **options: Any
) -> Any:
    """A function of the blocks of arrays that adds an axis of size `added`, or drops the last."""
    if not any(hasattr(each, "dask") for each in arrays):
        return function(*arrays, **options)
    import dask.array

    if added is None:
        # the parts of a value are needed together
        arrays = [each.rechunk({each.ndim - 1: -1}) for each in arrays]
        last = arrays[0].ndim - 1
        return dask.array.map_blocks(
            function, *arrays, dtype=dtype, drop_axis=last, meta=np.empty((0,) * last, dtype),
            **options,
        )  # fmt: skip
    ndim = arrays[0].ndim
    return dask.array.map_blocks(
        function, *arrays, dtype=dtype, new_axis=ndim, chunks=(*arrays[0].chunks, (added,)),
        meta=np.empty((0,) * (ndim + 1), dtype), **options,
    )  # fmt: skip


def _parted(*blocks: Array, components: tuple[Component, ...], to: np.dtype[Any]) -> Array:
    """A block with the parts of its values along a new last axis."""
    by_field = dict(zip(dict.fromkeys(each.field for each in components), blocks))
    result = np.empty((*blocks[0].shape, len(components)), to)
    for place, each in enumerate(components):
        values = by_field[each.field]
        values = values.imag if each.part == "imag" else values.real
        result[..., place] = values
        if values.dtype.kind in "iu" and to.kind == "f" and not _is_held(values, to):
            raise OptionError(
                f"{each.label!r} has integers of {values.dtype} that {to} cannot hold exactly; "
                "convert them first, with astype"
            )
    return result


def _is_held(values: Array, to: np.dtype[Any]) -> bool:
    """Whether floats of a dtype hold integers exactly."""
    most = 2 ** (np.finfo(to).nmant + 1)
    large = values[(values > most) | (values < -most)] if values.size else values
    return all(int(to.type(each)) == each for each in large.tolist())


def _whole(block: Array, *, to: np.dtype[Any], field: str) -> Array:
    """A block whose last axis holds the parts of one value each."""
    if to.kind == "c":
        # Not real + 1j * imag, which loses the sign of zero and the parts of infinities.
        real = np.empty((*block.shape[:-1], 2), np.empty(0, to).real.dtype)
        real[...] = block
        return real.view(to)[..., 0]
    values = block[..., 0]
    if to.kind in "iub" and values.dtype != to:
        with np.errstate(invalid="ignore"):
            whole = values.astype(to)
        if not np.array_equal(whole.astype(values.dtype), values):
            raise OptionError(
                f"{field or 'the array'!r} had values of {to}, and has others now; "
                "from_real(..., restore=False) keeps them as they are"
            )
        return whole
    return values.astype(to)
