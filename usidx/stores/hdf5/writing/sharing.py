"""Ancillaries that a file has already, for new Mains to refer to."""

from __future__ import annotations

from collections.abc import Iterable

import h5py

from usidx.model.layout import Layout
from usidx.model.main import MainSpec
from usidx.model.rules import check_main, errors
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.ancillaries import Ancillaries
from usidx.stores.hdf5.objects.walk import candidates
from usidx.stores.hdf5.writing.describe import KnownSide, Side
from usidx.stores.hdf5.writing.new_result import find

# A file may have thousands of Mains, and to know a layout its ancillaries have to be read.
_MOST_COMPARED = 64


def known_sides(
    file: h5py.File, specs: Iterable[MainSpec], group: str | None, mains: Iterable[str]
) -> list[KnownSide]:
    """Ancillaries in the file that Mains of the given specs may share, with their layouts.

    Parameters
    ----------
    file : open
    specs : of the new Mains
    group : in and below which to look; None for nowhere
    mains : paths of further Mains to look at
    """
    wanted = {(layout.role, layout.size) for each in specs for layout in _layouts(each)}
    found: dict[str, h5py.Dataset] = {}
    for each in (find(file, path) for path in mains):
        if isinstance(each, h5py.Dataset):
            found[str(each.name)] = each
    inside = None if group is None else find(file, group)
    if isinstance(inside, h5py.Group):
        for path, dataset in candidates(inside):
            if len(found) >= _MOST_COMPARED:
                break
            found[path] = dataset
    ancillaries, sides = Ancillaries(), []
    for dataset in found.values():
        sizes = {("position", dataset.shape[0]), ("spectroscopic", dataset.shape[1])}
        if wanted & sizes:
            sides += _sides(dataset, ancillaries)
    return sides


def _layouts(spec: MainSpec) -> tuple[Layout, Layout]:
    return spec.position, spec.spectroscopic


def _sides(dataset: h5py.Dataset, ancillaries: Ancillaries) -> list[KnownSide]:
    """Both sides of a Main that keeps the rules; nothing of any other."""
    facts = ancillaries.facts(dataset)
    if errors(check_main(facts)):
        return []
    sides = []
    for layout in ancillaries.layouts(facts):
        base = layout.role.capitalize()
        indices, values = (
            attributes.read_reference(dataset, f"{base}_{each}").target
            for each in ("Indices", "Values")
        )
        sides.append((layout, Side(indices, values)))
    return sides
