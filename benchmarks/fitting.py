"""Time fits of noisy Lorentzians, microseconds of one core per spectrum, side by side.

    python benchmarks/fitting.py                       # 128 and 512 points, all who are there
    python benchmarks/fitting.py --small               # does it run at all, and right
    python benchmarks/fitting.py --threads 1 2 4       # the same fits on several cores
    python benchmarks/fitting.py --functions           # Python functions on NumPy, beside SciPy

Everybody begins at the same parameters and fits the same model, amplitude, center, width and
offset; SciPy by the method that it takes by itself. usidx also guesses where to begin, in lines of
its own. CPU time counts, the fastest of some rounds, the first of which compiles. The centers are
compared with those of SciPy; whoever differs by more than a hundredth of their error in more than
1 of 1000 is wrong and has no time.

xarray is there where usidx is; README.md beside this file says how to name the environments of
HyperSpy and pyUSID.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

NAMES = ("amplitude", "center", "width", "offset")
ENVIRONMENTS = {"HyperSpy": "USIDX_PEERS_PYTHON", "pyUSID": "USIDX_PYUSID_PYTHON"}
OURS = {
    "usidx, Numba": {"compiled": True},
    "usidx, NumPy": {"compiled": False},
    "usidx, function, Numba": {"compiled": True},
    "usidx, function, NumPy": {"compiled": False},
    "usidx, Numba, guessing": {"compiled": True},
    "usidx, NumPy, guessing": {"compiled": False},
}
WHO = (*OURS, "SciPy", "xarray", *ENVIRONMENTS)
SLOW = {"SciPy": 1024, "xarray": 256, "HyperSpy": 128, "pyUSID": 256}  # spectra, of those there are


def lorentz(x: Any, amplitude: Any, center: Any, width: Any, offset: Any) -> Any:
    """The model of everybody."""
    return amplitude / (1 + (2 * (x - center) / width) ** 2) + offset


def decaying(x: Any, a: Any = 2.0, t: Any = 3.0, o: Any = 0.5) -> Any:
    return a * np.exp(-x / t) + o


def rising(x: Any, a: Any = 2.0, c: Any = 5.0, w: Any = 1.0, o: Any = 0.5) -> Any:
    return a / (1 + np.exp(-(x - c) / w)) + o


def peaking(
    x: Any, a: Any = 3.0, c: Any = 5.0, w: Any = 1.0, slope: Any = 0.2, o: Any = 0.5
) -> Any:
    return a * np.exp(-(((x - c) / w) ** 2)) + slope * x + o


def ringing(x: Any, a: Any = 2.0, t: Any = 4.0, w: Any = 3.0, f: Any = 0.4) -> Any:
    return a * np.exp(-x / t) * np.sin(w * x + f)


def stepping(x: Any, a: Any = 2.0, c: Any = 4.0, k: Any = 0.3, o: Any = 0.5) -> Any:
    return np.where(x < c, o, o + a * (1 - np.exp(-k * (x - c))))


def answering(x: Any, a: Any = 2.0, f: Any = 5.0, q: Any = 8.0, phi: Any = 0.6) -> Any:
    return a * np.exp(1j * phi) * f**2 / (x**2 - 1j * x * f / q - f**2)


FUNCTIONS = (decaying, rising, peaking, ringing, stepping, answering)


def make(folder: pathlib.Path, rows: int, points: int) -> pathlib.Path:
    """A file of axis, spectra and where to begin."""
    rng = np.random.default_rng(points)
    low, high = (1, 3, 0.5, -1), (5, 7, 2, 1)
    truth = rng.uniform(low, high, (rows, 4))
    x = np.linspace(0, 10, points)
    spectra = lorentz(x, *(truth[:, [i]] for i in range(4)))
    spectra += 0.1 * rng.normal(size=spectra.shape)
    start = truth + rng.normal(size=truth.shape) * (0.3, 0.15, 0.1, 0.2)
    path = folder / f"{points}.npz"
    np.savez(path, x=x, spectra=spectra, start=start)
    return path


def with_usidx(name: str, x: Any, spectra: Any, start: Any) -> Any:
    """Centers, by usidx."""
    import xarray as xr

    from usidx.steps import curve_fit

    data = xr.DataArray(spectra, dims=("X", "Energy"), coords={"Energy": x})
    p0 = xr.Dataset({each: ("X", start[:, i]) for i, each in enumerate(NAMES)})
    model = lorentz if "function" in name else "lorentzian + constant"
    given = {} if "guessing" in name else {"p0": p0}
    return curve_fit(data, model, along="Energy", **given, **OURS[name])["center"].values


def with_scipy(x: Any, spectra: Any, start: Any) -> Any:
    """Centers and their errors, by SciPy, one spectrum after the other."""
    from scipy.optimize import curve_fit

    found = [curve_fit(lorentz, x, y, p0) for y, p0 in zip(spectra, start, strict=True)]
    return np.array([(p[1], np.sqrt(c[1, 1])) for p, c in found]).T


def with_xarray(x: Any, spectra: Any, start: Any) -> Any:
    """Centers, by xarray's curvefit."""
    import xarray as xr

    data = xr.DataArray(spectra, dims=("X", "Energy"), coords={"Energy": x})
    p0 = {each: ("X", start[:, i]) for i, each in enumerate(NAMES)}
    begin = {each: xr.DataArray(values, dims=dims) for each, (dims, values) in p0.items()}
    found = data.curvefit("Energy", lorentz, p0=begin)
    return found.curvefit_coefficients.sel(param="center").values


