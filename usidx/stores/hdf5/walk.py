"""What lies in an HDF5 file, each object once."""

from __future__ import annotations

from collections.abc import Iterator

import h5py

from usidx.stores.hdf5.place import REFERENCES


def datasets(
    group: h5py.Group, follow_external: bool = False
) -> Iterator[tuple[str, h5py.Dataset]]:
    """(path, dataset) of every dataset in and below `group`, in the order of the file.

    An object with several hard links comes once, under the first. Soft links lead to nothing that
    has no hard link too; external ones are followed where that is allowed.
    """
    visited: set[tuple[int, int]] = set()
    pending: list[tuple[str, h5py.Group | h5py.Dataset]] = [(str(group.name), group)]
    while pending:
        path, obj = pending.pop()
        info = h5py.h5o.get_info(obj.id)
        if (info.fileno, info.addr) in visited:
            continue
        visited.add((info.fileno, info.addr))
        if isinstance(obj, h5py.Dataset):
            yield path, obj
            continue
        inside = []
        for name in obj:
            link = obj.get(name, getlink=True)
            external = isinstance(link, h5py.ExternalLink)
            if not isinstance(link, h5py.HardLink) and not (external and follow_external):
                continue
            child = obj.get(name) if external else obj[name]
            if isinstance(child, (h5py.Group, h5py.Dataset)):
                inside.append((f"{path.rstrip('/')}/{name}", child))
        pending += reversed(inside)


def candidates(
    group: h5py.Group, follow_external: bool = False
) -> Iterator[tuple[str, h5py.Dataset]]:
    """(path, dataset) of all that may be a Main: 2-D, with one of the four references."""
    for path, dataset in datasets(group, follow_external):
        if is_candidate(dataset):
            yield path, dataset


def is_candidate(dataset: h5py.Dataset) -> bool:
    """Whether a dataset is 2-D and has an attribute that a Main has for its ancillaries."""
    if dataset.id.rank != 2:
        return False
    return any(h5py.h5a.exists(dataset.id, name.encode()) for name in REFERENCES)
