"""How the residual of a hybrid model is learnt from spectra, each with its physics left free.

    spectra --base model's network--> reference points --linearise--> summaries --EM--> residual --Gauss-Newton--> reference points ...
            --pack--> weights.safetensors + card.json

Pixels near strong lines are left out of learning: what their ratios say of gas and dust is the physics' own.
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import sparse

from ..data.observation import Spectrum
from ..errors import InputError
from ..files import write_atomically
from ..grids.library import Library
from ..inference import covariance, exact, likelihood, residual_learning
from ..inference.exact import Target
from ..inference.residual_learning import Linearised, Pattern, Posterior
from ..instrument import simulate, spectrograph
from ..instrument.systematics import Systematics, groups_of
from ..networks import residual, weights
from ..networks.projection import STRONG_LINES_AA
from ..networks.residual import Residual
from ..physics import galaxy, parameters
from ..physics.galaxy import GalaxyModel
from ..units import C_KMS
from . import hybrid, latent_folder, observed, shipped, spectra
from .answer import rng_of
from .hybrid_recipe import KIND, HybridRecipe, Sizes, read_recipe  # noqa: F401 (what `slipher.models.train` calls)
from .observed import Observed
from .shipped import Shipped

N_START = 200  # draws of the network, the likeliest of which is the first reference point
ROUNDS = 3  # of reference points
BOLDEST = 1.5  # largest move of a reference point, in prior standard deviations
AMPLITUDE_SD = 0.3  # of ln A about the reference point
BESIDE_LINES_KMS = 700.0  # of strong lines, which are left out
TANGENT_LSF_KMS = 150.0
LEAST_SPECTRA = 5


class Galaxy(NamedTuple):
    """A spectrum of the training set, prepared, with its exact density and reference point."""

    data: Observed
    density: Target
    u: Float[np.ndarray, "parameter"]


class Learnt(NamedTuple):
    """A residual, and what its card says of how it was learnt."""

    residual: Residual
    facts: dict


def learn(spectra_: Sequence[Spectrum], base: Shipped, sizes: Sizes, *, progress: Callable | None = None) -> Learnt:
    """The residual of a base model over spectra that it should describe; `progress` is called with (done, total, facts).

    Raises
    ------
    InputError
        For fewer than 5 spectra.
    """
    if len(spectra_) < LEAST_SPECTRA:
        raise InputError(f"{len(spectra_)} spectra", expected=f"at least {LEAST_SPECTRA}", mend="Give more, or fit with the base model.")
    tell, total = progress or (lambda *_: None), len(spectra_) + ROUNDS
    galaxies = []
    for spectrum in spectra_:
        galaxies.append(_begun(spectrum, base, sizes.seed))
        tell(len(galaxies), total, {})
    held = np.random.default_rng(sizes.seed).permutation(len(galaxies)) < round(sizes.held_back * len(galaxies))
    pattern = residual_learning.pattern_of(_changed(one.data, 1.0, 1.0, base) for one in galaxies)
    rho, facts = None, {}
    for turn in range(ROUNDS):
        rho, points, facts = _round(galaxies, pattern, held, rho, base, sizes)
        galaxies = [one._replace(u=_moved(one.u, point.x[: len(one.u)])) for one, point in zip(galaxies, points, strict=True)]
        tell(len(galaxies) + turn + 1, total, facts)
    n = len(residual.KNOTS)
    return Learnt(Residual(jnp.asarray(rho[:n], jnp.float32), jnp.asarray(rho[n:], jnp.float32)), facts)


def _begun(spectrum: Spectrum, base: Shipped, seed: int) -> Galaxy:
    """A spectrum made ready, about the likeliest of some draws of the network."""
    data = observed.observe(spectrum, base)
    density = spectra.target(data, base)
    draws = spectra.warp(data, base).sample(rng_of(seed, spectrum.id), N_START)[0]
    return Galaxy(data, density, np.asarray(draws[np.argmax(np.nan_to_num(density.log_posterior(draws), nan=-np.inf))], np.float64))


def _round(
    galaxies: list[Galaxy], pattern: Pattern, held: Bool[np.ndarray, "galaxy"], rho: Float[np.ndarray, "unknown column"] | None,
    base: Shipped, sizes: Sizes,
) -> tuple[Float[np.ndarray, "unknown column"], list[Posterior], dict]:  # fmt: skip
    """The residual about the galaxies' reference points, their posteriors given it, and what the card says."""
    # One after the other: a galaxy's pixels take megabytes, its summary kilobytes.
    found = [residual_learning.summary(linearise(one, base), pattern) for one in galaxies]
    free, n_forbidden = _free(galaxies, base, sizes)
    size = np.concatenate([np.full(len(residual.KNOTS), sizes.factor), np.full(pattern.n - len(residual.KNOTS), sizes.line_ew_aa)])
    used = [one for one, out in zip(found, held, strict=True) if not out]
    rho, _ = residual_learning.learn(used, pattern, free, size, sizes.latents, seed=sizes.seed, rounds=sizes.iterations, start=rho)
    points = [residual_learning.posterior(one, rho, pattern) for one in found]
    nothing = [residual_learning.posterior(one, np.zeros_like(rho), pattern).log_evidence for one in found]
    gain = np.array([one.log_evidence for one in points]) - nothing
    facts = {
        "spectra": len(galaxies), "held_back": int(held.sum()), "directions_of_physics": n_forbidden,
        "gain_nats": round(float(np.median(gain[~held])), 2),
        "gain_nats_held_back": round(float(np.median(gain[held])), 2) if held.any() else None,
    }  # fmt: skip
    return rho, points, facts


