"""Samples of scenes: of toys whose posterior a grid of independently drawn images gives."""

import jax.numpy as jnp
import numpy as np
import pytest

from slipher.errors import InputError
from slipher.inference import nuts, scene_sampling
from slipher.scene import fit, normal
from slipher.scene.exposure import exposure
from slipher.scene.morphology import Gaussian
from slipher.scene.render import Group, Members, Point, Scene, Sight
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free

SHAPE, MIDDLE, FLUX, NOISE = (15, 17), (8.2, 6.9), 20.0, 0.3
PSF_SD, SOURCE_SD = 1.3, 1.6
SOURCE = Source((Light(Gaussian(), Free(1)),))
SCENE = Scene((Group(SOURCE, 1),), 1)


def shown(x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Images [..., y, x] of a round Gaussian seen by a Gaussian PSF, from the formula."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    variance = PSF_SD**2 + SOURCE_SD**2
    x, y, flux = (np.asarray(a)[..., None, None] for a in (x, y, flux))
    return flux * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / variance) / (2.0 * np.pi * variance)


@pytest.fixture(scope="module")
def toy():
    image = shown(*MIDDLE, FLUX) + NOISE * np.random.default_rng(2).standard_normal(SHAPE)
    at = np.arange(-10, 11)
    psf = np.exp(-0.5 * (at**2 + at[:, None] ** 2) / PSF_SD**2)
    seen = (exposure(image[None], np.full((1, *SHAPE), NOISE**-2), psf[None]),)
    u = {p.name: jnp.zeros((1, *p.shape)) for p in SOURCE.parameters}
    given = {"light_0.log_radius": jnp.full(1, np.log(SOURCE_SD * np.sqrt(2.0 * np.log(2.0))), jnp.float32)}
    u.pop("light_0.log_radius")
    start = Start(jnp.asarray([(8.0, 7.0)], jnp.float32), jnp.full((1, 1, 1), FLUX), given=given)
    point = Point((Members(start, u),), (Sight(jnp.zeros((1, 2)), jnp.zeros(1)),))
    return image, seen, point


def grid_posterior(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds of x, y and ln flux over its start, by sums over a grid."""
    axes = [np.linspace(-1.8, 1.6, 69), np.linspace(-1.8, 1.4, 65), np.linspace(-0.8, 0.3, 61)]
    dx, dy, log_flux = np.meshgrid(*axes, indexing="ij")
    ln_p = -0.5 * (dx**2 + dy**2 + (log_flux / 2.0) ** 2)  # the priors of offset and log_flux
    for i in range(len(axes[0])):
        model = shown(8.0 + dx[i], 7.0 + dy[i], FLUX * np.exp(log_flux[i]))
        ln_p[i] -= 0.5 * np.sum((image - model) ** 2, (-2, -1)) / NOISE**2
    p = np.exp(ln_p - ln_p.max())
    p /= p.sum()
    means = np.array([np.sum(p * a) for a in (dx, dy, log_flux)])
    return means, np.sqrt([np.sum(p * (a - m) ** 2) for a, m in zip((dx, dy, log_flux), means, strict=True)])


@pytest.mark.slow
def test_samples_have_the_means_and_widths_of_the_posterior(toy):
    image, seen, point = toy
    free = normal.opened(point, shifts=False, backgrounds=False, sources=lambda name: name in ("offset", "light_0.log_flux"))
    best = fit.fit(SCENE, point, seen, free)
    found = scene_sampling.sample(
        1, SCENE, best.point, seen, free, settings=nuts.Settings(chains=2, warmup=200, block=400, most=2, ess=300)
    )
    u = found.points.members[0].u
    draws = np.column_stack([np.asarray(u["offset"])[:, 0], 2.0 * np.asarray(u["light_0.log_flux"])[:, 0]])
    mean, sd = grid_posterior(image)
    error = 1.0 / np.sqrt(found.sampled.ess)
    assert np.all(np.abs(draws.mean(0) - mean) < 4.0 * sd * error)
    np.testing.assert_allclose(draws.std(0), sd, rtol=4.0 * error / np.sqrt(2.0))
    assert np.ptp(np.asarray(u["light_0.shear_1"])) == 0.0


def test_what_cannot_be_sampled_is_refused(toy):
    _, seen, point = toy
    nothing = normal.opened(point, shifts=False, backgrounds=False, sources=lambda name: False)
    with pytest.raises(InputError, match="no number"):
        scene_sampling.sample(0, SCENE, point, seen, nothing)
    with pytest.raises(InputError, match="integrated out"):
        scene_sampling.sample(0, SCENE, point, seen, normal.opened(point), marginal=True)
