"""Everything in an h5USID file that is not as USID asks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from usidx.errors import UsidError
from usidx.model import form_rules
from usidx.model.layout_rules import check_layouts
from usidx.model.result_rules import (
    FailuresFacts,
    MarksFacts,
    ResultFacts,
    check_result,
    misnamed,
)
from usidx.model.rules import Findings, MainFacts, Violation, check_main, errors
from usidx.stores.hdf5.objects import attributes
from usidx.stores.hdf5.objects.links import Links
from usidx.stores.hdf5.objects.links import walk as walk_links
from usidx.stores.hdf5.objects.place import REFERENCES
from usidx.stores.hdf5.objects.soundness import check_storage, check_values
from usidx.stores.hdf5.objects.walk import Item, find, has_attribute
from usidx.stores.hdf5.read import Session, opened
from usidx.stores.hdf5.results import named_parts
from usidx.stores.hdf5.writing.failures import failures_facts

_REFERENCES = tuple(name.encode() for name in REFERENCES)
_MARKS = re.compile(r"completed(_.+)?_positions", re.IGNORECASE)
_SOURCE = re.compile(r"source_[0-9]{3,}")
_LEGACY_VERSIONS = ("Pycroscopy version", "pycroscopy_version", "Pycroscopy_version")
_MARKS_AT_ONCE = 2**22


def check(path: str, allow_external: Sequence[str] = (), *, values: bool = False) -> Findings:
    """Everything that is not as USID asks in the file at `path`.

    Parameters
    ----------
    values : whether to read every value, too, which proves checksums

    Raises
    ------
    UsidError : where the file cannot be opened, or may not be
    """
    with opened(path, allow_external) as session:
        return _Check(session, values).findings()


class _Check:
    """The check of one open file."""

    def __init__(self, session: Session, values: bool) -> None:
        self._file = session.file
        self._path = session.path
        self._catalog = session.catalog
        self._ancillaries = session.ancillaries
        self._results = session.results
        self._values = values
        # what was read of each candidate
        self._facts: dict[str, MainFacts] = {}
        self._size = os.fstat(int(session.file.id.get_vfd_handle())).st_size

    def findings(self) -> Findings:
        """What was found."""
        found: list[Violation] = []
        mains: list[str] = []
        found += self._root()
        for path in self._candidates:
            violations = self._check_candidate(path)
            found += violations
            if not errors(violations):
                mains.append(path)
        for facts in self._facts.values():
            found += self._check_forms(facts)
        for item in self._catalog.items:
            found += self._check_item(item)
        groups = self._catalog.groups[1:]
        results = tuple(each for each in groups if self._results.is_result(each))
        for group in results:
            found += check_result(self._result_facts(group))
        found += self._check_links()
        if not self._candidates:
            found.append(form_rules.no_main(self._instead()))
        return Findings(tuple(mains), results, tuple(dict.fromkeys(found)))

    def _instead(self) -> str:
        if not len(self._file):
            return "an empty HDF5 file"
        return "no dataset with references to ancillaries"

    def _root(self) -> Iterator[Violation]:
        """What is to be said of the whole file."""
        for path in ("/", *(each.path for each in self._catalog.items if each.n_attributes)):
            for name in _LEGACY_VERSIONS:
                if has_attribute(self._file, path, [name.encode()]):
                    version = attributes.read_text(find(self._file, path), name).value
                    yield form_rules.legacy_program(f"{path}@{name}", version or "")
                    return

    # -- Mains -----------------------------------------------------------------------------------

    @cached_property
    def _candidates(self) -> tuple[str, ...]:
        """Datasets of any shape that have one of the four references."""
        return tuple(
            each.path
            for each in self._catalog.items
            if each.kind == "dataset"
            and each.n_attributes
            and has_attribute(self._file, each.path, _REFERENCES)
        )

    def _check_candidate(self, path: str) -> tuple[Violation, ...]:
        dataset = find(self._file, path)
        facts = self._facts[path] = self._ancillaries.facts(dataset, path)
        found = check_main(facts)
        if errors(found):
            return found
        try:
            position, spectroscopic = self._ancillaries.layouts(facts)
        except UsidError as error:
            return (*found, _from_error(path, error))
        if not dataset.is_virtual and not dataset.id.get_storage_size():
            found += (form_rules.never_written(path),)
        return found + check_layouts(facts, position, spectroscopic)

    def _check_forms(self, facts: MainFacts) -> Iterator[Violation]:
        """How the texts of the ancillaries of one Main are written."""
        for role in ("position", "spectroscopic"):
            for each in facts.side("position" if role == "position" else "spectroscopic"):
                if each.path is None or not each.path.startswith("/"):
                    continue
                ancillary = find(self._file, each.path)
                if not isinstance(ancillary, h5py.Dataset):
                    continue
                for name in ("labels", "units"):
                    texts = _raw_texts(ancillary, name)
                    if texts is not None:
                        place, alone = f"{each.path}@{name}", isinstance(texts, (bytes, str))
                        listed = [texts] if isinstance(texts, (bytes, str)) else texts
                        yield from form_rules.check_form(
                            place, listed, alone=alone, essential=name == "labels"
                        )
                marked = attributes.read_texts(ancillary, "incomplete_dimensions")
                if marked:
                    yield form_rules.legacy_marking(each.path, marked)

    # -- everything else -------------------------------------------------------------------------

    def _check_item(self, item: Item) -> Iterator[Violation]:
        parent, _, name = item.path.rpartition("/")
        if item.kind == "group":
            if name == "Raw_Measurement":
                yield form_rules.legacy_name(item.path)
            main = self._main_meant(parent, name)
            if main and named_parts(name) is None:
                yield misnamed(item.path, main)
        obj = find(self._file, item.path)
        if obj is None:
            yield form_rules.unnamed(item.path)
            return
        yield from self._check_attributes(item.path, obj)
        if isinstance(obj, h5py.Dataset):
            wrong = [*check_storage(item.path, obj, self._size)]
            yield from wrong
            if item.path not in self._facts and self._is_lost_main(obj):
                yield form_rules.lost_main(item.path)
            if self._values and not wrong:
                yield from check_values(item.path, obj)

    def _check_attributes(self, path: str, obj: Any) -> Iterator[Violation]:
        for name, value in attributes.read_all(obj, path_of=self._catalog.path_of).items():
            if isinstance(value, str) and value.startswith("(unreadable: "):
                why = value.removeprefix("(unreadable: ").removesuffix(")")
                yield form_rules.unreadable(f"{path}@{name}", why)

    def _is_lost_main(self, dataset: h5py.Dataset) -> bool:
        if dataset.id.rank != 2 or dataset.dtype.kind not in "biufcV":
            return False
        texts = [attributes.read_text(dataset, name).value for name in ("quantity", "units")]
        return all(texts)

    def _main_meant(self, parent: str, name: str) -> str:
        """Name of the dataset in `parent` that the group `name` is named after; "" for none."""
        places = [place for place, letter in enumerate(name) if letter == "-"]
        for place in reversed(places):
            beside = find(self._file, f"{parent}/{name[:place]}")
            if isinstance(beside, h5py.Dataset):
                return name[:place]
        return ""

    def _check_links(self) -> Iterator[Violation]:
        links = Links()
        for _ in walk_links(self._file, links):
            pass
        for address, inside in links.groups.items():
            for name, link in inside.items():
                where = links.path(address, name)
                if link.kind == "soft" and find(self._file, where) is None:
                    yield form_rules.dead_link(where, link.target.decode("utf-8", "replace"))

    # -- results ---------------------------------------------------------------------------------

    def _result_facts(self, path: str) -> ResultFacts:
        group = find(self._file, path)
        parent, _, name = path.rpartition("/")
        named = named_parts(name)
        sources = [each for each in attributes.names(group) if _SOURCE.fullmatch(each)]
        referred = [(each, attributes.read_reference(group, each)) for each in sorted(sources)]
        inside = [each for each in self._candidates if each.startswith(f"{path}/")]
        rows = {self._facts[each].shape[0] for each in inside if self._facts[each].shape}
        rows |= {
            int(each.target.shape[0])
            for _, each in referred
            if each.found == "dataset" and each.target.shape
        }
        beside = find(self._file, f"{parent}/{named[0]}") if named else None
        return ResultFacts(
            path=path,
            named=named,
            tool=attributes.read_text(group, "tool").value,
            sources=tuple((each, found.odd) for each, found in referred),
            other_file=self._other_file(group),
            beside=isinstance(beside, h5py.Dataset),
            names=tuple(group),
            mains=tuple(inside),
            marks=tuple(self._marks(path, group, frozenset(rows))),
            last_pixel=attributes.read_number(group, "last_pixel"),
            said=attributes.read_text(group, "usid_status").value,
            failures=tuple(self._failures(group)),
        )

    def _failures(self, group: h5py.Group) -> Iterator[FailuresFacts]:
        for name in group:
            marks = group.get(name) if _MARKS.fullmatch(name) else None
            facts = failures_facts(group, marks) if isinstance(marks, h5py.Dataset) else None
            if facts is not None:
                yield facts

    def _other_file(self, group: h5py.Group) -> tuple[str, bool] | None:
        told = attributes.read_text(group, "source_file_path").value
        if not told:
            return None
        folder = os.path.dirname(os.path.abspath(self._path))
        beside = os.path.join(folder, re.split(r"[\\/]", told)[-1])
        there = os.path.exists(os.path.join(folder, told)) or os.path.exists(beside)
        return told, there

    def _marks(
        self, path: str, group: h5py.Group, expected: frozenset[int]
    ) -> Iterator[MarksFacts]:
        for name in group:
            marks = group.get(name) if _MARKS.fullmatch(name) else None
            if not isinstance(marks, h5py.Dataset):
                continue
            done = others = 0
            if marks.ndim == 1 and marks.dtype.kind in "bui":
                for start in range(0, marks.shape[0], _MARKS_AT_ONCE):
                    part = marks[start : start + _MARKS_AT_ONCE]
                    done += int(np.count_nonzero(part))
                    others += int(np.count_nonzero((part != 0) & (part != 1)))
            shape, dtype = tuple(marks.shape or ()), str(marks.dtype)
            yield MarksFacts(f"{path}/{name}", shape, dtype, done, others, expected)


def _from_error(path: str, error: UsidError) -> Violation:
    return Violation(path, "error", str(error), "ancillaries that say how it folds", "mend them")


def _raw_texts(dataset: h5py.Dataset, name: str) -> bytes | str | list[bytes | str] | None:
    """The texts of an attribute as h5py gives them; None where it holds none."""
    try:
        value = attributes.value_of(dataset, name.encode())
    except (OSError, RuntimeError, ValueError, TypeError, KeyError):
        return None
    if isinstance(value, (bytes, str)):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "SUO":
        return None
    listed = list(value.reshape(-1))
    return listed if all(isinstance(each, (bytes, str)) for each in listed) else None
