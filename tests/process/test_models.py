"""Models of lmfit are known by what they compute, and where they begin."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import usidx
from usidx import steps
from usidx.errors import PlanError
from usidx.process.planning.models import is_model, model_token

lmfit = pytest.importorskip("lmfit")
models = pytest.importorskip("lmfit.models")
X = np.linspace(0, 10, 48)


def made(text: str, **values: Any) -> Callable[..., Any]:
    scope = {"np": np, **values}
    exec(text, scope)
    return scope["f"]


def token(function: Callable[..., Any], **kwargs: Any) -> str:
    return model_token(lmfit.Model(function, **kwargs))


def test_an_edited_function_makes_another_model() -> None:
    text = "def f(x, a=1.0, b=2.0): return a * np.exp(-b * x)"
    assert token(made(text)) == token(made(text + "  # decays"))
    assert token(made(text)) != token(made(text.replace("-b", "b")))
    assert token(made(text)) != token(made(text), prefix="u_")
    assert token(made(text)) != token(made(text.replace("a=1.0", "a=1.5")))
    calls = "def f(x, a=1.0): return a * g(x)"
    one, two = (made(f"def f(x): return {n} * x") for n in (1, 2))
    assert token(made(calls, g=one)) != token(made(calls, g=two))


def test_hints_and_options_count() -> None:
    for kwargs in ({"value": 3.0}, {"min": 0.1}, {"max": 7}, {"vary": False}, {"expr": "center"}):
        model = models.GaussianModel()
        model.set_param_hint("sigma", **kwargs)
        assert model_token(model) != model_token(models.GaussianModel())
    assert model_token(models.StepModel(form="erf")) != model_token(models.StepModel(form="linear"))


def test_composite_models_are_known_by_their_parts() -> None:
    def both(op: str) -> Any:
        peak, line = models.GaussianModel(prefix="a_"), models.LinearModel()
        return peak + line if op == "+" else peak * line

    assert model_token(both("+")) == model_token(both("+")) != model_token(both("*"))
    assert model_token(both("+")) != model_token(both("+") + models.GaussianModel(prefix="b_"))
    begun = both("+")
    begun.set_param_hint("a_center", value=3.0)
    assert model_token(begun) != model_token(both("+"))
    assert [is_model(each) for each in (begun, both, "gaussian")] == [True, False, False]


def test_another_session_gives_the_same() -> None:
    code = (
        "import numpy as np, lmfit, lmfit.models as m\n"
        "from usidx.process.planning.models import model_token\n"
        "def f(x, a=1.0): return a * np.cos(x)\n"
        "print(model_token(lmfit.Model(f, prefix='u_') + m.ConstantModel() * m.VoigtModel()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(found) == 1


def test_what_cannot_be_told_apart_is_refused_with_advice() -> None:
    thing = object()
    for model in (models.ExpressionModel("a * x + b"), lmfit.Model(lambda x, a=1.0: a or thing)):
        with pytest.raises(PlanError, match=r"write the model as a function f\(x, a, b"):
            model_token(model)

    # what a closure holds is told apart where it is plain
    def raised(offset: int) -> Callable[..., Any]:
        return lambda x, a=1.0: a * x + offset

    assert token(raised(1)) == token(raised(1)) != token(raised(2))


def test_a_run_is_found_again_and_a_changed_model_makes_another(tmp_path: pathlib.Path) -> None:
    def model(width: float = 0.8) -> Any:
        whole = models.LorentzianModel(prefix="a_") + models.ConstantModel()
        whole.set_param_hint("a_center", value=4.0, min=1)
        whole.set_param_hint("a_sigma", value=width)
        return whole

    rng = np.random.default_rng(4)
    truth = rng.uniform((2, 3.5, 0.5, -1), (4, 4.5, 1.2, 1), (40, 4))
    values = np.stack([
        model().eval(x=X, a_amplitude=a, a_center=c, a_sigma=s, c=o) for a, c, s, o in truth
    ])  # fmt: skip
    main = usidx.from_array(
        values,
        "Counts",
        "V",
        position=[usidx.Dimension("X", "m", 40)],
        spectroscopic=[usidx.Dimension("Energy", "eV", X)],
    )
    main.usid.to_h5usid(tmp_path / "map.h5")
    stored = usidx.open(tmp_path / "map.h5")
    small = {"memory": "40 kB", "workers": 1}

    def stop(block: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored.usid.process(steps.curve_fit, model=model()).run(on_block=stop, **small)
    (begun,) = stored.usid.results()
    assert begun.status == "partial"
    assert begun.done > 0
    first = stored.usid.process(steps.curve_fit, model=model()).run(**small)
    assert (first.path, first.status) == (begun.path, "complete")
    assert stored.usid.process(steps.curve_fit, model=model()).run().path == first.path
    np.testing.assert_allclose(first.open()["a_center"].values.ravel(), truth[:, 1], rtol=1e-6)
    assert stored.usid.process(steps.curve_fit, model=model(0.7)).run().path != first.path
    with pytest.raises(PlanError, match="hand it over again"):
        stored.usid.process(steps.curve_fit, **first.record.parameters)
