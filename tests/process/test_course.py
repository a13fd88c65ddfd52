"""What dask factorises is counted before it runs, and its factors are made again, not kept."""

from __future__ import annotations

import pathlib
import re
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import convert_legacy_graph

import usidx
from tests.process.conftest import write_h5usid
from usidx.errors import PlanError
from usidx.exporting import to_zarr
from usidx.process.planning.bind import bind_result
from usidx.process.planning.budget import parse_memory
from usidx.process.planning.course import course_of, peak_of
from usidx.process.planning.ends import ends_of, needed_by
from usidx.process.planning.sizes import Value, values_in
from usidx.testing import make_main

ROWS = 128 * 64
Lazy = Callable[[da.Array], da.Array]


def strengths_times(matrix: da.Array) -> da.Array:
    u, s, _ = da.linalg.svd(matrix)
    return (u * s)[:, :8]


def orthogonal(matrix: da.Array) -> da.Array:
    return da.linalg.qr(matrix)[0]


def projected(matrix: da.Array) -> da.Array:
    return da.dot(matrix, da.linalg.svd(matrix)[2].T[:, :8])


def compressed(matrix: da.Array) -> da.Array:
    u, s, _ = da.linalg.svd_compressed(matrix, 8, seed=0)
    return u * s


def solved(matrix: da.Array) -> da.Array:
    square = da.dot(matrix.T, matrix).rechunk(-1)
    return da.dot(matrix, da.linalg.solve(square, da.eye(matrix.shape[1], chunks=-1)))


KINDS: dict[str, Lazy] = {
    each.__name__: each for each in (strengths_times, orthogonal, projected, compressed, solved)
}


@pytest.fixture(scope="module", autouse=True)
def one_thread_for_each_product() -> Iterator[None]:
    """Threads of dask that each have threads of their own for it wait for each other."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    return make_main((128, 64, 64), dtype="float32")


@pytest.fixture(scope="module", params=["h5", "zarr"])
def scan(
    request: pytest.FixtureRequest,
    truth: xr.DataArray,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    folder = tmp_path_factory.mktemp("scan")
    if request.param == "h5":
        return write_h5usid(folder / "scan.h5", truth)
    return str(to_zarr(truth, folder / "scan.zarr"))


def opened(path: str, rows: int = 8) -> xr.DataArray:
    found = usidx.open(path, chunks={"Y": rows})
    assert isinstance(found, xr.DataArray)
    return found


def lazily(source: xr.DataArray, make: Lazy) -> xr.DataArray:
    made = make(source.data.reshape((-1, source.shape[-1])))
    shape = (*source.shape[:2], made.shape[1])
    places = {dim: source[dim] for dim in ("Y", "X")}
    coords = {**places, "Component": np.arange(made.shape[1])}
    return xr.DataArray(made.reshape(shape), dims=("Y", "X", "Component"), coords=coords)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_values_are_those_that_dask_computes(scan: str, make: Lazy, tmp_path: pathlib.Path) -> None:
    source = opened(scan)
    wanted = lazily(source, make).compute(scheduler="synchronous")
    saved = source.usid.save(
        lazily(source, make), "Made", into=tmp_path / "made.h5", memory="12 MB", workers=2
    )
    np.testing.assert_allclose(saved.open().values, wanted, rtol=1e-3, atol=1e-4)


def test_strengths_are_those_of_numpy(
    scan: str, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    source = opened(scan)
    result = lazily(source, strengths_times)
    saved = source.usid.save(result, "Made", into=tmp_path / "made.h5", memory="12 MB")
    wanted = np.linalg.svd(truth.values.reshape(ROWS, -1).astype("f8"), compute_uv=False)
    found = np.linalg.norm(saved.open().values.reshape(ROWS, -1), axis=0)
    np.testing.assert_allclose(found, wanted[:8], rtol=1e-4)


def traced(run: Callable[[], Any]) -> int:
    """Bytes of all that was allocated by Python and NumPy at a time, beyond what there was."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_no_more_is_in_memory_than_was_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = make_main((128, 64, 256), dtype="float32")
    path = write_h5usid(tmp_path / "scan.h5", large)
    source = opened(path, rows=8)
    with pytest.raises(PlanError, match="of all chunks together.*of smaller chunks") as refused:
        source.usid.save(lazily(source, strengths_times), "Made", memory="1 MB", workers=2)
    told = re.search(r"memory='([^']+)'", str(refused.value))
    rows = opened(path, rows=1)  # 64 positions, a quarter of the spectroscopic values
    with pytest.raises(PlanError, match="or make it of larger chunks"):
        rows.usid.save(lazily(rows, strengths_times), "Made", memory="1 MB", workers=2)
    assert told is not None
    memory = parse_memory(told[1])
    assert memory is not None

    def run(name: str) -> None:
        lazy = lazily(source, strengths_times)
        source.usid.save(lazy, name, memory=memory, workers=2, progress=False)

    apart = traced(lambda: run("Apart"))
    assert apart < 1.2 * memory
    # all in one graph, in which all factors are kept
    monkeypatch.setattr("usidx.process.running.runner.common_of", lambda *_: None)
    assert traced(lambda: run("Joined")) > apart + large.nbytes / 2


