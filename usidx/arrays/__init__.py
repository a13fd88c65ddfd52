"""Mains as labelled xarray objects: labels, fields, and the way between 2-D and N-D."""
