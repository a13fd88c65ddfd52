"""Attack the writing of results at length: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from tests.chaos import crash


def main() -> int:
    """Run what is asked for; 0 where nothing was found, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--points", type=int, help="points to try in each mode; all by default")
    known = {**crash.MODES, **crash.BAD_MODES}
    parser.add_argument(
        "--mode",
        action="append",
        choices=sorted(known),
        help="only these; 'stock' (plain h5py) and 'zarr-hurried' are not safe",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of points")
    parser.add_argument("--folder", help="where to work; memory by default, where there is one")
    asked = parser.parse_args()
    if not crash.is_preloaded():
        return _again_with_shim(sys.argv[1:])
    bad = 0
    shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=asked.folder or shared_memory) as folder:
        for name in asked.mode or crash.MODES:
            start = time.monotonic()
            tally = crash.attack(known[name], folder, most=asked.points, seed=asked.seed)
            bad += len(tally.bad)
            told = {"mode": name, "points": tally.points, "tried": tally.tried, "bad": tally.bad}
            told["seed"] = asked.seed
            told["seconds"] = round(time.monotonic() - start, 1)
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    return 1 if bad else 0


def _again_with_shim(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LD_PRELOAD": crash.build_shim(folder)}
        command = [sys.executable, "-m", "tests.chaos", *arguments]
        return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
