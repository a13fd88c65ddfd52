"""The readers, a file for each family of formats; each has its own in `READERS`."""
