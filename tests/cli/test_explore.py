"""`usidx explore` writes pictures, and says what to do where there is no window."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import usidx
from usidx.testing import make_main

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def on_paper() -> Any:
    """No window, whatever the machine has."""
    with mpl.rc_context():
        mpl.use("agg")
        yield


def drawn(path: pathlib.Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_picture_is_written_and_nothing_else(call: Any, scan: pathlib.Path) -> None:
    before = scan.read_bytes()
    result = call("explore", scan, "Raw_Data", "--save", "look.png")
    assert result.exit_code == 0
    assert result.stdout == "wrote look.png\n"
    there = drawn(pathlib.Path("look.png"))
    assert there.shape[1] > 1500
    assert np.ptp(there, axis=2).max() > 100  # colours
    assert scan.read_bytes() == before
    again = call("explore", scan, "--save", "look.png")
    assert again.exit_code == 1
    assert "'look.png' is there already; --overwrite replaces it" in again.stderr
    options = ("--at", "Frequency=320e3", "--at", "Y=0.3", "--component", "phase", "--overwrite")
    assert call("explore", scan, "--save", "look.png", *options).exit_code == 0
    assert not np.array_equal(drawn(pathlib.Path("look.png")), there)


def test_no_window_is_said_in_one_line(call: Any, scan: pathlib.Path) -> None:
    result = call("explore", scan)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "write a picture with --save picture.png" in result.stderr


def test_a_window_is_opened_where_there_is_one(
    call: Any, scan: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from usidx.explore import figure

    opened: list[Any] = []
    monkeypatch.setattr(figure, "has_window", lambda: True)
    monkeypatch.setattr(figure.Explorer, "show", lambda shown: opened.append(shown))
    assert call("explore", scan, "--at", "Y=0.6").exit_code == 0
    assert opened[0].selection["Y"] == pytest.approx(0.6)


def test_files_of_others_and_readers_options(call: Any) -> None:
    np.save("stack.npy", np.random.default_rng(0).random((5, 6, 9)))
    options = ("--option", "n_position=2")
    assert call("explore", "stack.npy", *options, "--save", "a.svg").exit_code == 0
    assert pathlib.Path("a.svg").read_text().startswith("<?xml")
    make_main((3, 4, 8)).usid.to_zarr("scan.zarr")
    assert call("explore", "scan.zarr", "Raw_Data", "--save", "b.png").exit_code == 0


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--at", "Freq=3"], 1, "did you mean 'Frequency'"),
        (["--at", "Y"], 2, "--at takes DIM=LABEL"),
        (["--at", "Y=0", "--at", "Y=1"], 2, "'Y' is given twice"),
        (["--field", "A"], 1, "has no fields"),
        (["--component", "size"], 2, "'size' is not one of"),
        (["--reader", "nope"], 1, "nope"),
    ],
)
def test_wrong_use(
    call: Any, scan: pathlib.Path, options: list[str], status: int, words: str
) -> None:
    result = call("explore", scan, "--save", "look.png", *options)
    assert result.exit_code == status
    assert words in result.stderr
    assert not pathlib.Path("look.png").exists()


def test_names_that_are_no_pictures(call: Any, scan: pathlib.Path, two: pathlib.Path) -> None:
    assert "no name of a picture" in call("explore", scan, "--save", "look.h5").stderr
    assert call("explore", scan, "--overwrite").exit_code == 2
    several = call("explore", two, "--save", "look.png")
    assert several.exit_code == 1
    assert "Channel_001" in several.stderr
    assert usidx.open(scan).shape == (6, 8, 32)
