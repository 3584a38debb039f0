"""Images of scenes: against sums over fine pixels, and against themselves turned, shifted and seen by other pixels."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.wcs import WCS
from scipy import signal, special

from slipher.data.image import Cutout, cutout
from slipher.errors import InputError
from slipher.scene import render
from slipher.scene.exposure import Exposure, exposure, of_cutout, same_part
from slipher.scene.morphology import Gaussian, Morphology, Point, Sersic, Textured
from slipher.scene.render import Group, Members, Scene, Sight
from slipher.scene.source import Light, Screen, Source, Start
from slipher.scene.spectrum import Free

SHAPE = (45, 51)
START = (22.3, 19.8)
DRAW = eqx.filter_jit(render.draw)


def profile(r: np.ndarray) -> np.ndarray:
    """A Moffat profile of 3.6 pixels full width at half maximum."""
    return (1.0 + (2.0 * r / 3.6) ** 2 * (2.0 ** (1 / 3) - 1)) ** -3.0


def moffat(n: int = 25, scale: float = 1.0) -> np.ndarray:
    """A PSF on pixels of that size."""
    y, x = scale * (np.mgrid[:n, :n] - (n - 1) / 2)
    psf = profile(np.hypot(x, y))
    return psf / psf.sum()


def seen(psf: np.ndarray | None = None, n_bands: int = 1, shape: tuple[int, int] = SHAPE, **how) -> Exposure:
    psf = moffat() if psf is None else psf
    nothing = np.zeros((n_bands, *shape))
    return exposure(nothing, np.ones_like(nothing), np.stack([psf] * n_bands), **how)


def members(source: Source, starts, fluxes, **values: float) -> Members:
    """Sources of one kind, all with these values (the prior's middle where none is given)."""
    n = len(starts)
    u = {p.name: jnp.zeros((n, *p.shape)) for p in source.parameters}
    for p in source.parameters:
        name = p.name.rpartition(".")[2]
        if name in values:
            u[p.name] = jnp.full((n, *p.shape), p.prior.to_normal(jnp.float32(values[name])))
    return Members(Start(jnp.asarray(starts, jnp.float32), jnp.asarray(fluxes, jnp.float32).reshape(n, len(source.lights), -1)), u)


def image(source: Source, one: Exposure, starts=(START,), fluxes=(1.0,), shift=(0.0, 0.0), background=0.0, **values) -> np.ndarray:
    scene = Scene((Group(source, len(starts)),), source.lights[0].spectrum.n_bands)
    sight = Sight(jnp.tile(jnp.asarray(shift, jnp.float32), (len(one.bands), 1)), jnp.full(len(one.bands), background, jnp.float32))
    return np.asarray(DRAW(scene, render.Point((members(source, starts, fluxes, **values),), (sight,)), 0, one))


def kind(morphology: Morphology, n_bands: int = 1) -> Source:
    return Source((Light(morphology, Free(n_bands)),))


@pytest.mark.parametrize("index", [0.8, 1.0, 2.5])
def test_an_image_is_a_profile_convolved_on_fine_pixels(index):
    """Nine points a pixel each way, profile and PSF, seen at the pixels' centres."""
    fine, radius, g = 9, 2.5, 0.2
    y, x = ((np.arange(n * fine) - fine // 2) / fine for n in SHAPE)
    dx, dy = np.meshgrid(x - START[0], y - START[1])
    r = np.hypot(dx * np.exp(-g), dy * np.exp(g)) / radius
    b = special.gammaincinv(2 * index, 0.5)
    light = np.exp(-b * r ** (1 / index)) * b ** (2 * index) / (2 * np.pi * index * special.gamma(2 * index) * radius**2)
    v, u = np.mgrid[: 25 * fine, : 25 * fine] / fine - 12.0 - 4 / 9
    psf = profile(np.hypot(u, v))
    want = signal.fftconvolve(light, psf / psf.sum(), "same")[fine // 2 :: fine, fine // 2 :: fine]
    got = image(kind(Sersic()), seen(), log_radius=np.log(radius), shear_1=g, shear_2=0.0, log_index=np.log(index))[0]
    assert np.abs(got - want).max() < 3e-3 * want.max()


def test_fluxes_add_up_and_backgrounds_are_added():
    source = kind(Gaussian(), 2)
    one = seen(n_bands=2)
    got = image(source, one, [START, (30.0, 25.0)], [[3.0, 1.0], [0.5, 2.0]], background=0.25, log_radius=0.5)
    np.testing.assert_allclose((got - 0.25).sum((1, 2)), [3.5, 3.0], rtol=1e-3)


@pytest.mark.parametrize("x", [52.0, 55.5, -4.0])
def test_the_wings_of_what_is_outside_are_there(x):
    """As a wider image shows them, of which 30 columns are before the first."""
    wide, start = (SHAPE[0], SHAPE[1] + 60), (x + 30.0, START[1])
    both = [image(kind(Gaussian()), seen(shape=shape), [at], radius=3.0) for shape, at in ((SHAPE, (x, START[1])), (wide, start))]
    assert both[0].max() > 1e-4
    np.testing.assert_allclose(both[0], both[1][..., 30:-30], atol=2e-6)


@pytest.mark.parametrize("start", [(75.0, 20.0), (-33.0, 20.0), (20.0, 88.0)])
def test_what_is_far_outside_does_not_come_back_on_the_other_side(start):
    np.testing.assert_array_equal(image(kind(Gaussian()), seen(), [start], radius=3.0), 0.0)


def test_whole_pixels_move_images_as_they_are():
    source = kind(Sersic())
    here = image(source, seen())
    np.testing.assert_allclose(image(source, seen(), [(START[0] + 3, START[1] - 2)])[0][:-4, 4:], here[0][2:-2, 1:-3], atol=1e-6)
    off = image(source, seen(wander=1.0, anchored=False), shift=(3.0, -2.0))
    np.testing.assert_allclose(off[0][:-4, 4:], here[0][2:-2, 1:-3], atol=1e-6)


@pytest.mark.parametrize("morphology", [Sersic(), Textured(Sersic(), 31)], ids=["profile", "pixels"])
def test_a_turned_exposure_shows_the_turned_image(morphology):
    source, values = kind(morphology), {"log_radius": 0.8, "shear_1": 0.2, "shear_2": 0.1}
    turned = seen(shape=SHAPE[::-1], jacobian=np.array([[0.0, 1.0], [-1.0, 0.0]]), origin=np.array([0.0, SHAPE[1] - 1.0]))
    np.testing.assert_allclose(image(source, turned, **values)[0], np.rot90(image(source, seen(), **values)[0]), atol=2e-6)


def test_finer_pixels_show_the_same_sky():
    """Three by three of another exposure's pixels are one of ours, where the PSFs say so."""
    source = kind(Sersic())
    other = seen(moffat(75, 1 / 3), shape=(3 * SHAPE[0], 3 * SHAPE[1]), jacobian=3.0 * np.eye(2), origin=np.ones(2))
    got = image(source, other)[0][1::3, 1::3] * 9.0
    want = image(source, seen())[0]
    assert np.abs(got - want).max() < 3e-3 * want.max()


def test_a_star_is_the_psf():
    got = image(kind(Point()), seen(), [(25.0, 22.0)], [2.0])[0]
    np.testing.assert_allclose(got[10:35, 13:38], 2.0 * moffat(), atol=1e-6)


def test_dust_dims_what_lies_behind_it_and_nothing_else():
    dusty = Source((Light(Gaussian(), Free(2)),), (Screen(Gaussian(), jnp.array([1.0, 0.5])),), grid=61, step=0.5)
    clear, one = kind(Gaussian(), 2), seen(n_bands=2)
    flux = [[1.0, 1.0]]
    nothing = image(dusty, one, fluxes=flux, log_tau=-20.0)
    np.testing.assert_allclose(nothing, image(clear, one, fluxes=flux), atol=2e-5)
    # A screen of the galaxy's own Gaussian: int G exp(-t G / G(0)) = (1 - exp(-t)) / t.
    tau = np.array([1.5, 0.75])
    dimmed = image(dusty, one, fluxes=flux, log_tau=np.log(1.5)).sum((1, 2))
    np.testing.assert_allclose(dimmed, (1.0 - np.exp(-tau)) / tau, rtol=5e-3)


def test_scenes_are_mapped_over():
    source = kind(Sersic())
    scene, one = Scene((Group(source, 1),), 1), seen()
    starts = [(20.0, 20.0), (25.5, 22.25), (30.0, 18.0)]
    points = [render.Point((members(source, [s], [1.0]),), (Sight(jnp.zeros((1, 2)), jnp.zeros(1)),)) for s in starts]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    got = jax.jit(jax.vmap(lambda point: render.draw(scene, point, 0, one)))(stacked)
    for single, point in zip(got, points, strict=True):
        np.testing.assert_allclose(single, DRAW(scene, point, 0, one), atol=1e-6)


@pytest.mark.parametrize("what", ["shapes", "bands", "dark"])
def test_exposures_that_do_not_fit_are_refused(what):
    flux, ivar, psf = np.zeros((2, 9, 9)), np.ones((2, 9, 9)), np.stack([moffat(5)] * 2)
    if what == "shapes":
        ivar = ivar[:, 1:]
    elif what == "bands":
        psf = psf[:1]
    else:
        psf[1] = 0.0
    with pytest.raises(InputError, match="PSF"):
        exposure(flux, ivar, psf)


def placed(angle: float, scale: float, shape: tuple[int, int], projection: str = "TAN") -> Cutout:
    """An image of one field, turned (degrees) and with pixels of that size (arcsec)."""
    wcs = WCS(naxis=2)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.ctype, wcs.wcs.crval = [f"RA---{projection}", f"DEC--{projection}"], [150.1, 2.2]
    wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    return cutout(np.ones(shape), variance=np.ones(shape), psf=moffat(), wcs=wcs, bands=("i",), id=f"{angle} {scale}")


@pytest.mark.parametrize(("angle", "separable"), [(0.0, True), (0.01, True), (90.0, False), (33.0, False)])
def test_pixels_of_two_images_are_joined_by_their_coordinates(angle, separable):
    one, other = placed(0.0, 0.168, (50, 60)), placed(angle, 0.03, (250, 240))
    seen = of_cutout(other, one, ("i",))
    assert seen.separable == separable
    x, y = np.array([3.0, 44.0, 20.0]), np.array([7.0, 11.0, 40.0])
    want = np.stack(other.wcs.world_to_pixel(one.wcs.pixel_to_world(x, y)))
    np.testing.assert_allclose(np.asarray(seen.jacobian) @ np.stack([x, y]) + np.asarray(seen.origin)[:, None], want, atol=0.1)


def test_other_images_are_off_by_pixels_of_the_first():
    one, other = placed(0.0, 0.168, (50, 60)), placed(33.0, 0.042, (250, 240))
    np.testing.assert_allclose(of_cutout(other, one, ("i",), astrometry=0.5).wander, 2.0, rtol=1e-3)
    assert of_cutout(other, one, ("i",), astrometry=0.0).wander == 0.0


def test_of_a_larger_image_what_shows_the_sky_of_the_first_is_fitted():
    one, other = placed(0.0, 0.168, (50, 60)), placed(33.0, 0.03, (700, 800))
    part = same_part(one, other)
    assert part.flux.shape[1] < 700
    assert part.flux.shape[2] < 800
    y, x = np.mgrid[: part.flux.shape[1], : part.flux.shape[2]]
    there = np.stack(one.wcs.world_to_pixel(part.wcs.pixel_to_world(x, y)), -1)
    edge = np.abs(there[..., None] - np.array([[-0.5, 59.5], [-0.5, 49.5]])).min((-2, -1)) < 0.02
    np.testing.assert_array_equal((part.ivar[0] > 0)[~edge], one.holds(there.reshape(-1, 2)).reshape(x.shape)[~edge])
    # As large as the first image's sky is in these pixels.
    assert np.sum(part.ivar > 0) == pytest.approx(50 * 60 * (0.168 / 0.03) ** 2, rel=1e-3)


def test_of_a_smaller_image_all_is_fitted():
    one, other = placed(0.0, 0.168, (50, 60)), placed(33.0, 0.03, (150, 120))
    part = same_part(one, other)
    np.testing.assert_array_equal(part.ivar, other.ivar)
    np.testing.assert_allclose(part.wcs.pixel_to_world_values(3.0, 7.0), other.wcs.pixel_to_world_values(3.0, 7.0))


def test_images_that_cannot_be_joined_are_refused():
    one = placed(0.0, 0.168, (50, 60))
    elsewhere = one.wcs.deepcopy()
    elsewhere.wcs.crval = [150.2, 2.2]
    with pytest.raises(InputError, match="none of the sky"):
        same_part(one, dataclasses.replace(one, wcs=elsewhere))
    with pytest.raises(InputError, match="no coordinates"):
        of_cutout(dataclasses.replace(one, wcs=None), one)
    with pytest.raises(InputError, match="no affine map"):
        of_cutout(placed(0.0, 300.0, (50, 60)), placed(20.0, 1500.0, (50, 60), "SIN"))
    with pytest.raises(InputError, match="of g, r"):
        of_cutout(one, bands=("g", "r"))
    with pytest.raises(InputError, match="astrometry -1"):
        of_cutout(one, one, astrometry=-1.0)
