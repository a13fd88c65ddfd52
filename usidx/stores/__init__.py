"""USID on disk: h5USID files and USID-Zarr stores."""
