"""Priors of morphologies that ship: they denoise better than a Wiener filter, their draws are galaxies, and recipes make them."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from safetensors.numpy import load_file

from slipher import models
from slipher.errors import InputError
from slipher.models import morphology_recipe, morphology_set, morphology_stamps, shipped
from slipher.models.morphology_set import Galaxies
from slipher.scene import learned
from slipher.scene.learned import Learned

pytestmark = pytest.mark.usefixtures("optimised")

N, SIZE = 96, morphology_set.SIZE


@pytest.fixture(scope="module")
def made() -> shipped.ShippedMorphology:
    return shipped.morphology()


@pytest.fixture(scope="module")
def galaxies(made) -> np.ndarray:
    """Simulated ones that no training saw: of a key of their own."""
    return np.asarray(morphology_set.simulated(jax.random.key(987_654), made.recipe.galaxies, 12 * N), np.float64)


def power_of(x: np.ndarray) -> np.ndarray:
    """Mean power spectrum about the mean image."""
    return np.mean(np.abs(np.fft.fft2(x - x.mean(0))) ** 2, 0) / x[0].size


def statistics(x: np.ndarray) -> np.ndarray:
    """Of each image: concentration of light, its asymmetry under half a turn, and total variation of x above the sky."""

    def one(x: np.ndarray) -> tuple[float, ...]:
        light = np.asarray(learned.light_of(jnp.asarray(x, jnp.float32)), np.float64)
        grown = np.cumsum(np.sort(light.ravel())[::-1])
        areas = [np.searchsorted(grown, share) + 1 for share in (0.2, 0.5, 0.8)]
        lit = np.maximum(x, -6.0)
        steps = np.abs(np.diff(lit, axis=0)).mean() + np.abs(np.diff(lit, axis=1)).mean()
        return np.sqrt(areas[2] / areas[0]), np.log(areas[1]), 0.5 * np.abs(light - light[::-1, ::-1]).sum(), steps

    return np.array([one(each) for each in x])


def furthest(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of medians of statistics, over the quartiles' distance of the latter."""
    low, middle, high = np.percentile(statistics(b), [25, 50, 75], axis=0)
    return float(np.max(np.abs(np.median(statistics(a), 0) - middle) / (high - low)))


# --- the weights that ship --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, pytest.param(0.2, marks=pytest.mark.slow), 1.0, pytest.param(3.0, marks=pytest.mark.slow)])
def test_galaxies_are_denoised_better_than_by_a_wiener_filter(made, galaxies, sigma):
    clean, others = galaxies[:N], galaxies[N:]
    noisy = clean + sigma * np.random.default_rng(3).normal(size=clean.shape)
    power, mean = power_of(others), others.mean(0)
    wiener = mean + np.fft.ifft2(np.fft.fft2(noisy - mean) * power / (power + sigma**2)).real
    found = np.asarray(denoised(made.trained.denoiser, jnp.asarray(noisy, jnp.float32), jnp.float32(sigma)))
    assert np.mean((found - clean) ** 2) < 0.7 * np.mean((wiener - clean) ** 2)


@eqx.filter_jit
def denoised(denoiser, noisy, sigma):
    return jax.lax.map(lambda one: denoiser(one, sigma), noisy, batch_size=32)


def test_stamps_of_another_size_are_denoised_too(made, galaxies):
    """Of 23 by 29 pixels, about the middle of what it learnt from."""
    clean = galaxies[:32, 4:27, 1:30]
    noisy = clean + 0.3 * np.random.default_rng(4).normal(size=clean.shape)
    found = np.asarray(denoised(made.trained.denoiser, jnp.asarray(noisy, jnp.float32), jnp.float32(0.3)))
    assert np.mean((found - clean) ** 2) < 0.3 * 0.3**2


def test_the_flow_is_a_better_density_than_a_gaussian_of_the_same_power(made, galaxies):
    """In bits a pixel, of galaxies with the dither that it learnt from."""
    dither = made.recipe.sizes.dither
    x = galaxies + dither * np.random.default_rng(5).normal(size=galaxies.shape)
    power, mean = power_of(x[N:]), x[N:].mean(0)
    seen = np.mean(np.abs(np.fft.fft2(x[:N] - mean)) ** 2, 0) / SIZE**2
    gaussian = -0.5 * np.mean(np.log(2.0 * np.pi * power) + seen / power)
    log_p = jax.jit(lambda model, x: jax.vmap(model.log_prob)(x))(made.trained, jnp.asarray(x[:N], jnp.float32))
    assert (float(jnp.mean(log_p)) / SIZE**2 - gaussian) / np.log(2.0) > 0.6


@pytest.mark.slow  # compiles the flow for a batch: the same lines as the density
def test_draws_of_the_flow_are_like_galaxies(made, galaxies):
    """By statistics that draws of the Gaussian which the flow began as fail."""
    noise = jax.random.normal(jax.random.key(6), (N, SIZE, SIZE))
    silent = jax.tree.map(jnp.zeros_like, eqx.filter(made.trained.flow, eqx.is_array))
    silent = eqx.tree_at(lambda f: f.units, eqx.combine(silent, made.trained.flow), made.trained.flow.units)
    draws, plain = (np.asarray(drawn(flow, noise)) for flow in (made.trained.flow, silent))
    assert furthest(draws, galaxies[: 3 * N]) < 0.5
    assert furthest(plain, galaxies[: 3 * N]) > 1.0


