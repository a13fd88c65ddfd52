"""The USID model: numpy only, no files, no dask."""
