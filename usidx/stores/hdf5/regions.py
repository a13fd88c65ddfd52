"""Every region reference in the attributes of an h5USID file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.selected import selected
from usidx.stores.hdf5.objects.walk import find
from usidx.stores.hdf5.read import Session, opened
from usidx.stores.region import Region


def regions(path: str, allow_external: Sequence[str] = ()) -> tuple[Region, ...]:
    """Every region reference in the file at `path`, in the order of the file."""
    with opened(path, allow_external) as session:
        holders = ["/", *(each.path for each in session.catalog.items if each.n_attributes)]
        return tuple(region for holder in holders for region in _on(session, holder))


def _on(session: Session, holder: str) -> Iterator[Region]:
    obj = find(session.file, holder)
    for index in range(h5py.h5a.get_num_attrs(obj.id)):
        attribute = h5py.h5a.open(obj.id, index=index)
        if attribute.dtype == np.dtype(object) and _holds_regions(attribute):
            yield from _in_attribute(session, holder, obj, attribute.name)


def _holds_regions(attribute: h5py.h5a.AttrID) -> bool:
    kind = attribute.get_type()
    if isinstance(kind, h5py.h5t.TypeArrayID):
        kind = kind.get_super()
    return bool(kind.get_class() == h5py.h5t.REFERENCE and kind.equal(h5py.h5t.STD_REF_DSETREG))


def _in_attribute(
    session: Session, holder: str, obj: h5py.HLObject, raw: bytes
) -> Iterator[Region]:
    value, name = attributes.value_of(obj, raw), attributes.text(raw)
    if not isinstance(value, np.ndarray):
        yield _region(session, name, holder, obj, value)
        return
    for place, each in enumerate(value.reshape(-1)):
        yield _region(session, f"{name}[{place}]", holder, obj, each)


def _region(
    session: Session, name: str, holder: str, obj: h5py.HLObject, reference: h5py.RegionReference
) -> Region:
    led = attributes.follow(obj, reference)
    if led.found != "dataset":
        return Region(name, holder, fault=str(led))
    path = session.catalog.path_of(led.target)
    if path is None:
        return Region(name, holder, fault="a reference to a dataset that no link leads to")
    try:
        found = selected(reference, obj)
    except (OSError, RuntimeError, ValueError) as error:
        return Region(name, holder, path, fault=f"a selection that cannot be read ({error})")
    shape = tuple(led.target.shape or ())
    if found.shape != shape:
        fault = f"a selection of {found.shape}, but the dataset has {shape}"
        return Region(name, holder, path, shape, fault=fault)
    return Region(name, holder, path, shape, found.axes, found.blocks)