def with_hyperspy(x: Any, spectra: Any, start: Any) -> Any:
    """Centers, by HyperSpy's multifit; its Lorentzian has an area and a half width."""
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    signal = hs.signals.Signal1D(spectra)
    axis = signal.axes_manager[-1]
    axis.scale, axis.offset = x[1] - x[0], x[0]
    model = signal.create_model()
    peak, base = hs.model.components1D.Lorentzian(), hs.model.components1D.Offset()
    model.extend([peak, base])
    a, c, w, o = start.T
    values = ((peak.A, a * np.pi * w / 2), (peak.centre, c), (peak.gamma, w / 2), (base.offset, o))
    for parameter, begin in values:
        parameter.map["values"][:] = begin
        parameter.map["is_set"][:] = True
    model.multifit(optimizer="lm")
    return peak.centre.map["values"]


def one(row: Any, x: Any) -> Any:
    """The center of one spectrum, which comes after where it begins, for parallel_compute."""
    from scipy.optimize import curve_fit

    return curve_fit(lorentz, x, row[4:], row[:4])[0][1]


def with_pyusid(x: Any, spectra: Any, start: Any) -> Any:
    """Centers, by pyUSID's parallel_compute of SciPy on one core."""
    from pyUSID.processing.comp_utils import parallel_compute

    rows = np.concatenate([start, spectra], axis=1)
    return np.array(parallel_compute(rows, one, cores=1, func_args=[x], verbose=False))


PEERS = {"xarray": with_xarray, "HyperSpy": with_hyperspy, "pyUSID": with_pyusid}


def contest(name: str, path: pathlib.Path, rounds: int) -> tuple[float, Any]:
    """(microseconds of CPU time per spectrum, what was found)."""
    with np.load(path) as file:
        x, spectra, start = file["x"], file["spectra"], file["start"]
    rows = min(SLOW.get(name, len(spectra)), len(spectra))
    job = (x, spectra[:rows], start[:rows])
    best = np.inf
    for number in range(rounds + 1):
        begin = time.process_time()
        if name in OURS:
            found = with_usidx(name, *job)
        else:
            found = (PEERS | {"SciPy": with_scipy})[name](*job)
        if number:
            best = min(best, time.process_time() - begin)
    return best / rows * 1e6, found


def elsewhere(name: str, path: pathlib.Path, rounds: int) -> tuple[float, Any] | str:
    """The same in a process of its own, with the peer's environment."""
    python = os.environ.get(ENVIRONMENTS[name], "") if name in ENVIRONMENTS else sys.executable
    if not python:
        return f"not there: {ENVIRONMENTS[name]} is not set"
    out = path.with_suffix(".found.npz")
    command = [python, __file__, "--one", name, str(path), str(out), "--rounds", str(rounds)]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    ran = subprocess.run(command, env={**os.environ, **alone}, capture_output=True, text=True)
    if ran.returncode:
        return (ran.stderr.strip() or "failed").splitlines()[-1][:150]
    with np.load(out) as file:
        return float(file["time"]), file["found"]


