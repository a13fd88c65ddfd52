"""Pickles, of which arrays and numbers are taken; nothing that stands in a file is ever run.

Objects of classes that are known to carry numbers become a `Carrier` with the same attributes. What
else a pickle asks for is refused by name. NumPy's own functions are not given to it either: with
dtypes and buffers of its choice they would make arrays of addresses out of bytes in the file.
"""

from __future__ import annotations

import functools
import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array

# Kinds of numbers and texts; of objects arrays are lists here.
_CODES = re.compile(r"[<>=|]?(\?|b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU]\d{0,5}|O8?)")


class _Sealed(type):
    """Of classes that a pickle can name, and may not change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise NotUsidError(f"it changes the class {cls.__name__!r}")


class Carrier(metaclass=_Sealed):
    """What an object of another system carries: its attributes, and `args` that it was made of."""

    args: tuple[Any, ...]

    def __new__(cls, *args: Any) -> Carrier:
        made = super().__new__(cls)
        made.args = args
        return made

    def __init__(self, *args: Any) -> None:
        """Nothing: `args` are kept when it is made, which is all that is done with them."""


@functools.lru_cache(256)
def _carrier(module: str, name: str) -> type[Carrier]:
    """A class of carriers that has the name of the class in the file."""
    made: Any = _Sealed(name, (Carrier,), {"__module__": f"{__name__}: {module}"})
    return made  # type: ignore[no-any-return]


class _Given:
    """A function that a pickle may call, and nothing else."""

    __slots__ = ("_made_by",)
    _made_by: Callable[..., Any]

    def __init__(self, made_by: Callable[..., Any]) -> None:
        object.__setattr__(self, "_made_by", made_by)

    def __call__(self, *args: Any) -> Any:
        return self._made_by(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise NotUsidError(f"it changes a function of usidx ({name})")


class _Dtype:
    """A dtype of numbers, texts or objects, in the byte order that is told later."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or _CODES.fullmatch(code) is None:
            raise NotUsidError(f"it has values of the kind {code!r}")
        self.code = code
        self.order: Any = "="

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "=", "|") or any(each is not None for each in state[2:5]):
            raise NotUsidError("it has values that are made of parts")
        self.order = "=" if state[1] == "|" else state[1]

    @property
    def is_object(self) -> bool:
        return "O" in self.code

    @property
    def made(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """An array whose shape, dtype and bytes are told later; one of objects is a list."""

    __slots__ = ("values",)

    def __init__(self, kind: Any, *_: Any) -> None:
        if kind is not _NDARRAY:
            raise NotUsidError("it makes arrays of a class of its own")
        self.values: Any = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, is_fortran, raw = state[-4:]
        if isinstance(dtype, _Dtype) and dtype.is_object:
            if not isinstance(raw, list) or tuple(shape) != (len(raw),):
                raise NotUsidError("it has an array of objects along several axes")
            self.values = raw
        else:
            self.values = _filled(raw, dtype, shape, "F" if is_fortran else "C")


def _filled(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """An array of bytes, which a pickle has as a text where Python 2 wrote it."""
    if not isinstance(dtype, _Dtype) or dtype.is_object:
        raise NotUsidError("it has an array of a kind that is none of numbers")
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    if not isinstance(raw, (bytes, bytearray)):
        raise NotUsidError("it has an array without bytes")
    sizes = tuple(int(each) for each in shape)
    values: Array = np.frombuffer(bytes(raw), dtype.made)
    if any(each < 0 for each in sizes) or values.size != math.prod(sizes):
        raise DamagedStoreError(f"an array of shape {sizes} has {values.size} values")
    return values.reshape(sizes, order="F" if order == "F" else "C")


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    return _filled(raw, dtype, (), "C")[()]


def _no_array(*_: Any) -> Any:
    raise NotUsidError("it makes an array by hand")


def _reconstructed(kind: Any, base: Any, state: Any) -> Any:
    """What `copyreg` makes of an object of no base but object; it is a carrier."""
    if not (isinstance(kind, type) and issubclass(kind, Carrier)) or base is not object or state:
        raise NotUsidError("it makes an object in a way that carries more than numbers")
    return kind()


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise NotUsidError(f"it asks for text as {encoding!r}")
    return text.encode("latin-1")


_NDARRAY = _Given(_no_array)
_PLAIN: dict[tuple[str, str], Any] = {
    ("builtins", "object"): object,
    ("__builtin__", "object"): object,
    ("builtins", "list"): list,
    ("__builtin__", "list"): list,
    ("collections", "OrderedDict"): dict,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Given(_Dtype),
    ("copyreg", "_reconstructor"): _Given(_reconstructed),
    ("copy_reg", "_reconstructor"): _Given(_reconstructed),
    ("_codecs", "encode"): _Given(_encoded),
}
for _core in ("numpy.core", "numpy._core"):
    _PLAIN[f"{_core}.multiarray", "_reconstruct"] = _Given(_Array)
    _PLAIN[f"{_core}.multiarray", "scalar"] = _Given(_scalar)
    _PLAIN[f"{_core}.numeric", "_frombuffer"] = _Given(_filled)


class _Unpickler(pickle._Unpickler):
    """Takes arrays of NumPy and carriers of numbers, and refuses everything else by name.

    That of Python itself: the faster one takes as much memory as a number in a file says.
    """

    def __init__(self, raw: bytes, carriers: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(raw), encoding="latin-1")
        self._carriers = carriers

    def find_class(self, module: str, name: str) -> Any:
        known = _PLAIN.get((module, name))
        if known is not None:
            return known
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
        return _plain(_Unpickler(raw, carriers).load(), {})
    except NotUsidError as error:
        raise NotUsidError(f"{path!r} is refused: {error}") from error
    except Exception as error:  # a damaged pickle raises anything
        raise DamagedStoreError(f"{path!r} is no whole file of its kind ({error})") from error


def _plain(node: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """What was read, with arrays in place of those that are still to be filled."""
    if id(node) in known:
        return known[id(node)][1]
    if isinstance(node, _Array):
        if node.values is None:
            raise DamagedStoreError("an array has no values")
        made = _plain(node.values, known)
    elif isinstance(node, tuple):
        made = tuple(_plain(each, known) for each in node)
    else:
        made = node
        known[id(node)] = node, node  # before what is in it, which may be itself
        _make_plain(node, known)
    known[id(node)] = node, made
    return made


def _make_plain(node: Any, known: dict[int, tuple[Any, Any]]) -> None:
    if isinstance(node, list):
        node[:] = [_plain(each, known) for each in node]
    elif isinstance(node, (dict, Carrier)):
        items = node if isinstance(node, dict) else vars(node)
        for name, each in list(items.items()):
            items[name] = _plain(each, known)
    elif isinstance(node, (_Given, _Dtype, type)):
        raise NotUsidError("it holds something else than numbers")
