"""Every breach of the rules is found at once, each with its place and what to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from usidx.errors import InvalidMainError
from usidx.model.rules import (
    AncillaryFacts,
    MainFacts,
    TextFact,
    check_main,
    dimension_texts,
    errors,
    invalid_main,
)


def _ancillary(attribute: str, shape: tuple[int, ...], dtype: str) -> AncillaryFacts:
    labels = ("Y", "X") if attribute.startswith("P") else ("Bias",)
    units = ("nm", "nm") if attribute.startswith("P") else ("V",)
    return AncillaryFacts(attribute, f"/{attribute}", "", shape, np.dtype(dtype), labels, units)


GOOD = MainFacts(
    "/Raw_Data",
    (15, 28),
    np.dtype("f4"),
    TextFact("Current"),
    TextFact("nA"),
    _ancillary("Position_Indices", (15, 2), "u4"),
    _ancillary("Position_Values", (15, 2), "f4"),
    _ancillary("Spectroscopic_Indices", (1, 28), "u4"),
    _ancillary("Spectroscopic_Values", (1, 28), "f4"),
)


def _places(facts: MainFacts) -> list[tuple[str, str]]:
    return [(each.place, each.grade) for each in check_main(facts)]


def test_good_main_breaks_no_rule() -> None:
    assert check_main(GOOD) == ()


def test_everything_is_found_at_once() -> None:
    facts = replace(
        GOOD,
        shape=(15, 4, 7),
        quantity=TextFact(None, "the number 3"),
        units=TextFact(None),
        position_indices=AncillaryFacts("Position_Indices", odd="a null reference"),
        spectroscopic_values=AncillaryFacts("Spectroscopic_Values"),
    )
    assert _places(facts) == [
        ("/Raw_Data", "error"),
        ("/Raw_Data@quantity", "error"),
        ("/Raw_Data@units", "error"),
        ("/Raw_Data@Position_Indices", "error"),
        ("/Raw_Data@Spectroscopic_Values", "error"),
    ]
    error = invalid_main("/Raw_Data", check_main(facts))
    assert isinstance(error, InvalidMainError)
    for part in ("5 reasons", "the number 3", "a null reference", "(15, 4, 7)"):
        assert part in str(error)


def test_single_reason_is_one_line() -> None:
    facts = replace(GOOD, units=TextFact(None))
    assert "\n" not in str(invalid_main("/Raw_Data", check_main(facts)))


def test_lists_of_one_are_read_around() -> None:
    reference = replace(GOOD.position_values, odd="a list of 1 reference")
    facts = replace(GOOD, units=TextFact("nA", "a list of 1 text"), position_values=reference)
    assert _places(facts) == [
        ("/Raw_Data@units", "warning"),
        ("/Raw_Data@Position_Values", "warning"),
    ]
    assert errors(check_main(facts)) == ()


def test_empty_units_are_a_note() -> None:
    assert _places(replace(GOOD, units=TextFact(""))) == [("/Raw_Data@units", "note")]


def test_ancillaries_of_another_size() -> None:
    violations = check_main(replace(GOOD, shape=(10, 28)))
    places = ["/Raw_Data@Position_Indices", "/Raw_Data@Position_Values"]
    assert [each.place for each in violations] == places
    assert "(10, dimensions)" in violations[0].expected
    turned = replace(GOOD.spectroscopic_indices, shape=(28, 1))
    (first, second) = check_main(replace(GOOD, spectroscopic_indices=turned))
    assert first.mend == "transpose it"
    assert second.place == "/Raw_Data@Spectroscopic_Values"


def test_labels_that_are_missing_on_one_matrix_come_from_the_other() -> None:
    silent = replace(GOOD.position_indices, labels=None)
    facts = replace(GOOD, position_indices=silent)
    assert _places(facts) == [("/Position_Indices@labels", "warning")]
    assert dimension_texts(silent, GOOD.position_values, "labels", 2) == ("Y", "X")
    both = replace(facts, position_values=replace(GOOD.position_values, labels=("Y",)))
    assert _places(both) == [
        ("/Position_Indices@labels", "error"),
        ("/Position_Values@labels", "error"),
    ]


def test_labels_in_one_text() -> None:
    joined = replace(GOOD.position_indices, labels=("Y, X",))
    assert dimension_texts(joined, joined, "labels", 2) == ("Y", "X")
    facts = replace(GOOD, position_indices=joined)
    assert _places(facts) == [("/Position_Indices@labels", "warning")]


def test_labels_that_are_shared_or_empty() -> None:
    same = replace(GOOD.position_indices, labels=("X", "X"))
    empty = replace(GOOD.position_values, labels=("X", "X"))
    facts = replace(GOOD, position_indices=same, position_values=empty)
    assert _places(facts) == [("/Position_Indices@labels", "warning")]
    blank = replace(GOOD.spectroscopic_indices, labels=("",))
    facts = replace(GOOD, spectroscopic_indices=blank)
    assert ("/Spectroscopic_Indices@labels", "note") in _places(facts)


def test_exchanged_indices_and_values() -> None:
    facts = replace(
        GOOD,
        position_indices=replace(GOOD.position_indices, dtype=np.dtype("f4")),
        position_values=replace(GOOD.position_values, dtype=np.dtype("u4")),
    )
    (violation,) = check_main(facts)
    assert (violation.place, violation.grade) == ("/Raw_Data@Position_Indices", "warning")
    assert "exchanged" in violation.mend


@pytest.mark.parametrize("dtype", ["S4", "O"])
def test_values_that_are_no_numbers(dtype: str) -> None:
    assert _places(replace(GOOD, dtype=np.dtype(dtype))) == [("/Raw_Data", "error")]


@pytest.mark.parametrize(
    ("dtypes", "place"),
    [
        (("i8", "f8"), "/Position_Indices"),
        (("f8", "f8"), "/Position_Indices"),
        (("u4", "i4"), "/Position_Values"),
    ],
)
def test_types_that_hold_the_same_numbers_are_a_note(dtypes: tuple[str, str], place: str) -> None:
    indices = replace(GOOD.position_indices, dtype=np.dtype(dtypes[0]))
    values = replace(GOOD.position_values, dtype=np.dtype(dtypes[1]))
    facts = replace(GOOD, position_indices=indices, position_values=values)
    assert _places(facts) == [(place, "note")]


def test_claims_that_the_file_cannot_hold() -> None:
    facts = replace(GOOD, position_values=replace(GOOD.position_values, absurd="2**62 values"))
    assert _places(facts) == [("/Position_Values", "error")]
