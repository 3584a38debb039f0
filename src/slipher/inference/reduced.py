"""The exact likelihood in a few hundred numbers: reduced-order quadrature of one galaxy's data.

A whitened likelihood only sees the model through its projection on a small space. That projection is computed without the pixels:

- the *continuum* of any parameters is known from its values at a few well-chosen pixels (the discrete empirical interpolation method,
  Chaturantabut & Sorensen 2010; used for gravitational waves as reduced-order quadrature, Canizares et al. 2015), here a few hundred
  nodes from a pivoted QR decomposition, solved by least squares;
- *lines* are linear in their luminosities, and their profiles are tabulated in the gas' dispersion.

So a likelihood costs some ten microseconds instead of a millisecond, and gradients likewise. What the reduction leaves out is not
believed but measured: `refine.py` re-weights the final draws with all the pixels.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from ..grids import stars
from ..grids.library import Library, chebyshev_dispersions, dispersion_coordinate
from ..instrument.systematics import Systematics, groups_of
from ..physics import galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from ..physics.interpolation import lagrange_weights
from ..units import C_KMS
from . import laplace
from .covariance import Whitening
from .likelihood import VELOCITY_STEP_KMS, Linear, fit_amplitude, group_index, line_share

N_CONTINUUM, N_NODES, N_LINES = 56, 112, 88
LEAST_SIGMA = 0.003
DIFFERENCE = 0.02  # step of differences in u: beyond float32 noise at a total S/N of thousands, within the posterior
N_GAS, GAS_RANGE_KMS = 9, (15.0, 455.0)


class Reduced(eqx.Module):
    """One galaxy's data and model, reduced: everything a likelihood needs."""

    data: Float[Array, "component"]
    nodes: View
    continuum: Float[Array, "component node"]
    level: Float[Array, "node"]
    gas_kms: Float[Array, "gas"]
    lines: Float[Array, "gas line component"]
    shifts: Float[Array, "gas line component"]
    t_universe_gyr: Float[Array, ""]


class Snapshots(NamedTuple):
    """What the posterior may hold, as spectra at all pixels: continua of any scale, and lines group by group at their amplitude."""

    continua: Float[np.ndarray, "draw pixel"]
    lines: Float[np.ndarray, "column pixel"]


def build(
    view: View, white: Whitening, data: Float[Array, "pixel"], shots: Snapshots, gas_kms: Float[np.ndarray, "gas"], library: Library,
    t_universe_gyr: Array,
) -> Reduced:  # fmt: skip
    """Reduce one galaxy.

    Parameters
    ----------
    data
        The whitened spectrum.
    shots
        Spectra that span what the posterior may hold.
    gas_kms
        Dispersions of the gas (`gas_nodes`) at which line profiles are tabulated.
    """
    snapshots = np.asarray(shots.continua, np.float64)
    scale = np.asarray(white.inverse_sigma, np.float64)
    inside = np.flatnonzero(scale > 0)
    snapshots = snapshots / np.sqrt(np.mean((snapshots * scale) ** 2, axis=1, keepdims=True))
    basis = _leading(snapshots, scale)
    node_index = _pivots(basis[inside] * scale[inside, None], inside)
    weight = scale[node_index, None]
    interpolate = np.linalg.pinv(basis[node_index] * weight) * weight.T  # values at the nodes -> coefficients
    at_pixels = jnp.asarray(basis @ interpolate, jnp.float32)
    whitened = np.asarray(_apply(white, jnp.asarray(basis, jnp.float32)))
    space = jnp.asarray(np.linalg.qr(np.concatenate([whitened, _line_space(white, shots.lines)], 1))[0], jnp.float32)
    # Shapes are kept equal from galaxy to galaxy, so that nothing is compiled twice.
    space = jnp.pad(space, ((0, 0), (0, N_CONTINUUM + N_LINES - space.shape[1])))
    gas_kms = jnp.asarray(gas_kms, jnp.float32)
    continuum, lines, shifts = _projected(white, space, at_pixels, *line_profiles(view, library, gas_kms))
    return Reduced(
        data=space.T @ data,
        nodes=_take(view, node_index),
        continuum=continuum,
        level=jnp.asarray(_window_average(view) @ basis @ interpolate, jnp.float32),
        gas_kms=gas_kms,
        lines=lines,
        shifts=shifts,
        t_universe_gyr=jnp.asarray(t_universe_gyr, jnp.float32),
    )