@eqx.filter_jit
def drawn(flow, noise):
    return jax.lax.map(flow, noise, batch_size=32)


def test_a_morphology_is_made_of_it(made):
    """An argument of a fit, as scenes are."""
    noise = jax.random.normal(jax.random.key(7), (SIZE, SIZE))
    light = np.asarray(jax.jit(lambda one, noise: one.light({"texture": noise}))(Learned(made.trained.flow, 25), noise))
    assert light.shape == (25, 25)
    assert light.min() >= 0
    assert light.sum() == pytest.approx(1.0, abs=1e-5)


def test_the_file_is_small_and_the_card_says_what_it_is(made):
    folder = shipped.folder_of("morphology")
    assert (folder / "weights.safetensors").stat().st_size < 3_000_000
    assert made.card["kind"] == "morphology"
    assert made.card["validation_loss_nats"] < -0.9


# --- recipes ----------------------------------------------------------------------------------------------------------

SMALL = """name = "small"
kind = "morphology"

[network]
widths = [8, 8]
flow_widths = [4, 4, 4]
flow_layers = 2

[schedule]
chunks = 2
chunk_size = 16
steps = 2
batch = 8
window = 2
checkpoint_every = 1
validation_chunks = 1
validation_size = 32
"""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("priors = 1\n", "'priors' in a recipe"),
        ("[galaxies]\nshares = [1.0, 1.0]\n", "shares"),
        ("[network]\nwidth = 3\n", "width"),
        ("[stamps]\nshare = 0.5\n", "folder = None"),
        ('[stamps]\nfolder = "here"\nshare = 0.0\n', "share = 0.0"),
    ],
)
def test_recipes_that_cannot_be_are_refused(text, what):
    with pytest.raises(InputError, match=what):
        morphology_recipe.parse_recipe(text)


def test_models_of_another_kind_are_refused():
    with pytest.raises(InputError, match="priors of morphologies"):
        shipped.morphology("photometry")


@pytest.mark.slow
def test_a_recipe_makes_a_model_and_a_run_that_was_stopped_the_same(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    models.train(tmp_path / "small.toml", tmp_path / "whole")

    def stop(done: int, of: int, row: dict) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.train(tmp_path / "small.toml", tmp_path / "twice", progress=stop)
    models.train(tmp_path / "small.toml", tmp_path / "twice")
    whole, twice = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "twice"))
    for name, leaf in whole.items():
        np.testing.assert_array_equal(twice[name], leaf)
    made = shipped.morphology(str(tmp_path / "whole"))
    assert made.trained.flow.size == SIZE
    assert json.loads((tmp_path / "whole" / "card.json").read_text())["simulations"] == 32


# --- real stamps ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A disc in a FITS file with a bad pixel, and two of others in an archive."""
    disc = np.exp(-np.hypot(*(np.mgrid[:121, :121] - 60.0)) / 5.0)
    bad = disc.copy()
    bad[0, 0] = np.nan
    fits.PrimaryHDU(bad.astype(np.float32)).writeto(tmp_path / "one.fits")
    np.savez(tmp_path / "two.npz", images=np.stack([disc, disc.T]), number=np.float64(3.0))
    return tmp_path


def test_stamps_are_read_and_seen_at_sizes_of_training(folder):
    stamps = morphology_stamps.read(folder)
    assert len(stamps.light) == 3
    np.testing.assert_allclose(stamps.radius, 1.678 * 5.0, rtol=0.02)
    x = np.stack([morphology_stamps.seen(np.random.default_rng(i), stamps, Galaxies(radius=(1.5, 4.0))) for i in range(8)])
    assert x.shape == (8, SIZE, SIZE)
    light = [np.asarray(learned.light_of(jnp.asarray(one)), np.float64) for one in x]
    radii = [morphology_stamps.half_light_radius(one) for one in light]
    # As small as the stamp's edges let it become.
    assert min(radii) > 0.95 * 8.39 * morphology_stamps.LEAST / 121
    assert max(radii) < 4.5
    assert np.ptp(radii) > 0.5
    peaks = np.array([np.unravel_index(one.argmax(), one.shape) for one in x])
    assert np.all(np.abs(peaks - 15.5) <= 1.0)


def test_stamps_take_the_place_of_their_share(folder):
    stamps = morphology_stamps.read(folder)
    chunk = morphology_set.Images(jnp.full((200, SIZE, SIZE), -8.0), jnp.arange(200, dtype=jnp.uint32))
    mixed = morphology_stamps.mixed(chunk, np.random.default_rng(0), stamps, 0.1, Galaxies())
    real = np.asarray(mixed.x).max((1, 2)) > -7.0
    assert 8 < real.sum() < 35
    np.testing.assert_array_equal(mixed.seed, chunk.seed)


def test_folders_without_stamps_are_refused(tmp_path):
    with pytest.raises(InputError, match="no stamp"):
        morphology_stamps.read(tmp_path)
    (tmp_path / "bad.fits").write_bytes(b"SIMPLE  = nothing")
    with pytest.raises(InputError, match="cannot be read"):
        morphology_stamps.read(tmp_path)
