"""Components that say nothing about each other: blind source separation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from usidx.arrays.apply import floating
from usidx.errors import OptionError, PlanError
from usidx.model.dimension import Array
from usidx.step import register, step
from usidx.steps.decomposition.holding import in_independent
from usidx.steps.decomposition.learning import learning
from usidx.steps.decomposition.matrix import decomposed, matrix_of, signed
from usidx.steps.decomposition.subspace import Subspace, project, subspace_of
from usidx.steps.spectra import check_whole


@register
@step("ICA", version="1", holds=in_independent)
def ica(
    data: xr.DataArray,
    *,
    n_components: int = 4,
    of: Literal["spectra", "maps"] = "spectra",
    poisson: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    r"""Independent components: principal components, mixed so that each goes its own way.

    The `n_components` principal components :math:`l_{pk} v_k` of `pca` are what the data have, but
    orthogonal, as what is in a specimen rarely is. An invertible matrix W keeps their sum and makes
    the spectra W v, or the maps, as far from Gaussian as possible, and so as independent as
    possible (A. Hyvärinen and E. Oja, Neural Netw. 13, 411, 2000; `sklearn.decomposition.FastICA`).
    What maps have in common is found from up to a million of their values, evenly spread.

    Parameters
    ----------
    data : real values, lazily; all must be finite
    n_components : how many components there are
    of : what is independent: "spectra", as when phases have lines of their own, or "maps", as when
        they do not overlap
    poisson : as of `pca`; without it, the mean spectrum is taken away first
    seed : of where W begins; the same one gives the same result

    Returns
    -------
    Dataset : "Loadings", the maps, in units of the source; "Components", the spectra, of norm 1,
        the strongest first, with the largest entry positive; "Scree", the part of the variance
        along each: they overlap, so that these need not add up to that of the principal ones;
        "Mean" in units of the source

    Raises
    ------
    PlanError : for complex values, and as of `pca`
    OptionError : for another `of`
    MissingDependencyError : without scikit-learn

    Examples
    --------
    >>> from usidx.testing import make_main
    >>> found = ica(make_main((8, 9, 16)), n_components=2)
    >>> found["Loadings"].dims, found["Components"].dims
    (('Y', 'X', 'Component'), ('Component', 'Frequency'))
    """
    from dask.delayed import delayed

    check_whole(seed=seed)
    learning("decomposition")
    if of not in ("spectra", "maps"):
        raise OptionError(f"of={of!r} must be 'spectra' or 'maps'")
    if data.dtype.kind == "c":
        raise PlanError("ica needs real values; take it of abs(data), data.real or data.imag")
    matrix, dtype = matrix_of(data, n_components), floating(data.dtype)
    found = subspace_of(matrix, n_components, centre=not poisson, poisson=poisson, seed=seed)
    samples: Any = found.components
    if of == "maps":
        samples = delayed(_transposed, pure=True)(matrix.sample(), found)
    turned = delayed(separated, pure=True)(found, samples, of, seed)
    loadings = matrix.by_row(_loadings, dtype, {"Component": n_components}, turned=turned)
    spectra = matrix.spectra(turned.components, dtype, "Component", n_components)
    made = decomposed(data, loadings, spectra, turned.scree)
    mean = matrix.spectra(found.scaling.mean, dtype, "Component", 1)[0].drop_vars("Component")
    units = data.attrs.get("units", "")
    return made.assign(Mean=mean.assign_attrs(quantity="Mean", units=units))


@dataclass(frozen=True)
class Turned:
    """Components of a subspace that are mixed anew.

    Parameters
    ----------
    found : the subspace
    mixing : ndarray, shape (k, k): loadings within the subspace -> those of the new components
    components : ndarray, shape (k, d), of norm 1
    scree : ndarray, shape (k,)
    """

    found: Subspace
    mixing: Array
    components: Array
    scree: Array


def separated(found: Subspace, samples: Array, of: str, seed: int) -> Turned:
    """The components of a subspace that are as independent as possible.

    Parameters
    ----------
    samples : ndarray, shape (k, n): spectra or maps of the components
    of : "spectra" or "maps", which of them
    """
    model = learning("decomposition").FastICA(
        whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-6
    )
    unmixing = np.asarray(model.fit(samples.T).components_)
    if of == "spectra":  # the maps undo what is done to the spectra
        spectra, mixing = unmixing @ found.components, np.linalg.inv(unmixing)
    else:
        spectra, mixing = np.linalg.inv(unmixing).T @ found.components, unmixing.T
    scale = signed(spectra) / np.linalg.norm(spectra, axis=1, keepdims=True)
    spectra, mixing = spectra * scale, mixing / scale.T
    # loadings of principal components are orthogonal, with these sums of squares
    sizes = (mixing**2 * found.strengths[:, np.newaxis]).sum(0)
    order = np.argsort(-sizes, kind="stable")
    scree = sizes[order] / (found.whole if found.whole > 0 else np.nan)
    return Turned(found, mixing[:, order], spectra[order], scree)


def _loadings(values: Array, *, turned: Turned) -> Array:
    return np.asarray(project(values, found=turned.found) @ turned.mixing)


def _transposed(sample: Array, found: Subspace) -> Array:
    return project(sample, found=found).T
