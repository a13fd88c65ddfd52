"""Progress bars listen to what happens."""

from __future__ import annotations

import sys
import time

import pytest
import xarray as xr

from usidx.process.running.events import BlockDone, RunStarted, progress
from usidx.step import step


@step("Copied", version="1")
def copied(spectra: xr.DataArray) -> xr.DataArray:
    """The source."""
    return spectra


def test_a_bar_counts_positions(source: xr.DataArray, capsys: pytest.CaptureFixture[str]) -> None:
    source.usid.process(copied).run(memory="33 kB", workers=1, progress=True)
    shown = capsys.readouterr().err
    assert "Copied: 100%" in shown
    assert "320/320" in shown


def test_nobody_looks_so_nothing_is_shown(
    source: xr.DataArray, capsys: pytest.CaptureFixture[str]
) -> None:
    source.usid.process(copied).run()
    source.usid.process(copied).run(fresh=True, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_short_run_shows_no_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(None, "Quick") as listen:
        listen(RunStarted("/g", 0, 10, 1, False))
        listen(BlockDone(0, {}, 10, 0.1, 10, 10))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("usidx.process.running.events._BAR_AFTER", 0.05)
    with progress(None, "Slow") as listen:
        listen(RunStarted("/g", 0, 10, 2, False))
        time.sleep(0.1)
        listen(BlockDone(0, {}, 5, 0.1, 5, 10))
        listen(BlockDone(1, {}, 5, 0.1, 10, 10))
    assert "Slow" in capsys.readouterr().err


def test_positions_that_were_done_before_are_not_counted_again(
    source: xr.DataArray, capsys: pytest.CaptureFixture[str]
) -> None:
    process = source.usid.process(copied)

    def stop(event: BlockDone) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(memory="4 kB", workers=1, progress=False, on_block=stop)
    (begun,) = process.existing()
    before = begun.record.done
    assert 0 < before < 40
    done: list[int] = []
    capsys.readouterr()
    process.resume(
        begun,
        memory="99 kB",
        workers=1,
        progress=True,
        on_block=lambda each: done.append(each.done),
    )
    # in HDF5 blocks are larger now, and the first has some that are marked
    block = done[1] - done[0]
    assert done == [end for end in (*range(block, 320, block), 320) if end > before]
    assert "320/320" in capsys.readouterr().err


def test_a_bar_of_a_resumed_run_begins_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(True, "Resumed") as listen:
        listen(RunStarted("/g", 60, 100, 1, True))
        listen(BlockDone(0, {}, 40, 0.1, 100, 100))
    shown = capsys.readouterr().err
    assert "60.0/100" in shown
    assert "100/100" in shown
