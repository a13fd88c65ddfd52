"""What lies in an HDF5 file: objects, links, attributes, and where values have their place."""
