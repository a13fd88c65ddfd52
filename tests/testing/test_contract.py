"""The contract suite of readers, tried on readers that break one promise each."""

from __future__ import annotations

import importlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from usidx.errors import NotUsidError
from usidx.readers import Reader, finding
from usidx.testing import check_reader

HERE = pathlib.Path(__file__).parent
BAD = (
    "loads when opened", "reads all", "reads all bytes", "keeps open", "keeps mapped",
    "leaves open", "leaves open when refused", "no pickle", "only here", "other dtype",
    "says other dtype", "no steps", "struct.error", "fills up", "unaware", "takes anything",
)  # fmt: skip
# Whether they are lazy is told by files of some size.
LARGE = {"good", "loads when opened", "reads all", "reads all bytes"}


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of bad readers, which other processes import as well."""
    monkeypatch.syspath_prepend(HERE)
    module = importlib.import_module("bad_readers")
    yield module
    for each in module.KEPT:
        if hasattr(each, "close"):
            each.close()
    module.KEPT.clear()
    del sys.modules["bad_readers"]


def made(bad: Any, path: pathlib.Path, shape: tuple[int, int]) -> Any:
    """A file of the made-up format, and its values."""
    values = np.arange(shape[0] * shape[1], dtype="<f4").reshape(shape)
    path.write_bytes(bad.HEAD.pack(b"MADE", *shape) + values.tobytes())
    return values


def known(monkeypatch: pytest.MonkeyPatch, read: Any, **told: Any) -> None:
    """Make a reader known for a while, as a plug-in does."""
    reader = Reader(
        "made", "Made up", (".made",), lambda path, head: head.startswith(b"MADE"), read, **told
    )
    everyone = {**finding.readers(), "made": reader}
    monkeypatch.setattr(finding, "readers", lambda: everyone)


def test_good_readers_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, bad: Any
) -> None:
    known(monkeypatch, bad.good)
    for shape in ((8, 5), (2048, 1024)):
        check_reader(tmp_path / "a.made", made(bad, tmp_path / "a.made", shape))


@pytest.mark.parametrize("name", BAD)
def test_bad_readers_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, bad: Any, name: str
) -> None:
    read, said = bad.BAD[name]
    known(monkeypatch, read)
    shape = (2048, 1024) if name in LARGE else (8, 4)
    values = made(bad, tmp_path / "a.made", shape)
    with pytest.raises(AssertionError, match=f"(?s){said}"):
        check_reader(tmp_path / "a.made", values)


def test_all_bad_readers_are_tried(bad: Any) -> None:
    assert set(BAD) == set(bad.BAD)


def test_readers_that_are_not_lazy_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, bad: Any
) -> None:
    known(monkeypatch, bad.of(bad.ReadsAll), is_lazy=False)
    check_reader(tmp_path / "a.made", made(bad, tmp_path / "a.made", (2048, 1024)))


def test_other_values_are_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, bad: Any
) -> None:
    known(monkeypatch, bad.good)
    values = made(bad, tmp_path / "a.made", (8, 4))
    other = values.copy()
    other[7, 3] += 1
    for wrong in (other, values.T, values.astype("f8"), values[:-1]):
        with pytest.raises(AssertionError):
            check_reader(tmp_path / "a.made", wrong)


def test_files_without_an_array(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, bad: Any
) -> None:
    def read(path: str) -> Any:
        raise NotUsidError(f"{path!r} holds none")

    made(bad, tmp_path / "a.made", (8, 4))
    known(monkeypatch, read)
    check_reader(tmp_path / "a.made", None)
    known(monkeypatch, bad.good)
    with pytest.raises(AssertionError, match="no values are expected"):
        check_reader(tmp_path / "a.made", None)
