"""A SLURM of this machine alone, in a folder, for as long as a context lasts.

What it needs is installed by hand: apt install slurmctld slurmd slurm-client munge. The daemons
run as root, with keys, sockets, ports and logs of their own; nothing of /etc/slurm is used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
INSTALL = "apt install slurmctld slurmd slurm-client munge"

CONFIGURATION = """\
ClusterName=usidx
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why SLURM cannot be started here; "" where nothing is known against it."""
    absent = [each for each in PROGRAMS if _program(each) is None]
    if absent:
        return f"there is no {', '.join(absent)}: {INSTALL}"
    if os.geteuid() != 0:
        return "slurmd starts jobs as root only"
    if importlib.util.find_spec("dask_jobqueue") is None:
        return "there is no dask-jobqueue: pip install 'usidx[slurm]'"
    return ""


def _program(name: str) -> str | None:
    # where Debian has daemons
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextlib.contextmanager
def slurm(folder: pathlib.Path) -> Iterator[Mapping[str, str]]:
    """A SLURM with one node of 4 CPUs; the environment in which its commands find it.

    Raises
    ------
    RuntimeError : where it does not start, with what its daemons say
    """
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755, parents=True)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = platform.node().split(".")[0]
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(2)))
    environment = {**os.environ, "SLURM_CONF": str(path)}
    munge = folder / "munge"
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge / 'socket'}",
         f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}",
         f"--log-file={munge / 'log'}"],
        ["slurmctld", "-D", "-f", str(path)],
        ["slurmd", "-D", "-f", str(path), "-N", host],
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        for command in commands:
            stack.enter_context(_daemon(command, folder, environment))
            if command[0] == "munged":
                _wait_for((munge / "socket").exists, folder)
        _wait_for(lambda: "idle" in _said(["sinfo", "-h", "-o", "%T"], environment), folder)
        yield environment


@contextlib.contextmanager
def _daemon(
    command: list[str], folder: pathlib.Path, environment: Mapping[str, str]
) -> Iterator[None]:
    program = _program(command[0])
    assert program is not None
    with open(folder / f"{command[0]}.out", "wb") as out:
        process = subprocess.Popen(
            [program, *command[1:]],
            env=environment,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def jobs(environment: Mapping[str, str]) -> list[str]:
    """Numbers of the jobs that run."""
    return _said(["squeue", "-h", "-t", "RUNNING", "-o", "%i"], environment).split()


def cancel(job: str, environment: Mapping[str, str]) -> None:
    """Kill a job."""
    subprocess.run(["scancel", "--signal=KILL", "--full", job], env=environment, check=True)
    subprocess.run(["scancel", job], env=environment, check=True)


def _said(command: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def _wait_for(ready: object, folder: pathlib.Path, seconds: float = 60) -> None:
    assert callable(ready)
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            logs = [*folder.glob("*.out"), *folder.glob("*.log"), *folder.glob("munge/log")]
            said = "\n".join(f"{each.name}: {each.read_text()[-1500:]}" for each in logs)
            raise RuntimeError(f"SLURM did not start within {seconds:g} s\n{said}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
