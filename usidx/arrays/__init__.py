"""The model as xarray and dask objects."""
