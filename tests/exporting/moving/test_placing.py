"""Where added Mains go: numbered on, results beside their source, nothing moved that is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from usidx.exporting.moving.placing import channel_of, next_measurements, places_in

TREE = {"/": ["Measurement_000", "Measurement_002", "notes"], "/Measurement_002": ["Channel_000"]}
RAW = "/Measurement_000/Channel_000/Raw_Data"


@pytest.fixture
def names() -> Callable[[str], list[str]]:
    """What is in the groups of a file."""
    return lambda path: TREE.get(path, [])


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        (RAW, "/Measurement_000/Channel_000"),
        (f"{RAW}-Fit_000/Fit", "/Measurement_000/Channel_000"),
        (f"{RAW}-Fit_000/Fit-Mean_001/Mean", "/Measurement_000/Channel_000"),
        ("/Raw_Data", "/"),
        ("/a-b/Raw_Data", "/a-b"),
    ],
)
def test_the_channel_of_a_main(path: str, channel: str) -> None:
    assert channel_of(path) == channel


def test_measurements_are_numbered_on(names: Callable[[str], list[str]]) -> None:
    other = "/Measurement_007/Channel_003/Height"
    places = next_measurements([RAW, f"{RAW}-Fit_000/Fit", other, "/Loose", "/x/y/More"], names)
    assert places.of(RAW) == "/Measurement_003/Channel_000/Raw_Data"
    assert places.of(f"{RAW}-Fit_000") == "/Measurement_003/Channel_000/Raw_Data-Fit_000"
    assert places.of("/Measurement_000") == "/Measurement_003"
    assert places.of(other) == "/Measurement_004/Channel_003/Height"
    assert places.of("/x/y/More") == "/Measurement_005/Channel_001/More"
    assert places.of("/Loose") == "/Measurement_005/Channel_000/Loose"


def test_channels_are_numbered_on(names: Callable[[str], list[str]]) -> None:
    other = "/Measurement_000/Channel_001/Height"
    places = places_in("Measurement_002/", [RAW, f"{RAW}-Fit_000/Fit", other], names)
    assert places.home == "/Measurement_002"
    assert places.of(RAW) == "/Measurement_002/Channel_001/Raw_Data"
    assert places.of(f"{RAW}-Fit_000/Fit") == "/Measurement_002/Channel_001/Raw_Data-Fit_000/Fit"
    assert places.of(other) == "/Measurement_002/Channel_002/Height"
    assert places.of("/Measurement_000") is None


def test_any_other_group_takes_them_as_they_are(names: Callable[[str], list[str]]) -> None:
    places = places_in("/Measurement_000/Channel_000", [RAW, f"{RAW}-Fit_000/Fit"], names)
    assert places.of(RAW) == RAW
    assert places.of(f"{RAW}-Fit_000/Fit") == f"{RAW}-Fit_000/Fit"
    assert places_in("/", [RAW], names).of(RAW) == "/Raw_Data"
