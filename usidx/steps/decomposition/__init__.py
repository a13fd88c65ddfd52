"""Spectra over a map as few components, out of core: each method in a file of its own."""

from usidx.steps.decomposition.clusters import kmeans
from usidx.steps.decomposition.independent import ica
from usidx.steps.decomposition.nonnegative import nmf
from usidx.steps.decomposition.principal import denoise, pca, svd
from usidx.steps.decomposition.rebuilding import reconstruct

__all__ = ["denoise", "ica", "kmeans", "nmf", "pca", "reconstruct", "svd"]
