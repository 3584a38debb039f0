"""Blends taken apart: simulated ones with their fluxes, and the real one of HSC."""

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.wcs import WCS
from test_render import moffat

from slipher.data.image import cutout
from slipher.data.image_files import read_image
from slipher.scene import blend, catalogue, detect, normal, render
from slipher.scene.exposure import exposure
from slipher.scene.morphology import Sersic
from slipher.scene.render import Group, Members, Scene, Sight
from slipher.scene.source import Light, Source, Start
from slipher.scene.spectrum import Free


def fluxes(found: blend.Blend) -> np.ndarray:
    """Of the sources in their order [source, band]."""
    groups = [np.asarray(catalogue.measured(g, m).flux) for g, m in zip(found.scene.groups, found.fitted.point.members, strict=True)]
    return np.stack([groups[g][i] for g, i in found.order])


@pytest.mark.slow
def test_a_simulated_blend_is_found_and_divided_rightly():
    """A large red galaxy, a small blue one beside it, a star: fluxes to 5 %."""
    shape, noise, n_bands = (61, 65), 0.03, 3
    position = np.array([(24.0, 30.0), (36.5, 33.0), (48.0, 16.0)])
    flux = np.array([[60.0, 120.0, 180.0], [40.0, 36.0, 30.0], [20.0, 30.0, 40.0]])
    source = Source((Light(Sersic(), Free(n_bands)),))
    u = {p.name: jnp.zeros((3, *p.shape)) for p in source.parameters}
    u["light_0.log_radius"] = jnp.array([0.4, -0.2, -4.0])
    u["light_0.shear_1"] = jnp.array([0.5, -0.5, 0.0])
    members = Members(Start(jnp.asarray(position, jnp.float32), jnp.asarray(flux[:, None], jnp.float32)), u)
    blank, psf = np.zeros((n_bands, *shape)), np.stack([moffat()] * n_bands)
    weight = np.full_like(blank, noise**-2)
    point = render.Point((members,), (Sight(jnp.zeros((n_bands, 2)), jnp.full(n_bands, 0.1)),))
    image = np.asarray(render.draw(Scene((Group(source, 3),), n_bands), point, 0, exposure(blank, weight, psf)), np.float64)
    image += noise * np.random.default_rng(0).standard_normal(image.shape)
    where = detect.detect(image, weight, psf)
    np.testing.assert_allclose(where.position, position[[0, 2, 1]], atol=0.6)
    found = blend.take_apart((cutout(image, ivar=weight, psf=psf),), where.position)
    left = normal.residuals(found.scene, found.fitted.point, found.seen)[0]
    assert float(jnp.mean(left**2)) / noise**2 == pytest.approx(1.0, abs=0.06)
    np.testing.assert_allclose(fluxes(found), flux[[0, 2, 1]], rtol=0.05)


@pytest.mark.slow
def test_what_only_another_image_shows_is_found_there():
    """A faint star that is dark in the first image, in the second, whose pixels are half as large and begin elsewhere."""
    rng, noise, stars = np.random.default_rng(3), 0.05, np.array([(20.0, 18.0), (31.0, 25.0)])
    images = []
    for scale, corner, flux, band in ((1.0, (0.0, 0.0), (40.0, 0.0), "g"), (0.5, (3.0, 2.0), (30.0, 4.0), "F814W")):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [-5e-5 * scale, 5e-5 * scale]
        wcs.wcs.crpix = (22.0 - np.array(corner)) / scale + 1.0
        n = round(44 / scale)
        y, x = np.mgrid[:n, :n]
        shown = sum(
            f * np.exp(-0.5 * np.sum((np.stack([x, y], -1) - (star - corner) / scale) ** 2, -1) / 1.7**2) / (2 * np.pi * 1.7**2)
            for f, star in zip(flux, stars, strict=True)
        )
        psf = np.exp(-0.5 * (np.mgrid[-10:11, -10:11] ** 2).sum(0) / 1.7**2)
        seen = (shown + noise * rng.standard_normal(shown.shape))[None]
        images.append(cutout(seen, variance=np.full(seen.shape, noise**2), psf=psf / psf.sum(), bands=(band,), wcs=wcs))
    found = blend.take_apart(tuple(images), stars[:1], more=True)
    np.testing.assert_allclose(found.position, stars, atol=0.5)
    np.testing.assert_allclose(fluxes(found), [[40.0, 30.0], [0.0, 4.0]], atol=2.0)


@pytest.mark.slow
def test_the_blend_of_hsc(shared_data):
    """chi^2 a pixel of five bands with seven sources; scarlet2 0.5.1 ends at 1.32 after a thousand steps.

    What is left is mostly about the star, which is fitted as a point: it is as sharp as its PSFs are known.
    """
    path = shared_data / "images" / "hsc_cosmos_35.npz"
    with np.load(path) as file:
        catalogue = file["catalog"]
    found = blend.take_apart((read_image(path),), np.stack([catalogue["x"], catalogue["y"]], 1))
    left = np.asarray(normal.residuals(found.scene, found.fitted.point, found.seen)[0])
    assert np.mean(left**2 * found.seen[0].ivar) < 1.3
    assert fluxes(found).min() > 0
