"""The contract of stores, kept by each of them."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import pytest

from tests.stores.contract import Kind, StoreContract
from usidx.model.main import MainSpec
from usidx.stores.zarr import ZarrStore


def make_zarr(folder: pathlib.Path, mains: Sequence[tuple[MainSpec, Any]]) -> str:
    from usidx.stores.zarr.draft import draft

    path = str(folder / "scan.zarr")
    with draft(path, group=None, overwrite=False) as new:
        for spec, values in mains:
            targets = new.add_main(spec, (2, *spec.shape[1:]))
            names = spec.dtype.names
            for place, target in enumerate(targets):
                target[...] = values if names is None else values[names[place]]
    return path


ZARR = Kind("zarr", make_zarr, lambda path: ZarrStore(path))


@pytest.fixture(params=[ZARR], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A kind of store."""
    found: Kind = request.param
    return found


class TestContract(StoreContract):
    """Every promise, over every kind of store."""
