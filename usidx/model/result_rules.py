"""The rules of result groups: what one tells of its tool, its source, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from usidx.model.rules import Grade, Violation


@dataclass(frozen=True)
class MarksFacts:
    """A dataset that marks which positions are complete.

    Parameters
    ----------
    path : of the dataset
    shape, dtype : as they are
    done : how many of its values are not 0
    others : how many of its values are neither 0 nor 1
    expected : how many positions there are; None where that is unknown
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    done: int = 0
    others: int = 0
    expected: frozenset[int] = frozenset()

    @property
    def fits(self) -> bool:
        """Whether it has one mark for each position."""
        return len(self.shape) == 1 and (not self.expected or self.shape[0] in self.expected)


@dataclass(frozen=True)
class FailuresFacts:
    """A dataset that says at which positions a step failed.

    Parameters
    ----------
    path : of the dataset
    fits : whether it has a number for each mark, uint8
    unmarked : how many of its positions failed though they are not marked complete
    unnamed : how many have a number for which there is no reason
    """

    path: str
    fits: bool = True
    unmarked: int = 0
    unnamed: int = 0


@dataclass(frozen=True)
class ResultFacts:
    """A group that may hold results, as the store has it.

    Parameters
    ----------
    path : of the group
    named : (Main, tool, index) as its name has them; None where the name is another
    tool : as its attribute has it
    sources : (attribute, what was found instead of a reference to a dataset, or "")
    other_file : where it says that its source is in another file: (path, whether that is there)
    beside : whether the Main that its name has lies beside it
    names : of everything in it
    mains : paths of the Mains in it, valid or not
    marks : which positions are complete
    last_pixel : the attribute of old; None where there is none
    said : its attribute usid_status
    failures : at which positions the step failed
    """

    path: str
    named: tuple[str, str, int] | None
    tool: str | None = None
    sources: tuple[tuple[str, str], ...] = ()
    other_file: tuple[str, bool] | None = None
    beside: bool = True
    names: tuple[str, ...] = ()
    mains: tuple[str, ...] = ()
    marks: tuple[MarksFacts, ...] = ()
    last_pixel: float | None = None
    said: str | None = None
    failures: tuple[FailuresFacts, ...] = ()


def check_result(facts: ResultFacts) -> tuple[Violation, ...]:
    """Everything that is not as it should be with a result group.

    Examples
    --------
    >>> facts = ResultFacts("/Raw-Fit_000", ("Raw", "Fit", 0), "Fit", (("source_000", ""),))
    >>> [each.found for each in check_result(facts)]
    ['an empty result group']
    """
    found = [*_check_content(facts), *_check_tool(facts), *_check_source(facts)]
    for marks in facts.marks:
        found += _check_marks(marks)
    for failures in facts.failures:
        found += _check_failures(failures)
    if facts.mains:
        found += _check_progress(facts)
    return tuple(found)


def misnamed(path: str, main: str) -> Violation:
    """The warning on a group that is named nearly like a result of the Main `main`."""
    return Violation(
        path,
        "warning",
        f"a group named after {main!r} whose name is not that of a result",
        f"{main}-<Tool>_<number of three digits>",
        "rename it, or results(...) does not find it",
    )


def _check_content(facts: ResultFacts) -> Iterator[Violation]:
    if facts.mains:
        return
    inside = [name for name in facts.names if name not in _own_names(facts)]
    found = "a result group without any Main" if inside else "a result group with marks only"
    if not facts.names:
        found = "an empty result group"
    mend = "the run ended before it wrote anything: run it again, or delete the group"
    yield Violation(facts.path, "warning", found, "at least one Main", mend)


def _own_names(facts: ResultFacts) -> set[str]:
    paths = [each.path for each in facts.marks] + [each.path for each in facts.failures]
    return {"failure_reasons", *(path.rpartition("/")[2] for path in paths)}


def _check_tool(facts: ResultFacts) -> Iterator[Violation]:
    place = f"{facts.path}@tool"
    if facts.named is None:
        found = f"a name that is none of a result, though it has the tool {facts.tool!r}"
        mend = "rename it, or results(...) does not find it"
        yield Violation(facts.path, "warning", found, "<Main>-<Tool>_000", mend)
    elif facts.tool is None:
        mend = f"usidx takes {facts.named[1]!r} from the name; set the attribute"
        yield Violation(place, "note", "nothing", "the name of the tool", mend)
    elif facts.tool.replace("-", "_").strip() != facts.named[1]:
        mend = "usidx goes by the name of the group; set the attribute to that"
        yield Violation(place, "note", repr(facts.tool), repr(facts.named[1]), mend)


