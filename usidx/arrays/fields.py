"""A compound Main as a Dataset of one variable per field, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from usidx.arrays.columns import STRUCTURAL
from usidx.arrays.labels import OWN_ATTRS, main_attrs, spec_of, to_dataarray
from usidx.arrays.origin import Origin, mark_origin
from usidx.errors import LayoutError
from usidx.model.dimension import Array
from usidx.model.main import MainSpec

# Attribute of a compound Main: units of each field, where the names of fields do not say them.
FIELD_UNITS = "field_units"
# Attributes of a variable of a step's result: the compound Main that it is part of, and as what.
PART, FIELD = "usid_part_of", "usid_field"


def to_dataset(
    spec: MainSpec,
    values: Callable[[str], Any],
    *,
    origin: Origin | None = None,
    label: Callable[[MainSpec, Any], xr.DataArray] = to_dataarray,
) -> xr.Dataset:
    """The Dataset of a compound Main: one variable for each field, by the field's name.

    A field that has the name of a dimension becomes `<name>_values`.

    Parameters
    ----------
    spec : what the Main is; its dtype is structured
    values : gives the values of a field, in the shape that `label` wants
    origin : the Main it is, written down in the encodings
    label : makes the DataArray of a field; N-D when left out

    Raises
    ------
    LayoutError : where the values of a field have another shape
    """
    variables: dict[str, xr.DataArray] = {}
    told = _told_units(spec)
    structural = _structural(spec)
    for field in field_names(spec.dtype):
        data = values(field)
        part = replace(spec, dtype=np.dtype(data.dtype), attrs=structural)
        variable = label(part, data)
        # xarray keeps variables and coordinates under one roof.
        name = f"{field}_values" if field in variable.coords else field
        variable = variable.rename(name)
        quantity, units = field_quantity(field)
        units = told.get(field, units)
        variable.attrs.update(quantity=quantity, units=units, long_name=quantity)
        variables[name] = variable
    dataset = xr.Dataset(variables, attrs={**main_attrs(spec), "usid_main": spec.name})
    dataset.attrs.pop(FIELD_UNITS, None)
    if origin is not None:
        mark_origin(dataset, origin)
    return dataset


def field_names(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Names of the fields of a structured dtype."""
    return tuple(dtype.names or ())


def field_quantity(field: str) -> tuple[str, str]:
    """(quantity, units) that the name of a field speaks of.

    Examples
    --------
    >>> field_quantity("Amplitude [V]"), field_quantity("R2 Criterion")
    (('Amplitude', 'V'), ('R2 Criterion', ''))
    """
    found = re.fullmatch(r"\s*(.*?)\s*[\[(]([^\[\]()]*)[\])]\s*", field)
    return (found[1], found[2].strip()) if found and found[1] else (field, "")


def _told_units(spec: MainSpec) -> dict[str, str]:
    """Units of the fields, where an attribute of the Main has them."""
    names, units = field_names(spec.dtype), np.ravel(spec.attrs.get(FIELD_UNITS, []))
    return dict(zip(names, map(str, units))) if len(units) == len(names) else {}


def _structural(spec: MainSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.attrs.items() if key in STRUCTURAL}


def compound_spec(dataset: xr.Dataset, *, path: str | None = None) -> MainSpec:
    """The MainSpec of a compound Main that holds the variables of a Dataset as its fields.

    Raises
    ------
    LayoutError : where the variables differ in dimensions, or there is none
    """
    arrays = list(dataset.data_vars.values())
    if not arrays:
        raise LayoutError("the Dataset has no variables to make the fields of a compound Main")
    first = arrays[0]
    for each in arrays[1:]:
        if set(each.dims) != set(first.dims):
            raise LayoutError(
                f"variables of one compound Main need the same dimensions, but {first.name!r} has "
                f"{first.dims} and {each.name!r} has {each.dims}; save them as Mains of their own"
            )
    name = str(dataset.attrs.get("usid_main") or "Raw_Data")
    whole = "/Measurement_000/Channel_000/" + name if path is None else path
    spec = spec_of(first, path=whole)
    own = (*OWN_ATTRS, "usid_main", FIELD_UNITS)
    attrs = {key: value for key, value in dataset.attrs.items() if key not in own}
    attrs.update(_structural(spec))
    units = [str(each.attrs.get("units", "")) for each in arrays]
    if units != [field_quantity(str(each.name))[1] for each in arrays]:
        attrs[FIELD_UNITS] = units
    return replace(
        spec,
        quantity=str(dataset.attrs.get("quantity") or name),
        units=str(dataset.attrs.get("units", "")),
        dtype=np.dtype([(str(each.name), each.dtype) for each in arrays]),
        attrs=attrs,
    )


def compounds_of(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """The compound Mains that the variables of a Dataset say they are part of; none otherwise.

    Examples
    --------
    >>> attrs = {PART: "Fit", FIELD: "Amplitude [V]"}
    >>> found = compounds_of(xr.Dataset({"Amplitude": xr.DataArray(1.0, attrs=attrs)}))
    >>> list(found["Fit"])
    ['Amplitude [V]']
    """
    arrays = dataset.data_vars.values()
    if not all(PART in each.attrs and FIELD in each.attrs for each in arrays):
        return {}
    names = dict.fromkeys(str(each.attrs[PART]) for each in arrays)
    return {
        name: xr.Dataset(
            {str(each.attrs[FIELD]): each for each in arrays if each.attrs[PART] == name},
            attrs=dataset.attrs,
        )
        for name in names
    }


def main_spec(obj: xr.DataArray | xr.Dataset, *, path: str | None = None) -> MainSpec:
    """The MainSpec of a DataArray, or of a Dataset as a compound Main.

    Raises
    ------
    LayoutError : where a dimension has no role, or variables differ in theirs
    """
    if isinstance(obj, xr.Dataset):
        return compound_spec(obj, path=path)
    return spec_of(obj, path=path)


def pack(fields: Mapping[str, Array], dtype: np.dtype[Any]) -> Array:
    """One block of a compound Main from the blocks of its fields, all of one shape."""
    shape = next(iter(fields.values())).shape
    block = np.empty(shape, dtype)
    for field in field_names(dtype):
        block[field] = fields[field]
    return block
