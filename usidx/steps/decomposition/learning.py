"""scikit-learn, where it is installed."""

from __future__ import annotations

import importlib
from typing import Any

from usidx.errors import MissingDependencyError


def learning(name: str) -> Any:
    """A module of scikit-learn: "decomposition", "cluster", ...

    Raises
    ------
    MissingDependencyError : where it is not installed
    """
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"nmf, ica and kmeans need scikit-learn, which is not installed ({error}); "
            "pip install 'usidx[learn]'"
        ) from error
