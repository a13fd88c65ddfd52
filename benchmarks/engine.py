"""Time usidx and its peers against the floor of bare NumPy, side by side; print ratios.

    python benchmarks/engine.py                        # 1 GiB, three rounds, all who are there
    python benchmarks/engine.py --folder /dev/shm --json engine.json --markdown engine.md
    python benchmarks/engine.py --works low-pass map --who floor usidx --rounds 5
    python benchmarks/engine.py --small                # does it run at all, and right

Every contestant does each piece of work in a process of its own, one after the other, round after
round, so that what else the machine does falls on all of them. A ratio is that of one round to the
floor of the same round, and the median of the rounds counts. Where a machine is shared, CPU time
tells more than wall time: it leaves out the time in which others had the processors. An answer is
compared with NumPy's before its time counts. Memory is the peak of what all processes of a
contestant hold together, libraries and pages of mapped files included, sampled from outside.

README.md beside this file says how to make the environments of the peers. Those that are not there
are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import tempfile
from typing import Any

from rounds import CONTESTANTS, Rounds, race, ratio, trouble
from source import make_file

WORKS = {
    "open": "open, whatever is read for it",
    "open-labelled": "open with labels, made sure of",
    "map": "one map",
    "spectrum": "one spectrum",
    "lazy-mean": "mean of all spectra, in memory",
    "stored-mean": "mean of all spectra, stored",
    "compressed-lazy-mean": "mean of all spectra, compressed",
    "low-pass": "low-pass, stored",
    "low-pass-cluster": "low-pass on a LocalCluster",
    "kernel": "heavy kernel, stored",
}
LIMITS = {
    "low-pass": 1.4,
    "low-pass-cluster": 2.0,
    "kernel": 1.1,
    "lazy-mean": 1.6,
    "map": 4.0,
}
MILLISECONDS = {"spectrum": 2.0}
# Work whose checking would take the most memory.
IN_MILLISECONDS = ("open", "open-labelled", "map", "spectrum")
COMPRESSED = 4  # the compressed source is smaller by this


def missing() -> list[str]:
    """Why some contestants are not there."""
    wanted = {each.environment: "" for each in CONTESTANTS if not each.python}
    for each in CONTESTANTS:
        if not each.python:
            wanted[each.environment] += f" {each.name}"
    return [f"left out, as {name} is not set:{who}" for name, who in wanted.items()]


def compete(asked: argparse.Namespace, folder: pathlib.Path) -> dict[str, Rounds]:
    """The reports of all rounds, by work and contestant."""
    mib = 4 if asked.small else asked.mib
    plain, compressed = folder / "source.h5", folder / "compressed.h5"
    make_file(plain, mib)
    make_file(folder / "source.h5.warm", 1)
    if any(work.startswith("compressed") for work in asked.works):
        make_file(compressed, max(1, mib // COMPRESSED), compressed=True)
        make_file(folder / "compressed.h5.warm", 1, compressed=True)
    who = [each for each in CONTESTANTS if each.python and each.name in asked.who]
    runs: dict[str, Rounds] = {work: {} for work in asked.works}
    for _ in range(1 if asked.small else asked.rounds):
        for work, rounds in runs.items():
            path = compressed if work.startswith("compressed") else plain
            for each in who:
                if each.does(work) and not trouble(rounds.get(each.name, ())):
                    report = race(each, work, path, asked.threads)
                    rounds.setdefault(each.name, []).append(report)
                    if asked.verbose:
                        print(work, each.name, report, flush=True)
    return runs


def cells(rounds: Rounds, name: str) -> dict[str, Any]:
    """The figures of one contestant at one piece of work, or "trouble" that it had."""
    each = rounds[name]
    if trouble(each):
        return {"trouble": trouble(each)}
    return {
        "ms": 1e3 * statistics.median(one["seconds"] for one in each),
        "cpu_ms": 1e3 * statistics.median(one["cpu"] for one in each),
        "wall": ratio(rounds, name, "seconds"),
        "cpu": ratio(rounds, name, "cpu"),
        "mib": max(one.get("peak_mib", 0) for one in each),
    }


def over(work: str, found: dict[str, Any]) -> str:
    """By how much usidx is over its limit, in words; nothing where it is not."""
    if "trouble" in found:
        return found["trouble"]
    if work in LIMITS and found["wall"] and found["wall"] > LIMITS[work]:
        return f"OVER {LIMITS[work]}x"
    if work in MILLISECONDS and found["ms"] > MILLISECONDS[work]:
        return f"OVER {MILLISECONDS[work]} ms"
    if work in LIMITS:
        return f"within {LIMITS[work]}x"
    return f"within {MILLISECONDS[work]} ms" if work in MILLISECONDS else ""


def table(runs: dict[str, Rounds], *, limits: bool = True) -> str:
    """One line for each contestant at each piece of work, usidx held to its limits or not."""
    lines = [f"{'work':22}{'':14}{'ms':>11}{'x floor':>9}{'CPU x':>8}{'MiB':>8}  limit"]
    for work, rounds in runs.items():
        for name in rounds:
            found = cells(rounds, name)
            head = f"{work:22}{name:14}"
            if "trouble" in found:
                lines.append(f"{head}{found['trouble']}")
                continue
            ratios = "".join(
                f"{'-' if value is None else f'{value:.2f}':>{width}}"
                for value, width in ((found["wall"], 9), (found["cpu"], 8))
            )
            memory = f"{found['mib']:8.0f}" if work not in IN_MILLISECONDS else f"{'-':>8}"
            told = over(work, found) if name == "usidx" and limits else ""
            lines.append(f"{head}{found['ms']:11.2f}{ratios}{memory}  {told}".rstrip())
    return "\n".join(lines)


def markdown(runs: dict[str, Rounds]) -> str:
    """Three tables, of a column for each contestant: wall time, CPU time, memory."""
    names = [each.name for each in CONTESTANTS if any(each.name in one for one in runs.values())]
    titles = {
        "wall": "Wall time, in multiples of the floor",
        "cpu": "CPU time of all processes, in multiples of the floor",
        "mib": "Peak of memory of all processes together, MiB",
    }
    lines = []
    for what, title in titles.items():
        lines += [f"{title}:", "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for work, rounds in runs.items():
            if what == "mib" and work in IN_MILLISECONDS:
                continue
            row = [cell(rounds, name, work, what) for name in names]
            lines.append(f"| {WORKS[work]} | {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)


def cell(rounds: Rounds, name: str, work: str, what: str) -> str:
    """One figure of a table, in words."""
    found = cells(rounds, name) if name in rounds else {}
    if "trouble" in found or not found:
        return found.get("trouble", "")
    if what == "mib":
        return f"{found['mib']:.0f}"
    seconds = found["ms" if what == "wall" else "cpu_ms"] / 1e3
    short = f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
    told = short if name == "floor" or work in IN_MILLISECONDS else f"{found[what] or 0:.2f}"
    is_over = what == "wall" and name == "usidx" and over(work, found).startswith("OVER")
    limit = LIMITS.get(work) or f"{MILLISECONDS.get(work)} ms"
    return f"**{told}, over {limit}**" if is_over else told


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [each.name for each in CONTESTANTS]
    parser.add_argument("--mib", type=int, default=1024, help="size of the Main")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--who", nargs="+", choices=names, default=names)
    parser.add_argument("--small", action="store_true", help="4 MiB, one round")
    parser.add_argument("--json", type=pathlib.Path, help="write all reports there")
    parser.add_argument("--markdown", type=pathlib.Path, help="write tables there")
    parser.add_argument("--folder", help="where the files go; the default is the temporary folder")
    parser.add_argument("--verbose", action="store_true", help="print each report")
    return parser.parse_args()


def main() -> None:
    """Run the rounds, print the table; end with an error where usidx fails or is wrong."""
    asked = arguments()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        runs = compete(asked, pathlib.Path(folder))
    print(table(runs, limits=not asked.small))  # of 4 MiB the limits say nothing
    for line in missing():
        print(line)
    if asked.json:
        asked.json.write_text(json.dumps({"threads": asked.threads, "runs": runs}, indent=1))
    if asked.markdown:
        asked.markdown.write_text(markdown(runs))
    ours = [trouble(rounds.get("usidx", ())) for rounds in runs.values()]
    if any(ours):
        raise SystemExit("usidx did not do its work")


if __name__ == "__main__":
    main()