def tasks_of(array: da.Array) -> tuple[dict[Any, Any], list[Any]]:
    keys = [key for row in array.__dask_keys__() for key in row]
    return dict(convert_legacy_graph(array.dask.cull(set(keys)).to_dict())), keys


def test_what_was_made_of_all_blocks_is_kept_and_their_factors_are_not() -> None:
    matrix = da.from_array(np.random.default_rng(0).random((150, 10)), chunks=(15, 10))
    graph, keys = tasks_of(da.linalg.qr(matrix)[0])
    kept = ends_of(graph, [[key] for key in keys])
    (stacked,) = kept
    assert stacked[0].endswith("q2-aux")
    # a block reads its own chunk alone, now that this is known
    own = needed_by(graph, [keys[3]], {stacked})
    assert sum(isinstance(getattr(node, "value", None), np.ndarray) for node in own.values()) == 1


def test_a_decomposition_of_what_is_in_memory_is_not_made_for_each_block(
    scan: str, truth: xr.DataArray
) -> None:
    source, other = opened(scan), truth.chunk({"Y": 8})
    plan = bind_result(lazily(other, orthogonal), source, "Q", {}, memory=6_000_000)
    assert plan.outputs[0].count > 4
    assert not plan.apart
    assert course_of(plan, 2) is not None


def test_random_numbers_with_a_state_are_not_made_again() -> None:
    state = np.random.default_rng(0)

    def noise(block_id: tuple[int, int]) -> np.ndarray:
        return state.normal(size=(40, 10))

    matrix = da.map_blocks(noise, chunks=((40,) * 10, (10,)), dtype="f8", meta=np.zeros((0, 0)))
    graph, keys = tasks_of(da.linalg.qr(matrix)[0])
    # all that is made of them is kept, so that there is nothing to do again
    assert ends_of(graph, [[key] for key in keys]) == ()


def test_maps_that_are_transformed_are_not_made_again() -> None:
    maps = da.from_array(np.zeros((40, 10)), chunks=(40, 1))
    blocks = maps.map_blocks(np.fft.fft, axis=0, dtype=complex).rechunk((4, 10))
    graph, keys = tasks_of(blocks)
    assert ends_of(graph, [[key] for key in keys]) == ()


@pytest.mark.parametrize("shape", [(400, 10), (40, 40)])
def test_sizes_of_factors(shape: tuple[int, int]) -> None:
    matrix = da.from_array(np.ones(shape, "f4"), chunks=(20, shape[1]))
    for made in (*da.linalg.qr(matrix), *da.linalg.svd(matrix, coerce_signs=False)):
        graph = dict(convert_legacy_graph(dict(made.dask)))
        sizes = values_in(graph, made.dask.layers)
        keys = [key for key in graph if sizes[key].nbytes]
        found = dict(zip(keys, dask.get(graph, keys), strict=True))
        for key, value in found.items():
            parts = value if isinstance(value, tuple) else (value,)
            assert sizes[key].nbytes == sum(each.nbytes for each in parts), key


def test_tasks_at_once_take_more_than_one_after_the_other() -> None:
    matrix = da.from_array(np.ones((400, 10)), chunks=(40, 10))
    graph, _ = tasks_of(da.linalg.qr(matrix)[0])
    values = values_in(graph, da.linalg.qr(matrix)[0].dask.layers)
    one, four = (peak_of(graph, values, (), workers) for workers in (1, 4))
    assert one < four
    assert peak_of(graph, {key: Value() for key in graph}, (), 1) == 0


def test_a_value_stays_until_the_last_task_that_needs_it_is_done() -> None:
    ones = da.ones((40,), chunks=10, dtype="f8")
    graph = dict(convert_legacy_graph(dict(ones.dask)))
    values = {key: Value((10,), 8) for key in graph}
    assert peak_of(graph, values, (), 1) == 80
    assert peak_of(graph, values, (), 3) == 240
    assert peak_of(graph, values, list(graph), 1) == 320
    described = {"a": (int,), "b": (int,), "c": (max, "a", "b"), "d": (abs, "c")}
    tasks = dict(convert_legacy_graph(described))
    sizes = {key: Value((10,), 8) for key in tasks}
    # c and d are one task for dask, in which a and b stay
    assert peak_of(tasks, sizes, ["d"], 1) == 4 * 80


def test_no_course_is_known_of_what_factorises_nothing(scan: str) -> None:
    source = opened(scan)
    less = source - source.mean(["Y", "X"])
    assert course_of(bind_result(less, source, "Less", {}), 2) is None
    course = course_of(
        bind_result(lazily(source, orthogonal), source, "Q", {}, memory=6_000_000), 2
    )
    assert course is not None
    # what is made of the factors of all blocks, the least of which are 16 of 64 x 64 values
    assert 0 < course.kept < source.nbytes / 4
    # two blocks at once, which are factorised as float64: one of them is there five times
    assert course.before > 2 * 2 * 5 * source.nbytes / 16
