"""Steps that raise at some positions: named, marked, and computed again."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import usidx
from tests.process.failing_step import failing
from usidx.errors import OptionError, StepError, UsidError
from usidx.exporting import to_h5usid
from usidx.step import step
from usidx.testing import make_main

PROGRAM = pathlib.Path(__file__).with_name("failing_step.py")
SMALL: dict[str, Any] = {"memory": "33 kB", "workers": 1}
BAD = {(0, 0): "V too dark", (3, 17): "Z no light", (3, 18): "V too dark", (15, 19): "V too dark"}
Write = Callable[[dict[tuple[int, int], str]], str]


@pytest.fixture
def notes(tmp_path: pathlib.Path, truth: xr.DataArray) -> Write:
    """Writes down at which positions the step raises what; gives the path of that."""

    def write(bad: dict[tuple[int, int], str]) -> str:
        path = tmp_path / "notes.json"
        said = {repr(float(truth.values[place][0])): error for place, error in bad.items()}
        path.write_text(json.dumps(said))
        return str(path)

    return write


@pytest.fixture
def one(hdf5_path: str) -> xr.DataArray:
    """The source of an HDF5 file, where the kind of store does not matter."""
    opened = usidx.open(hdf5_path, chunks={"Y": 2})
    assert isinstance(opened, xr.DataArray)
    return opened


def expected(truth: xr.DataArray, bad: Any) -> np.ndarray:
    """Squares, and NaN where it fails."""
    values = (truth.values**2).copy()
    for place in bad:
        values[place] = np.nan
    return values


def computed(notes: str) -> int:
    """How many positions the step was asked to compute since the last time."""
    log = pathlib.Path(f"{notes}.log")
    count = sum(map(int, log.read_text().split())) if log.exists() else 0
    log.unlink(missing_ok=True)
    return count


def test_the_error_names_the_position(one: xr.DataArray, notes: Write) -> None:
    said = notes({(3, 17): "Z no light"})
    with pytest.raises(StepError) as caught:
        one.usid.process(failing, notes=said).run(**SMALL)
    assert "failed at Y=3, X=17 (Y 0.3 um, X 1.78947 um) of 'Raw_Data'" in str(caught.value)
    assert "ZeroDivisionError: Z no light" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    # one block that is done, the block that fails, at most once more, and the last position
    assert computed(said) <= 40 + 40 + 40 + 1
    (partial,) = one.usid.results()
    assert (partial.status, partial.done, partial.record.failed) == ("partial", 40, 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_are_marked(
    source: xr.DataArray, truth: xr.DataArray, notes: Write, workers: int
) -> None:
    process = source.usid.process(failing, notes=notes(BAD))
    events: list[usidx.process.running.events.BlockDone] = []
    result = process.run(memory="66 kB", workers=workers, on_error="mark", on_block=events.append)
    assert (result.status, result.done, result.total) == ("complete", 320, 320)
    assert (result.record.failed, len(result.failed)) == (4, 4)
    assert (sum(each.positions for each in events), sum(each.failed for each in events)) == (320, 4)
    opened = result.open()
    np.testing.assert_array_equal(opened, expected(truth, BAD))
    assert opened.attrs["usid_failed"] == 4
    assert opened.attrs["usid_status"] == "complete"
    found = {(each.where["Y"], each.where["X"]): each.error for each in result.failed}
    kinds = {"V": "ValueError", "Z": "ZeroDivisionError"}
    assert found == {place: f"{kinds[error[0]]}: {error}" for place, error in BAD.items()}
    assert result.failed.reasons() == {
        "ValueError: V too dark": 3,
        "ZeroDivisionError: Z no light": 1,
    }
    assert result.failed[1].coordinates == {
        "Y": (pytest.approx(truth.Y.values[3]), "um"),
        "X": (pytest.approx(truth.X.values[17]), "um"),
    }
    assert usidx.validate(result.store).ok


@pytest.mark.parametrize(
    "options", [{"processes": True, "workers": 2}, {"compression": "gzip"}, {"durable": True}]
)
def test_however_it_is_run(
    one: xr.DataArray, truth: xr.DataArray, notes: Write, options: dict[str, Any]
) -> None:
    process = one.usid.process(failing, notes=notes(BAD))
    result = process.run(on_error="mark", **options)
    np.testing.assert_array_equal(result.open(), expected(truth, BAD))
    assert len(result.failed) == 4
    notes({})
    options.pop("compression", None)
    np.testing.assert_array_equal(process.run(retry_failed=True, **options).open(), truth**2)


def test_the_count_of_failures_is_shown(one: xr.DataArray, notes: Write) -> None:
    result = one.usid.process(failing, notes=notes(BAD)).run(on_error="mark")
    assert "complete, 4 failed" in repr(result)
    assert "resume(retry_failed=True)" in repr(result)
    assert "Raw_Data-Failing_000: complete, 4 failed" in repr(one.usid)
    statuses = [each.status for each in usidx.list_mains(result.store)]
    assert statuses == ["complete", "complete, 4 failed"]
    shown = repr(result.failed)
    assert "4 of 320 positions of 'Raw_Data-Failing_000' failed" in shown
    assert "Y=3, X=17 (Y 0.3 um, X 1.78947 um)  Failing  ZeroDivisionError: Z no light" in shown
    assert "<td style='text-align:left'>ValueError: V too dark</td>" in result.failed._repr_html_()


def test_a_complete_group_with_failures_is_found_with_a_warning(
    one: xr.DataArray, notes: Write
) -> None:
    process = one.usid.process(failing, notes=notes(BAD))
    result = process.run(on_error="mark")
    with pytest.warns(UserWarning, match=r"failed at 4 of its 320 positions.*retry_failed=True"):
        assert process.run() == result
    assert result.resume(failing) == result


@pytest.mark.parametrize("on_error", ["raise", "mark"])
def test_only_failed_positions_are_retried(
    source: xr.DataArray, truth: xr.DataArray, notes: Write, on_error: str
) -> None:
    said = notes(BAD)
    process = source.usid.process(failing, notes=said)
    result = process.run(on_error="mark", memory="66 kB")
    computed(said)
    left = {(3, 18): "V still dark"}
    if on_error == "mark":
        notes(left)
        again = result.resume(failing, retry_failed=True, on_error="mark", memory="66 kB")
        assert again == result
        assert computed(said) <= 6  # two of them as neighbours first
        assert {each.error for each in again.failed} == {"ValueError: V still dark"}
        np.testing.assert_array_equal(again.open(), expected(truth, left))
    else:
        notes(left)
        with pytest.raises(StepError, match=r"failed at Y=3, X=18 .*still dark"):
            process.run(retry_failed=True, memory="66 kB")
        (partial,) = source.usid.results()
        assert (partial.status, partial.record.failed) == ("partial", 0)
        assert partial.done < 320
        computed(said)
    notes({})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = process.run(retry_failed=True, memory="66 kB")
    assert whole == result
    assert computed(said) <= 4
    assert (whole.status, whole.record.failed, len(whole.failed)) == ("complete", 0, 0)
    np.testing.assert_array_equal(whole.open(), truth**2)
    assert "usid_failed" not in whole.open().attrs
    assert usidx.validate(whole.store).ok


def test_retrying_without_failures_does_nothing(one: xr.DataArray, notes: Write) -> None:
    said = notes({})
    process = one.usid.process(failing, notes=said)
    result = process.run(on_error="mark")
    computed(said)
    assert process.run(retry_failed=True) == result
    assert computed(said) == 0
    assert repr(result.failed) == "<usidx: no position of 'Raw_Data-Failing_000' failed>"


def test_a_partial_group_without_room_for_failures_gets_it(
    source: xr.DataArray, truth: xr.DataArray, notes: Write
) -> None:
    process = source.usid.process(failing, notes=notes(BAD))
    with pytest.raises(StepError, match="Y=0, X=0"):
        process.run(**SMALL)
    result = process.run(on_error="mark")
    assert result.record.failed == 4
    assert result.name.endswith("_000")
    np.testing.assert_array_equal(result.open(), expected(truth, BAD))


def test_steps_that_mix_positions_lose_whole_blocks(
    source: xr.DataArray, truth: xr.DataArray
) -> None:
    dark = float(truth.values[3, 17, 0])

    def kernel(block: np.ndarray) -> np.ndarray:
        if np.any(block[..., 0] == dark):
            raise ValueError("no light\nat all")
        return block**2

    @step("Mixing", version="1")
    def mixing(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    process = source.usid.process(mixing)
    with pytest.raises(StepError, match=r"failed at Y\[2:4\], X\[0:20\] of"):
        process.run(**SMALL)
    result = process.run(on_error="mark", **SMALL)
    rows = [(y, x) for y in (2, 3) for x in range(20)]
    assert result.failed.reasons() == {"ValueError: no light": 40}
    np.testing.assert_array_equal(result.open(), expected(truth, rows))
    dark = np.nan
    np.testing.assert_array_equal(process.run(retry_failed=True).open(), truth**2)


def test_what_blocks_share_fails_for_those_that_need_it(
    one: xr.DataArray, truth: xr.DataArray
) -> None:
    dark = float(truth.values[3, 17, 0])

    def kernel(block: np.ndarray) -> np.ndarray:
        if np.any(block[..., 0] == dark):
            raise ValueError("no light")
        return block

    @step("Shifted", version="1")
    def shifted(spectra: xr.DataArray) -> xr.DataArray:
        light = xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])
        return light + light.roll(Y=1)

    result = one.usid.process(shifted).run(on_error="mark", memory="45 kB", workers=1)
    lost = {each.where["Y"] for each in result.failed}
    assert lost == {2, 3, 4, 5}  # the block that fails, and the one that needs its last row
    kept = [y for y in range(16) if y not in lost]
    wanted = truth + truth.roll(Y=1)
    np.testing.assert_array_equal(result.open().isel(Y=kept), wanted.isel(Y=kept))
    assert np.isnan(result.open().isel(Y=sorted(lost))).all()


def test_several_outputs_fail_together(source: xr.DataArray, truth: xr.DataArray) -> None:
    dark = float(truth.values[3, 17, 0])

    def kernel(block: np.ndarray) -> tuple[np.ndarray, ...]:
        if np.any(block[..., 0] == dark):
            raise ValueError("no light")
        top = block.max(-1)
        return top.astype("c8"), block.argmax(-1), top > 0, block

    @step("Peaks", version="1", per_position=True)
    def peaks(spectra: xr.DataArray) -> xr.Dataset:
        types = ["c8", "i8", "?", "f4"]
        found = xr.apply_ufunc(
            kernel,
            spectra,
            input_core_dims=[["Frequency"]],
            output_core_dims=[[], [], [], ["Frequency"]],
            dask="parallelized",
            output_dtypes=[np.dtype(each) for each in types],
        )
        return xr.Dataset(dict(zip(("top", "place", "any", "same"), found, strict=True)))

    result = source.usid.process(peaks).run(on_error="mark", memory="66 kB")
    assert (result.record.failed, result.total) == (4, 4 * 320)
    assert {(each.main, str(each)[:9]) for each in result.failed} == {
        (name, "Y=3, X=17") for name in ("top", "place", "any", "same")
    }
    tree = result.open()
    top, place, above, same = (
        tree[name].to_dataset()[next(iter(tree[name].data_vars))].squeeze().values
        for name in ("top", "place", "any", "same")
    )
    assert np.isnan(top[3, 17].real)
    assert np.isnan(top[3, 17].imag)
    assert (place[3, 17], above[3, 17]) == (0, False)
    assert np.isnan(same[3, 17]).all()
    good = np.ones((16, 20), bool)
    good[3, 17] = False
    np.testing.assert_array_equal(top[good], truth.max("Frequency").values[good])
    np.testing.assert_array_equal(place[good], truth.argmax("Frequency").values[good])
    np.testing.assert_array_equal(same[good], truth.values[good])
    dark = np.nan
    again = result.resume(peaks, retry_failed=True)
    assert again.record.failed == 0
    np.testing.assert_array_equal(
        again.open()["place"].to_dataset()["place"].squeeze(), truth.argmax("Frequency")
    )


def test_fields_of_compound_results_are_nan(one: xr.DataArray, truth: xr.DataArray) -> None:
    def kernel(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if np.any(block[..., 0] == truth.values[3, 17, 0]):
            raise ValueError("no light")
        return block.max(-1), block.argmax(-1).astype("i4")

    @step("Both", version="1", per_position=True)
    def both(spectra: xr.DataArray) -> xr.Dataset:
        found = xr.apply_ufunc(
            kernel,
            spectra,
            input_core_dims=[["Frequency"]],
            output_core_dims=[[], []],
            dask="parallelized",
            output_dtypes=[np.dtype("f4"), np.dtype("i4")],
        )
        return xr.Dataset(dict(zip(("top", "place"), found, strict=True)))

    result = one.usid.process(both).run(on_error="mark")
    opened = result.open().squeeze()
    assert np.isnan(opened["top"].values[3, 17])
    assert opened["place"].values[3, 17] == 0
    assert np.isnan(opened["top"]).sum() == 1
    assert opened.attrs["usid_failed"] == 1


@pytest.mark.parametrize("vectorized", [True, False])
def test_maps_fail_at_single_positions(
    one: xr.DataArray, truth: xr.DataArray, vectorized: bool
) -> None:
    dark = truth.values[3, 17, 0]

    def brightest(spectra: np.ndarray) -> np.ndarray:
        if np.any(spectra[..., 0] == dark):
            raise ValueError("no light")
        return spectra.max(-1)

    def mapped() -> xr.DataArray:
        return one.usid.map(brightest, "Frequency", dtype="f4", vectorized=vectorized)

    with pytest.raises(StepError, match=r"failed at Y=3, X=17 \("):
        one.usid.save(mapped(), "Brightest", workers=1)
    result = one.usid.save(mapped(), "Brightest", on_error="mark")
    assert [each.where for each in result.failed] == [{"Y": 3, "X": 17}]
    values = result.open().squeeze().values
    assert np.isnan(values[3, 17])
    assert np.isnan(values).sum() == 1
    # what was made of a map is not told apart
    with warnings.catch_warnings(action="ignore"):
        further = one.usid.save(mapped() + 1, "Further", on_error="mark")
    assert len(further.failed) > 1


def test_other_sources_go_along(
    one: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    light = (2 + make_main((16, 20, 32), seed=1, dtype="float32")).assign_attrs(truth.attrs)
    flat = usidx.open(to_h5usid(light, tmp_path / "flat.h5"))
    dark = truth.values[5, 6, 0]

    def kernel(block: np.ndarray, light: np.ndarray) -> np.ndarray:
        if np.any(block[..., 0] == dark):
            raise ValueError("no light")
        return block / light

    @step("Flat", version="1", per_position=True)
    def flattened(spectra: xr.DataArray, *, flat: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, flat, dask="parallelized", output_dtypes=["f4"])

    result = one.usid.process(flattened, flat=flat).run(on_error="mark", memory="200 kB")
    assert [each.where for each in result.failed] == [{"Y": 5, "X": 6}]
    wanted = truth.values / light.values
    wanted[5, 6] = np.nan
    np.testing.assert_array_equal(result.open(), wanted)


def test_a_compound_source(one: xr.DataArray, truth: xr.DataArray) -> None:
    @step("Ends", version="1", per_position=True)
    def ends(spectra: xr.DataArray) -> xr.Dataset:
        return xr.Dataset({"top": spectra.max("Frequency"), "end": spectra.min("Frequency")})

    source = one.usid.process(ends).run().open()
    dark = source["top"].values.reshape(16, 20)[5, 6]

    def kernel(top: np.ndarray, end: np.ndarray) -> np.ndarray:
        if np.any(top == dark):
            raise ValueError("no light")
        return top - end

    @step("Range", version="1", per_position=True)
    def between(fields: xr.Dataset) -> xr.DataArray:
        return xr.apply_ufunc(
            kernel, fields["top"], fields["end"], dask="parallelized", output_dtypes=["f4"]
        )

    with pytest.raises(StepError, match=r"failed at Y=5, X=6 \("):
        source.usid.process(between).run()
    result = source.usid.process(between).run(on_error="mark")
    assert [each.where for each in result.failed] == [{"Y": 5, "X": 6}]
    assert np.isnan(result.open()).sum() == 1


def test_a_step_that_takes_no_parts_loses_the_block(one: xr.DataArray, truth: xr.DataArray) -> None:
    dark = truth.values[5, 6, 0]

    def kernel(block: np.ndarray) -> np.ndarray:
        if np.any(block[..., 0] == dark):
            raise ValueError("no light")
        return block

    @step("Whole", version="1", per_position=True)
    def whole(spectra: xr.DataArray) -> xr.DataArray:
        if spectra.sizes["X"] != 20:
            raise KeyError("only whole rows")
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=["f4"])

    result = one.usid.process(whole).run(on_error="mark", **SMALL)
    assert result.failed.reasons() == {"ValueError: no light": 20}
    assert {each.where["Y"] for each in result.failed} == {5}


def test_trouble_of_the_machine_is_no_failure(one: xr.DataArray) -> None:
    def of(error: BaseException) -> Any:
        def kernel(block: np.ndarray) -> np.ndarray:
            if block.size:
                raise error
            return block

        @step(f"Trouble_{type(error).__name__}", version="1", per_position=True)
        def trouble(spectra: xr.DataArray) -> xr.DataArray:
            return xr.apply_ufunc(
                kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype]
            )

        return trouble

    for error, raised in (
        (MemoryError("too much"), StepError),
        (OSError(28, "no space"), StepError),
        (ModuleNotFoundError("no such module"), StepError),
        (UsidError("of a store"), UsidError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with pytest.raises(raised):
            one.usid.process(of(error)).run(on_error="mark", **SMALL)
    assert {(each.status, each.done, each.record.failed) for each in one.usid.results()} == {
        ("partial", 0, 0)
    }


def test_a_step_that_fails_everywhere_is_told(one: xr.DataArray) -> None:
    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size:
            raise ValueError("never")
        return block

    @step("Never", version="1", per_position=True)
    def never(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    process = one.usid.process(never)
    with pytest.warns(UserWarning, match="every position of the first 3 blocks .*never") as caught:
        result = process.run(on_error="mark", **SMALL)
    assert len(caught) == 1
    assert result.failed.reasons() == {"ValueError: never": 320}
    assert "and 300 more" in repr(result.failed)
    with pytest.warns(UserWarning, match=r"failed at every position \(ValueError: never\)"):
        process.run(on_error="mark", fresh=True, workers=1)


def test_many_reasons_are_kept_until_there_is_no_room(source: xr.DataArray) -> None:
    def kernel(block: np.ndarray) -> np.ndarray:
        if block.size:
            raise ValueError(f"is {block.ravel()[0]}, " + "é" * 200)
        return block

    @step("Talking", version="1", per_position=True)
    def talking(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    with pytest.warns(UserWarning, match="every position"):
        result = source.usid.process(talking).run(on_error="mark", memory="66 kB")
    reasons = result.failed.reasons()
    assert (len(reasons), sum(reasons.values())) == (255, 320)
    other = next(text for text in reasons if text.startswith("another error"))
    assert reasons[other] == 320 - 254
    assert all(len(each.encode()) <= 200 for each in reasons)


def test_on_error_is_checked(one: xr.DataArray, notes: Write) -> None:
    with pytest.raises(OptionError, match="on_error='ignore' is not known; use 'raise'"):
        one.usid.process(failing, notes=notes({})).run(on_error="ignore")


def test_positions_that_form_no_grid(tmp_path: pathlib.Path) -> None:
    points = make_main((4, 5, 8), dtype="float32").usid.to_2d().isel(position=slice(0, 18))
    path = to_h5usid(points, tmp_path / "points.h5")
    source = usidx.open(path)
    dark = source.values[7].ravel()[0]

    def kernel(block: np.ndarray) -> np.ndarray:
        if np.any(block.reshape(len(block), -1)[:, 0] == dark):
            raise ValueError("no light")
        return block * 2

    @step("Doubled", version="1", per_position=True)
    def doubled(spectra: xr.DataArray) -> xr.DataArray:
        return xr.apply_ufunc(kernel, spectra, dask="parallelized", output_dtypes=[spectra.dtype])

    with pytest.raises(StepError, match=r"failed at position=7 \("):
        source.usid.process(doubled).run()
    result = source.usid.process(doubled).run(on_error="mark")
    assert [each.where for each in result.failed] == [{"position": 7}]


def killed_after(path: str, notes: str, done: int) -> None:
    """Begin a run in another process, and kill it once so many positions are marked."""
    environment = {**os.environ, "FAILING_SECONDS": "0.01", "PYTHONPATH": str(PROGRAM.parents[2])}
    process = subprocess.Popen([sys.executable, str(PROGRAM), path, notes], env=environment)
    try:
        deadline = time.monotonic() + 60
        while _done(path) < done:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _done(path: str) -> int:
    try:
        groups = usidx.open(path).usid.results("Failing")
        return groups[0].done if groups else 0
    except UsidError:  # being written at this very moment
        return 0


def test_a_killed_run_never_leaves_nan_that_looks_computed(
    path: str, truth: xr.DataArray, notes: Write
) -> None:
    bad = {(y, 1 + y): "V too dark" for y in range(16)}
    said = notes(bad)
    killed_after(path, said, 60)
    source = usidx.open(path)
    (partial,) = source.usid.results()
    assert partial.status == "partial"
    stored = source.usid.results()[0].failed
    marked = _marks(path)
    failed = {(each.where["Y"], each.where["X"]) for each in stored}
    assert failed == {place for place in bad if marked[place]}
    opened = partial.open().values
    wanted = expected(truth, bad)
    wanted[~marked] = np.nan
    np.testing.assert_array_equal(opened, wanted)

    whole = source.usid.process(failing, notes=said).run(on_error="mark", workers=2)
    assert whole == partial
    np.testing.assert_array_equal(whole.open(), expected(truth, bad))
    assert {(each.where["Y"], each.where["X"]) for each in whole.failed} == set(bad)
    assert usidx.validate(path).ok


def _marks(path: str) -> np.ndarray:
    from usidx.stores import store_at

    store = store_at(path)
    main = store.open_main(usidx.open(path).usid.results()[0].mains[0])
    assert main.completed is not None
    return np.asarray(main.completed[:, :])


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers in processes of their own."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "memory_limit": "2 GB"}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


def test_on_a_cluster(hdf5_path: str, truth: xr.DataArray, notes: Write, client: Any) -> None:
    source = usidx.open(hdf5_path, chunks={"Y": 2})
    process = source.usid.process(failing, notes=notes(BAD))
    with pytest.raises(StepError, match=r"failed at Y=\d+, X=\d+ \("):
        process.run(client=client, memory="33 kB")
    result = process.run(client=client, memory="33 kB", on_error="mark")
    np.testing.assert_array_equal(result.open(), expected(truth, BAD))
    assert len(result.failed) == 4
    notes({})
    again = process.run(client=client, retry_failed=True)
    np.testing.assert_array_equal(again.open(), truth**2)


def test_pyusid_would_see_it_as_complete(hdf5_path: str, truth: xr.DataArray, notes: Write) -> None:
    result = usidx.open(hdf5_path).usid.process(failing, notes=notes(BAD)).run(on_error="mark")
    with h5py.File(hdf5_path, "r") as file:
        group = file[result.path]
        assert group["completed_positions"][()].all()
        numbers = group["failed_positions"][()].reshape(16, 20)
        reasons = group["failure_reasons"][()]
        assert group.attrs["last_pixel"] == 320
    assert {tuple(each) for each in np.argwhere(numbers).tolist()} == set(BAD)
    assert reasons[numbers[3, 17] - 1] == b"ZeroDivisionError: Z no light"
