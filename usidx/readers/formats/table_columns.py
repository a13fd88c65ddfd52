"""Tables in files of columns: Parquet, Feather and Excel, as pandas reads them."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

from usidx.errors import DamagedStoreError, NotUsidError

if TYPE_CHECKING:
    import pandas as pd

_SIGNATURES = {b"PAR1": "parquet", b"ARRO": "feather"}


def kind_of_columns(path: str) -> str | None:
    """One of "parquet", "feather" or "excel"; None for what is none of these."""
    if os.path.isdir(path):
        return None
    with open(path, "rb") as file:
        head = file.read(4)
    if head != b"PK\3\4":
        return _SIGNATURES.get(head)
    try:
        with zipfile.ZipFile(path) as archive:
            return "excel" if "xl/workbook.xml" in archive.namelist() else None
    except (OSError, zipfile.BadZipFile):
        return None


def columns_in(path: str, kind: str) -> pd.DataFrame:
    """The table; an index that is no count of rows is columns of it.

    Raises
    ------
    DamagedStoreError : where it cannot be read
    NotUsidError : where it has no rows
    """
    import pandas as pd

    how = {"parquet": pd.read_parquet, "feather": pd.read_feather, "excel": pd.read_excel}
    try:
        frame = how[kind](path)
    except Exception as error:  # whatever the library behind pandas raises for a broken file
        raise DamagedStoreError(f"{path!r} cannot be read as a table ({error})") from error
    if frame.empty:
        raise NotUsidError(f"{path!r} is a table without rows")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    return frame
