"""Functions that reach other processes, also lambdas, closures and those of notebooks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from usidx.model.dimension import Array


@dataclass(frozen=True, eq=False)
class Portable:
    """A function of a frame that pickles by what it does, not only by its name."""

    function: Callable[[Array], Any]

    def __call__(self, values: Array) -> Any:
        return self.function(values)

    def __reduce__(self) -> Any:
        import cloudpickle

        return _loaded, (cloudpickle.dumps(self.function),)

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        return type(self).__name__, normalize_token(self.function)


def _loaded(data: bytes) -> Portable:
    import cloudpickle

    return Portable(cloudpickle.loads(data))


def called(function: Callable[..., Any]) -> str:
    """What a function is called in messages and attributes."""
    if isinstance(function, functools.partial):
        given = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in function.keywords.items())]
        return f"{called(function.func)}({', '.join(given)})"
    if getattr(function, "__qualname__", None):
        return str(function.__qualname__)
    return str(function)
