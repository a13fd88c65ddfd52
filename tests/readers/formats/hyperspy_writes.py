"""Signals of all shapes, written by HyperSpy: `python hyperspy_writes.py FOLDER`.

FOLDER/<name>.<ending> are the files, FOLDER/<name>.npy the values, and FOLDER/axes.json says of
each name its axes: name, units, navigate, values.
"""

import importlib.util
import json
import pathlib
import sys
import warnings

import hyperspy.api as hs
import numpy as np

warnings.simplefilter("ignore")
hs.set_log_level("ERROR")
hs.preferences.General.show_progressbar = False
HAS_ZARR = importlib.util.find_spec("numcodecs") is not None
VALUES = np.random.default_rng(3)


def axis(name, size, navigate, **told):
    """One axis, of equal steps unless it is told otherwise."""
    made = {"name": name, "navigate": navigate, "units": "nm" if navigate else "eV", **told}
    if "axis" not in made and "expression" not in made:
        made = {"size": size, "scale": 0.25, "offset": -3.0, **made}
    return made


def signal(shape, n_signal, dtype="f4", kind=None, **last):
    """A signal of random values, of which the last axis is told more of."""
    values = VALUES.random(shape) * 99
    values = (values + 1j * values[..., ::-1]) if np.dtype(dtype).kind == "c" else values
    values = (values > 50) if np.dtype(dtype).kind == "b" else values
    names = ["t", "z", "y", "x"][-(len(shape) - n_signal) :] if len(shape) > n_signal else []
    names += ["ky", "kx"][-n_signal:] if n_signal else []
    axes = [
        axis(
            name, size, number < len(shape) - n_signal, **(last if number + 1 == len(shape) else {})
        )
        for number, (name, size) in enumerate(zip(names, shape))
    ]
    make = kind or {1: hs.signals.Signal1D, 2: hs.signals.Signal2D}.get(
        n_signal, hs.signals.BaseSignal
    )
    return make(values.astype(dtype), axes=axes)


def decomposed():
    """A signal with components, also separated, and half of it masked."""
    weights = VALUES.random((4, 5, 2))
    made = signal((4, 5, 30), 1, "f8")
    made.data[:] = weights @ np.stack(
        [np.sin(np.arange(30) / 4) + 2, np.cos(np.arange(30) / 3) + 2]
    )
    made.data += 1e-3 * VALUES.random((4, 5, 30))
    made.decomposition(output_dimension=3, print_info=False)
    made.blind_source_separation(2, print_info=False)
    return made


def told():
    """A signal with much metadata."""
    made = signal((3, 4), 1)
    made.metadata.General.title = "Größe µ / 2"
    made.metadata.add_dictionary(
        {"Sample": {"elements": ["Si", "O"], "thickness": 12.5, "known": True}}
    )
    made.metadata.Signal.quantity = "Current (nA)"
    made.original_metadata.add_dictionary({"a": {"b": [1, 2, 3], "c": "d"}, "e": None})
    return made


def rgb(dtype):
    """Colours."""
    made = signal((4, 5, 6, 4 if "a" in dtype else 3), 1, "u2" if "16" in dtype else "u1")
    made.change_dtype(dtype)
    return made


MADE = {
    "spectrum": lambda: signal((7,), 1),
    "image": lambda: signal((5, 6), 2, ">i2"),
    "line": lambda: signal((3, 7), 1, "f8"),
    "cube": lambda: signal((2, 3, 4, 5), 1, ">f4"),
    "stem": lambda: signal((2, 3, 4, 5), 2, "u2"),
    "deep": lambda: signal((2, 3, 2, 4, 5), 2, "u1"),
    "map": lambda: signal((3, 4), 0, "f4"),
    "flags": lambda: signal((3, 4, 5), 1, "?"),
    "half": lambda: signal((3, 5), 1, "f2"),
    "large": lambda: signal((3, 5), 1, "u8"),
    "complex": lambda: signal((2, 3, 5), 1, "c16", hs.signals.ComplexSignal1D),
    "uneven": lambda: signal((2, 3, 5), 1, axis=np.array([1.0, 1.5, 4.0, 9.0, 20.0])),
    "falling": lambda: signal((2, 5), 1, scale=-0.5),
    "told": told,
    "decomposed": decomposed,
    "rgb8": lambda: rgb("rgb8"),
    "rgba16": lambda: rgb("rgba16"),
    "formula": lambda: signal(
        (2, 5), 1, expression="a * x ** 2", a=2.0, x={"size": 5, "scale": 1.0, "offset": 1.0}
    ),
    "ragged": lambda: hs.signals.BaseSignal(
        np.array([np.arange(n) for n in (2, 3, 1)], dtype=object), ragged=True
    ),
}  # fmt: skip


def main(folder):
    """Write them all."""
    said = {}
    for name, make in MADE.items():
        made = make()
        made.save(folder / f"{name}.hspy", overwrite=True)
        if HAS_ZARR:
            made.save(folder / f"{name}.zspy", overwrite=True)
        if name == "ragged":
            continue
        np.save(folder / f"{name}.npy", made.data)
        said[name] = [
            {
                "name": str(each.name),
                "units": str(each.units),
                "navigate": bool(each.navigate),
                "values": np.asarray(each.axis).tolist(),
            }
            for each in made.axes_manager._axes
        ]
        if name == "decomposed":
            found = made.learning_results
            np.savez(
                folder / "learned.npz",
                loadings=found.loadings, factors=found.factors,
                bss_loadings=found.bss_loadings, bss_factors=found.bss_factors,
            )  # fmt: skip
    said["cropped"] = []
    cut = made = signal((6, 5, 8), 1)
    cut = made.as_lazy().inav[1:4, 2:5]
    cut.save(folder / "cropped.hspy", overwrite=True, chunks=(2, 2, 8))
    np.save(folder / "cropped.npy", np.asarray(cut.data))
    (folder / "axes.json").write_text(json.dumps(said))


main(pathlib.Path(sys.argv[1]))