def on_threads(path: pathlib.Path, counts: list[int], rounds: int) -> None:
    """Print wall and CPU time of lazy fits on threads: with no lock between them, CPU stays."""
    import dask
    import xarray as xr

    from usidx.steps import curve_fit

    with np.load(path) as file:
        x, spectra = file["x"], file["spectra"]
    data = xr.DataArray(spectra, dims=("X", "Energy"), coords={"Energy": x})
    lazy = curve_fit(data.chunk(X=512), "lorentzian + constant", along="Energy")["center"]
    print("| threads | seconds | CPU seconds | CPU per second |\n|---|---|---|---|")
    for count in counts:
        best = (np.inf, np.inf)
        with dask.config.set(scheduler="threads", num_workers=count):
            for _ in range(rounds + 1):
                wall, cpu = time.perf_counter(), time.process_time()
                lazy.compute()
                best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
        print(f"| {count} | {best[0]:.3f} | {best[1]:.3f} | {best[1] / best[0]:.2f} |", flush=True)


def of_functions(points: int, rows: int, rounds: int) -> None:
    """Print how fast Python functions on NumPy are, beside SciPy in turns, and how alike."""
    import inspect

    import xarray as xr
    from scipy.optimize import curve_fit as scipy_fit

    from usidx.steps import curve_fit

    print("| | usidx, us | SciPy, us | times faster | alike |\n|---|---|---|---|---|")
    x = np.linspace(0.1, 10, points)
    for function in FUNCTIONS:
        names = list(inspect.signature(function).parameters)[1:]
        begin = np.array([inspect.signature(function).parameters[n].default for n in names])
        rng = np.random.default_rng(0)
        truth = begin * (1 + 0.1 * rng.normal(size=(rows, begin.size)))
        spectra = function(x, *(truth[:, [i]] for i in range(begin.size)))
        is_complex = spectra.dtype.kind == "c"
        spectra = spectra + 0.05 * rng.normal(size=spectra.shape)
        data = xr.DataArray(spectra, dims=("X", "E"), coords={"E": x})

        def split(x: Any, *p: Any, of: Any = function) -> Any:
            made = of(x, *p)
            return np.concatenate([made.real, made.imag])

        theirs = split if is_complex else function
        values = np.concatenate([spectra.real, spectra.imag], 1) if is_complex else spectra
        few, best = min(rows, 512), [np.inf, np.inf]
        for _ in range(rounds + 1):
            started = time.process_time()
            found = curve_fit(data, function, along="E", compiled=False)
            best[0] = min(best[0], (time.process_time() - started) / rows)
            started = time.process_time()
            told = [scipy_fit(theirs, x, each, begin, maxfev=5000) for each in values[:few]]
            best[1] = min(best[1], (time.process_time() - started) / few)
        p, errors = (np.array(each) for each in zip(*((p, np.sqrt(c.diagonal())) for p, c in told)))
        ours = np.stack([found[name].values[:few] for name in names], axis=-1)
        alike = (np.abs(ours - p) <= 0.01 * errors).all(-1).mean()
        one, other = (1e6 * each for each in best)
        told_as = f"| {function.__name__} | {one:.1f} | {other:.1f} | {other / one:.1f} |"
        print(f"{told_as} {alike:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--who", nargs="+", default=list(WHO), choices=WHO)
    parser.add_argument("--threads", type=int, nargs="+", help="how many, of usidx alone")
    parser.add_argument("--functions", action="store_true", help="other Python functions")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, path, out = options.one
        took, found = contest(name, pathlib.Path(path), options.rounds)
        np.savez(out, time=took, found=found)
        return
    rows, rounds = (64, 1) if options.small else (options.rows, options.rounds)
    who = ["SciPy", *(each for each in options.who if each != "SciPy")]
    with tempfile.TemporaryDirectory() as folder:
        for points in options.points:
            if options.functions:
                print(f"\n{points} points, {rows} spectra\n")
                of_functions(points, rows, rounds)
                continue
            path = make(pathlib.Path(folder), rows, points)
            if options.threads:
                print(f"\n{points} points, {rows} spectra\n")
                on_threads(path, options.threads, rounds)
                continue
            print(f"\n{points} points, {rows} spectra\n")
            print("| | us per spectrum | times faster than SciPy |\n|---|---|---|")
            told = None
            for name in who:
                answer = elsewhere(name, path, rounds)
                if isinstance(answer, str):
                    print(f"| {name} | {answer} | |")
                    continue
                took, found = answer
                if told is None:
                    told, floor = found, took
                else:
                    shared = min(found.size, told.shape[1])
                    away = np.abs(found[:shared] - told[0, :shared]) > 0.01 * told[1, :shared]
                    if away.sum() > max(1, 0.001 * shared):
                        print(f"| {name} | wrong in {away.sum()} of {shared} | |")
                        continue
                print(f"| {name} | {took:.1f} | {floor / took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
