"""The code blocks of the README run, one after the other, as a reader would type them."""

from __future__ import annotations

import pathlib
import re

import pytest

from usidx.testing import make_main

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_python_blocks_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_main((6, 8, 32), dtype="complex64").usid.to_h5usid("scan.h5")
    text = README.read_text()
    namespace: dict[str, object] = {"__name__": "readme"}
    blocks = list(BLOCK.finditer(text))
    assert blocks, "the README has no python blocks"
    for block in blocks:
        first = text[: block.start(1)].count("\n")
        # Line numbers of a traceback are those of the README.
        exec(compile("\n" * first + block[1], str(README), "exec"), namespace)


def test_set_up_commands_are_two_and_whole() -> None:
    commands = [
        line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")
    ]
    assert len(commands) == 2
    demo, tests = commands
    assert demo.endswith("usidx demo")
    assert "-m pytest" in tests
    assert all("-c constraints.txt" in each for each in commands)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing
