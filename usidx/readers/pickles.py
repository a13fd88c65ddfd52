"""Pickles, of which arrays and numbers are taken; nothing that stands in a file is ever run.

Objects of classes that are known to carry numbers become a `Carrier` with the same attributes. What
else a pickle asks for is refused by name.
"""

from __future__ import annotations

import functools
import io
import pickle
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError

_FROM_NUMPY = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
}
_PLAIN = {
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
    ("builtins", "list"): list,
    ("__builtin__", "list"): list,
    ("collections", "OrderedDict"): dict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_NUMPY_CORE = ("numpy.core.", "numpy._core.")


class Carrier:
    """What an object of another system carries: its attributes, and `args` that it was made of."""

    args: tuple[Any, ...]

    def __new__(cls, *args: Any) -> Carrier:
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *args: Any) -> None:
        """Nothing: `args` are kept when it is made, which is all that is done with them."""


@functools.cache
def _carrier(module: str, name: str) -> type[Carrier]:
    """A class of carriers that has the name of the class in the file."""
    return type(name, (Carrier,), {"__module__": f"{__name__}: {module}"})


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    """What `copyreg` makes of an object of no base but object; it is a carrier."""
    if not (isinstance(kind, type) and issubclass(kind, Carrier)) or base is not object or state:
        raise NotUsidError("it makes an object in a way that carries more than numbers")
    return kind()


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise NotUsidError(f"it asks for text as {encoding!r}")
    return text.encode("latin-1")


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(bytearray(buffer), dtype).reshape(shape, order=order)


_OURS: dict[tuple[str, str], Any] = {
    ("copyreg", "_reconstructor"): _reconstructed,
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("_codecs", "encode"): _encoded,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
}


class _Unpickler(pickle.Unpickler):
    """Takes arrays of NumPy and carriers of numbers, and refuses everything else by name."""

    def __init__(self, raw: bytes, carriers: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(raw), encoding="latin-1")
        self._carriers = carriers

    def find_class(self, module: str, name: str) -> Any:
        known = _PLAIN.get((module, name)) or _OURS.get((module, name))
        if known is not None:
            return known
        if module.startswith(_NUMPY_CORE):
            last = module.rpartition(".")[2]
            if (last, name) in _FROM_NUMPY:
                return super().find_class(f"numpy._core.{last}", name)
        if f"{module}.".startswith(self._carriers) and "." not in name:
            return _carrier(module, name)
        raise NotUsidError(
            f"it asks for {module}.{name}, and nothing that stands in a file is ever run"
        )


def unpickled(path: str, carriers: tuple[str, ...]) -> Any:
    """What is in a pickle: numbers, text, arrays, tuples, lists and dicts of them, and carriers.

    Parameters
    ----------
    path : of the file
    carriers : beginnings of the names of modules ("PYME.") whose objects become carriers

    Raises
    ------
    NotUsidError : where it asks for anything else, which is not done
    DamagedStoreError : where it is no whole pickle
    """
    with open(path, "rb") as file:
        raw = file.read()
    try:
        return _Unpickler(raw, carriers).load()
    except NotUsidError as error:
        raise NotUsidError(f"{path!r} is refused: {error}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise DamagedStoreError(f"{path!r} is no whole file of its kind ({error})") from error
