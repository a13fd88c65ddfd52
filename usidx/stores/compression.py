"""How values may be compressed, by the words that people write for all stores."""

from __future__ import annotations

from typing import Literal

from usidx.errors import OptionError, did_you_mean

Compression = Literal["lz4", "zstd", "gzip", "lzf"] | bool | None
"""A name; True for what suits the store, False for none, None for what the store does by itself."""

IN_ZARR, IN_HDF5 = ("lz4", "zstd"), ("gzip", "lzf")


def check_compression(asked: object) -> None:
    """Nothing, where `asked` is a Compression.

    Raises
    ------
    OptionError : where no store knows it
    """
    known = (*IN_ZARR, *IN_HDF5)
    if asked is not None and not isinstance(asked, bool) and asked not in known:
        raise OptionError(
            f"compression={asked!r} is not known{did_you_mean(str(asked), known)}; use "
            f"{', '.join(map(repr, IN_ZARR))} (Zarr), {', '.join(map(repr, IN_HDF5))} (HDF5), "
            "True for the usual one, or False for none"
        )


def codec_of(
    asked: Compression, known: tuple[str, ...], usual: str | None, store: str
) -> str | None:
    """The name of the codec that is meant; None for none.

    Parameters
    ----------
    asked : what was said
    known : names that the store can have; the first is meant by True
    usual : what the store does by itself
    store : its path, for messages

    Raises
    ------
    OptionError : for a name that the store cannot have

    Examples
    --------
    >>> codec_of(True, IN_HDF5, None, "scan.h5"), codec_of(None, IN_ZARR, "lz4", "scan.zarr")
    ('gzip', 'lz4')
    """
    check_compression(asked)
    if asked is None or isinstance(asked, bool):
        return usual if asked is None else known[0] if asked else None
    if asked not in known:
        raise OptionError(
            f"compression={asked!r} is none that {store!r} can have; use "
            f"{' or '.join(map(repr, known))}, or False for none"
        )
    return asked
