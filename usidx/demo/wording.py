"""How numbers and values are worded on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def in_bytes(size: float) -> str:
    """ "268 MB": a size with three digits, in powers of 1000 as disks have them."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def in_time(seconds: float) -> str:
    """ "12 ms", "3.1 s", "2 min 05 s"."""
    if seconds < 0.01:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 1:
        return f"{1e3 * seconds:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def by_sign(sizes: Sequence[int], names: Sequence[str]) -> str:
    """ "Y 256 × X 256 × Frequency 512"."""
    return " × ".join(f"{name} {size}" for name, size in zip(names, sizes))


def as_json(value: Any) -> str:
    """JSON text of plain values, NumPy scalars and arrays; for scripts that read what we report."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and value != value or value in (float("inf"), float("-inf")):
        return str(value)  # JSON has no word for these
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)
