"""Small Mains to try things on: for doctests, tests, and people who write steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from usidx.arrays.labels import to_dataarray
from usidx.arrays.making import from_array
from usidx.model.dimension import Array, Dimension, Role
from usidx.model.layout import Coordinate, Grid, Layout, Points
from usidx.model.main import MainSpec

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

NAMES: dict[Role, tuple[str, ...]] = {
    "position": ("Z", "Y", "X"),
    "spectroscopic": ("Cycle", "Bias", "Frequency"),
}


def make_main(
    shape: tuple[int, int, int] = (4, 5, 16),
    *,
    dtype: npt.DTypeLike = "float32",
    chunks: Any = None,
    name: str = "Raw_Data",
    seed: int = 0,
) -> xr.DataArray:
    """A labelled Main of resonances over a Y x X map, the same one at every call.

    Parameters
    ----------
    shape : sizes of Y, X and Frequency
    dtype : of the values; a complex one gives the phase of the resonance too
    chunks : as in `DataArray.chunk`; None keeps the values in memory
    seed : of the noise

    Examples
    --------
    >>> make_main().sizes
    Frozen({'Y': 4, 'X': 5, 'Frequency': 16})
    """
    rows, columns, points = shape
    y = np.linspace(0.0, 1.5, rows) if rows > 1 else np.zeros(1)
    x = np.linspace(0.0, 2.0, columns) if columns > 1 else np.zeros(1)
    frequency = np.linspace(300e3, 345e3, points) if points > 1 else np.array([320e3])
    center = 320e3 + 4e3 * np.sin(2.0 * y)[:, None, None] + 2e3 * np.cos(3.0 * x)[None, :, None]
    quality = 60.0
    values = center**2 / (center**2 - frequency**2 + 1j * center * frequency / quality) / quality
    generator = np.random.default_rng(seed)
    values = values + 0.01 * generator.standard_normal(values.shape)
    if not np.issubdtype(dtype, np.complexfloating):
        values = np.abs(values)
    if np.issubdtype(dtype, np.integer):
        values = values * 100
    array = from_array(
        values.astype(dtype),
        "Cantilever Vertical Deflection",
        "V",
        name=name,
        position=[Dimension("Y", "um", y), Dimension("X", "um", x)],
        spectroscopic=[Dimension("Frequency", "Hz", frequency)],
    )
    return array if chunks is None else array.chunk(chunks)


def layouts(role: Role = "position", *, points: bool = True) -> SearchStrategy[Layout]:
    """A hypothesis strategy for the layouts of one side, all the odd ones included.

    Grids of one to three dimensions, of which any may have size 1, with values that go down or
    repeat, with counters that skip, acquired in any order, with a coordinate that depends on
    several dimensions; and lists of points.

    Parameters
    ----------
    role : the side
    points : whether to give lists of points too
    """
    import hypothesis.strategies as st

    @st.composite
    def layout(draw: DrawFn) -> Layout:
        names = NAMES[role][-draw(st.integers(1, 3)) :]
        if points and draw(st.integers(0, 4)) == 0:
            return _points(draw, role, names)
        return _grid(draw, role, names)

    return layout()


def mains(*, points: bool = True) -> SearchStrategy[xr.DataArray]:
    """A hypothesis strategy for labelled Mains, NumPy-backed, of any layout and dtype.

    Every value is another, so that one in a wrong place is noticed.
    """
    import hypothesis.strategies as st

    @st.composite
    def main(draw: DrawFn) -> xr.DataArray:
        position = draw(layouts("position", points=points))
        spectroscopic = draw(layouts("spectroscopic", points=points))
        dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i4", "u8", ">f4", "c8", "c16"])))
        spec = MainSpec(
            "/Measurement_000/Channel_000/Raw_Data", "Current", "nA", dtype, position, spectroscopic
        )
        values: Array = np.arange(position.size * spectroscopic.size)
        if dtype.kind == "c":
            values = values * (1 + 2j)
        return to_dataarray(spec, values.reshape(spec.shape).astype(dtype))

    return main()


def _grid(draw: DrawFn, role: Role, names: tuple[str, ...]) -> Grid:
    import hypothesis.strategies as st

    dimensions = tuple(_dimension(draw, name) for name in names)
    shape = tuple(each.size for each in dimensions)
    dependent: tuple[Coordinate, ...] = ()
    if draw(st.booleans()):
        values = np.arange(float(np.prod(shape))).reshape(shape) ** 2
        dependent = (Coordinate(f"Temperature_{role}", "K", names, values),)
    order: Array | None = None
    if draw(st.booleans()):
        order = np.array(draw(st.permutations(range(int(np.prod(shape))))), dtype=np.int64)
        if np.array_equal(order, np.arange(order.size)):
            order = None
    return Grid(role, dimensions, dependent, order)


def _dimension(draw: DrawFn, name: str) -> Dimension:
    import hypothesis.strategies as st

    size = draw(st.integers(1, 4))
    values: Array = np.array(draw(st.lists(st.integers(-5, 5), min_size=size, max_size=size))) / 4
    if draw(st.booleans()):
        values = 0.5 * np.arange(size)
    indices = 3 + 2 * np.arange(size) if draw(st.integers(0, 3)) == 0 else None
    return Dimension(name, "um", values, indices)


def _points(draw: DrawFn, role: Role, names: tuple[str, ...]) -> Points:
    import hypothesis.strategies as st

    size = draw(st.integers(1, 6))
    columns = []
    for name in names:
        indices = np.array(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
        values = indices * 0.5 if draw(st.booleans()) else np.arange(size) / 8
        columns.append(Coordinate(name, "um", (role,), values, indices))
    return Points(role, tuple(columns), "drawn at random")
