"""pyUSID's own Process and our results: each knows what the other made, and goes on with it."""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from usidx.errors import StepError
from usidx.process.results.result import ResultGroup
from usidx.testing import make_main

pytestmark = pytest.mark.pyusid
PROCESS = pathlib.Path(__file__).with_name("process.py")
MAIN = "/Measurement_000/Channel_000/Raw_Data"
GROUP = f"{MAIN}-Mean_Gain_000"
Run = Callable[..., dict[str, Any]]


@usidx.step("Mean_Gain", version="1")
def mean_gain(
    spectra: xr.DataArray, *, gain: float, mode: str = "mean", vec: Any = (1, 2, 3)
) -> xr.DataArray:
    """What the Process computes."""
    return gain * spectra.mean("Frequency")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A file with 20 spectra."""
    written: str = make_main((4, 5, 16)).usid.to_h5usid(tmp_path / "scan.h5")
    return written


@pytest.fixture
def run(tmp_path: pathlib.Path, path: str, pyusid_python: str) -> Run:
    """pyUSID's Process on the file; what it found and did."""

    def work(gain: float, *, stop: int | None = None, **storage: Any) -> dict[str, Any]:
        told = tmp_path / "told.json"
        told.write_text(json.dumps({"main": MAIN, "gain": gain, "stop": stop, "storage": storage}))
        done = subprocess.run(
            [pyusid_python, str(PROCESS), path, str(told)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(told.read_text())
        return found

    return work


def values(path: str, group: str = GROUP) -> Any:
    """The only Main of a result group, by h5py."""
    with h5py.File(path, "r") as file:
        (main,) = (each for each in file[group].values() if "quantity" in each.attrs)
        return main[:, 0]


def expected(gain: float) -> Any:
    return gain * make_main((4, 5, 16)).values.reshape(20, 16).mean(1)


def begin(path: str, gain: float) -> ResultGroup:
    """A partial result of ours: all but the last row of the map."""
    main = usidx.open(path, MAIN)

    def kernel(block: Any, block_info: Any = None) -> Any:
        if block.size and block_info[0]["chunk-location"][0] == 3:
            raise ZeroDivisionError
        return block

    def broken(
        spectra: xr.DataArray, *, gain: float, mode: str = "mean", vec: Any = (1, 2, 3)
    ) -> xr.DataArray:
        rows = spectra.chunk({"Y": 1})
        some = rows.copy(
            data=rows.data.map_blocks(kernel, dtype="f4", meta=np.empty((0,) * 3, "f4"))
        )
        return gain * some.mean("Frequency")

    step = usidx.step("Mean_Gain", broken, version="1")
    with pytest.raises(StepError, match="ZeroDivisionError"):
        main.usid.process(step, gain=gain).run(memory="1 kB", workers=1, progress=False)
    (group,) = main.usid.results("Mean_Gain")
    return group


class TestOurs:
    def test_a_complete_result_is_returned(self, path: str, run: Run) -> None:
        result = usidx.open(path).usid.process(mean_gain, gain=2.5).run(progress=False)
        assert result.path == GROUP
        found = run(2.5)
        assert (found["complete"], found["partial"]) == ([GROUP], [])
        assert (found["group"], found["computed"]) == (GROUP, [])
        np.testing.assert_allclose(values(path), expected(2.5), rtol=1e-6)

    def test_failed_positions_do_not_confuse(self, path: str, run: Run) -> None:
        def kernel(block: Any) -> Any:
            if np.any(block[..., 0] == make_main((4, 5, 16)).values[2, 3, 0]):
                raise ValueError("no light")
            return 2.5 * block.mean(-1)

        def marking(
            spectra: xr.DataArray, *, gain: float, mode: str = "mean", vec: Any = (1, 2, 3)
        ) -> xr.DataArray:
            return spectra.usid.map(kernel, "Frequency", dtype="f4")

        step = usidx.step("Mean_Gain", marking, version="1", per_position=True)
        process = usidx.open(path).usid.process(step, gain=2.5)
        result = process.run(progress=False, on_error="mark")
        assert [each.where for each in result.failed] == [{"Y": 2, "X": 3}]
        found = run(2.5)
        assert (found["complete"], found["partial"]) == ([GROUP], [])
        assert (found["group"], found["computed"]) == (GROUP, [])
        wanted = expected(2.5)
        wanted[13] = np.nan
        np.testing.assert_allclose(values(path), wanted, rtol=1e-6)

    def test_other_parameters_are_computed(self, path: str, run: Run) -> None:
        usidx.open(path).usid.process(mean_gain, gain=2.5).run(progress=False)
        found = run(3.5)
        assert (found["complete"], found["partial"]) == ([], [])
        assert found["group"] == f"{MAIN}-Mean_Gain_001"
        assert found["computed"] == list(range(20))

    def test_a_partial_result_is_gone_on_with(self, path: str, run: Run) -> None:
        begun = begin(path, 2.5)
        assert (begun.path, begun.status, begun.done) == (GROUP, "partial", 15)
        found = run(2.5)
        assert (found["complete"], found["partial"]) == ([], [GROUP])
        assert (found["group"], found["computed"]) == (GROUP, [15, 16, 17, 18, 19])
        # and it is complete to us
        assert (begun.status, begun.done) == ("complete", 20)
        np.testing.assert_allclose(values(path), expected(2.5), rtol=1e-6)
        np.testing.assert_allclose(begun.open().values.reshape(20), expected(2.5), rtol=1e-6)
        process = usidx.open(path, MAIN).usid.process(mean_gain, gain=2.5)
        with pytest.warns(UserWarning, match="code of step"):  # which was begun by a broken one
            assert process.run(progress=False) == begun

    def test_both_take_turns(self, path: str, run: Run) -> None:
        begun = begin(path, 2.5)
        found = run(2.5, stop=1)
        assert found["computed"] == [15, 16, 17, 18]
        assert (begun.status, begun.done) == ("partial", 19)
        assert begun.resume(mean_gain, progress=False).status == "complete"
        np.testing.assert_allclose(values(path), expected(2.5), rtol=1e-6)
        assert run(2.5)["complete"] == [GROUP]


class TestTheirs:
    @pytest.mark.parametrize(
        ("how", "storage"),
        [("run", {}), ("run", {"compression": "gzip"}), ("resume", {"chunks": [3, 1]})],
    )
    def test_a_partial_result_is_gone_on_with(
        self, path: str, run: Run, storage: Any, how: str
    ) -> None:
        assert run(2.5, stop=2, **storage)["computed"] == list(range(8))
        begun = ResultGroup(path, GROUP)
        assert (begun.status, begun.done, begun.total) == ("partial", 8, 20)
        if how == "run":
            process = usidx.open(path, MAIN).usid.process(mean_gain, gain=2.5)
            assert process.existing() == (begun,)
            assert process.run(progress=False) == begun
        else:
            assert begun.resume(mean_gain, progress=False) == begun
        assert (begun.status, begun.done) == ("complete", 20)
        np.testing.assert_allclose(values(path), expected(2.5), rtol=1e-6)
        found = run(2.5)
        assert (found["complete"], found["computed"]) == ([GROUP], [])

    def test_a_complete_result_is_returned(self, path: str, run: Run) -> None:
        run(2.5)
        result = usidx.open(path, MAIN).usid.process(mean_gain, gain=2.5).run(progress=False)
        assert result == ResultGroup(path, GROUP)
        np.testing.assert_allclose(result.open().values.reshape(20), expected(2.5), rtol=1e-6)
