"""What goes wrong on clusters: the run ends right, or says what to do, and goes on later."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, protocol

import usidx
from usidx.errors import ClusterError, OptionError, StepError
from usidx.process.running.cluster import PATIENCE, Cluster
from usidx.step import step

ROOT = pathlib.Path(usidx.__file__).parents[1]
SMALL = {"memory": "9 kB"}  # blocks of one row


@pytest.fixture
def source(hdf5_path: str) -> xr.DataArray:
    """The source of one store: what differs between stores is tested elsewhere."""
    opened = usidx.open(hdf5_path, chunks={"Y": 1})
    assert isinstance(opened, xr.DataArray)
    return opened


@step("Slow_Square", version="1", per_position=True)
def slow_square(spectra: xr.DataArray, *, log: str = "", seconds: float = 0.1) -> xr.DataArray:
    """Spectra squared, slowly; the log gets how many."""

    def squared(block: np.ndarray) -> np.ndarray:
        if block.size:
            time.sleep(seconds)
            if log:
                with open(log, "a") as file:
                    file.write(f"{block.size // block.shape[-1]}\n")
        return block**2

    return spectra.usid.map(squared, over="Frequency", output="Frequency", dtype="f4")


@contextlib.contextmanager
def local(**options: Any) -> Iterator[Any]:
    """A client of a cluster of processes on this machine."""
    given = {"threads_per_worker": 1, "memory_limit": "2GB", **options}
    with (
        LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", **given) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def program(*words: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A dask program in a process of its own."""
    started = subprocess.Popen(
        [*before, sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def scheduler(folder: pathlib.Path) -> contextlib.AbstractContextManager[Any]:
    """A scheduler that says in a file where it is."""
    return program(
        "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(folder / "scheduler.json"),
    )  # fmt: skip


def worker(
    folder: pathlib.Path, before: tuple[str, ...] = ()
) -> contextlib.AbstractContextManager[Any]:
    """A worker without anybody who starts it anew."""
    return program(
        "dask_worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--scheduler-file",
        str(folder / "scheduler.json"), "--local-directory", str(folder), before=before,
    )  # fmt: skip


def wait_for(folder: pathlib.Path) -> str:
    """The path of the file that says where the scheduler is."""
    path = folder / "scheduler.json"
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text().rstrip().endswith("}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return str(path)


def test_a_killed_worker_costs_nothing(source: xr.DataArray, truth: xr.DataArray) -> None:
    killed: list[int] = []

    def kill_one(block: Any) -> None:
        if not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with local(n_workers=2) as client:
        result = source.usid.process(slow_square).run(client=client, on_block=kill_one, **SMALL)
    assert killed
    assert result.status == "complete"
    np.testing.assert_array_equal(result.open(), truth**2)


def test_memory_that_is_too_small_is_told(source: xr.DataArray) -> None:
    def greedy(block: np.ndarray) -> np.ndarray:
        if block.size:
            held = np.ones(2**27)  # 1 GiB
            time.sleep(30 + held[0])
        return block.max(-1)

    @step("Greedy", version="1", per_position=True)
    def made(spectra: xr.DataArray) -> xr.DataArray:
        return spectra.usid.map(greedy, over="Frequency", dtype="f4")

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local(n_workers=1, memory_limit="600MB") as client,
        pytest.raises(StepError) as caught,
    ):
        source.usid.process(made).run(client=client, **SMALL)
    told = str(caught.value)
    assert re.search(r"while they computed Y\[\d+:\d+\]", told)
    assert "(a block takes about " in told
    assert "they were over their memory limit of 0.6 GB: give run(memory=...)" in told
    assert "most often" not in told


def test_workers_that_never_come_are_not_waited_for_forever(source: xr.DataArray) -> None:
    with dask.config.set({PATIENCE: "0.5 s"}), local(n_workers=0) as client:
        address = client.scheduler.address
        with pytest.raises(ClusterError) as caught:
            source.usid.process(slow_square).run(client=client)
        assert f"no worker was there for 0.5 s at the scheduler {address}" in str(caught.value)
        assert "'usidx.workers-timeout': '10 min'" in str(caught.value)
    assert len(source.usid.results()) == 0
    with (
        dask.config.set({PATIENCE: "0.5 s"}),
        pytest.raises(ClusterError, match=r"no scheduler answers at 'tcp://127\.0\.0\.1:9'"),
    ):
        source.usid.process(slow_square).run(client="tcp://127.0.0.1:9")
    with pytest.raises(OptionError, match="is no address of a scheduler"):
        source.usid.process(slow_square).run(client="nonsense://")
    with pytest.raises(OptionError, match="client=7 is no distributed.Client"):
        source.usid.process(slow_square).run(client=7)


def test_a_scheduler_that_dies_leaves_what_was_done(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"
    process = source.usid.process(slow_square, log=str(log))
    with scheduler(tmp_path) as running, worker(tmp_path):
        address = wait_for(tmp_path)

        def kill(block: Any) -> None:
            if block.done >= 60:
                running.kill()

        with pytest.raises(ClusterError, match=r"the scheduler tcp://127\.0\.0\.1:\d+ went away"):
            process.run(client=address, on_block=kill, **SMALL)
    (partial,) = source.usid.results()
    assert partial.status == "partial"
    marked = partial.done
    assert 60 <= marked < 320
    log.write_text("")
    with local(n_workers=1) as client:
        resumed = partial.resume(slow_square, client=client, **SMALL)
    assert sum(map(int, log.read_text().split())) == 320 - marked
    np.testing.assert_array_equal(resumed.open(), truth**2)


def test_workers_that_do_not_come_back(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    with scheduler(tmp_path), worker(tmp_path) as only:
        address = wait_for(tmp_path)

        def kill(block: Any) -> None:
            only.kill()
            dask.config.set({PATIENCE: "1 s"})

        try:
            with pytest.raises(ClusterError, match="no worker was there for 1 s at the scheduler"):
                source.usid.process(slow_square).run(client=address, on_block=kill, **SMALL)
        finally:
            dask.config.set({PATIENCE: "60 s"})
    (partial,) = source.usid.results()
    assert 0 < partial.done < 320
    np.testing.assert_array_equal(partial.resume(slow_square).open(), truth**2)


def test_what_is_stopped_by_hand_writes_no_more(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path
) -> None:
    log = tmp_path / "log"

    def stop(block: Any) -> None:
        raise KeyboardInterrupt

    process = source.usid.process(slow_square, log=str(log), seconds=0.3)
    with local(n_workers=2) as client:
        with pytest.raises(KeyboardInterrupt, match="is done and kept in"):
            process.run(client=client, on_block=stop, **SMALL)
        (partial,) = source.usid.results()
        # blocks that had begun came to their end, and those that waited never began
        marked, begun = partial.done, sum(map(int, log.read_text().split()))
        assert 0 < marked < 200
        assert marked == begun
        time.sleep(1)
        assert partial.done == marked
        assert sum(map(int, log.read_text().split())) == begun
        resumed = process.run(client=client, **SMALL)
    assert resumed == partial
    np.testing.assert_array_equal(resumed.open(), truth**2)


def test_a_worker_that_does_not_see_the_file(
    source: xr.DataArray, hdf5_path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')
    folder = os.path.dirname(hdf5_path)
    if shutil.which("unshare") is None or subprocess.run([*hide, folder, "true"]).returncode:
        pytest.skip("only root can start a process that does not see a folder, by unshare")
    elsewhere = tmp_path_factory.mktemp("cluster")
    with scheduler(elsewhere), worker(elsewhere, before=(*hide, folder)):
        address = wait_for(elsewhere)
        with pytest.raises(ClusterError) as caught:
            source.usid.process(slow_square).run(client=address)
    assert f"cannot compute: it does not see {hdf5_path!r}" in str(caught.value)
    assert "the worker on '" in str(caught.value)


def test_an_address_is_enough(
    source: xr.DataArray, truth: xr.DataArray, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    used: list[Any] = []
    wait_for_workers = Cluster.wait_for_workers

    def noted(cluster: Cluster) -> None:
        used.append(cluster.client)
        wait_for_workers(cluster)

    monkeypatch.setattr(Cluster, "wait_for_workers", noted)
    process = source.usid.process(slow_square, seconds=0.0)
    with local(n_workers=1) as client:
        address = client.scheduler.address
        for given in (address, address.removeprefix("tcp://"), client.cluster):
            result = process.run(client=given, fresh=True, **SMALL)
            assert result.status == "complete"
            assert used[-1] is not client
            assert used[-1].status == "closed"
        assert process.estimate(client=address).blocks >= 1
        assert client.status == "running"
    np.testing.assert_array_equal(result.open(), truth**2)


def test_little_goes_over_the_wire(source: xr.DataArray, monkeypatch: Any) -> None:
    sent: list[int] = []
    with local(n_workers=1) as client:
        send = client._send_to_scheduler

        def counted(message: Any) -> None:
            sent.append(sum(map(len, protocol.dumps(message))))
            send(message)

        monkeypatch.setattr(client, "_send_to_scheduler", counted)
        source.usid.process(slow_square, seconds=0.0).run(client=client, memory="1 kB")
    # 320 blocks of one position, and 64 kB for what they have in common and dask's own messages
    assert sum(sent) < 64_000 + 320 * 1000
