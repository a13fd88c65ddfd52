"""A few files with flipped bits and a few cut short; `python -m tests.hostile` does more."""

from __future__ import annotations

import itertools
import os
import pathlib

import pytest

from tests.hostile import fuzz

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[fuzz.Subject]:
    return fuzz.made_subjects(tmp_path_factory.mktemp("made"))


def test_flipped_bits(subjects: list[fuzz.Subject], tmp_path: pathlib.Path) -> None:
    tally = fuzz.attack(fuzz.flips(subjects, 50, seed=5), str(tmp_path))
    assert tally.bad == []
    assert tally.opened_checked["other values"] == 0
    assert tally.opened_checked["refused"] > 5
    assert tally.opened["right"] > 5


def test_files_cut_short(subjects: list[fuzz.Subject], tmp_path: pathlib.Path) -> None:
    tally = fuzz.attack(fuzz.cuts(subjects, 30, seed=5), str(tmp_path))
    assert tally.bad == []
    assert tally.opened + tally.opened_checked == {"refused": 30}
    assert tally.validated == {"an error": 30}


def test_damage_that_must_be_noticed(subjects: list[fuzz.Subject], tmp_path: pathlib.Path) -> None:
    """That the harness sees wrong values where there are some."""
    plain = subjects[-1]
    assert not plain.checked
    values = sorted(set(range(len(plain.data))) - set(plain.places.tolist()))
    data = bytearray(plain.data)
    data[values[len(values) // 2]] ^= 1
    cases = itertools.repeat((plain, "a value", bytes(data)), 1)
    assert fuzz.attack(iter(cases), str(tmp_path)).opened == {"other values": 1}


def test_how_a_process_may_end() -> None:
    assert fuzz.in_child(lambda: "right") == "right"
    assert fuzz.in_child(os.abort) == "crash (SIGABRT)"
    assert fuzz.in_child(lambda: [][0]).startswith("traceback IndexError")
    assert fuzz.in_child(lambda: os._exit(3)) == "crash (exit status 3)"
