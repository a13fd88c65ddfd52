"""usidx: lazy, labelled Universal Spectroscopy and Imaging Data, and steps that run out of core.

da = usidx.open("scan.h5")                  # the raw Main as a lazy xarray.DataArray
da.usid                                     # what it is
da.usid.process(step, **parameters).run()   # a result group beside it
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from usidx import accessor as _accessor  # noqa: F401  (registers .usid on what xarray has)

# Not lazily: the name is that of its module, too, which an import of it would leave here.
from usidx.step import step

if TYPE_CHECKING:
    from usidx import errors, steps, testing
    from usidx.arrays.making import from_array
    from usidx.arrays.real import from_real
    from usidx.exporting import to_h5usid, to_netcdf, to_zarr
    from usidx.model.dimension import Dimension
    from usidx.opening import list_mains, open, open_tree
    from usidx.recipes import read_recipe
    from usidx.stacking import stack
    from usidx.validating import validate

    __version__: str

__all__ = [
    "Dimension",
    "__version__",
    "errors",
    "from_array",
    "from_real",
    "list_mains",
    "open",
    "open_tree",
    "read_recipe",
    "stack",
    "step",
    "steps",
    "testing",
    "to_h5usid",
    "to_netcdf",
    "to_zarr",
    "validate",
]

# Where the other public names live; each is imported when it is first asked for.
_PLACES = {
    "Dimension": "usidx.model.dimension",
    "from_array": "usidx.arrays.making",
    "from_real": "usidx.arrays.real",
    "list_mains": "usidx.opening",
    "open": "usidx.opening",
    "open_tree": "usidx.opening",
    "read_recipe": "usidx.recipes",
    "stack": "usidx.stacking",
    "to_h5usid": "usidx.exporting",
    "to_netcdf": "usidx.exporting",
    "to_zarr": "usidx.exporting",
    "validate": "usidx.validating",
}
_MODULES = ("errors", "steps", "testing")


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        value = getattr(importlib.import_module(_PLACES[name]), name)
    elif name in _MODULES:
        return importlib.import_module(f"usidx.{name}")
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'usidx' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("usidx")
    except PackageNotFoundError:
        # In a checkout that was not installed.
        return "0+unknown"
