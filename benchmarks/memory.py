"""Run within a limit of memory that the operating system holds, usidx and its peers side by side.

    python benchmarks/memory.py --folder /dev/shm              # 1 GiB in 256 MiB, and in 600 MiB
    python benchmarks/memory.py --limits 128 --who usidx --works limited limited-cluster
    python benchmarks/memory.py --small                        # does it run at all, and right

Every contestant does its work in a process of its own, after it has done it with a small file. From
then on the system refuses each of its processes more private memory beyond that than the limit, and
64 MiB for the stacks of threads, which it counts whether they are used or not (RLIMIT_DATA, which
children inherit; each worker of a cluster has a limit of its own). Those who can be told the limit
are told: usidx by `memory=`, pyUSID by `max_mem_mb`, xarray by smaller chunks.

Before is what all processes held then, with their libraries; what is taken is how far their peak
goes beyond it. Both are sampled from outside and resident: mapped pages count, and shared memory,
which the limit leaves out. usidx says beforehand what it will take, by `estimate()`, for each
process that computes; the peak must stay under 1.2 times what was held before and that together.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import tempfile
from typing import Any

from rounds import CONTESTANTS, race
from source import make_file

WORKS = {
    "limited": "low-pass",
    "limited-joint": "less the mean over the map",
    "limited-overlap": "maps smoothed, by blocks that overlap",
    "limited-cluster": "low-pass on a LocalCluster",
    "limited-overlap-cluster": "maps smoothed on a LocalCluster",
}
LIMIT = 1.2  # times the estimate
DEFAULT = (256, 600)
TOO_LARGE = "limited-overlap-cluster"  # for 64 MiB, of which its libraries take most


def verdict(report: dict[str, Any], workers: int) -> str:
    """How it went, in words; "within" where usidx took no more than it had said."""
    if "failed" in report:
        return str(report["failed"])
    if report["wrong"]:
        return f"wrong: {report['wrong']}"
    if report["estimate"]:
        promised = LIMIT * (report["before_mib"] + workers * report["estimate"] / 2**20)
        return "within" if report["peak_mib"] <= promised else f"OVER {promised:.0f} MiB"
    taken = report["peak_mib"] - report["before_mib"]
    return "more than the limit, in shared memory" if taken > 1.2 * report["limit"] else ""


def line(report: dict[str, Any], workers: int) -> str:
    """One line of the table."""
    told = verdict(report, workers)
    if "failed" in report:
        return f"{report['who']:14}{told}"
    before, taken = report["before_mib"], report["peak_mib"] - report["before_mib"]
    cells = f"{report['seconds']:8.2f}{before:8.0f}{taken:8.0f}"
    if report["estimate"]:
        estimate = workers * report["estimate"] / 2**20
        cells += f"{estimate:10.0f}{report['peak_mib'] / (before + estimate):8.2f}"
    else:
        cells += f"{'-':>10}{'-':>8}"
    return f"{report['who']:14}{cells}  {told}".rstrip()


def main() -> None:
    """Run everybody, print the tables; end with an error where usidx takes more than it said."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [each.name for each in CONTESTANTS]
    parser.add_argument("--mib", type=int, default=1024, help="size of the Main")
    parser.add_argument("--limits", type=int, nargs="+", default=list(DEFAULT), help="MiB")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--who", nargs="+", choices=names, default=names)
    parser.add_argument("--small", action="store_true", help="256 MiB in 64 MiB")
    parser.add_argument("--json", type=pathlib.Path, help="write all reports there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    asked = parser.parse_args()
    mib, limits = (256, [64]) if asked.small else (asked.mib, asked.limits)
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = pathlib.Path(folder) / "source.h5"
        make_file(path, mib)
        make_file(pathlib.Path(f"{path}.warm"), 1)
        for limit in limits:
            for work, title in WORKS.items():
                if work not in asked.works or (asked.small and work == TOO_LARGE):
                    continue
                workers = asked.threads if work.endswith("cluster") else 1
                print(f"{title} of {mib} MiB in {limit} MiB, {asked.threads} threads, MiB")
                print(f"{'':14}{'s':>8}{'before':>8}{'taken':>8}{'estimate':>10}{'share':>8}")
                for each in CONTESTANTS:
                    if each.python and each.name in asked.who and each.does(work):
                        found = race(each, work, path, asked.threads, memory=limit * 2**20)
                        reports.append({"who": each.name, "work": work, "limit": limit, **found})
                        print(line(reports[-1], workers), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"threads": asked.threads, "runs": reports}, indent=1))
    for each in reports:
        ours = each["who"].startswith("usidx")
        told = verdict(each, asked.threads if each["work"].endswith("cluster") else 1)
        if ours and told != "within":
            raise SystemExit(f"{each['who']} at {each['work']} in {each['limit']} MiB: {told}")


if __name__ == "__main__":
    main()
