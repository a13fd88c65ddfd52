"""What a file that is made says of the positions of its Mains: which are done, which failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from usidx.errors import LayoutError
from usidx.model.dimension import Array
from usidx.model.layout import file_rows
from usidx.model.main import MainSpec
from usidx.stores.failures import FailedAt, decoded, encoded, numbered, slots_for
from usidx.stores.hdf5.writing.failures import REASONS, create_failures, failures_name
from usidx.stores.hdf5.writing.new_result import marks_name


@dataclass(frozen=True, eq=False)
class Marks:
    """What is known of the positions of a Main of a result.

    Parameters
    ----------
    spec : of the Main
    completed : position-shaped array of bool; None where all are
    failures : where the step failed; None where it did nowhere
    """

    spec: MainSpec
    completed: Array | None
    failures: FailedAt | None


def write_marks(group: h5py.Group, mains: Mapping[str, MainSpec], marks: Sequence[Marks]) -> None:
    """Write what is known of the positions of the Mains in a result group.

    Parameters
    ----------
    group : of the file
    mains : all Mains of the group, by their names
    marks : of some of them
    """
    alone = len(mains) == 1
    for each in marks:
        done = np.ones(each.spec.position.shape, bool) if each.completed is None else each.completed
        _put(group, marks_name(each.spec.name, alone), _in_file(each.spec, done.astype(np.uint8)))
    failed = [(each.spec, each.failures) for each in marks if each.failures is not None]
    if not failed:
        return
    create_failures(group, {name: spec.position.size for name, spec in mains.items()})
    slots = group[REASONS]
    for spec, failures in failed:
        numbers, new = slots_for(failures.reasons, decoded(slots[()].tobytes()))
        for number, text in new.items():
            slots[number - 1] = encoded(text)
        placed = _in_file(spec, numbered(failures.numbers, numbers))
        group[failures_name(spec.name, alone)][...] = placed


def _in_file(spec: MainSpec, values: Array) -> Array:
    """Values of positions in the order of the file."""
    if values.shape != spec.position.shape:
        raise LayoutError(
            f"what is known of positions has the shape {values.shape}, the positions of "
            f"{spec.path!r} have {spec.position.shape}"
        )
    placed = np.empty(spec.position.size, values.dtype)
    placed[file_rows(spec.position, ())] = values.reshape(-1)
    return placed


def _put(group: h5py.Group, name: str, values: Array) -> None:
    if name in group:  # a copy that came along with other datasets
        del group[name]
    group.create_dataset(name, data=values)
