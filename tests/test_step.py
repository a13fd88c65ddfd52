"""A step is the function it is made of, with a name and a version."""

from __future__ import annotations

import importlib
import inspect
import pickle

import pytest

from usidx import steps
from usidx.errors import OptionError, PlanError
from usidx.step import Step, step
from usidx.testing import make_main


@step("Scaled", version="2", per_position=True)
def scaled(spectra, factor=2.0, *, offset):
    """Spectra times a factor.

    And more.
    """
    return spectra * factor + offset


def test_a_step_is_called_like_its_function() -> None:
    main = make_main()
    assert scaled(main, 3, offset=1).equals(main * 3 + 1)
    assert list(inspect.signature(scaled).parameters) == ["spectra", "factor", "offset"]
    assert (scaled.__name__, scaled.__doc__) == ("scaled", scaled.function.__doc__)
    assert (scaled.name, scaled.version, scaled.per_position) == ("Scaled", "2", True)
    assert scaled.summary == "Spectra times a factor."
    assert "'Scaled', version '2'" in repr(scaled)


def test_a_step_is_made_by_a_call_too() -> None:
    doubled = step("Doubled", lambda spectra: 2 * spectra, version="1")
    assert doubled(21) == 42
    assert step("Doubled", version="1")(lambda spectra: 2 * spectra)(21) == 42


def test_all_parameters_are_bound_with_their_defaults() -> None:
    assert scaled.parameters({"offset": 1}) == {"factor": 2.0, "offset": 1}


def test_everything_wrong_with_parameters_is_said_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        scaled.parameters({"facter": 3, "zzz": 1})
    message = str(caught.value)
    assert "no parameter 'facter' (did you mean 'factor'?)" in message
    assert "no parameter 'zzz';" in message
    assert "'offset' has no default" in message
    assert "Scaled(spectra, factor=2.0, *, offset)" in message


def test_free_keywords_are_accepted() -> None:
    free = step("Free", lambda spectra, **options: spectra, version="1")
    assert free.parameters({"anything": 1}) == {"anything": 1}


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [("", "1", "cannot name a tool"), ("a/b", "1", "cannot name a tool"), ("A", "", "version")],
)
def test_names_that_no_group_can_have_are_refused(name: str, version: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        step(name, version=version)


def test_a_function_without_a_source_is_refused() -> None:
    with pytest.raises(OptionError, match="first positional argument"):
        step("Nothing", lambda: None, version="1")
    with pytest.raises(OptionError, match="first positional argument"):
        step("Keyword", lambda *, spectra: spectra, version="1")
    with pytest.raises(OptionError, match="must be made of a function"):
        step("Number", 3, version="1")


def test_a_step_of_a_module_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(steps.fft_filter)) is steps.fft_filter


def test_registered_steps_are_found_by_tool_and_by_function() -> None:
    assert {"FFT_Filter", "Mean", "Peak_Response", "SHO_Guess", "Statistics"} <= set(
        steps.registered()
    )
    assert steps.find("FFT_Filter") is steps.find("fft_filter") is steps.fft_filter
    ours = [each for each in steps.registered().values() if each.place.startswith("usidx.")]
    assert all(isinstance(each, Step) and each.summary for each in ours)


def test_an_unknown_step_is_named_with_its_neighbours() -> None:
    with pytest.raises(PlanError, match=r"no registered step 'fft_filtr' \(did you mean"):
        steps.find("fft_filtr")


def test_people_register_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("usidx.step")  # usidx.step is the function
    monkeypatch.setattr(module, "_registry", dict(module._registry))
    assert steps.register(scaled) is scaled
    assert steps.find("Scaled") is scaled
    assert steps.register(scaled) is scaled  # the cell was executed again
    other = step("Scaled", lambda spectra: spectra, version="2")
    with pytest.raises(OptionError, match="a step named 'Scaled' is registered already"):
        steps.register(other)


def test_a_function_called_like_a_step_of_usidx_does_not_take_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("usidx.step")
    monkeypatch.setattr(module, "_registry", dict(steps.registered()))

    def crop(data):
        return data

    def lonely(data):
        return data

    for name, function in (("My_Crop", crop), ("First", lonely), ("Second", lonely)):
        module._registry[name] = step(name, function, version="1")
    assert steps.find("crop") is steps.crop
    assert steps.find("my_crop") is module._registry["My_Crop"]
    with pytest.raises(PlanError, match="may be any of First, Second"):
        steps.find("lonely")
