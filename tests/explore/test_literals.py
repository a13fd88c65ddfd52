"""Parameters written into scripts come back to the bit."""

from __future__ import annotations

import ast
import base64
import math
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from usidx.errors import PlanError
from usidx.explore.literals import ARRAY, literal, remark, text
from usidx.model.provenance import canonical, dump_parameters

NUMBERS = st.one_of(st.integers(), st.floats(), st.complex_numbers(), st.booleans(), st.none())
ARRAYS = hnp.arrays(
    st.sampled_from(["f4", "f8", "i2", "u8", "?", "c8", ">f4", "f2", ">i8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
)
KEYS = st.text().filter(lambda key: not key.startswith("$"))
VALUES = st.recursive(
    NUMBERS | st.text() | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def read(written: str) -> Any:
    """What a script has where `written` stands in it."""
    names: dict[str, Any] = {"np": np, "base64": base64}
    exec(ARRAY, names)
    return eval(f"(\n{written}\n)", names)


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_values_come_back(value: Any) -> None:
    value = canonical({"value": value})["value"]
    found = read(literal(value, "    "))
    assert dump_parameters({"value": found}) == dump_parameters({"value": value})


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        -math.inf,
        -0.0,
        complex(-0.0, math.nan),
        np.array([math.nan, -0.0, 1.5], "f4"),
        np.array([5e-324, 1.7976931348623157e308]),
        np.array([2**64 - 1, 0], "u8"),
        np.zeros((0, 3), "i2"),
        np.arange(100.0).reshape(4, 25),
        "a\n\"'\\\u2028\x00é",
    ],
)
def test_odd_values_come_back(value: Any) -> None:
    found = read(literal(value))
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.tobytes() == value.tobytes()
    elif isinstance(value, (float, complex)):
        assert repr(found) == repr(value)
    else:
        assert found == value


@settings(deadline=None)
@given(st.text())
def test_texts_stay_texts(value: str) -> None:
    assert ast.literal_eval(text(value)) == value
    assert text(value).isascii()
    # and comments stay comments
    assert ast.parse(f"x = 1  # {remark(value)}\n# {remark(value)}").body[0].lineno == 1
    assert len(ast.parse(f"# {remark(value)}").body) == 0


def test_what_no_script_can_have() -> None:
    with pytest.raises(PlanError, match="is a object, which no script can have in it"):
        literal([object()])
