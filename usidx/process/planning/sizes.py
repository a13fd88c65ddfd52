"""How large the values of tasks are, and what factorising a matrix takes besides.

dask notes shapes and types of the arrays that people get, but not of the steps between: a QR
decomposition of blocks is a pair for each, factors that are stacked, and the pair of these.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from usidx.process.planning.reading import Graph

# Modules of functions that factorise and solve; they work in double precision.
_FACTORISING = ("numpy.linalg", "scipy.linalg", "dask.array.linalg")
_DOUBLE = 8
# Matrices of the size of what goes in that are in memory meanwhile, as was measured.
_TIMES = {"qr": 4, "_wrapped_qr": 4, "svd": 6}
_USUAL_TIMES = 3
_PRODUCTS = ("dot", "dotmany", "_tensordot", "_matmul")


@dataclass(frozen=True)
class Value:
    """What a task gives.

    Parameters
    ----------
    shape : of an array
    itemsize : bytes of each of its values
    parts : what it is a tuple of, where it is none
    """

    shape: tuple[int, ...] = ()
    itemsize: int = 0
    parts: tuple[Value, ...] = ()

    @property
    def nbytes(self) -> int:
        """Of all of it; 0 where that is not known."""
        if self.parts:
            return sum(each.nbytes for each in self.parts)
        return math.prod(self.shape) * self.itemsize


UNKNOWN = Value()


def values_in(graph: Graph, layers: Mapping[str, Any]) -> dict[Any, Value]:
    """The Value of each task of a graph, as dask notes it, or as it follows from what goes in.

    Parameters
    ----------
    layers : that the graph is made of
    """
    from dask.core import toposort

    found: dict[Any, Value] = {}
    for key in toposort(graph):
        noted = noted_of(key, layers)
        found[key] = _given_by(graph[key], found) if noted is None else noted
    return found


def noted_of(key: Any, layers: Mapping[str, Any]) -> Value | None:
    """The chunk that a key is of an array; None where it is of none."""
    name, *place = key if isinstance(key, tuple) else (key,)
    noted = getattr(layers.get(name), "collection_annotations", None) or {}
    chunks, dtype = noted.get("chunks"), noted.get("dtype")
    if chunks is None or dtype is None or len(chunks) != len(place):
        return None
    sizes = tuple([along[at] for along, at in zip(chunks, place, strict=True)])
    if any(math.isnan(size) for size in sizes):
        return None
    return Value(sizes, np.dtype(dtype).itemsize)


def factorises(node: Any) -> bool:
    """Whether a task decomposes a matrix, or solves with one."""
    module = getattr(getattr(node, "func", None), "__module__", None) or ""
    return module.startswith(_FACTORISING)


def working(key: Any, node: Any, values: Mapping[Any, Value]) -> int:
    """Bytes that a task takes for its work, with what it gives; 0 where that is nothing special."""
    given = [values[each] for each in node.dependencies]
    if factorises(node):
        count = sum(math.prod(each.shape) for each in given if each.itemsize)
        return _DOUBLE * count * _TIMES.get(node.func.__name__, _USUAL_TIMES)
    if getattr(getattr(node, "func", None), "__name__", "") not in _PRODUCTS:
        return 0
    # matrices of another type than the product are converted
    size = values[key].itemsize
    cast = sum(math.prod(each.shape) * size for each in given if 0 < each.itemsize < size)
    return values[key].nbytes + cast


def _given_by(node: Any, values: Mapping[Any, Value]) -> Value:
    """The Value of a task of which nothing is noted; UNKNOWN where it does not follow either."""
    from dask._task_spec import Alias, DataNode

    if isinstance(node, Alias):
        return values[node.target]
    if isinstance(node, DataNode):
        return UNKNOWN  # was in memory before
    given = [values[key] for key in node.dependencies]
    if not given or not all(each.itemsize or each.parts for each in given):
        return UNKNOWN
    name = getattr(node.func, "__name__", "")
    if node.func is operator.getitem and len(given) == 1:
        return _item(given[0], getattr(node.args[1], "value", node.args[1]))
    if name == "vstack" and all(len(each.shape) == 2 for each in given):
        rows = sum(each.shape[0] for each in given)
        return Value((rows, given[0].shape[1]), given[0].itemsize)
    if name in ("dot", "dotmany") and len(given) == 2:
        return _product(given)
    if factorises(node) and all(len(each.shape) == 2 for each in given):
        return _factors(name, given[-1], full=node.kwargs.get("full_matrices", True) is not False)
    return UNKNOWN


def _item(value: Value, index: Any) -> Value:
    """A part of a tuple, or slices of an array."""
    if value.parts:
        return value.parts[index] if isinstance(index, int) else UNKNOWN
    if not isinstance(index, tuple) or not all(isinstance(each, slice) for each in index):
        return UNKNOWN
    sizes = [len(range(*each.indices(n))) for each, n in zip(index, value.shape, strict=False)]
    return Value((*sizes, *value.shape[len(sizes) :]), value.itemsize)


def _product(given: list[Value]) -> Value:
    """At most the longest sides of two matrices, of which it is not known which comes first."""
    if any(len(each.shape) != 2 for each in given):
        return UNKNOWN
    one, other = (each.shape for each in given)
    fits = [(a[0], b[1]) for a, b in ((one, other), (other, one)) if a[1] == b[0]] or [
        (max(one), max(other))
    ]
    return Value(max(fits, key=math.prod), max(each.itemsize for each in given))


def _factors(name: str, matrix: Value, *, full: bool) -> Value:
    """What a matrix is decomposed into; another of its shape for other functions."""
    (m, n), size = matrix.shape, matrix.itemsize
    k = min(m, n)
    if name in ("qr", "_wrapped_qr"):
        return Value(parts=(Value((m, k), size), Value((k, n), size)))
    if name == "svd":
        left, right = ((m, m), (n, n)) if full else ((m, k), (k, n))
        return Value(parts=(Value(left, size), Value((k,), size), Value(right, size)))
    if name == "lu":
        return Value(parts=(Value((m, m), size), Value((m, k), size), Value((k, n), size)))
    return matrix
