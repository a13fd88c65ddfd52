"""Steps that come with usidx: plain lazy functions, DataArray -> DataArray or Dataset.

Each is called like a function on any labelled array, and handed to `da.usid.process` to run out of
core. `registered()` has them by the name of their tool.
"""

from usidx.step import find_step as find
from usidx.step import register, registered
from usidx.steps.alignment import align, drift
from usidx.steps.arithmetic import combine
from usidx.steps.background import baseline
from usidx.steps.corrections import destripe, flat_field, level
from usidx.steps.decomposition import denoise, ica, kmeans, nmf, pca, reconstruct, svd
from usidx.steps.diffraction import center_of_mass, curl_divergence, pick, radial_profile
from usidx.steps.filters import fft_filter
from usidx.steps.fitting import curve_fit, sho_fit
from usidx.steps.images import bin, crop, gaussian_filter, median_filter
from usidx.steps.mapping import map
from usidx.steps.masks import apply_masks, disk_detector, point_detector, ring_detector
from usidx.steps.maxima import peaks
from usidx.steps.reductions import mean, peak_response, reduce, statistics, stddev, sum
from usidx.steps.sampling import resample
from usidx.steps.sho import sho_guess
from usidx.steps.smoothing import savgol, smooth
from usidx.steps.spectra import derivative, integrate, normalize
from usidx.steps.thresholds import threshold

__all__ = [
    "align",
    "apply_masks",
    "baseline",
    "bin",
    "center_of_mass",
    "combine",
    "crop",
    "curl_divergence",
    "curve_fit",
    "denoise",
    "derivative",
    "destripe",
    "disk_detector",
    "drift",
    "fft_filter",
    "find",
    "flat_field",
    "gaussian_filter",
    "ica",
    "integrate",
    "kmeans",
    "level",
    "map",
    "mean",
    "median_filter",
    "nmf",
    "normalize",
    "pca",
    "peak_response",
    "peaks",
    "pick",
    "point_detector",
    "radial_profile",
    "reconstruct",
    "reduce",
    "register",
    "registered",
    "resample",
    "ring_detector",
    "savgol",
    "sho_fit",
    "sho_guess",
    "smooth",
    "statistics",
    "stddev",
    "sum",
    "svd",
    "threshold",
]
