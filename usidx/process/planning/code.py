"""What a Python function does, as a digest: the same in another session, another after an edit."""

from __future__ import annotations

import functools
import hashlib
import sys
import sysconfig
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

_LIBRARIES = tuple(
    path
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)


def code_digest(function: Callable[..., Any]) -> str:
    """Digest of the code of a function, "" where it has none (NumPy's functions).

    Comments, the docstring and the place of the code do not count, nor what the code calls.
    It begins with the version of Python, since each compiles the same text in its own way.
    """
    own = _unwrapped(function)
    if own is None:
        return ""
    text = repr(_parts(own.__code__, own.__doc__))
    return f"{sys.implementation.cache_tag}:{hashlib.sha256(text.encode()).hexdigest()}"


def function_token(function: Callable[..., Any]) -> str:
    """What tells a function from any other: its code, and all values and functions it refers to.

    Functions of libraries go by their names. Where something cannot be told from others of its
    kind, the token is another one each time.
    """
    return hashlib.sha256(repr(_token(function, ())).encode()).hexdigest()


def _token(value: Any, inside: tuple[Any, ...]) -> Any:
    from dask.base import tokenize

    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if isinstance(value, functools.partial):
        parts = [_token(each, inside) for each in (value.func, *value.args)]
        return (
            "partial",
            parts,
            {name: _token(each, inside) for name, each in value.keywords.items()},
        )
    own = _unwrapped(value)
    if own is None or _is_of_a_library(own):
        return tokenize(value)
    if own in inside:  # it calls itself
        return ("again", inside.index(own))
    inside = (*inside, own)
    names = _names(own.__code__)
    # some are names of attributes; a global of that name counts then without need
    used = {name: own.__globals__[name] for name in sorted(names) if name in own.__globals__}
    cells = [cell.cell_contents for cell in own.__closure__ or ()]
    held = [*used.items(), *enumerate(cells), *enumerate(own.__defaults__ or ())]
    held += sorted((own.__kwdefaults__ or {}).items())
    return (code_digest(own), [(name, _token(each, inside)) for name, each in held])


def _unwrapped(function: Any) -> FunctionType | None:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function if isinstance(function, FunctionType) else None


def _is_of_a_library(function: FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_LIBRARIES)


def _names(code: CodeType) -> set[str]:
    """Names of globals and attributes in a code and those inside it."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*(_names(each) for each in inner))


def _parts(code: CodeType, doc: str | None) -> tuple[Any, ...]:
    constants = tuple(_constant(None if each == doc else each) for each in code.co_consts)
    return (code.co_code, code.co_names, code.co_varnames, constants)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _parts(value, None)
    if isinstance(value, frozenset):  # in another order in each session
        return sorted(map(repr, value))
    return (type(value).__name__, repr(value))
