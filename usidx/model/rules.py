"""The rules of USID, and every breach of them found at once.

A store fills `MainFacts` from what a file has, without judging; `check_main` judges without a file.
An error keeps a Main from being opened, a warning is something that usidx reads around, a note is
worth knowing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from usidx.errors import InvalidMainError
from usidx.model.dimension import Role

Grade = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Violation:
    """One thing that is not as USID asks.

    Parameters
    ----------
    place : path of a dataset, with the attribute after "@" where it is one
    grade : "error", "warning" or "note"
    found, expected : what is there and what the model asks for
    mend : what to do about it
    """

    place: str
    grade: Grade
    found: str
    expected: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}, expected {self.expected}; {self.mend}"


@dataclass(frozen=True)
class Findings:
    """What a store holds, and everything in it that is not as USID asks.

    Parameters
    ----------
    mains : paths of the valid Mains
    results : paths of the result groups
    violations : in the order of the store
    """

    mains: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class TextFact:
    """An attribute that should be one text.

    Parameters
    ----------
    value : the text, None where there is none to be read
    odd : what was found, where that is no plain text, such as "the number 3" or "a list of 1 text"
    """

    value: str | None
    odd: str = ""


@dataclass(frozen=True)
class AncillaryFacts:
    """One of the four ancillaries as a Main refers to it.

    Parameters
    ----------
    attribute : of the Main, such as "Position_Indices"
    path : of the dataset that the reference leads to, None where it leads to none
    odd : what was found instead of a plain reference to a dataset, such as "a null reference" or
        "a list of 1 reference"; "" for a plain one
    shape, dtype : of the dataset, as it lies in the file
    labels, units : its attributes of that name as texts, None where they are absent or no texts
    absurd : what it claims to hold that its file cannot hold, in words; "" where it is all right
    """

    attribute: str
    path: str | None = None
    odd: str = ""
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    labels: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    absurd: str = ""


@dataclass(frozen=True)
class MainFacts:
    """A dataset that may be a Main, as the file has it."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantity: TextFact
    units: TextFact
    position_indices: AncillaryFacts
    position_values: AncillaryFacts
    spectroscopic_indices: AncillaryFacts
    spectroscopic_values: AncillaryFacts

    def side(self, role: Role) -> tuple[AncillaryFacts, AncillaryFacts]:
        """(indices, values) of one side."""
        if role == "position":
            return self.position_indices, self.position_values
        return self.spectroscopic_indices, self.spectroscopic_values


def check_main(facts: MainFacts) -> tuple[Violation, ...]:
    """Everything that is wrong with a Main as far as attributes, shapes and types tell.

    Examples
    --------
    >>> absent = TextFact(None)
    >>> nowhere = [AncillaryFacts(name) for name in ("a", "b", "c", "d")]
    >>> facts = MainFacts("/Raw", (3, 4), np.dtype("f4"), absent, absent, *nowhere)
    >>> [violation.place for violation in check_main(facts)]
    ['/Raw@quantity', '/Raw@units', '/Raw@a', '/Raw@b', '/Raw@c', '/Raw@d']
    """
    found = [*_check_values(facts)]
    found += _check_text(facts.path, "quantity", facts.quantity, "'Current'")
    found += _check_text(facts.path, "units", facts.units, "'nA'")
    roles: tuple[Role, Role] = ("position", "spectroscopic")
    for role in roles:
        for ancillary in facts.side(role):
            found += _check_ancillary(facts, role, ancillary)
        found += _check_pair(facts, role)
    return tuple(found)


