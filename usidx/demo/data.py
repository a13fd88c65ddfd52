"""A band-excitation piezoresponse measurement, made up but physically sensible.

A stiff cantilever scans a polycrystalline ferroelectric film. At each position the tip is excited
with a chirp and the complex response is recorded over the contact resonance, which answers as a
simple harmonic oscillator (`usidx.steps.sho.sho_response`; S. Jesse, S. V. Kalinin, R. Proksch,
A. P. Baddorf, B. J. Rodriguez, Nanotechnology 18, 435503 (2007), "The band excitation method in
scanning probe microscopy"). Up and down domains answer with
opposite sign, so the phase jumps by pi and the amplitude vanishes at a domain wall; each grain has
its own elasticity, hence its own resonance; the tip wears, so the resonance drifts from line to
line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from usidx.arrays.making import from_array
from usidx.model.dimension import Dimension
from usidx.steps.sho import sho_response

if TYPE_CHECKING:
    import dask.array
    import xarray as xr

Floats = npt.NDArray[np.floating[Any]]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]

QUANTITY, UNITS = "Piezoresponse", "pm"
MAKER = "usidx demo"


@dataclass(frozen=True)
class Recipe:
    """What to measure: how many positions over which field of view, and the band.

    Parameters
    ----------
    lines, pixels : positions along Y and X
    frequencies : bins over the band
    view : width of the scan in um; its height follows from square pixels
    band : lowest and highest frequency in Hz
    detector : standard deviation of the white noise (photodetector) in pm, in each quadrature
    thermal : standard deviation of the thermal motion at the resonance in pm, in each quadrature
    seed : of everything random; the same recipe gives the same data, however it is cut in blocks
    """

    lines: int = 256
    pixels: int = 256
    frequencies: int = 512
    view: float = 2.56
    band: tuple[float, float] = (290e3, 380e3)
    detector: float = 5.0
    thermal: float = 4.0
    seed: int = 7

    @property
    def shape(self) -> tuple[int, int, int]:
        """(lines, pixels, frequencies)."""
        return self.lines, self.pixels, self.frequencies

    @property
    def nbytes(self) -> int:
        """Size of the measured values: complex64."""
        return self.lines * self.pixels * self.frequencies * np.dtype("c8").itemsize

    @property
    def frequency(self) -> Floats:
        """Bins of the band in Hz, shape (frequencies,)."""
        return np.linspace(*self.band, self.frequencies)

    @property
    def pitch(self) -> float:
        """Distance between neighbouring positions in um."""
        return self.view / self.pixels


FULL = Recipe()
SMALL = Recipe(lines=96, pixels=96, frequencies=192)


@dataclass(frozen=True, eq=False)
class Sample:
    """The truth about each position: arrays of shape (lines, pixels).

    Parameters
    ----------
    response : complex amplitude A exp(i phi) in pm, at rest (far below the resonance)
    resonance : f0 in Hz
    quality : Q
    """

    response: Complexes
    resonance: Floats
    quality: Floats


def sample(recipe: Recipe) -> Sample:
    """The film under the tip, from the recipe's seed."""
    rng = np.random.default_rng(recipe.seed)
    polarization = np.tanh(_filtered(recipe, rng, period=0.46, spread=0.3) / 0.22)
    grain, groove = _grains(recipe, rng, count=max(6, round(8 * recipe.view)))
    stiffness, tilt, loss = (rng.uniform(-1, 1, grain.max() + 1)[grain] for _ in range(3))
    roughness = _filtered(recipe, rng, period=0.12, spread=0.6)
    wall = 1 - polarization**2

    # Lines are measured one after the other: a worn tip has a larger contact, a drifting stage a
    # random walk of the load.
    time = np.arange(recipe.lines)[:, None] / recipe.lines
    steps = rng.normal(0, 1, (recipe.lines, 1)) / np.sqrt(recipe.lines)
    drift = 2.5e3 * np.log1p(4 * time) / np.log(5) + 0.9e3 * np.cumsum(steps, axis=0)
    resonance = (
        331.5e3
        + 7.0e3 * stiffness
        + 3.0e3 * groove
        + 0.7e3 * roughness
        - 1.1e3 * polarization
        - 1.8e3 * wall
        + drift
    )
    quality = 112 + 32 * loss - 26 * wall - 18 * groove + 3 * roughness
    # The electrostatic force adds to both domains alike, which makes up and down differ in size.
    strength = 3.2 * (0.78 + 0.22 * tilt) * (1 - 0.35 * groove) * polarization + (0.16 + 0.07j)
    drive_phase = np.exp(1j * (0.55 + 0.12 * (time - 0.5)))
    return Sample(strength * drive_phase, resonance, np.clip(quality, 50, 200))


