"""One writer at a time, among processes and threads, with the kernel's locks and without."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.children import in_child
from usidx.errors import ReadOnlyStoreError, StoreLockedError, StoreNotFoundError
from usidx.stores import disk
from usidx.stores.lock import StoreLock, held, holder_of, refuse_runs, run_lock, store_lock

AS_NOBODY = 65534

HOLD = """
import sys, time
from usidx.stores import disk
from usidx.stores.lock import store_lock
disk.KERNEL_LOCKS = {kernel}
lock = store_lock({store!r}, "measuring the tide")
lock.acquire(5)
lock.note(size=4096)
sys.stdout.write("held\\n"); sys.stdout.flush()
time.sleep(60)
"""


@pytest.fixture(params=[True, False], ids=["kernel", "portable"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there are kernel locks."""
    if request.param and not disk.KERNEL_LOCKS:
        pytest.skip("this system has no flock")
    monkeypatch.setattr(disk, "KERNEL_LOCKS", request.param)
    return bool(request.param)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> str:
    """A path beside which lock files lie."""
    return str(tmp_path / "scan.h5")


@pytest.fixture
def other(store: str, kernel: bool) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of the store."""
    program = HOLD.format(kernel=kernel, store=store)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_lock_file_is_there_while_it_is_held(store: str) -> None:
    lock = store_lock(store, "measuring")
    with lock:
        assert os.path.exists(store + ".usidx-lock")
        holder = holder_of(lock.path)
        assert holder is not None
        assert (holder.pid, holder.what, holder.token) == (os.getpid(), "measuring", lock.token)
    assert lock.token == ""
    assert os.listdir(os.path.dirname(store)) == []


def test_another_process_is_named(store: str, other: subprocess.Popen[str]) -> None:
    start = time.monotonic()
    with pytest.raises(StoreLockedError, match=rf"process {other.pid} \(measuring the tide"):
        store_lock(store).acquire(timeout=0.1)
    assert 0.1 <= time.monotonic() - start < 5


def test_it_is_got_when_the_other_lets_go(store: str) -> None:
    first = store_lock(store)
    first.acquire(0)
    threading.Timer(0.1, first.release).start()
    with held(store_lock(store), 10):
        assert first.token == ""


def test_a_killed_holder_locks_nobody_out(store: str, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    with held(store_lock(store), 5) as lock:
        assert lock.left is not None
        assert (lock.left.pid, lock.left.facts) == (other.pid, {"size": 4096})
    with held(store_lock(store), 0) as lock:
        assert lock.left is None
    assert os.listdir(os.path.dirname(store)) == []


def test_threads_exclude_each_other(store: str) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with held(store_lock(store), 30):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_processes_exclude_each_other(store: str, tmp_path: pathlib.Path, kernel: bool) -> None:
    """Each adds to a number that is read and written without any other care."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    program = f"""
from usidx.stores import disk
from usidx.stores.lock import held, store_lock
disk.KERNEL_LOCKS = {kernel}
for _ in range(40):
    with held(store_lock({store!r}), 60):
        number = int(open({str(counter)!r}).read())
        open({str(counter)!r}, "w").write(str(number + 1))
