"""Small Mains to try things on, and what every reader promises, for tests of steps and readers."""

from usidx.testing.contract import check_reader
from usidx.testing.mains import layouts, mains, make_main

__all__ = ["check_reader", "layouts", "mains", "make_main"]
