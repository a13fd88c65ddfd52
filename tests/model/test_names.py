"""Names match exactly: a near name is another name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usidx.errors import OptionError
from usidx.model.names import (
    clean_tool,
    natural_key,
    next_index,
    next_indexed,
    parse_result,
    result_name,
)

words = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)


@given(words, words.filter(str.strip), st.integers(0, 10**6))
def test_a_result_name_parses_back(main: str, tool: str, index: int) -> None:
    assert parse_result(result_name(main, tool, index), main) == (clean_tool(tool), index)


@pytest.mark.parametrize(
    "name",
    [
        "Raw_Data",
        "Raw_Data-Fit",
        "Raw_Data-Fit_old",
        "Raw_Data-Fit_00",
        "Raw_Data-Fit_0001",
        "Raw_Data-Fit_001 ",
        "Raw_Data-Fit_٠٠١",
        "Raw_Data-_001",
        "Raw_Data_2-Fit_001",
        "My_Raw_Data-Fit_001",
        "Raw_Data-A-Fit_001",  # a result of "Raw_Data-A"
        "RawXData-Fit_001",
    ],
)
def test_near_names_are_no_results(name: str) -> None:
    assert parse_result(name, "Raw_Data") is None


@pytest.mark.parametrize(
    ("name", "main", "parsed"),
    [
        ("Raw_Data-SHO_Fit_000", "Raw_Data", ("SHO_Fit", 0)),
        ("Raw_Data-Fit_000_001", "Raw_Data", ("Fit_000", 1)),
        ("Raw_Data-Fit_1000", "Raw_Data", ("Fit", 1000)),
        ("A-B-Fit_001", "A-B", ("Fit", 1)),
        ("a.b (1)-Fit_001", "a.b (1)", ("Fit", 1)),
    ],
)
def test_names_of_results(name: str, main: str, parsed: tuple[str, int]) -> None:
    assert parse_result(name, main) == parsed


def test_the_next_index_is_after_the_highest_of_that_tool() -> None:
    names = ["Raw-Fit_000", "Raw-Fit_007", "Raw-SHO_Fit_009", "Raw_2-Fit_020", "Raw-Fit_old"]
    assert next_index(names, "Raw", "Fit") == 8
    assert next_index(names, "Raw", "SHO-Fit") == 10
    assert next_index(names, "Raw", "New") == 0


def test_the_next_group() -> None:
    assert next_indexed([], "Measurement") == "Measurement_000"
    names = ["Channel_000", "Channel_012", "Channel_x", "My_Channel_050", "Channel_1"]
    assert next_indexed(names, "Channel") == "Channel_013"


@pytest.mark.parametrize("tool", ["", "  ", "a/b", "a\0b", None])
def test_tools_that_cannot_be_named(tool: str) -> None:
    with pytest.raises(OptionError, match="tool"):
        clean_tool(tool)


def test_numbers_sort_as_numbers() -> None:
    names = ["b1", "a10", "a9", "10", "9", "a", "a09", ""]
    assert sorted(names, key=natural_key) == ["", "9", "10", "a", "a09", "a9", "a10", "b1"]
