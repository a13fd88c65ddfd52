"""Values of datasets, read by their place in the file or through HDF5."""
