"""Make hyperspy.npz beside this file: spectra and images, and what HyperSpy 2 makes of them.

    python tests/steps/peers/hyperspy_figures.py    # in an environment with hyperspy

The data are among it, since random numbers of another NumPy may be others.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

SIZES = (8, 9, 48)
COMPONENTS = 3


def spectra() -> np.ndarray:
    """Counts over a map of three spectra, shape SIZES, uint16."""
    rng = np.random.default_rng(3)
    parts = rng.dirichlet(np.full(SIZES[2], 0.3), COMPONENTS) * 4000
    maps = rng.dirichlet(np.full(COMPONENTS, 0.4), SIZES[:2])
    return rng.poisson(maps @ parts + 5).astype(np.uint16)


def peaks() -> np.ndarray:
    """Noisy Lorentzians on a constant, shape SIZES; energies are the numbers of the channels."""
    rng = np.random.default_rng(4)
    center, width = rng.uniform(18, 30, (*SIZES[:2], 1)), rng.uniform(3, 6, (*SIZES[:2], 1))
    clean = 50 / (1 + ((np.arange(SIZES[2]) - center) / width) ** 2) + 4
    return (clean + rng.normal(size=SIZES)).astype(np.float32)


def images() -> np.ndarray:
    """A pattern that moves by whole pixels, shape (5, 40, 48)."""
    rng = np.random.default_rng(5)
    large = rng.integers(-99, 99, (80, 90), np.int16)
    for axis in (0, 1):
        large = sum(np.roll(large, n, axis) for n in (-1, 0, 1))
    moved = [(0, 0), (2, -1), (3, 1), (5, 4), (1, 3)]
    return np.stack([large[10 + y : 50 + y, 10 + x : 58 + x] for y, x in moved])


def figures() -> dict[str, Any]:
    """What HyperSpy makes, by name."""
    import hyperspy.api as hs

    hs.preferences.General.show_progressbar = False
    counts, lorentzians, stack = spectra(), peaks().astype(float), images()
    found: dict[str, Any] = {"spectra": counts, "peaks": lorentzians, "images": stack}

    def decomposed(name: str, **options: Any) -> None:
        signal = hs.signals.Signal1D(counts.astype(float))
        signal.decomposition(output_dimension=COMPONENTS, print_info=False, **options)
        results = signal.learning_results
        found[f"{name} factors"], found[f"{name} loadings"] = results.factors, results.loadings
        if results.explained_variance_ratio is not None:
            found[f"{name} ratio"] = results.explained_variance_ratio[:COMPONENTS]

    decomposed("pca", algorithm="SVD", centre="navigation")
    decomposed("svd", algorithm="SVD")
    decomposed("poisson", algorithm="SVD", normalize_poissonian_noise=True)
    decomposed("nmf", algorithm="NMF", init="nndsvda", max_iter=5000, tol=1e-10)

    smoothed = hs.signals.Signal1D(lorentzians.copy())
    smoothed.smooth_savitzky_golay(polynomial_order=3, window_length=7)
    found["savgol"] = smoothed.data
    found["derivative"] = hs.signals.Signal1D(lorentzians).derivative(axis=-1).data
    found["binned"] = hs.signals.Signal1D(lorentzians).rebin(scale=[3, 2, 4]).data
    found["shifts"] = hs.signals.Signal2D(stack.astype(float)).estimate_shift2D()

    signal = hs.signals.Signal1D(lorentzians)
    model = signal.create_model()
    peak = hs.model.components1D.Lorentzian(A=500, gamma=4, centre=24)
    model.extend([peak, hs.model.components1D.Offset(4)])
    model.multifit(iterpath="serpentine")
    for name, each in (("A", peak.A), ("gamma", peak.gamma), ("centre", peak.centre)):
        found[f"fit {name}"], found[f"fit {name} error"] = each.map["values"], each.map["std"]
    return {
        name: each.astype(np.float32) if each.dtype == float else each
        for name, each in found.items()
    }


if __name__ == "__main__":
    np.savez_compressed(pathlib.Path(__file__).with_name("hyperspy.npz"), **figures())
