"""The command line as a whole: help, version, suggestions, exit status."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import usidx
from usidx.cli import main
from usidx.cli.refusals import in_one_line

COMMANDS = ["demo", "info", "tree", "run", "convert"]


def test_help_lists_the_commands_in_order(call: Any) -> None:
    result = call("--help")
    assert result.exit_code == 0
    places = [result.stdout.index(f"  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_examples(call: Any, name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"usidx {name}" in result.stdout.split("Examples:")[1]


def test_version(call: Any) -> None:
    assert call("--version").stdout == f"usidx {usidx.__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [("inof", "info"), ("covert", "convert"), ("dmeo", "demo")]
)
def test_a_mistyped_command_is_guessed(call: Any, typed: str, meant: str) -> None:
    result = call(typed)
    assert result.exit_code == 2
    assert f"did you mean '{meant}'" in result.stderr


def test_without_a_near_one_all_are_named(call: Any) -> None:
    assert "demo, info, tree" in call("zzz").stderr


@pytest.mark.parametrize("arguments", [["info"], ["run", "a"], ["convert", "a"], ["info", "--x"]])
def test_wrong_use_is_two(call: Any, arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


def test_a_bug_of_ours_shows_its_traceback(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(usidx, "list_mains", broken)
    result = call("info", "scan.h5")
    assert isinstance(result.exception, AssertionError)


def test_interrupted_is_130(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(usidx, "list_mains", stopped)
    result = call("info", "scan.h5")
    assert result.exit_code == 130
    assert result.stderr.strip() == "usidx: interrupted"


def test_lists_become_one_line() -> None:
    assert in_one_line("it has:\n  /a\n  /b") == "it has: /a, /b"
    assert in_one_line("one.\ntwo") == "one. two"
    assert in_one_line("plain") == "plain"


def test_help_is_light() -> None:
    script = (
        "import sys; from usidx.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'matplotlib', 'distributed', 'zarr', 'h5py', 'skimage', 'tqdm', 'dask'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_the_entry_point_is_a_group() -> None:
    assert main.name == "usidx"