"""
    processes = [subprocess.Popen([sys.executable, "-Wi", "-c", program]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "160"


def test_a_forked_child_does_not_let_go_of_its_parents_lock(store: str) -> None:
    with held(store_lock(store), 0) as lock:
        assert in_child(lock.release).trouble == ""
        with pytest.raises(StoreLockedError, match="this process"):
            store_lock(store).acquire(0)
        assert os.path.exists(lock.path)


def test_one_object_is_not_locked_twice(store: str) -> None:
    with held(store_lock(store), 0) as lock, pytest.raises(StoreLockedError, match="already"):
        lock.acquire(0)


def test_the_store_behind_a_link_has_one_lock(store: str, tmp_path: pathlib.Path) -> None:
    pathlib.Path(store).touch()
    link = tmp_path / "link.h5"
    link.symlink_to(store)
    with held(store_lock(store), 0), pytest.raises(StoreLockedError):
        store_lock(str(link)).acquire(0)


def test_a_folder_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreNotFoundError, match="there is no folder"):
        store_lock(str(tmp_path / "nowhere" / "scan.h5")).acquire(0)


@pytest.fixture
def shared_folder() -> Iterator[pathlib.Path]:
    """A folder that other users can reach; the one of pytest they cannot."""
    if os.name == "nt" or os.getuid() != 0:
        pytest.skip("needs to become another user")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        if any(not each.stat().st_mode & 0o001 for each in path.parents):
            pytest.skip(f"other users cannot reach {folder}")
        yield path


def test_a_folder_that_cannot_be_written(shared_folder: pathlib.Path) -> None:
    shared_folder.chmod(0o755)

    def work() -> str:
        os.setuid(AS_NOBODY)
        with pytest.raises(ReadOnlyStoreError, match="cannot be written: no lock"):
            store_lock(str(shared_folder / "scan.h5")).acquire(5)
        return "refused"

    assert in_child(work).result == "refused"


def test_what_another_user_left_is_cleared(shared_folder: pathlib.Path) -> None:
    shared_folder.chmod(0o777)
    store = str(shared_folder / "scan.h5")
    left = leave(store)
    left.chmod(0o644)

    def work() -> str:
        os.setuid(AS_NOBODY)
        with held(store_lock(store), 5):
            return "held"

    assert in_child(work).result == "held"


def test_a_full_disk_does_not_keep_anybody_out(
    store: str, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    if not kernel:
        pytest.skip("without kernel locks the name in the file is the lock")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "write_at", full)
    with held(store_lock(store), 0), pytest.raises(StoreLockedError, match="by another process"):
        store_lock(store).acquire(0)


def leave(store: str, **changes: object) -> pathlib.Path:
    """A lock file as a crash leaves it."""
    left = pathlib.Path(store + ".usidx-lock")
    gone = in_child(os.getpid).result
    holder = {"pid": gone, "host": os.uname().nodename, "what": "", "since": "", "token": "x"}
    left.write_text(json.dumps(holder | changes))
    return left


class TestWithoutKernelLocks:
    @pytest.fixture(autouse=True)
    def _portable_only(self, kernel: bool) -> None:
        if kernel:
            pytest.skip("is about the other way")

    def test_of_another_machine_nothing_is_known(self, store: str) -> None:
        left = leave(store, host="far-away")
        with pytest.raises(StoreLockedError, match="on 'far-away'"):
            store_lock(store).acquire(0.1)
        assert left.exists()

    def test_a_process_that_lives_keeps_its_lock(self, store: str) -> None:
        leave(store, pid=os.getppid())
        with pytest.raises(StoreLockedError, match=f"process {os.getppid()}"):
            store_lock(store).acquire(0.1)

    def test_a_file_being_written_is_left_alone_for_a_while(self, store: str) -> None:
        left = pathlib.Path(store + ".usidx-lock")
        left.touch()
        with pytest.raises(StoreLockedError, match="by another process"):
            store_lock(store).acquire(0.1)
        os.utime(left, (time.time() - 60,) * 2)
        with held(store_lock(store), 1):
            pass

    def test_a_crash_while_taking_over_is_overcome(self, store: str) -> None:
        left = leave(store)
        guard = pathlib.Path(f"{left}-taking")
        guard.touch()
        with pytest.raises(StoreLockedError):
            store_lock(store).acquire(0.1)
        os.utime(guard, (time.time() - 60,) * 2)
        with held(store_lock(store), 1):
            pass
        assert not guard.exists()


def test_runs_are_found_and_swept(store: str) -> None:
    left = run_lock(store, "/M/Raw_Data-Fit_000")
    pid = in_child(lambda: _acquire_and_die(left)).result
    assert pid is None
    assert os.path.exists(left.path)
    refuse_runs(store)  # its process is gone, and so is the file now
    assert not os.path.exists(left.path)
    with (
        held(run_lock(store, "/M/Raw_Data-Fit_001", "fitting"), 0),
        pytest.raises(StoreLockedError, match=r"being written into .* by this process \(fitting"),
    ):
        refuse_runs(store)


def _acquire_and_die(lock: StoreLock) -> None:
    lock.acquire(0)
    os.kill(os.getpid(), signal.SIGKILL)
