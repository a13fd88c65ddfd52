"""Stores behind a URL: reached through fsspec, read by ranges of bytes, and never changed."""