def _check_source(facts: ResultFacts) -> Iterator[Violation]:
    for attribute, odd in facts.sources:
        if odd:
            mend = "refer to the Main that it was computed from"
            place = f"{facts.path}@{attribute}"
            yield Violation(place, "warning", odd, "a reference to its source", mend)
    if facts.other_file is not None:
        path, there = facts.other_file
        if not there:
            mend = "put that file back to see what it was computed from; all else can be read"
            found = f"a source in {path!r}, where no file is"
            place = f"{facts.path}@source_file_path"
            yield Violation(place, "note", found, "the file of its source", mend)
    elif not facts.sources:
        place = f"{facts.path}@source_000"
        main = facts.named[0] if facts.named else ""
        if facts.beside:
            mend = f"usidx takes {main!r} beside it, which its name has; set the attribute"
            yield Violation(place, "note", "nothing", "a reference to its source", mend)
        else:
            found = f"no source, and no {main!r} beside it"
            mend = "refer to the Main that it was computed from"
            yield Violation(place, "warning", found, "a reference to its source", mend)


def _check_marks(marks: MarksFacts) -> Iterator[Violation]:
    if not marks.fits:
        sizes = " or ".join(map(str, sorted(marks.expected))) or "positions"
        mend = "usidx cannot tell what they mark; run the step again"
        yield Violation(
            marks.path,
            "warning",
            f"marks of the shape {marks.shape}",
            f"one mark for each position: ({sizes},)",
            mend,
        )
    if np.dtype(marks.dtype) != np.uint8:
        mend = "usidx reads them, pyUSID passes over them; write them as uint8"
        yield Violation(marks.path, "warning", f"marks of type {marks.dtype}", "uint8", mend)
    if marks.others:
        found = f"{marks.others} marks that are neither 0 nor 1"
        mend = "usidx takes all but 0 for complete; run the step again where that may be wrong"
        yield Violation(marks.path, "warning", found, "0 or 1", mend)


def _check_failures(facts: FailuresFacts) -> Iterator[Violation]:
    if not facts.fits:
        found = "numbers of another shape or type than the marks beside it"
        mend = "usidx cannot tell where the step failed; run it again with fresh=True"
        yield Violation(facts.path, "warning", found, "uint8, one for each position", mend)
    if facts.unmarked:
        found = f"{facts.unmarked} positions that failed and are not marked complete"
        mend = "run the step again: it computes them anew"
        yield Violation(facts.path, "note", found, "failures among what is complete", mend)
    if facts.unnamed:
        found = f"{facts.unnamed} failed positions whose number names no reason"
        mend = "run the step with retry_failed=True to learn it"
        yield Violation(facts.path, "warning", found, "a reason for each number", mend)


def _check_progress(facts: ResultFacts) -> Iterator[Violation]:
    """How far it is, and whether all that it says of that fits together."""
    marks = [each for each in facts.marks if each.fits]
    for each in marks:
        total = each.shape[0]
        if each.done < total:
            grade: Grade = "note"
            expected = "all of them, once the run is through"
            if facts.said == "complete":
                grade, expected = "warning", "all of them, as usid_status is 'complete'"
            found = f"{each.done} of {total} positions marked complete"
            mend = "run the step again: it goes on where it was"
            yield Violation(each.path, grade, found, expected, mend)
    place = f"{facts.path}@last_pixel"
    if marks and facts.last_pixel is not None:
        if facts.last_pixel not in {each.done for each in marks}:
            done = " and ".join(str(each.done) for each in marks)
            mend = "usidx goes by the marks; pyUSID sets last_pixel also where it only looks"
            found = f"{facts.last_pixel:g}, with {done} positions marked"
            yield Violation(place, "note", found, "as many as are marked", mend)
    elif facts.last_pixel is not None:
        mend = "usidx goes by it where it has to; run the step again where it matters"
        found = "nothing but last_pixel tells which positions are complete"
        yield Violation(place, "note", found, "marks in completed_positions", mend)
    elif not marks and facts.said is None:
        mend = "usidx takes every value as it is"
        found = "nothing tells which positions are complete"
        yield Violation(facts.path, "note", found, "marks in completed_positions", mend)
