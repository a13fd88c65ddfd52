"""Nodes of Zarr v2: three small files where v3 has one, shown as v3 has them.

`.zgroup` and `.zarray` say what a node is, `.zattrs` has its attributes. The names of dimensions
are an attribute there, `_ARRAY_DIMENSIONS`, by which xarray finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

GROUP, ARRAY, ATTRS = ".zgroup", ".zarray", ".zattrs"
FILES = (GROUP, ARRAY, ATTRS)
COPIES = ".zmetadata"
DIMENSIONS = "_ARRAY_DIMENSIONS"
_KINDS = {"group": GROUP, "array": ARRAY}


def node_from(load: Callable[[str], Any]) -> dict[str, Any] | None:
    """The node of a folder, as a `zarr.json` would describe it; None where there is none.

    Parameters
    ----------
    load : gives the content of a file of the folder, None where there is none
    """
    node = load(GROUP)
    kind = "group"
    if node is None:
        node, kind = load(ARRAY), "array"
    if node is None:
        return None
    if not isinstance(node, dict) or node.get("zarr_format") != 2:
        return {}
    attributes = load(ATTRS) or {}
    if kind == "array" and isinstance(attributes, dict) and DIMENSIONS in attributes:
        node["dimension_names"] = attributes.pop(DIMENSIONS)
    return {**node, "node_type": kind, "attributes": attributes}


def files_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """What the files of a node have, by their names: its attributes last."""
    kind = _KINDS[node["node_type"]]
    own = ("attributes", "node_type", "dimension_names", "consolidated_metadata")
    attributes = dict(node["attributes"])
    if "dimension_names" in node:
        attributes[DIMENSIONS] = node["dimension_names"]
    return {kind: {key: node[key] for key in node if key not in own}, ATTRS: attributes}


def consolidated(nodes: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """What `.zmetadata` has of some nodes, each with its path; that of the root is empty."""
    copies = {
        f"{path}/{name}".lstrip("/"): content
        for path, node in nodes
        for name, content in files_of(node).items()
    }
    return {"zarr_consolidated_format": 1, "metadata": copies}


def names_in(copies: Mapping[str, Any]) -> list[str]:
    """The paths of all nodes that the content of a `.zmetadata` has."""
    keys = copies.get("metadata", {})
    return [key.rpartition("/")[0] for key in keys if key.endswith((GROUP, ARRAY)) and "/" in key]
