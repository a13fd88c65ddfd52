"""What `usidx demo` does: make a measurement, look at it, run a step on it, and say how."""