def errors(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """Those that keep a Main from being opened."""
    return tuple(each for each in violations if each.grade == "error")


def invalid_main(path: str, violations: Iterable[Violation]) -> InvalidMainError:
    """The error to raise for a Main that breaks rules, with all that is wrong in its text."""
    listed = [str(each) for each in errors(violations)]
    start = f"{path!r} cannot be opened as a Main"
    if len(listed) == 1:
        return InvalidMainError(f"{start}: {listed[0]}")
    lines = "".join(f"\n  - {each}" for each in listed)
    return InvalidMainError(f"{start}, for {len(listed)} reasons:{lines}")


def _check_values(facts: MainFacts) -> Iterator[Violation]:
    if len(facts.shape) != 2 or 0 in facts.shape:
        yield Violation(
            facts.path,
            "error",
            f"values of shape {facts.shape}",
            "the shape (positions, spectroscopic values), neither of them 0",
            "write the values as 2-D, one row for each position",
        )
    if facts.dtype.kind not in "biufcV":
        yield Violation(
            facts.path,
            "error",
            f"values of type {facts.dtype}",
            "numbers, booleans or a compound of them",
            "open it with h5py",
        )


def _check_text(path: str, name: str, fact: TextFact, example: str) -> Iterator[Violation]:
    place, expected = f"{path}@{name}", "one text"
    if fact.value is None:
        mend = f"set the attribute, such as {name} = {example}"
        yield Violation(place, "error", fact.odd or "nothing", expected, mend)
    elif fact.odd:
        mend = f"nothing is lost here, but pyUSID refuses it; set {name} = {fact.value!r}"
        yield Violation(place, "warning", fact.odd, expected, mend)
    elif not fact.value.strip():
        yield Violation(place, "note", "an empty text", f"a text such as {example}", "set it")


def _check_ancillary(
    facts: MainFacts, role: Role, ancillary: AncillaryFacts
) -> Iterator[Violation]:
    place = f"{facts.path}@{ancillary.attribute}"
    if ancillary.path is None:
        yield Violation(
            place,
            "error",
            ancillary.odd or "nothing",
            "a reference to a dataset",
            f"refer to the {role} matrix that belongs to this Main",
        )
        return
    if ancillary.odd:
        yield Violation(
            place,
            "warning",
            ancillary.odd,
            "a single reference to a dataset",
            "nothing is lost here, but pyUSID refuses it; store the reference by itself",
        )
    if len(facts.shape) == 2:
        yield from _check_shape(facts, role, ancillary)
    if ancillary.absurd:
        expected = "values that were written"
        mend = "write it again, or get the original file"
        yield Violation(ancillary.path, "error", ancillary.absurd, expected, mend)
    kind = ancillary.dtype.kind if ancillary.dtype is not None else ""
    if kind not in "iufb":
        yield Violation(
            ancillary.path,
            "error",
            f"values of type {ancillary.dtype}",
            "integers or floats",
            "write indices as uint32 and values as float32",
        )


def _check_shape(facts: MainFacts, role: Role, ancillary: AncillaryFacts) -> Iterator[Violation]:
    axis = 0 if role == "position" else 1
    size, shape = facts.shape[axis], ancillary.shape
    if len(shape) == 2 and shape[axis] == size and shape[1 - axis] > 0:
        return
    expected = f"({size}, dimensions)" if axis == 0 else f"(dimensions, {size})"
    turned = len(shape) == 2 and shape[1 - axis] == size
    yield Violation(
        f"{facts.path}@{ancillary.attribute}",
        "error",
        f"{ancillary.path} of the shape {shape}",
        f"the shape {expected}, as {facts.path} has the shape {facts.shape}",
        "transpose it" if turned else f"refer to the {role} matrix that belongs to this Main",
    )


def _check_pair(facts: MainFacts, role: Role) -> Iterator[Violation]:
    """What indices and values of one side say together."""
    indices, values = facts.side(role)
    if indices.path is None or values.path is None:
        return
    if indices.shape != values.shape:
        yield Violation(
            f"{facts.path}@{values.attribute}",
            "error",
            f"{values.path} of the shape {values.shape}",
            f"the shape {indices.shape}, that of {indices.path}",
            "refer to indices and values of the same dimensions",
        )
        return
    axis = 1 if role == "position" else 0
    count = indices.shape[axis] if len(indices.shape) == 2 else 0
    for name in ("labels", "units"):
        yield from _check_texts(indices, values, name, count)
    yield from _check_labels(indices, dimension_texts(indices, values, "labels", count) or ())
    if _kind(indices) == "f" and _kind(values) in "iu":
        yield Violation(
            f"{facts.path}@{indices.attribute}",
            "warning",
            f"indices of type {indices.dtype} and values of type {values.dtype}",
            "whole numbers as indices",
            "the references to indices and values may be exchanged; usidx reads them as exchanged "
            "where the indices have fractions",
        )
    else:
        yield from _check_types(indices, values)


def _check_types(indices: AncillaryFacts, values: AncillaryFacts) -> Iterator[Violation]:
    """Types that hold the same numbers, but are not those that the model has."""
    mend = "nothing is lost; write it again as {}"
    if _kind(indices) in "ifb":
        found = f"indices of type {indices.dtype}"
        expected = "whole numbers without a sign"
        yield Violation(str(indices.path), "note", found, expected, mend.format("uint32"))
    if _kind(values) in "iub":
        found = f"values of type {values.dtype}"
        yield Violation(str(values.path), "note", found, "floats", mend.format("float32"))


def _kind(ancillary: AncillaryFacts) -> str:
    return "" if ancillary.dtype is None else ancillary.dtype.kind


def _check_texts(
    indices: AncillaryFacts, values: AncillaryFacts, name: Literal["labels", "units"], count: int
) -> Iterator[Violation]:
    given: dict[str, tuple[str, ...] | None] = {
        f"{each.path}@{name}": getattr(each, name) for each in (indices, values)
    }
    used = dimension_texts(indices, values, name, count)
    expected = f"{count} text{'s' * (count != 1)}, one for each dimension"
    for place, texts in given.items():
        if texts is not None and len(texts) == count:
            if texts != used:
                mend = f"usidx takes {list(used or ())}; make both the same"
                yield Violation(place, "warning", str(list(texts)), str(list(used or ())), mend)
            continue
        found = "nothing" if texts is None else str(list(texts))
        if used is None:
            yield Violation(place, "error", found, expected, f"set {name} to {expected}")
        else:
            mend = f"usidx takes {list(used)}; write that here"
            yield Violation(place, "warning", found, expected, mend)


def _check_labels(indices: AncillaryFacts, labels: tuple[str, ...]) -> Iterator[Violation]:
    place = f"{indices.path}@labels"
    expected = "a different label for each dimension"
    for label, times in Counter(labels).items():
        if not label.strip():
            mend = "usidx numbers such dimensions; give it a label"
            yield Violation(place, "note", f"an empty label in {list(labels)}", expected, mend)
        elif times > 1:
            mend = f"usidx calls the others {label}_1 and so on; give them labels of their own"
            yield Violation(place, "warning", f"{label!r} {times} times", expected, mend)


def dimension_texts(
    indices: AncillaryFacts,
    values: AncillaryFacts,
    name: Literal["labels", "units"],
    count: int,
) -> tuple[str, ...] | None:
    """The labels or units of a side: those of the indices, else of the values, that fit.

    None where neither has one for each of the `count` dimensions. A single text with commas stands
    for several.
    """
    for ancillary in (indices, values):
        texts: tuple[str, ...] | None = getattr(ancillary, name)
        if texts is None:
            continue
        if len(texts) == 1 and count > 1:
            texts = tuple(part.strip() for part in texts[0].split(","))
        if len(texts) == count:
            return texts
    return None
