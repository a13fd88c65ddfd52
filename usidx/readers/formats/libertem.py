"""Files of detectors that are read through LiberTEM: SEQ, FRMS6 and K2IS.

No real file of these kinds was at hand when this was written; made-up SEQ and FRMS6 files were
tried.
"""

from __future__ import annotations

import functools
import os
import re
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from usidx.errors import DamagedStoreError, NotUsidError
from usidx.model.dimension import Array
from usidx.readers.base import Foreign, Reader, spectroscopic
from usidx.readers.closing import let_go
from usidx.readers.one_by_one import FrameArray
from usidx.readers.raw import FileIdentity
from usidx.readers.scans import scan

_SEQ = b"\xed\xfe\0\0"
_SEQ_SIZES = struct.Struct("<28xi548xI")  # version, and bytes from one frame to the next
_FRMS6 = b"\x00\x04\x40\x00"  # sizes of the header of a file and of a frame
_K2IS = b"\xff\xff\x00\x55"


def _kind(path: str, head: bytes) -> str | None:
    """What LiberTEM calls the kind of a file, None for any other."""
    if head.startswith(_SEQ):
        return "seq"
    if head.startswith(_FRMS6) and head[7:8] == b"\x06":
        return "frms6"
    if b"[measurementInfo]" in head:
        return "frms6"
    if head.startswith(_K2IS) and re.search(r"_?\d\.bin$", path.lower()):
        return "k2is"
    return "k2is" if path.lower().endswith(".gtg") and head.startswith(b"GTG") else None


def _claims(path: str, head: bytes) -> bool:
    return _kind(path, head) is not None


def read(
    path: str,
    *,
    nav_shape: Sequence[int] | int | None = None,
    sync_offset: int = 0,
    fill_value: Any = None,
    corrected: bool = False,
) -> Sequence[Foreign]:
    """The frames of a file and of those that belong to it, as LiberTEM reads them.

    Parameters
    ----------
    nav_shape : shape of the scan; all frames along one axis when None
    sync_offset, fill_value : as for bare frames
    corrected : by the dark frame, the gain and the dead pixels that LiberTEM finds beside the
        file. Values are floats then
    """
    with open(path, "rb") as file:
        kind = _kind(path, file.read(512))
    if kind is None:
        raise NotUsidError(f"{path!r} is neither a SEQ, nor a FRMS6, nor a K2IS file")
    if kind == "seq":
        _check_whole(path)
    try:
        dataset = _dataset(path, kind, None)
    except Exception as error:
        let_go(error)
        raise DamagedStoreError(
            f"LiberTEM cannot read {path!r} as {kind.upper()} ({error}); it is damaged, or one of "
            "the files that belong to it is missing"
        ) from error
    count = int(dataset.meta.image_count)
    dtype = np.dtype(np.float32) if corrected else np.dtype(dataset.dtype).newbyteorder("=")
    identity = FileIdentity.of(path)
    load = functools.partial(_frames, path, kind, count, corrected, identity)
    shape = (count, *(int(n) for n in dataset.shape.sig))
    told = {str(each["name"]): str(each["value"]) for each in dataset.get_diagnostics()}
    frames = FrameArray(load, shape, dtype, (path, identity, kind, corrected))
    return [
        scan(
            "Raw_Data",
            frames,
            [spectroscopic("v", size=shape[1]), spectroscopic("u", size=shape[2])],
            nav_shape=nav_shape,
            sync_offset=sync_offset,
            fill_value=fill_value,
            quantity="Intensity",
            units="counts",
            attrs={f"{kind}.{name}": value for name, value in told.items()},
        )
    ]


def _check_whole(path: str) -> None:
    """Nothing, where a SEQ file ends with a frame; LiberTEM leaves out one that is cut short."""
    with open(path, "rb") as file:
        head = file.read(_SEQ_SIZES.size)
        size = os.fstat(file.fileno()).st_size
    if len(head) < _SEQ_SIZES.size:
        raise DamagedStoreError(f"{path!r} is cut short: {size} bytes, less than its header has")
    version, each = _SEQ_SIZES.unpack(head)
    start = 8192 if version >= 5 else 1024
    if each and (size - start) % each:
        raise DamagedStoreError(
            f"{path!r} is cut short: {size} bytes end within a frame of {each} bytes"
        )


def _dataset(path: str, kind: str, nav_shape: tuple[int, ...] | None) -> Any:
    """LiberTEM's data set of a file, with all its frames along one axis."""
    from libertem.executor.inline import InlineJobExecutor
    from libertem.io.dataset import load

    options: dict[str, Any] = {"sync_offset": 0} if nav_shape else {}
    shape = nav_shape or ((1,) if kind == "seq" else None)
    if shape:
        options["nav_shape"] = shape
    return load(kind, executor=InlineJobExecutor(), path=os.path.abspath(path), **options)


def _frames(
    path: str,
    kind: str,
    count: int,
    corrected: bool,
    identity: FileIdentity,
    numbers: Sequence[int],
) -> Iterable[Array]:
    """The frames of these numbers."""
    identity.check(path)
    from libertem.executor.inline import InlineJobExecutor
    from libertem.io.corrections import CorrectionSet
    from libertem.udf.base import UDFRunner
    from libertem.udf.raw import PickUDF

    chosen = np.zeros((count,), dtype=bool)
    chosen[list(numbers)] = True
    try:
        dataset = _dataset(path, kind, (count,))
        corrections = dataset.get_correction_data() if corrected else CorrectionSet()
        found = UDFRunner([PickUDF()]).run_for_dataset(
            dataset, InlineJobExecutor(), roi=chosen, corrections=corrections
        )
    except Exception as error:  # whatever LiberTEM raises for what it cannot read
        let_go(error)
        raise DamagedStoreError(
            f"LiberTEM cannot read frames of {path!r} ({type(error).__name__}: {error}); it is "
            "damaged, or one of the files that belong to it is missing"
        ) from error
    picked = np.asarray(found.buffers[0]["intensity"].data)
    places = np.cumsum(chosen) - 1
    for number in numbers:
        yield picked[places[number]]


READERS = (
    Reader(
        name="libertem",
        title="SEQ, FRMS6 and K2IS through LiberTEM (untested on real files)",
        extensions=(".seq", ".frms6", ".gtg"),
        claims=_claims,
        read=read,
        requires=("libertem",),
        extra="libertem",
    ),
)
