"""A Main as named arrays with attributes: what USID-Zarr and netCDF files have in common."""
