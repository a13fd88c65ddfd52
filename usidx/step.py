"""A step: a plain function on lazy arrays, with a name and a version that its results carry."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from usidx.errors import OptionError, PlanError, did_you_mean
from usidx.model.names import clean_tool

P = ParamSpec("P")
R = TypeVar("R")

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, eq=False)
class Step(Generic[P, R]):
    """A function from arrays to arrays that knows its name and version; called like the function.

    Parameters
    ----------
    name : the tool's name, as result groups carry it ("SHO_Fit" in "Raw_Data-SHO_Fit_000")
    version : changed by its author whenever the same input would give another result
    per_position : whether each position is computed from that position alone
    function : DataArray or Dataset -> DataArray or Dataset, lazily; the source comes first
    group : the tool that groups of its results are named after, where that is another one
    holds : bytes that a run has in memory besides its blocks, of the same arguments as the
        function; None where that is next to nothing
    """

    name: str
    version: str
    per_position: bool
    function: Callable[P, R]
    group: str = ""
    holds: Callable[..., int] | None = None

    def __post_init__(self) -> None:
        # __wrapped__, __doc__, __module__ and so on, for help(), inspect.signature and doctest
        for attribute in functools.WRAPPER_ASSIGNMENTS:
            if hasattr(self.function, attribute):
                object.__setattr__(self, attribute, getattr(self.function, attribute))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Whatever the function returns for these arguments."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<usidx step {self.name!r}, version {self.version!r}: {self.place}{self.signature}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        # The decorated name is the Step, so pickling the bare function by that name would fail.
        if self._is_at_its_place():
            return str(getattr(self.function, "__qualname__", ""))
        told = (self.name, self.version, self.per_position, self.function, self.group, self.holds)
        return (Step, told)

    @property
    def signature(self) -> inspect.Signature:
        """Of the function, the source included."""
        return inspect.signature(self.function)

    @property
    def place(self) -> str:
        """Where the function is defined, "module:name"; a hint for people, never imported."""
        module = getattr(self.function, "__module__", None) or "?"
        return f"{module}:{getattr(self.function, '__qualname__', repr(self.function))}"

    @property
    def summary(self) -> str:
        """The first line of the function's docstring without its formula, "" where it has none."""
        first = (inspect.getdoc(self.function) or "").split("\n", 1)[0]
        return re.sub(r"[:,]? :math:`[^`]*`", "", first)

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters but the source, by name: those given, and the defaults of the others.

        Raises
        ------
        PlanError : naming every parameter that is unknown or missing
        """
        accepted = list(self.signature.parameters.values())[1:]
        names = [each.name for each in accepted if each.kind not in _VARIABLE]
        free = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted)
        wrong = [
            f"there is no parameter {name!r}{did_you_mean(name, names)}"
            for name in given
            if name not in names and not free
        ]
        wrong += [
            f"{each.name!r} has no default and was not given"
            for each in accepted
            if each.kind not in _VARIABLE and each.default is each.empty and each.name not in given
        ]
        if wrong:
            raise PlanError(
                f"step {self.name!r} cannot take these parameters: {'; '.join(wrong)}. "
                f"Its signature is {self.name}{self.signature}"
            )
        defaults = {each.name: each.default for each in accepted if each.default is not each.empty}
        return defaults | dict(given)

    def _is_at_its_place(self) -> bool:
        import sys

        here: Any = sys.modules.get(getattr(self.function, "__module__", "") or "")
        for part in str(getattr(self.function, "__qualname__", "")).split("."):
            here = getattr(here, part, None)
        return here is self


@overload
def step(
    name: str,
    function: None = None,
    *,
    version: str,
    per_position: bool = False,
    group: str = "",
    holds: Callable[..., int] | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
@overload
def step(
    name: str,
    function: Callable[P, R],
    *,
    version: str,
    per_position: bool = False,
    group: str = "",
    holds: Callable[..., int] | None = None,
) -> Step[P, R]: ...
def step(
    name: str,
    function: Callable[P, R] | None = None,
    *,
    version: str,
    per_position: bool = False,
    group: str = "",
    holds: Callable[..., int] | None = None,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """A Step made of a function, as a decorator or as a call.

    Parameters
    ----------
    name : the tool's name in result groups; '-' becomes '_'
    function : the function, when used as a call
    version : change it whenever the same input would give another result; results of another
        version are never taken for results of this one
    per_position : promise that each position is computed from that position alone, which lets
        previews and runs hand over as few positions as they like
    group : the tool that groups of its results are named after, where that is not `name`: one
        that other programs know, or that of a step whose results this one's are part of
    holds : bytes that a run has in memory besides its blocks, however many of these are computed
        at once, such as a sample of the source; called like the function. `estimate()` and
        `memory=` count it

    Raises
    ------
    OptionError : for a name that cannot be part of a group's name, or an empty version

    Examples
    --------
    >>> @step("Peak_Response", version="1")
    ... def peak_response(spectra, *, along="Frequency"):
    ...     return abs(spectra).max(along)
    >>> peak_response.name, peak_response.version
    ('Peak_Response', '1')
    >>> step("Doubled", lambda spectra: 2 * spectra, version="1")(4)
    8
    """
    tool = clean_tool(name)
    if not isinstance(version, str) or not version:
        raise OptionError(
            f"step {tool!r} needs a version as text that is not empty, such as version='1'; "
            f"got {version!r}"
        )

    def make(made_of: Callable[P, R]) -> Step[P, R]:
        _check_function(tool, made_of)
        return Step(tool, version, per_position, made_of, clean_tool(group) if group else "", holds)

    return make if function is None else make(function)


def _check_function(tool: str, function: Callable[..., Any]) -> None:
    if not callable(function):
        raise OptionError(f"step {tool!r} must be made of a function, got {function!r}")
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0].kind if parameters else None
    if first not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    ):
        raise OptionError(
            f"step {tool!r} must take its source as the first positional argument, but the "
            f"signature is {inspect.signature(function)}"
        )


_registry: dict[str, Step[..., Any]] = {}


def register(made: Step[P, R]) -> Step[P, R]:
    """The Step itself, after making it known by name to `usidx run` and to `result.resume()`.

    Raises
    ------
    OptionError : where another function of the same name is registered already
    """
    known = _registry.get(made.name)
    # the same place again is a cell or a module that was executed twice
    if known is not None and known.place != made.place:
        raise OptionError(
            f"a step named {made.name!r} is registered already ({known.place}); give "
            f"{made.place} another name"
        )
    _registry[made.name] = made
    return made


def registered() -> Mapping[str, Step[..., Any]]:
    """Every registered step by its name: those of usidx, and those people registered."""
    # By name, because steps/ is a floor above: its modules register themselves when imported.
    importlib.import_module("usidx.steps")
    return MappingProxyType(dict(sorted(_registry.items())))


def find_step(name: str) -> Step[..., Any]:
    """The registered step of that name, in any case, or whose function has that name.

    Raises
    ------
    PlanError : where there is none, with those that come near, or several

    Examples
    --------
    >>> find_step("fft_filter").name
    'FFT_Filter'
    """
    steps = registered()
    if name in steps:
        return steps[name]
    functions = [(str(getattr(each, "__name__", "")), each) for each in steps.values()]
    # "fft_filter" is FFT_Filter before it is another step whose function is called so
    found = [each for each in steps.values() if each.name.lower() == name.lower()]
    found = found or [each for known, each in functions if known == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise PlanError(
            f"{name!r} may be any of {', '.join(each.name for each in found)}: write that name"
        )
    near = did_you_mean(name, [*steps, *(known for known, _ in functions)])
    raise PlanError(
        f"there is no registered step {name!r}{near}; "
        f"there are {', '.join(steps)}. usidx.steps.register(step) makes others known"
    )
