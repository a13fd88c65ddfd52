"""What a result group tells, and what it leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from usidx.model.result_rules import FailuresFacts, MarksFacts, ResultFacts, check_result, misnamed

PATH = "/Raw_Data-Fit_000"
MARKS = MarksFacts(f"{PATH}/completed_positions", (15,), "uint8", 15, 0, frozenset({15}))
GOOD = ResultFacts(
    PATH,
    ("Raw_Data", "Fit", 0),
    "Fit",
    (("source_000", ""),),
    names=("Fit", "completed_positions"),
    mains=(f"{PATH}/Fit",),
    marks=(MARKS,),
)


def found(facts: ResultFacts) -> list[tuple[str, str]]:
    return [(each.place.removeprefix(PATH), each.grade) for each in check_result(facts)]


def test_complete_group() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mains": (), "names": (), "marks": ()}, [("", "warning")]),
        ({"mains": (), "names": ("completed_positions",)}, [("", "warning")]),
        ({"tool": None}, [("@tool", "note")]),
        ({"tool": "Guess"}, [("@tool", "note")]),
        ({"tool": "Fit "}, []),
        ({"named": None}, [("", "warning")]),
        ({"sources": ()}, [("@source_000", "note")]),
        ({"sources": (), "beside": False}, [("@source_000", "warning")]),
        ({"sources": (("source_000", "a dangling reference"),)}, [("@source_000", "warning")]),
        ({"sources": (), "other_file": ("raw.h5", True), "beside": False}, []),
        ({"sources": (), "other_file": ("raw.h5", False)}, [("@source_file_path", "note")]),
        ({"last_pixel": 15.0}, []),
        ({"last_pixel": 4.0}, [("@last_pixel", "note")]),
        ({"last_pixel": 15.0, "marks": ()}, [("@last_pixel", "note")]),
        ({"marks": ()}, [("", "note")]),
        ({"marks": (), "said": "complete"}, []),
    ],
)
def test_what_is_told(changes: dict, expected: list[tuple[str, str]]) -> None:
    assert found(replace(GOOD, **changes)) == expected


@pytest.mark.parametrize(
    ("changes", "grades"),
    [
        ({"done": 8}, ["note"]),
        ({"shape": (4,)}, ["warning", "note"]),  # and so nothing tells how far it is
        ({"shape": (15, 1)}, ["warning", "note"]),
        ({"dtype": "bool"}, ["warning"]),
        ({"others": 3}, ["warning"]),
        ({"expected": frozenset()}, []),
    ],
)
def test_marks(changes: dict, grades: list[str]) -> None:
    facts = replace(GOOD, marks=(replace(MARKS, **changes),))
    assert [each.grade for each in check_result(facts)] == grades


@pytest.mark.parametrize(
    ("changes", "grades"),
    [
        ({}, []),
        ({"fits": False}, ["warning"]),
        ({"unmarked": 2}, ["note"]),
        ({"unnamed": 2}, ["warning"]),
    ],
)
def test_failures(changes: dict, grades: list[str]) -> None:
    failures = FailuresFacts(f"{PATH}/failed_positions", **changes)
    assert [each.grade for each in check_result(replace(GOOD, failures=(failures,)))] == grades


def test_complete_by_its_word_but_not_by_its_marks() -> None:
    facts = replace(GOOD, marks=(replace(MARKS, done=8),), said="complete")
    (violation,) = check_result(facts)
    assert violation.grade == "warning"
    assert "8 of 15" in violation.found


def test_names_that_come_near() -> None:
    assert misnamed("/Raw_Data-Fit_old", "Raw_Data").grade == "warning"