@jax.jit
def _apply(white: Whitening, columns: Float[Array, "pixel column"]) -> Float[Array, "pixel column"]:
    return white.apply(columns)


@jax.jit
def _projected(white: Whitening, space: Array, at_pixels: Array, profiles: Array, derivatives: Array) -> tuple[Array, ...]:
    """Continuum at the nodes, profiles and derivatives in the reduced space."""
    project = white.transpose(space)
    return project.T @ at_pixels, profiles @ project, derivatives @ project


def _leading(snapshots: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Leading vectors [pixel, component] of continua in the noise's metric, also at pixels of no weight."""
    weighted = snapshots * scale
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    order = np.argsort(values)[::-1][:N_CONTINUUM]
    # Weaker directions than float32 can carry would only amplify rounding.
    order = order[values[order] > 3e-12 * values.max()]
    return (snapshots.T @ vectors[:, order]) / np.sqrt(values[order])


def _pivots(weighted: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Pixels that pin the basis down: column pivots of a QR decomposition, then those of what it leaves, up to N_NODES."""
    chosen: list[int] = []
    left = np.arange(len(weighted))
    while len(chosen) < min(N_NODES, len(weighted)):
        _, pivot = scipy.linalg.qr(weighted[left].T, mode="r", pivoting=True)
        take = pivot[: min(weighted.shape[1], N_NODES - len(chosen))]
        chosen.extend(left[take])
        left = np.delete(left, take)
        if len(left) == 0:
            break
    return inside[np.array(sorted(chosen))]


def _take(view: View, index: np.ndarray) -> View:
    """The view at some of its pixels, without lines."""
    return View(
        wave_aa=view.wave_aa[index],
        width_kms=view.width_kms[index],
        old=view.old[index],
        young=view.young[index],
        nebular=view.nebular[index],
        line_pixels=view.line_pixels[:, :1] * 0,
        line_lsf_kms=view.line_lsf_kms,
    )


def _window_average(view: View) -> np.ndarray:
    """The row vector that `simulate.v_band_light` is."""
    low, high = stars.LIGHT_WINDOW_AA
    inside = np.asarray((view.wave_aa > low) & (view.wave_aa < high), np.float64)
    return inside / max(inside.sum(), 1.0)


def gas_nodes(sigma_gas_kms: Float[np.ndarray, "draw"]) -> Float[np.ndarray, "gas"]:
    """Nodes between the dispersions that a posterior may hold."""
    low, high = np.clip([sigma_gas_kms.min(), sigma_gas_kms.max()], *GAS_RANGE_KMS)
    return chebyshev_dispersions(float(low) - 1.0, float(high) + 1.0, N_GAS)


@jax.jit
def line_profiles(view: View, library: Library, gas_kms: Float[Array, "gas"]) -> tuple[Array, Array]:
    """Profiles [gas, line, pixel] of unit lines and their change for +1 km/s, at the gas' dispersion nodes."""
    lines = jnp.arange(len(library.line_wave_aa))

    def spread(windows: Float[Array, "line window"]) -> Float[Array, "line pixel"]:
        rows = jnp.zeros((len(lines), len(view.wave_aa))).at[lines[:, None], view.line_pixels].add(windows)
        return rows if view.resolution is None else jax.vmap(galaxy.apply_bands, (None, 0))(view.resolution, rows)

    def table(velocity: float) -> Float[Array, "gas line pixel"]:
        centres = library.line_wave_aa * (1.0 + velocity / C_KMS)
        return jax.lax.map(lambda sigma: spread(galaxy.line_windows(view, centres, sigma)), gas_kms)

    moved = (table(VELOCITY_STEP_KMS) - table(-VELOCITY_STEP_KMS)) / (2 * VELOCITY_STEP_KMS)
    return table(0.0), moved


def _line_space(white: Whitening, lines: Float[np.ndarray, "column pixel"]) -> Float[np.ndarray, "pixel k"]:
    """Leading vectors of whitened line spectra: all directions in which any of them reaches a hundredth of a sigma."""
    seen = np.asarray(_apply(white, jnp.asarray(lines.T)), np.float64)
    values, vectors = np.linalg.eigh(seen.T @ seen)
    keep = np.argsort(values)[::-1][: min(N_LINES, seen.shape[1])]
    keep = keep[values[keep] > LEAST_SIGMA**2 * seen.shape[1]]
    return (seen @ vectors[:, keep]) / np.sqrt(values[keep])


# --- the likelihood ------------------------------------------------------------------------------------------------------------


def linear(u: Float[Array, "parameter"], model: GalaxyModel, reduced: Reduced, library: Library, systematics: Systematics) -> Linear:
    """Model and design of the line groups at a point of u-space, in the reduced space: the twin of `likelihood.linear_at_pixels`."""
    values = model.complete(parameters.from_normal(model.parameters[:-1], u))
    parts = galaxy.ingredients(model, values, reduced.t_universe_gyr, library)
    at_nodes = galaxy.continuum(model, values, parts, reduced.nodes, library)
    luminosity = galaxy.line_luminosities(model, values, parts, library)
    nodes = dispersion_coordinate(reduced.gas_kms)
    # Held at the ends: a polynomial far outside its nodes could only mislead.
    weights = lagrange_weights(jnp.clip(dispersion_coordinate(values["sigma_gas"]), nodes[0], nodes[-1]), nodes)
    profiles = jnp.einsum("g,glc->lc", weights, reduced.lines)
    columns = jax.ops.segment_sum(luminosity[:, None] * profiles, group_index(library), len(groups_of(library)))
    share = line_share(luminosity, reduced.level @ at_nodes, library, systematics)
    shift = systematics.velocity_kms * jnp.einsum("g,l,glc->c", weights, luminosity, reduced.shifts)
    return Linear(
        model=reduced.continuum @ at_nodes + jnp.sum(columns, 0),
        design=jnp.concatenate([columns * share[:, None], shift[None]]).T,
    )


def log_posterior(
    u: Float[Array, "parameter"], model: GalaxyModel, reduced: Reduced, library: Library, systematics: Systematics
) -> Float[Array, ""]:
    """log p(data | u) + log N(u; 0, 1), up to a constant."""
    parts = linear(u, model, reduced, library, systematics)
    return fit_amplitude(parts, reduced.data).log_likelihood - 0.5 * jnp.sum(u**2)


def expand(
    u: Float[Array, "parameter"], model: GalaxyModel, reduced: Reduced, library: Library, systematics: Systematics
) -> laplace.Expansion:
    """Log posterior at a point with its Gauss-Newton gradient and precision.

    Amplitude and covariance are held at their values, and the directions in which a linear quantity can follow are projected out.
    Derivatives are differences: a step's worth of models side by side costs less to compile, and is as good for a Gauss-Newton step.
    """
    steps = jnp.concatenate([jnp.zeros((1, len(u))), DIFFERENCE * jnp.eye(len(u))])
    parts = jax.vmap(lambda step: linear(u + step, model, reduced, library, systematics))(steps)
    here = jax.tree.map(lambda leaf: leaf[0], parts)
    fit = fit_amplitude(here, reduced.data)
    fixed = fit.amplitude * here.model
    columns = jnp.concatenate([fit.amplitude * here.design, 1e3 * (fixed / jnp.linalg.norm(fixed))[:, None]], 1)
    values, v = jnp.linalg.eigh(columns.T @ columns)
    values = jnp.maximum(values, 1e-12)
    vectors = (columns @ v) / jnp.sqrt(values)
    shrink = 1.0 - 1.0 / jnp.sqrt(1.0 + values)

    def freed(x: Float[Array, "row component"]) -> Float[Array, "row component"]:
        return x - (x @ vectors * shrink) @ vectors.T

    slopes = freed(fit.amplitude * (parts.model[1:] - here.model) / DIFFERENCE)
    residual = freed((reduced.data - fixed)[None])[0]
    return laplace.Expansion(
        value=fit.log_likelihood - 0.5 * jnp.sum(u**2),
        gradient=slopes @ residual - u,
        precision=slopes @ slopes.T + jnp.eye(len(u)),
    )
