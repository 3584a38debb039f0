"""The exact likelihood in a few hundred numbers: reduced-order quadrature of one galaxy's data.

A whitened likelihood only sees the model through its projection on a small space. That projection is computed without the pixels:

- the *continuum* of any parameters is known from its values at a few well-chosen pixels (the discrete empirical interpolation method,
  Chaturantabut & Sorensen 2010; used for gravitational waves as reduced-order quadrature, Canizares et al. 2015), here a few hundred
  nodes from a pivoted QR decomposition, solved by least squares;
- *lines* are linear in their luminosities, and their profiles are tabulated in the gas' dispersion.

So a likelihood costs some ten microseconds instead of a millisecond, and gradients likewise. What the reduction leaves out is not
believed but measured: `refine.py` re-weights the final draws with all the pixels.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from ..grids import stars
from ..grids.library import Library
from ..instrument.systematics import Systematics, groups_of
from ..physics import galaxy, parameters
from ..physics.galaxy import GalaxyModel, View
from ..physics.interpolation import lagrange_weights
from ..units import C_KMS
from .covariance import Whitening
from .likelihood import VELOCITY_STEP_KMS, Linear, fit_amplitude, group_index, line_share

N_CONTINUUM, N_NODES = 80, 144
N_LINES = 96
GAS_NODES_KMS = 450.0 * 0.5 * (1.0 - np.cos(np.pi * (np.arange(9) + 0.5) / 9)) + 5.0


class Reduced(eqx.Module):
    """One galaxy's data and model, reduced: everything a likelihood needs."""

    data: Float[Array, "component"]
    nodes: View
    continuum: Float[Array, "component node"]
    level: Float[Array, "node"]
    lines: Float[Array, "gas line component"]
    shifts: Float[Array, "gas line component"]
    t_universe_gyr: Float[Array, ""]


def build(
    view: View, white: Whitening, flux: Float[Array, "pixel"], continua: Float[Array, "draw pixel"], library: Library,
    t_universe_gyr: float,
) -> Reduced:  # fmt: skip
    """Reduce one galaxy, given continua (any scale) that span what its posterior may hold."""
    snapshots = np.asarray(continua, np.float64)
    scale = np.asarray(white.inverse_sigma, np.float64)
    inside = np.flatnonzero(scale > 0)
    snapshots = snapshots / np.sqrt(np.mean((snapshots * scale) ** 2, axis=1, keepdims=True))
    basis = _leading(snapshots, scale)
    node_index = _pivots(basis[inside] * scale[inside, None], inside)
    interpolate = np.linalg.pinv(basis[node_index])  # values at the nodes -> coefficients
    profiles, derivatives = _line_tables(view, library)
    line_space = _line_space(np.asarray(white.apply(jnp.concatenate([profiles, derivatives]).reshape(-1, len(scale)).T)))
    space = np.linalg.qr(np.concatenate([np.asarray(white.apply(jnp.asarray(basis, jnp.float32))), line_space], 1))[0]
    project = white.transpose(jnp.asarray(space, jnp.float32))  # [pixel, component]
    data = jnp.asarray(space, jnp.float32).T @ white.apply(flux)
    window = _window_average(view)
    return Reduced(
        data=data,
        nodes=_take(view, node_index),
        continuum=project.T @ jnp.asarray(basis @ interpolate, jnp.float32),
        level=jnp.asarray(window @ basis @ interpolate, jnp.float32),
        lines=profiles @ project,
        shifts=derivatives @ project,
        t_universe_gyr=jnp.asarray(t_universe_gyr, jnp.float32),
    )


def _leading(snapshots: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Leading vectors [pixel, component] of continua in the noise's metric, also at pixels of no weight."""
    weighted = snapshots * scale
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    order = np.argsort(values)[::-1][:N_CONTINUUM]
    order = order[values[order] > 1e-13 * values.max()]
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


@jax.jit
def _line_tables(view: View, library: Library) -> tuple[Array, Array]:
    """Profiles [gas, line, pixel] of unit lines and their change for +1 km/s, at the gas' dispersion nodes."""
    lines = jnp.arange(len(library.line_wave_aa))

    def spread(windows: Float[Array, "line window"]) -> Float[Array, "line pixel"]:
        rows = jnp.zeros((len(lines), len(view.wave_aa))).at[lines[:, None], view.line_pixels].add(windows)
        return rows if view.resolution is None else jax.vmap(galaxy.apply_bands, (None, 0))(view.resolution, rows)

    def table(velocity: float) -> Float[Array, "gas line pixel"]:
        centres = library.line_wave_aa * (1.0 + velocity / C_KMS)
        return jax.lax.map(
            lambda sigma: spread(galaxy.line_windows(view, centres, sigma)), jnp.asarray(GAS_NODES_KMS, jnp.float32)
        )

    moved = (table(VELOCITY_STEP_KMS) - table(-VELOCITY_STEP_KMS)) / (2 * VELOCITY_STEP_KMS)
    return table(0.0), moved


def _line_space(white: np.ndarray) -> np.ndarray:
    """Leading left singular vectors of whitened line profiles and their derivatives, each of unit norm."""
    norms = np.linalg.norm(white, axis=0)
    seen = white[:, norms > 1e-6 * norms.max()] / norms[norms > 1e-6 * norms.max()]
    values, vectors = np.linalg.eigh(seen.T @ seen)
    keep = np.argsort(values)[::-1][: min(N_LINES, seen.shape[1])]
    keep = keep[values[keep] > 1e-7 * values.max()]
    return (seen @ vectors[:, keep]) / np.sqrt(values[keep])


def linear(
    u: Float[Array, "parameter"], model: GalaxyModel, reduced: Reduced, library: Library, systematics: Systematics
) -> Linear:
    """Model and design of the line groups at a point of u-space, in the reduced space: the twin of `likelihood.linear_at_pixels`."""
    values = model.complete(parameters.from_normal(model.parameters[:-1], u))
    parts = galaxy.ingredients(model, values, reduced.t_universe_gyr, library)
    at_nodes = galaxy.continuum(model, values, parts, reduced.nodes, library)
    luminosity = galaxy.line_luminosities(model, values, parts, library)
    weights = lagrange_weights(values["sigma_gas"], jnp.asarray(GAS_NODES_KMS, jnp.float32))
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


def whitened_model(
    u: Float[Array, "parameter"], model: GalaxyModel, reduced: Reduced, library: Library, systematics: Systematics
) -> Float[Array, "component"]:
    """The model in the metric of the marginalised likelihood, for Gauss-Newton steps: only its derivative in u means anything.

    Amplitude and covariance are held at their values; the directions in which a linear quantity can follow are projected out.
    """
    parts = linear(u, model, reduced, library, systematics)
    held = jax.lax.stop_gradient(fit_amplitude(parts, reduced.data))
    fixed = jax.lax.stop_gradient(parts.model) * held.amplitude
    columns = jnp.concatenate([held.design, 1e3 * (fixed / jnp.linalg.norm(fixed))[:, None]], 1)
    values, v = jnp.linalg.eigh(columns.T @ columns)
    values = jnp.maximum(values, 1e-12)
    vectors = (columns @ v) / jnp.sqrt(values)
    shrink = 1.0 - 1.0 / jnp.sqrt(1.0 + values)
    moving = held.amplitude * parts.model
    return moving - vectors @ (shrink * (vectors.T @ moving))
