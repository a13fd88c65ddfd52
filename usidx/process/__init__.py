"""A step bound to a source: planned, run block by block, resumed."""
