"""Where no job can be submitted, that is said; real jobs are in tests/slurm."""

from __future__ import annotations

import pytest

from usidx.errors import ClusterError
from usidx.process.running.slurm import slurm_cluster


@pytest.mark.filterwarnings("ignore")  # of dask-jobqueue, on machines with odd networks
def test_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", "/nothing")
    with (
        pytest.raises(ClusterError, match="no SLURM job can be submitted.*'sbatch'"),
        slurm_cluster({"cores": 1, "memory": "1GB", "interface": "lo"}),
    ):
        pass
