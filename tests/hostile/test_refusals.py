"""Every file of the corpus is refused by every door, at once, with the name of what was found."""

from __future__ import annotations

import pathlib
import time
import tracemalloc

import pytest
import xarray as xr
from click.testing import CliRunner

import usidx
from tests.hostile.make import MAIN, MAKERS, SECRET, good
from usidx.cli import main as command_line
from usidx.errors import UsidError
from usidx.stores import store_at

DOORS = {
    "list_mains": usidx.list_mains,
    "open": usidx.open,
    "open_by_name": lambda path: usidx.open(path, MAIN),
    "open_tree": usidx.open_tree,
    "open_dataset": lambda path: xr.open_dataset(path, engine="usid"),
    "open_datatree": lambda path: xr.open_datatree(path, engine="usid"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    return {name: maker(tmp_path_factory.mktemp(name)) for name, (maker, _) in MAKERS.items()}


def test_there_are_enough() -> None:
    assert len(MAKERS) >= 20


@pytest.mark.parametrize("name", MAKERS)
def test_refused_by_every_door(name: str, corpus: dict[str, pathlib.Path]) -> None:
    path, says = corpus[name], MAKERS[name][1]
    for door, opens in DOORS.items():
        with pytest.raises(UsidError) as caught:
            opens(path)
        assert says in str(caught.value), f"{door}: {caught.value}"
        assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_refused_on_the_command_line(name: str, corpus: dict[str, pathlib.Path]) -> None:
    for command in (["info"], ["info", MAIN], ["tree"]):
        arguments = [command[0], str(corpus[name]), *command[1:]]
        done = CliRunner().invoke(command_line, arguments)
        assert done.exit_code == 1
        assert MAKERS[name][1] in done.stderr


@pytest.mark.parametrize("name", MAKERS)
def test_an_error_of_the_report(name: str, corpus: dict[str, pathlib.Path]) -> None:
    report = usidx.validate(corpus[name], limit=None)
    assert not report.ok
    assert any(MAKERS[name][1] in each.found for each in report.errors), str(report)


@pytest.mark.parametrize("name", MAKERS)
def test_refused_at_once(name: str, corpus: dict[str, pathlib.Path]) -> None:
    store = store_at(corpus[name])
    took = []
    for _ in range(5):  # another process may be in the way
        start = time.perf_counter()
        with pytest.raises(UsidError):
            store.mains()
        took.append(time.perf_counter() - start)
    assert min(took) < 0.01


@pytest.mark.parametrize("name", MAKERS)
def test_refused_in_little_memory(name: str, corpus: dict[str, pathlib.Path]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UsidError):
            usidx.open(corpus[name])
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_one_of_them_in_a_process_of_its_own(corpus: dict[str, pathlib.Path]) -> None:
    done = CliRunner().invoke(command_line, ["validate", str(corpus["external_storage"])])
    assert done.exit_code == 1
    assert "external raw storage" in done.stdout


def test_a_good_file_is_not_refused(tmp_path: pathlib.Path) -> None:
    path = good(tmp_path)
    for opens in DOORS.values():
        assert opens(path) is not None
    assert usidx.validate(path, limit=None).violations == ()
