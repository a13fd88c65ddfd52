"""A cluster of SLURM jobs, as a YAML file describes it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from usidx.errors import ClusterError, MissingDependencyError, OptionError, did_you_mean

# What a file may say: its kind, and what it means.
KEYS: Mapping[str, tuple[type, str]] = {
    "cores": (int, "cores of a job: so many blocks are computed in it at once"),
    "memory": (str, 'memory of a job, such as "16GB"'),
    "jobs": (int, "how many jobs; 1 when left out"),
    "queue": (str, "partition"),
    "account": (str, "account to be charged"),
    "walltime": (str, 'time limit of a job, such as "01:00:00"'),
    "processes": (int, "processes that a job's cores and memory are shared out to"),
    "interface": (str, "network interface that all machines reach, such as ib0"),
    "local_directory": (str, "folder on each machine for what does not fit into memory"),
    "log_directory": (str, "folder for what jobs print"),
    "python": (str, "Python of the jobs; the one that runs this when left out"),
    "directives": (list, "further lines for sbatch, such as --constraint=ssd"),
    "prologue": (list, "lines of shell to run before Python, such as module load hdf5"),
    "dashboard": (str, 'address of dask\'s web page; "127.0.0.1:0" when left out'),
}
NEEDED = ("cores", "memory")
_ELSEWHERE = {
    "jobs": None,
    "dashboard": None,
    "directives": "job_extra_directives",
    "prologue": "job_script_prologue",
}


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a YAML file says about jobs, checked.

    Raises
    ------
    OptionError : naming everything in it that is wrong, and what may stand there
    """
    import yaml

    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as file:
            told = yaml.safe_load(file)
    except OSError as error:
        raise OptionError(
            f"the SLURM settings {name!r} cannot be read ({error.strerror})"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"the SLURM settings {name!r} are no YAML: {error}") from error
    wrong = _faults(told)
    if wrong:
        known = "; ".join(f"{key}: {meaning}" for key, (_, meaning) in KEYS.items())
        raise OptionError(f"the SLURM settings {name!r}: {'; '.join(wrong)}. Known are {known}")
    return dict(told)


def _faults(told: Any) -> list[str]:
    if not isinstance(told, dict):
        return [f"found {type(told).__name__}, expected lines such as 'cores: 4'"]
    wrong = []
    for key, value in told.items():
        if key not in KEYS:
            wrong.append(f"{key!r} is not known{did_you_mean(str(key), KEYS)}")
            continue
        kind = KEYS[key][0]
        if isinstance(value, bool) or not isinstance(value, kind):
            wrong.append(f"{key!r} is {value!r}, expected {_KINDS[kind]}")
        elif isinstance(value, int) and value < 1:
            wrong.append(f"{key!r} is {value}, expected 1 or more")
    wrong += [f"{key!r} is missing" for key in NEEDED if key not in told]
    return wrong


_KINDS = {int: "a whole number", str: 'text (in quotes: "01:00:00")', list: "a list of lines"}


@contextlib.contextmanager
def slurm_cluster(settings: Mapping[str, Any], jobs: int | None = None) -> Iterator[Any]:
    """A `dask_jobqueue.SLURMCluster` whose jobs end with the context.

    Parameters
    ----------
    settings : as `read_settings` gives them
    jobs : how many; as the settings say when None

    Raises
    ------
    MissingDependencyError : without dask-jobqueue
    ClusterError : where no job can be submitted
    """
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise _missing("dask-jobqueue", error) from error
    given = {
        name: value
        for key, value in settings.items()
        if (name := _ELSEWHERE.get(key, key)) is not None
    }
    dashboard = str(settings.get("dashboard", "127.0.0.1:0"))
    count = jobs or settings.get("jobs", 1)
    try:
        cluster = SLURMCluster(
            **given,
            scheduler_options={"dashboard_address": dashboard},
            worker_extra_args=["--no-dashboard"],
        )
    except (OSError, ValueError) as error:
        raise ClusterError(f"SLURM jobs cannot be described: {error}") from error
    try:
        cluster.sync(_submit, cluster, count)
    except (OSError, RuntimeError, ValueError) as error:
        # it insists that each job was begun
        with contextlib.suppress(AssertionError):
            cluster.close()
        raise ClusterError(
            f"no SLURM job can be submitted: {error}; look whether sbatch works on this machine"
        ) from error
    with cluster:
        yield cluster


async def _submit(cluster: Any, count: int) -> None:
    """Have sbatch take the jobs; what it says against them is raised."""
    cluster.scale(jobs=count)
    await cluster


def _missing(package: str, error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        f"SLURM jobs need {package}, which is not installed ({error}); pip install 'usidx[slurm]'"
    )
