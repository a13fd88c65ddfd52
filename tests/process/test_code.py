"""Functions are known by what they do."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from dask.base import tokenize

from usidx.process.planning.code import code_digest, function_token


def made(text: str, **values: Any) -> Callable[..., Any]:
    """The function f of a piece of code."""
    scope = {"np": np, **values}
    exec(text, scope)
    return scope["f"]


def same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    return tokenize(function_token(one)) == tokenize(function_token(other))


def test_an_edit_is_seen_and_a_comment_is_not() -> None:
    first = made("def f(x): return np.abs(x) + 1")
    assert same(first, made("\n\ndef f(x):\n    'Says it.'\n    return np.abs(x) + 1  # why"))
    for edited in (
        "def f(x): return np.abs(x) + 2",
        "def f(x): return np.sin(x) + 1",
        "def f(x, y=3): return np.abs(x) + 1",
        "def f(x): return [np.abs(each) + 1 for each in x]",
    ):
        assert not same(first, made(edited))
    assert code_digest(first) != code_digest(made("def f(x): return np.abs(x) + 2"))


def test_values_a_function_refers_to_count() -> None:
    text = "def f(x): return x + offset"
    assert same(made(text, offset=1), made(text, offset=1))
    assert not same(made(text, offset=1), made(text, offset=2))
    assert not same(made(text, offset=np.arange(3)), made(text, offset=np.arange(3) + 1))
    inside = "def f(x): return [g(each) for each in x]"
    one, two = (made(f"def f(x): return {n} * x") for n in (1, 2))
    assert not same(made(inside, g=one), made(inside, g=two))
    assert not same(functools.partial(one, 1), functools.partial(one, 2))


def test_closures_and_defaults_count() -> None:
    def closed(value: int) -> Callable[..., Any]:
        return lambda x: x + value

    assert same(closed(1), closed(1))
    assert not same(closed(1), closed(2))
    assert not same(made("def f(x, *, y=1): return y"), made("def f(x, *, y=2): return y"))


def test_a_function_that_calls_itself_ends() -> None:
    text = "def f(x): return f(x - 1) if x else 0"
    assert same(made(text), made(text))


def test_functions_of_libraries_go_by_their_names() -> None:
    assert code_digest(np.sin) == ""
    assert same(np.sin, np.sin)
    assert not same(np.sin, np.cos)
    assert not same(np.mean, np.median)


def test_another_session_gives_the_same() -> None:
    text = "def f(x): return x in {'alpha', 'beta', 'gamma'} and np.mean(x)"
    code = (
        "import numpy as np\nfrom dask.base import tokenize\n"
        "from usidx.process.planning.code import function_token\n"
        f"{text}\nprint(tokenize(function_token(f)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(found) == 1
