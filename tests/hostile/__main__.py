"""Damage files at length, and see what becomes of them: `python -m tests.hostile --help`."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from tests.hostile import fuzz

SAMPLES = pathlib.Path(__file__).resolve().parents[3] / "shared" / "samples" / "h5usid"


def main() -> int:
    """Run what is asked for; 0 where nothing bad was seen, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("fuzz", help="flip bits and cut files short")
    asked.add_argument("--flips", type=int, default=1500, help="how many files with flipped bits")
    asked.add_argument("--cuts", type=int, default=500, help="how many files that were cut short")
    asked.add_argument("--seed", type=int, default=0, help="of the choice of places")
    asked.add_argument("--samples", default=str(SAMPLES), help="folder of real files, if any")
    asked.add_argument("--keep", help="folder in which bad cases are kept")
    given = parser.parse_args()
    folder = pathlib.Path(given.samples)
    bad = 0
    for name, tally, seconds in fuzz.run(
        n_flips=given.flips,
        n_cuts=given.cuts,
        seed=given.seed,
        samples=folder if folder.is_dir() else None,
        keep=given.keep,
    ):
        bad += len(tally.bad)
        told = {
            "done": name,
            "opened": dict(tally.opened),
            "opened, with checksums": dict(tally.opened_checked),
            "validated": dict(tally.validated),
            "bad": tally.bad,
            "seed": given.seed,
            "seconds": round(seconds, 1),
        }
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
