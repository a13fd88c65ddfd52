"""PYME's metadata in files of their own (.json, .md, .xml), which go with the image beside them."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.readers.base import Foreign, Reader
from usidx.readers.hierarchies import plain_attrs

_ENDINGS = (".json", ".md", ".xml")
_IMAGES = (".tif", ".tiff", ".h5", ".pzf", ".npy", ".pcs")
_LINE = re.compile(r"md\[['\"](?P<name>[^'\"]+)['\"]\]\s*=\s*(?P<value>.*)")
_NAMES = ("voxelsize.", "Camera.", "Protocol.", "StackSettings.", "Lasers.", "Positioning.")
_IN_JSON = re.compile(b'"(' + "|".join(map(re.escape, _NAMES)).encode() + b")")


def leaves_of_xml(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of each entry below an element, "Camera.ADOffset" and the like."""
    for each in node:
        name = f"{prefix}{str(each.tag).rpartition('}')[2]}"
        if "value" in each.attrib:
            text = each.get("value")
            kind = {"int": int, "float": float}.get(each.get("class"), str)
            try:
                yield name, kind(text)
            except ValueError:
                yield name, text
        yield from leaves_of_xml(each, f"{name}.")


def metadata_beside(path: str) -> dict[str, Any]:
    """The metadata of an image that PYME wrote beside it, by its name; {} where there are none.

    Raises
    ------
    DamagedStoreError : where they cannot be read
    """
    stem = os.path.splitext(path)[0]
    for ending in _ENDINGS:
        beside = f"{stem}{ending}"
        if os.path.isfile(beside):
            with open(beside, "rb") as file:
                head = file.read(8192)
            if _claims(beside, head):
                return plain_attrs(metadata_in(beside))
    return {}


def metadata_in(path: str) -> Mapping[str, Any]:
    """The entries of a file of metadata, by their names.

    Raises
    ------
    DamagedStoreError : where it is not whole
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    try:
        if path.lower().endswith(".json"):
            return dict(_leaves(json.loads(text)))
        if path.lower().endswith(".xml"):
            root = ElementTree.fromstring(text)
            return {
                name: value
                for each in root.iter()
                if str(each.tag).rpartition("}")[2] == "MetaData"
                for name, value in leaves_of_xml(each)
            }
    except (ValueError, ElementTree.ParseError) as error:
        raise DamagedStoreError(f"{path!r} is no whole file of metadata ({error})") from error
    matches = filter(None, map(_LINE.fullmatch, map(str.strip, text.splitlines())))
    return {each["name"]: _value(each["value"]) for each in matches}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(text: str) -> Any:
    """What a line says: a number, a text or a list, in quotes or without."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text.strip()


def _claims(path: str, head: bytes) -> bool:
    lower = path.lower()
    if lower.endswith(".json"):
        return head.lstrip().startswith(b"{") and _IN_JSON.search(head) is not None
    if lower.endswith(".md"):
        return re.match(rb"\s*(#.*\n\s*)*md\[['\"]", head) is not None
    return lower.endswith(".xml") and b"<PYMEImageData" in head


def read(path: str) -> Sequence[Foreign]:
    """Nothing: the metadata go with the image.

    Raises
    ------
    NotUsidError : saying with which one
    """
    stem = os.path.splitext(path)[0]
    found = [f"{stem}{each}" for each in _IMAGES if os.path.exists(f"{stem}{each}")]
    told = metadata_in(path)
    image = f"open {found[0]!r}" if found else f"there is none ({', '.join(_IMAGES)})"
    raise NotUsidError(
        f"{path!r} is no image: it is metadata of PYME ({len(told)} entries, such as "
        f"{', '.join(list(told)[:3])}), which go with the image of that name beside it; {image}"
    )


READERS = (
    Reader(
        name="pyme_metadata",
        title="metadata of PYME, read with the image beside it (.json, .md, .xml)",
        extensions=_ENDINGS,
        claims=_claims,
        read=read,
        is_lazy=False,
    ),
)
