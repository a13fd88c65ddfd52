"""Writing labelled arrays to files: USID-Zarr stores, h5USID and netCDF files, HyperSpy's and
NumPy's, and text; and handing them to other libraries.

Everything is written aside and takes its name at the end, so that what was there before stays
whole until the new one is, and nothing is left of an export that failed.
"""

from usidx.exporting.csv import to_csv
from usidx.exporting.edf import to_edf
from usidx.exporting.frame import to_dataframe
from usidx.exporting.h5usid import to_h5usid
from usidx.exporting.hspy import to_hspy
from usidx.exporting.netcdf import to_netcdf
from usidx.exporting.npy import to_npy
from usidx.exporting.nsid import to_nsid
from usidx.exporting.peers import to_hyperspy, to_libertem, to_sidpy
from usidx.exporting.rechunking import rechunk_for
from usidx.exporting.zarr import to_zarr

__all__ = [
    "rechunk_for",
    "to_csv",
    "to_dataframe",
    "to_edf",
    "to_h5usid",
    "to_hspy",
    "to_hyperspy",
    "to_libertem",
    "to_netcdf",
    "to_npy",
    "to_nsid",
    "to_sidpy",
    "to_zarr",
]