def _moved(u: np.ndarray, change: np.ndarray) -> Float[np.ndarray, "parameter"]:
    return u + np.clip(change, -BOLDEST, BOLDEST)


# --- linearised ------------------------------------------------------------------------------------------------------


def linearise(one: Galaxy, base: Shipped) -> Linearised:
    """A galaxy about its reference point."""
    data, task = one.data, one.density.task
    continuum, lines, tangents, design, templates, floor = (
        np.asarray(x, np.float64) for x in _about(jnp.asarray(one.u, jnp.float32), task, data.ivar, base.library, base.recipe.preset,
                                                   base.recipe.systematics)
    )  # fmt: skip
    rest, flux, ivar = (np.asarray(x, np.float64) for x in (data.view.wave_aa, data.flux, data.ivar))
    away = np.min(np.abs(np.log(rest[:, None] / np.array(STRONG_LINES_AA))), 1) * C_KMS > BESIDE_LINES_KMS
    weight = np.where((ivar > 0) & away, 1.0 / (np.where(ivar > 0, 1.0 / np.where(ivar > 0, ivar, 1.0), 1.0) + floor), 0.0)
    model = continuum + lines
    level = float(simulate.v_band_light(data.view.wave_aa, jnp.asarray(continuum, jnp.float32)))
    fixed = np.concatenate([tangents, AMPLITUDE_SD * model[:, None], design, templates], 1)
    offset = np.concatenate([-one.u, np.zeros(fixed.shape[1] - len(one.u))])
    return Linearised(flux - model, weight, fixed, offset, _changed(data, model[:, None], level, base))


def _changed(data: Observed, model: Float[np.ndarray, "pixel 1"] | float, level: float, base: Shipped) -> sparse.csr_matrix:
    """What the residual's unknowns do to the pixels: splines times the model, and faint lines of a unit of the light's level."""
    splines = residual.splines(np.asarray(data.view.wave_aa, np.float64))
    return sparse.hstack([splines.multiply(model), sparse.csr_matrix(level * hybrid.line_profiles(data.view, base.library))]).tocsr()


@partial(jax.jit, static_argnames=("model", "systematics"))
def _about(u: Array, task: exact.Problem, ivar: Array, library: Library, model: GalaxyModel, systematics: Systematics) -> tuple[Array, ...]:
    """Continuum, lines, tangents, design of the lines, templates and floor variance at a point, in the unit of the data."""

    def light(u: Array) -> likelihood.Light:
        return likelihood.light_at_pixels(u, model, task.view, task.t_universe_gyr, library, systematics)

    def total(u: Array) -> Array:
        some = light(u)
        return some.continuum + jnp.sum(some.groups, 0)

    here = light(u)
    nothing = jnp.zeros(len(groups_of(library)) + 2 + len(task.errors.share))
    amplitude = exact.at_point(u, nothing, task, library, model, systematics).amplitude
    continuum, lines = amplitude * here.continuum, amplitude * jnp.sum(here.groups, 0)
    design = amplitude * jnp.concatenate([here.groups * here.share[:, None], here.shift[None]]).T
    covered = (ivar > 0).astype(jnp.float32)
    templates = covariance.templates(systematics, task.view, continuum, lines, covered)
    floor = simulate.floor_variance(systematics, task.view.wave_aa, continuum, lines)
    return continuum, lines, amplitude * jax.jacfwd(total)(u), design, templates, floor


