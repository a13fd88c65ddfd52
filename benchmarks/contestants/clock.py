"""What every contestant shares: a clock, the job's numbers, and how the times get out.

Runs on pyUSID's old environment too, so: the standard library alone.
"""

import argparse
import contextlib
import json
import resource
import sys
import time

KEEP = 0.1  # share of the lowest frequencies that the low-pass lets through
RAW = "Measurement_000/Channel_000/Raw_Data"


class Clock:
    """Times of named pieces of work, in seconds."""

    def __init__(self):
        self.times = {}

    @contextlib.contextmanager
    def __call__(self, work):
        began = time.perf_counter()
        yield
        self.times[work] = time.perf_counter() - began

    def best(self, work, doing, rounds=5):
        """What `doing` returns, and its fastest time: for work of milliseconds."""
        fastest = []
        for _ in range(rounds):
            began = time.perf_counter()
            done = doing()
            fastest.append(time.perf_counter() - began)
        self.times[work] = min(fastest)
        return done


def arguments():
    """The command line of a contestant: the file to work on, and how many threads it may use."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def report(clock, **answers):
    """Print times, peak memory and answers (numbers to compare) as the last line, in JSON."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    line = {
        "times": clock.times,
        "peak_mib": max(own, children) / 1024,
        "answers": {name: [float(each) for each in values] for name, values in answers.items()},
    }
    sys.stdout.flush()
    print(json.dumps(line))
