"""What is worth knowing of how a Main folds."""

from __future__ import annotations

import numpy as np

from usidx.model.dimension import Dimension
from usidx.model.layout import Coordinate, Grid, Points
from usidx.model.layout_rules import check_layouts
from usidx.model.rules import AncillaryFacts, MainFacts, TextFact

FACTS = MainFacts(
    "/Raw_Data",
    (15, 28),
    np.dtype("f4"),
    TextFact("Current"),
    TextFact("nA"),
    *(
        AncillaryFacts(name, f"/{name}")
        for name in (
            "Position_Indices",
            "Position_Values",
            "Spectroscopic_Indices",
            "Spectroscopic_Values",
        )
    ),
)
ROWS = Grid("position", (Dimension("Y", "um", 3), Dimension("X", "um", 5)))
COLUMNS = Grid("spectroscopic", (Dimension("Bias", "V", 28),))


def test_plain_grids_are_not_worth_a_word() -> None:
    assert check_layouts(FACTS, ROWS, COLUMNS) == ()


def test_points_orders_and_shared_labels() -> None:
    points = Points(
        "position", (Coordinate("X", "nm", ("position",), np.arange(15.0)),), "all in a spiral"
    )
    columns = Grid("spectroscopic", (Dimension("X", "V", 28),), order=np.arange(28)[::-1])
    notes = check_layouts(FACTS, points, columns)
    assert [each.grade for each in notes] == ["note"] * 3
    assert "all in a spiral" in str(notes[0])
    assert "columns that are not in the order" in str(notes[1])
    assert "X_spectroscopic" in str(notes[2])


def test_indices_that_skip() -> None:
    rows = Grid("position", (Dimension("X", "um", 3, indices=np.array([5, 7, 9])),))
    (note,) = check_layouts(FACTS, rows, COLUMNS)
    assert note.place == "/Position_Indices"
    assert "indices of X" in note.found


def test_dependent_values_and_columns() -> None:
    shared = Coordinate("DC", "V", ("Cycle", "DC_index"), np.arange(6.0).reshape(2, 3))
    columns = Grid(
        "spectroscopic",
        (Dimension("Cycle", "", 2), Dimension("DC_index", "", 3, label="DC")),
        (shared, Coordinate("Amplitude", "V", ("Cycle",), np.arange(2.0))),
    )
    values, column = check_layouts(FACTS, ROWS, columns)
    assert values.place == "/Spectroscopic_Values"
    assert values.found == "values of 'DC' that change with Cycle"
    assert column.place == "/Spectroscopic_Indices"
    assert column.found == "'Amplitude' that follows Cycle"