# --- what the residual must not do -----------------------------------------------------------------------------------


def _free(galaxies: list[Galaxy], base: Shipped, sizes: Sizes) -> tuple[Float[np.ndarray, "unknown free"], int]:
    """A basis of what the residual may be: orthogonal to the physics' tangents where the spectra lie; how many directions that forbids."""
    wave = np.exp(residual.KNOTS)
    view = spectrograph.view(wave, 0.0, base.library, lsf_kms=TANGENT_LSF_KMS)
    covered = np.mean([_covered(one.data) for one in galaxies], 0)
    tangents = np.concatenate(
        [
            np.asarray(_log_tangents(jnp.asarray(one.u, jnp.float32), one.data.t_universe_gyr, view, base.library, base.recipe.preset))
            for one in galaxies
        ],
        1,
    ).astype(np.float64)
    root = np.sqrt(covered)[:, None]
    u, s, _ = np.linalg.svd(root * tangents, full_matrices=False)
    rms = s / np.sqrt(len(galaxies) * covered.sum())
    kept = np.column_stack([root[:, 0] / np.linalg.norm(root), u[:, rms > sizes.physics]])
    values = residual.splines(wave)
    n_lines = len(residual.faint_lines(np.asarray(base.library.line_wave_aa)))
    forbidden = np.concatenate([values.T @ (root * kept), np.zeros((n_lines, kept.shape[1]))])
    return residual_learning.allowed(forbidden), kept.shape[1]


def _covered(data: Observed) -> Float[np.ndarray, "knot"]:
    """1 where a spectrum has pixels at the knots of the splines."""
    rest = np.asarray(data.view.wave_aa, np.float64)[np.asarray(data.ivar) > 0]
    counts, _ = np.histogram(np.log(rest), np.append(residual.KNOTS, residual.KNOTS[-1] + residual.STEP) - 0.5 * residual.STEP)
    return (counts > 0).astype(np.float64)


@partial(jax.jit, static_argnames="model")
def _log_tangents(u: Array, t_universe: Array, view, library: Library, model: GalaxyModel) -> Float[Array, "knot parameter"]:
    """Change of ln of the continuum per unit of u."""

    def log_continuum(u: Array) -> Array:
        values = model.complete(parameters.from_normal(model.parameters[:-1], u))
        parts = galaxy.ingredients(model, values, t_universe, library)
        return jnp.log(galaxy.continuum(model, values, parts, view, library))

    return jax.jacfwd(log_continuum)(u)


# --- a recipe's ------------------------------------------------------------------------------------------------------


def run(recipe: HybridRecipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Learn a recipe's residual in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    `resume` has no meaning here: learning takes minutes.

    Raises
    ------
    InputError
        If the folder of spectra holds too few that the base model can be fitted to, or the base is no model of spectra.
    """
    began, base = time.time(), shipped.load(recipe.base)
    if not isinstance(base, Shipped):
        raise InputError(f"base {recipe.base!r}", expected="a model of spectra", mend="Choose 'galaxy'.")
    usable, left_out = latent_folder.usable(recipe.folder, base.recipe.population)
    made = learn([one.spectrum for one in usable], base, recipe.sizes, progress=progress)
    pack(made, recipe, base, Path(out), time.time() - began, left_out)
    return Path(out)


def pack(made: Learnt, recipe: HybridRecipe, base: Shipped, out: Path, seconds: float, left_out: list[dict[str, str]]) -> None:
    """Write weights and card."""
    out.mkdir(parents=True, exist_ok=True)
    with write_atomically(out / "weights.safetensors") as temporary:
        checksum = weights.save_arrays(made.residual, temporary)
    card = {
        "name": recipe.name, "kind": KIND, "recipe": recipe.text, "seed": recipe.sizes.seed, "slipher": version("slipher"),
        "python": platform.python_version(), "base": recipe.base, "base_sha256": base.card["sha256"], **made.facts, "left_out": left_out,
        "training_seconds": round(seconds), "sha256": checksum,
    }  # fmt: skip
    with write_atomically(out / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1))
