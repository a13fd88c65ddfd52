"""Writing labelled arrays to files: USID-Zarr stores, h5USID and netCDF files, and
text.

Everything is written aside and takes its name at the end, so that what was there before stays
whole until the new one is, and nothing is left of an export that failed.
"""

from usidx.exporting.csv import to_csv
from usidx.exporting.edf import to_edf
from usidx.exporting.h5usid import to_h5usid
from usidx.exporting.netcdf import to_netcdf
from usidx.exporting.rechunking import rechunk_for
from usidx.exporting.zarr import to_zarr

__all__ = ["rechunk_for", "to_csv", "to_edf", "to_h5usid", "to_netcdf", "to_zarr"]