def measured(recipe: Recipe, truth: Sample, lines: slice) -> Complexes:
    """What the instrument records: complex64, shape (lines, pixels, frequencies), in pm.

    Each line has its own random numbers, so blocks of any size give the same data.
    """
    frequency = recipe.frequency
    chosen = range(*lines.indices(recipe.lines))
    block = np.empty((len(chosen), *recipe.shape[1:]), np.complex64)
    for row, line in enumerate(chosen):
        resonance, quality = truth.resonance[line], truth.quality[line]
        clean = sho_response(frequency, 1.0, resonance, quality, 0.0).astype(np.complex64)
        rng = np.random.default_rng((recipe.seed, line))
        white = rng.standard_normal((*clean.shape, 2), np.float32).view(np.complex64)[..., 0]
        # Thermal motion passes through the same oscillator as the driven one, and both end in one
        # Gaussian number for each bin: their variances add.
        spread = np.hypot(recipe.detector, (recipe.thermal / quality[:, None]) * np.abs(clean))
        driven = truth.response[line, :, None].astype(np.complex64) * clean
        block[row] = driven + spread.astype(np.float32) * white
    return block


def measurement(recipe: Recipe, block: int = 32 << 20) -> xr.DataArray:
    """The measurement as a lazy labelled array (Y, X, Frequency), made `block` bytes at a time."""
    pitch = recipe.pitch
    return from_array(
        _lazy(recipe, block),
        quantity=QUANTITY,
        units=UNITS,
        position=[
            Dimension("Y", "um", pitch * np.arange(recipe.lines)),
            Dimension("X", "um", pitch * np.arange(recipe.pixels)),
        ],
        spectroscopic=[Dimension("Frequency", "Hz", recipe.frequency)],
        attrs={"made_by": MAKER},
    )


def _lazy(recipe: Recipe, block: int) -> dask.array.Array:
    import dask.array

    truth = sample(recipe)
    rows = max(1, min(recipe.lines, block // (recipe.nbytes // recipe.lines)))
    chunks = ((rows,) * (recipe.lines // rows), (recipe.pixels,), (recipe.frequencies,))
    if recipe.lines % rows:
        chunks = ((*chunks[0], recipe.lines % rows), *chunks[1:])

    def made(block_info: Any) -> Complexes:
        first, last = block_info[None]["array-location"][0]
        return measured(recipe, truth, slice(first, last))

    lazy: dask.array.Array = dask.array.map_blocks(
        made, chunks=chunks, dtype=np.complex64, meta=np.empty((0, 0, 0), np.complex64)
    )
    return lazy


def _filtered(recipe: Recipe, rng: np.random.Generator, period: float, spread: float) -> Floats:
    """Noise of unit variance that repeats about every `period` um, `spread` octaves wide."""
    lines, pixels = 2 * recipe.lines, 2 * recipe.pixels  # the half that is kept does not wrap round
    noise = np.fft.rfft2(rng.standard_normal((lines, pixels)))
    along_y = np.fft.fftfreq(lines, recipe.pitch)[:, None]
    along_x = np.fft.rfftfreq(pixels, recipe.pitch)
    octave = np.log2(np.maximum(np.hypot(along_y, along_x), 1e-9) * period)
    field = np.fft.irfft2(noise * np.exp(-0.5 * (octave / spread) ** 2), s=(lines, pixels))
    kept = field[: recipe.lines, : recipe.pixels]
    return np.asarray((kept - kept.mean()) / kept.std())


def _grains(
    recipe: Recipe, rng: np.random.Generator, count: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """The grain of each position, and how deep in the groove between two grains it is (0 .. 1)."""
    height = recipe.pitch * recipe.lines
    seeds = rng.uniform((-0.1, -0.1), (height + 0.1, recipe.view + 0.1), (count, 2))
    bend = [0.05 * _filtered(recipe, rng, period=0.6, spread=0.7) for _ in range(2)]
    y = recipe.pitch * np.arange(recipe.lines)[:, None] + bend[0]
    x = recipe.pitch * np.arange(recipe.pixels) + bend[1]
    distance = np.hypot(y[..., None] - seeds[:, 0], x[..., None] - seeds[:, 1])
    nearest = np.sort(distance, axis=-1)[..., :2]
    groove = np.exp(-(((nearest[..., 1] - nearest[..., 0]) / 0.035) ** 2))
    return np.argmin(distance, axis=-1), groove
