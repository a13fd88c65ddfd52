"""Make libertem.npz beside this file: frames, and what LiberTEM 0.16 makes of them.

    python tests/steps/peers/libertem_figures.py    # in an environment with libertem

The frames are among it, since random numbers of another NumPy may be others.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

SIZES = (6, 7, 12, 16)
CENTER = (5.2, 8.3)  # row, column
RADIUS, INNER, OUTER = 4.3, 2.2, 5.7


def frames() -> np.ndarray:
    """Spots that move over the map, with noise, shape SIZES, uint16."""
    rng = np.random.default_rng(8)
    rows, columns, v, u = SIZES
    y, x = np.arange(rows)[:, None, None, None], np.arange(columns)[:, None, None]
    row = CENTER[0] + 0.2 * y - 0.1 * x + 0.6 * np.sin(x + y)
    column = CENTER[1] - 0.15 * y + 0.3 * x + 0.5 * np.cos(x - y)
    apart = (np.arange(v)[:, None] - row) ** 2 + (np.arange(u) - column) ** 2
    return rng.poisson(300 * np.exp(-apart / 5) + 4).astype(np.uint16)


def masks() -> np.ndarray:
    """Three weights of pixels, shape (3, v, u)."""
    return np.random.default_rng(9).normal(size=(3, *SIZES[2:])).astype(np.float32)


def figures() -> dict[str, Any]:
    """What LiberTEM makes, by name."""
    import libertem.api as lt
    from libertem.masks import circular, ring
    from libertem.udf.com import CoMUDF
    from libertem.udf.masks import ApplyMasksUDF
    from libertem.udf.stddev import StdDevUDF
    from libertem.udf.sum import SumUDF
    from libertem.udf.sumsigudf import SumSigUDF

    context = lt.Context.make_with("inline")
    values, weights = frames(), masks()
    data = context.load("memory", data=values, sig_dims=2)
    row, column = CENTER
    v, u = SIZES[2:]

    def run(udf: Any) -> Any:
        return context.run_udf(dataset=data, udf=udf)

    def masked(make: Any) -> np.ndarray:
        return np.asarray(run(ApplyMasksUDF(mask_factories=make))["intensity"].data)

    found: dict[str, Any] = {"frames": values, "masks": weights}
    found["masked"] = masked([lambda n=n: weights[n] for n in range(3)])
    found["disk"] = masked([lambda: circular(column, row, u, v, RADIUS)])[..., 0]
    found["ring"] = masked([lambda: ring(column, row, u, v, OUTER, INNER)])[..., 0]
    point = context.create_point_analysis(data, x=9, y=4)
    found["point"] = np.asarray(context.run(point).intensity.raw_data)
    rings = [lambda: circular(column, row, u, v, 1)]
    rings += [lambda n=n: ring(column, row, u, v, n + 1, n) for n in range(1, 5)]
    found["radial"] = masked(rings) / [np.sum(make()) for make in rings]
    for regression in (-1, 0, 1):
        com = run(CoMUDF.with_params(cy=row, cx=column, regression=regression))
        found[f"field {regression}"] = np.asarray(com["field"].data)
        found[f"curl {regression}"] = np.asarray(com["curl"].data)
        found[f"divergence {regression}"] = np.asarray(com["divergence"].data)
    com = run(CoMUDF.with_params(cy=row, cx=column, r=RADIUS))
    found["com"] = np.asarray(com["raw_com"].data)
    found["sum"] = np.asarray(run(SumUDF())["intensity"].data)
    found["sum of frames"] = np.asarray(run(SumSigUDF())["intensity"].data).reshape(SIZES[:2])
    found["stddev"] = np.asarray(run(StdDevUDF())["std"].data)
    pick = context.run(context.create_pick_analysis(data, x=5, y=2))
    found["pick"] = np.asarray(pick.intensity.raw_data)
    return found


if __name__ == "__main__":
    np.savez_compressed(pathlib.Path(__file__).with_name("libertem.npz"), **figures())
