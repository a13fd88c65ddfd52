"""Changes of an HDF5 file's metadata: all of it or nothing, whatever happens meanwhile."""
