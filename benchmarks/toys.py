r"""Small scenes of which the posterior is known: `scene_toys` samples them.

The truth has no code of slipher: a Gaussian of covariance S seen through a Gaussian PSF of covariance P by pixels J r + p_0 is

    f N(p; J r + p_0, J S J' + P),

and behind a round screen of dust an integral over radius. Posteriors are sums over grids of two to four numbers (`posterior_sums`), or
Gaussians where images are linear in them. Priors are those that the sources name; blocks of numbers that know nothing of each other are
summed each by itself.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special
from scipy.interpolate import CubicSpline

from slipher.grids.filters import load_filters
from slipher.physics.parameters import Prior
from slipher.scene import amplitudes, normal
from slipher.scene.exposure import Exposure, exposure
from slipher.scene.morphology import Gaussian
from slipher.scene.physical_spectra import black_body
from slipher.scene.render import Group, Members, Point, Scene, Sight
from slipher.scene.source import Light, Screen, Source, Start
from slipher.scene.spectrum import Free

SHAPE = (21, 24)  # rows, columns
PSF_SIDE = 25
REACH = {2: 10.0, 3: 7.5, 4: 6.5}  # sd of the posterior about its mean, by the number of dimensions
STEP = {2: 0.2, 3: 0.4, 4: 0.6}  # sd
AT_ONCE = 2000  # points of a grid
FARTHEST = 12.0  # u of a prior's table
H_C_OVER_K = 1.438776877e8  # A K
HALF = np.sqrt(2.0 * np.log(2.0))  # half-light radius of a round Gaussian, in sd
Truth = tuple[np.ndarray, np.ndarray]
Density = Callable[[np.ndarray], np.ndarray]


class Block(NamedTuple):
    """Numbers whose posterior is its own: names, ln p of points [point, number], and about where they are, and how well known."""

    names: tuple[str, ...]
    log_density: Density
    guess: np.ndarray
    scale: np.ndarray


class Toy(NamedTuple):
    """A scene to sample; `numbers` [sample, number] are those of `names`, made of points; `truth` are blocks, or mean and sd.

    `fitted` are the numbers that are free in the fit and in Laplace's errors, `free` those that are sampled.
    """

    name: str
    scene: Scene
    point: Point
    seen: tuple[Exposure, ...]
    free: normal.Free
    fitted: normal.Free
    marginal: bool
    names: tuple[str, ...]
    numbers: Callable[[Point], np.ndarray]
    truth: tuple[Block, ...] | Truth


# --- sums over grids -------------------------------------------------------------------------------------------------


def posterior_sums(block: Block) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and sd, and by how many sd two grids disagree, one half a step beside the other."""
    best = optimize.minimize(
        lambda z: -block.log_density((block.guess + block.scale * z)[None])[0], np.zeros(len(block.guess)), method="Powell",
        options={"xtol": 1e-6, "ftol": 1e-12},
    ).x  # fmt: skip
    mean, covariance = block.guess + block.scale * best, np.diag(block.scale**2)
    for _ in range(4):
        mean, covariance = _moments(block.log_density, mean, covariance, 0.8, 0.0)
    step = STEP[len(mean)]
    (one, spread), (two, other) = (_moments(block.log_density, mean, covariance, step, shift) for shift in (0.0, 0.5))
    sd = np.sqrt(np.diagonal(spread))
    return one, sd, float(max(np.abs((one - two) / sd).max(), np.abs(np.sqrt(np.diagonal(other)) / sd - 1.0).max()))


def _moments(density: Density, mean: np.ndarray, covariance: np.ndarray, step: float, shift: float) -> Truth:
    """Mean and covariance of a density by its sum over a grid that has a covariance for its axes."""
    root, d = np.linalg.cholesky(covariance), len(mean)
    n = int(REACH[d] / step)
    z = step * (np.arange(-n, n + 1) + shift)
    points = mean + np.stack(np.meshgrid(*d * [z], indexing="ij"), -1).reshape(-1, d) @ root.T
    value = np.concatenate([density(points[i : i + AT_ONCE]) for i in range(0, len(points), AT_ONCE)])
    weight = np.exp(value - value.max())
    weight /= weight.sum()
    middle = weight @ points
    return middle, (weight[:, None] * (points - middle)).T @ (points - middle)


# --- what is seen ----------------------------------------------------------------------------------------------------


def pixels(shape: tuple[int, int]) -> np.ndarray:
    """[2, y, x]: x and y."""
    return np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))).astype(np.float64)


def gaussian(at: np.ndarray, spread: np.ndarray | float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Of unit sum at points [..., 2], with a covariance."""
    spread = spread * np.eye(2) if np.ndim(spread) == 0 else spread
    inverse = np.linalg.inv(spread)
    x, y = (p - np.asarray(at)[..., axis, None, None] for axis, p in enumerate(pixels(shape)))
    squared = inverse[0, 0] * x**2 + 2.0 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
    return np.exp(-0.5 * squared) / (2.0 * np.pi * np.sqrt(np.linalg.det(spread)))


def psf_of(sd: float) -> np.ndarray:
    middle = 0.5 * (PSF_SIDE - 1)
    return gaussian(np.array([middle, middle]), sd**2, (PSF_SIDE, PSF_SIDE))


def ellipse(radius: float, g_1: float, g_2: float) -> np.ndarray:
    """Covariance of a Gaussian: the matrix exponential of a shear, twice, in units of its half-light radius."""
    size = np.hypot(g_1, g_2)
    turn = np.array([(g_1, g_2), (g_2, -g_1)]) / max(size, 1e-30)
    return (radius / HALF) ** 2 * (np.cosh(2.0 * size) * np.eye(2) + np.sinh(2.0 * size) * turn)


def log_prior(source: Source, name: str, x: np.ndarray) -> np.ndarray:
    """Of values of a parameter: N(u; 0, 1) du/dx with the map u(x) that is the source's own, in a table."""
    value, density = _tabled(next(p.prior for p in source.parameters if p.name == name))
    return np.interp(x, value, density, left=-np.inf, right=-np.inf)


@cache
def _tabled(prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Values and ln p of them; what is farther out is as good as impossible."""
    u = np.linspace(-FARTHEST, FARTHEST, 24_001)
    value, slope = (np.asarray(a, np.float64) for a in jax.vmap(jax.value_and_grad(prior.from_normal))(jnp.asarray(u, jnp.float32)))
    inside = np.append(np.diff(value) > 0, False) & (slope > 0)
    return value[inside], -0.5 * u[inside] ** 2 - np.log(slope[inside])


def log_likelihood(flux: np.ndarray, sigma: float, model: np.ndarray) -> np.ndarray:
    """Of images [point, y, x]."""
    return -0.5 * ((flux - model) ** 2).sum((-2, -1)) / sigma**2


# --- scenes ----------------------------------------------------------------------------------------------------------


def members(source: Source, position: np.ndarray, flux: np.ndarray, **values: np.ndarray | float) -> Members:
    """Sources at [source, 2] with starting fluxes [source, light, band]; other parameters where the prior has its middle.

    Names of parts and parameters are joined by `__` here.
    """
    given = {name.replace("__", "."): value for name, value in values.items()}
    u = {}
    for p in source.parameters:
        value = np.broadcast_to(np.asarray(given.get(p.name, p.prior.from_normal(jnp.zeros(()))), np.float64), (len(position), *p.shape))
        u[p.name] = p.prior.to_normal(jnp.asarray(value, jnp.float32))
    return Members(Start(jnp.asarray(position, jnp.float32), jnp.asarray(flux, jnp.float32)), u)


def scene_of(source: Source, some: Members, seen: tuple[Exposure, ...], n_bands: int) -> tuple[Scene, Point]:
    """Of one group, without shifts and backgrounds to begin with."""
    sights = tuple(Sight(jnp.zeros((len(one.bands), 2)), jnp.zeros(len(one.bands))) for one in seen)
    return Scene((Group(source, len(some.start.position)),), n_bands), Point((some,), sights)


def noisy(rng: np.random.Generator, model: np.ndarray, sigma: float) -> np.ndarray:
    """In single precision, as slipher has it."""
    return (model + sigma * rng.standard_normal(model.shape)).astype(np.float32).astype(np.float64)


def of_source(scene: Scene, name: str) -> Callable[[Point], np.ndarray]:
    """Values [sample, source and its own numbers] of a parameter."""
    prior = next(p.prior for p in scene.groups[0].source.parameters if p.name == name)
    return lambda points: np.asarray(prior.from_normal(points.members[0].u[name]), np.float64).reshape(len(points.sights[0].shift), -1)


def of_exposure(which: int, what: str, unit: float = 1.0) -> Callable[[Point], np.ndarray]:
    """Shifts or backgrounds [sample, number]."""
    return lambda points: unit * np.asarray(getattr(points.sights[which], what), np.float64).reshape(len(points.sights[0].shift), -1)


def together(*parts: Callable[[Point], np.ndarray]) -> Callable[[Point], np.ndarray]:
    """Numbers side by side."""
    return lambda points: np.concatenate([part(points) for part in parts], 1)


def seen_as(flux: np.ndarray, sigma: float, psf_sd: tuple[float, ...], **how) -> Exposure:
    return exposure(flux, np.full(flux.shape, sigma**-2.0), np.stack([psf_of(sd) for sd in psf_sd]), **how)


# --- the toys --------------------------------------------------------------------------------------------------------


def two_fluxes(rng: np.random.Generator) -> Toy:
    """Two sources a PSF apart in two bands."""
    sigma, psf, radius = 0.25, (1.5, 1.8), 1.5
    at, truth = np.array([(10.2, 9.7), (12.6, 10.9)]), np.array([(20.0, 9.0), (12.0, 14.0)])
    shapes = np.stack([[gaussian(p, ellipse(radius, 0.0, 0.0) + sd**2 * np.eye(2)) for p in at] for sd in psf])
    flux, start = noisy(rng, np.einsum("sb,bsyx->byx", truth, shapes), sigma), 0.8 * truth
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (seen_as(flux, sigma, psf),)
    scene, point = scene_of(source, members(source, at, start[:, None], light_0__log_radius=np.log(radius)), seen, 2)
    free = normal.opened(point, shifts=False, backgrounds=False, sources=lambda name: name == "light_0.log_flux")

    def block(b: int) -> Block:
        def density(x: np.ndarray) -> np.ndarray:
            model = np.einsum("ps,syx->pyx", start[:, b] * np.exp(x), shapes[b])
            return log_likelihood(flux[b], sigma, model) + log_prior(source, "light_0.log_flux", x).sum(1)

        return Block((f"ln f_1{b + 1}", f"ln f_2{b + 1}"), density, np.full(2, 0.2), np.full(2, 0.1))

    blocks = (block(0), block(1))
    order = of_source(scene, "light_0.log_flux")
    return Toy(
        "(a) fluxes of two sources, two bands", scene, point, seen, free, free, False, blocks[0].names + blocks[1].names,
        lambda points: order(points)[:, [0, 2, 1, 3]], blocks,
    )  # fmt: skip


def position_and_background(rng: np.random.Generator) -> Toy:
    """A source and two backgrounds."""
    sigma, psf, radius, lit = 0.2, (1.6, 1.9), 1.8, np.array([15.0, 11.0])
    start, off, sky = np.array([11.0, 10.0]), np.array([0.6, -0.4]), np.array([0.3, -0.2])
    spreads = [ellipse(radius, 0.25, -0.1) + sd**2 * np.eye(2) for sd in psf]
    flux = noisy(rng, np.stack([f * gaussian(start + off, s) + c for f, s, c in zip(lit, spreads, sky, strict=True)]), sigma)
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (seen_as(flux, sigma, psf),)
    shape = {"light_0__log_radius": np.log(radius), "light_0__shear_1": 0.25, "light_0__shear_2": -0.1}
    scene, point = scene_of(source, members(source, start[None], lit[None, None], **shape), seen, 2)
    free = normal.opened(point, shifts=False, sources=lambda name: name == "offset")

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "offset", x[:, :2]).sum(1)
        for b, spread in enumerate(spreads):
            value = value + log_likelihood(flux[b], sigma, lit[b] * gaussian(start + x[:, :2], spread) + x[:, 2 + b, None, None])
        return value

    names = ("x", "y", "background 1", "background 2")
    numbers = together(of_source(scene, "offset"), of_exposure(0, "background"))
    blocks = (Block(names, density, np.concatenate([off, sky]), np.array([0.2, 0.2, 0.02, 0.02])),)
    return Toy("(b) position and backgrounds", scene, point, seen, free, free, False, names, numbers, blocks)


def shifted_bands(rng: np.random.Generator) -> Toy:
    """Both bands of an image off, each by itself, and backgrounds."""
    sigma, psf, radius, wander, lit = 0.08, (1.5, 1.9), 1.6, 0.3, np.array([8.0, 11.0])
    at, off, sky = np.array([11.3, 9.6]), np.array([(0.4, -0.2), (-0.1, 0.5)]), np.array([0.1, -0.1])
    spreads = [ellipse(radius, 0.0, 0.2) + sd**2 * np.eye(2) for sd in psf]
    flux = noisy(rng, np.stack([lit[b] * gaussian(at + off[b], spreads[b]) + sky[b] for b in range(2)]), sigma)
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (seen_as(flux, sigma, psf, wander=wander, anchored=False),)
    shape = {"light_0__log_radius": np.log(radius), "light_0__shear_2": 0.2}
    scene, point = scene_of(source, members(source, at[None], lit[None, None], **shape), seen, 2)
    free = normal.opened(point, sources=lambda name: False)

    def block(b: int) -> Block:
        def density(x: np.ndarray) -> np.ndarray:
            model = lit[b] * gaussian(at + x[:, :2], spreads[b]) + x[:, 2, None, None]
            return log_likelihood(flux[b], sigma, model) - 0.5 * ((x[:, :2] / wander) ** 2).sum(1)

        return Block(
            (f"shift x {b + 1}", f"y {b + 1}", f"background {b + 1}"), density, np.append(off[b], sky[b]), np.array([0.1, 0.1, 0.02])
        )

    blocks, side = (block(0), block(1)), together(of_exposure(0, "shift", wander), of_exposure(0, "background"))
    return Toy(
        "(c) shifts of two bands and backgrounds", scene, point, seen, free, free, False, blocks[0].names + blocks[1].names,
        lambda points: side(points)[:, [0, 1, 4, 2, 3, 5]], blocks,
    )  # fmt: skip


def anchored_bands(rng: np.random.Generator) -> Toy:
    """Bands off each other whose mean is where the source is: shifts are of opposite signs, each of wander / sqrt(2)."""
    sigma, psf, radius, wander, lit = 0.08, (1.5, 1.9), 1.6, 0.3, np.array([8.0, 11.0])
    at, off, shift = np.array([11.3, 9.6]), np.array([-0.5, 0.3]), np.array([0.25, -0.15])
    spreads = [ellipse(radius, 0.0, 0.0) + sd**2 * np.eye(2) for sd in psf]
    flux = noisy(rng, np.stack([lit[b] * gaussian(at + off + (1 - 2 * b) * shift, spreads[b]) for b in range(2)]), sigma)
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (seen_as(flux, sigma, psf, wander=wander, anchored=True),)
    scene, point = scene_of(source, members(source, at[None], lit[None, None], light_0__log_radius=np.log(radius)), seen, 2)
    free = normal.opened(point, backgrounds=False, sources=lambda name: name == "offset")

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "offset", x[:, :2]).sum(1) - ((x[:, 2:] / wander) ** 2).sum(1)
        for b, spread in enumerate(spreads):
            value = value + log_likelihood(flux[b], sigma, lit[b] * gaussian(at + x[:, :2] + (1 - 2 * b) * x[:, 2:], spread))
        return value

    def first(points: Point) -> np.ndarray:
        u = np.asarray(points.sights[0].shift, np.float64)
        return wander * (u[:, 0] - u.mean(1))

    names = ("x", "y", "shift x", "shift y")
    blocks = (Block(names, density, np.concatenate([off, shift]), np.full(4, 0.1)),)
    return Toy("(c') position, bands off each other", scene, point, seen, free, free, False, names, together(
        of_source(scene, "offset"), first), blocks)  # fmt: skip


def behind_dust(rng: np.random.Generator) -> Toy:
    """A Gaussian behind a smaller Gaussian of dust in two bands: what is round is seen through a round PSF by one integral over radius."""
    sigma, psf, law, at = 0.07, (1.5, 1.7), np.array([1.0, 0.55]), np.array([11.4, 9.8])
    radius, dusty, lit, log_tau = 3.0, 2.2, np.array([30.0, 28.0]), 0.3
    r, table = np.linspace(0.0, 20.0, 801), np.arange(-9.0, 5.01, 0.02)
    seen_at = np.hypot(*(p - a for p, a in zip(pixels(SHAPE), at, strict=True))).ravel()
    light = np.exp(-0.5 * (r * HALF / radius) ** 2) * (HALF / radius) ** 2 / (2.0 * np.pi)

    def templates(b: int, log_depth: np.ndarray) -> np.ndarray:
        """[depth, pixel] at unit flux."""
        spread = np.exp(-0.5 * ((r - seen_at[:, None]) / psf[b]) ** 2) * special.i0e(r * seen_at[:, None] / psf[b] ** 2) / psf[b] ** 2
        through = np.exp(-np.exp(log_depth)[:, None] * law[b] * np.exp(-0.5 * (r * HALF / dusty) ** 2))
        return (light * through * r * (r[1] - r[0])) @ spread.T

    model = np.stack([lit[b] * templates(b, np.array([log_tau]))[0] for b in range(2)]).reshape(2, *SHAPE)
    flux, start = noisy(rng, model, sigma), 0.7 * lit
    shown = [templates(b, table) for b in range(2)]
    norm, pull = (
        [CubicSpline(table, f(b)) for b in range(2)] for f in (lambda b: (shown[b] ** 2).sum(1), lambda b: shown[b] @ flux[b].ravel())
    )
    source = Source((Light(Gaussian(), Free(2)),), (Screen(Gaussian(), jnp.asarray(law, jnp.float32)),), grid=49, step=0.5)
    seen = (seen_as(flux, sigma, psf),)
    shape = {"light_0__log_radius": np.log(radius), "screen_0__log_radius": np.log(dusty), "screen_0__log_tau": -0.5}
    scene, point = scene_of(source, members(source, at[None], start[None, None], **shape), seen, 2)
    own = ("light_0.log_flux", "screen_0.log_tau")
    free = normal.opened(point, shifts=False, backgrounds=False, sources=lambda name: name in own)

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "screen_0.log_tau", x[:, 0]) + log_prior(source, "light_0.log_flux", x[:, 1:]).sum(1)
        for b in range(2):
            f = start[b] * np.exp(x[:, 1 + b])
            value = value - 0.5 * (f**2 * norm[b](x[:, 0]) - 2.0 * f * pull[b](x[:, 0])) / sigma**2
        return np.where((x[:, 0] > table[0]) & (x[:, 0] < table[-1]), value, -np.inf)

    names = ("ln tau", "ln f_1", "ln f_2")
    numbers = together(of_source(scene, "screen_0.log_tau"), of_source(scene, "light_0.log_flux"))
    blocks = (Block(names, density, np.array([log_tau, 0.357, 0.357]), np.array([0.1, 0.1, 0.1])),)
    return Toy("(d) a screen of dust and fluxes", scene, point, seen, free, free, False, names, numbers, blocks)


def two_exposures(rng: np.random.Generator) -> Toy:
    """Another image with pixels of 0.6, turned and mirrored, off by some."""
    sigmas, radius, wander, turn, lit = (0.3, 0.15), 2.0, 0.4, np.deg2rad(25.0), np.array([12.0, 14.0])
    jacobian = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))]) @ np.diag([-1.0, 1.0]) / 0.6
    shape, at, off, shift = (37, 41), np.array([11.2, 9.9]), np.array([-0.3, 0.5]), np.array([0.5, 0.2])
    origin, own = np.array([20.0, 18.0]) - jacobian @ at, ellipse(radius, 0.3, 0.15)
    spreads = [own + 1.7**2 * np.eye(2), jacobian @ own @ jacobian.T + 1.6**2 * np.eye(2)]
    places = [lambda x, s: at + x, lambda x, s: (at + x) @ jacobian.T + origin + s]
    shapes = (SHAPE, shape)
    flux = [noisy(rng, lit[i] * gaussian(places[i](off, shift), spreads[i], shapes[i])[None], sigmas[i]) for i in range(2)]
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (
        seen_as(flux[0], sigmas[0], (1.7,), bands=(0,)),
        seen_as(flux[1], sigmas[1], (1.6,), bands=(1,), jacobian=jacobian, origin=origin, wander=wander, anchored=False),
    )  # fmt: skip
    shapely = {"light_0__log_radius": np.log(radius), "light_0__shear_1": 0.3, "light_0__shear_2": 0.15}
    scene, point = scene_of(source, members(source, at[None], lit[None, None], **shapely), seen, 2)
    groups, sights = normal.opened(point, backgrounds=False, sources=lambda name: name == "offset")
    free = groups, [sights[0]._replace(shift=jnp.zeros_like(sights[0].shift)), sights[1]]

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "offset", x[:, :2]).sum(1) - 0.5 * ((x[:, 2:] / wander) ** 2).sum(1)
        for i in range(2):
            model = lit[i] * gaussian(places[i](x[:, :2], x[:, 2:]), spreads[i], shapes[i])
            value = value + log_likelihood(flux[i][0], sigmas[i], model)
        return value

    names, numbers = ("x", "y", "shift x", "shift y"), together(of_source(scene, "offset"), of_exposure(1, "shift", wander))
    blocks = (Block(names, density, np.concatenate([off, shift]), np.full(4, 0.15)),)
    return Toy("(e) two images, turned: position, shift", scene, point, seen, free, free, False, names, numbers, blocks)


def fluxes_integrated_out(rng: np.random.Generator) -> Toy:
    """Positions of two sources in two bands, amplitudes marginal: fluxes have normal priors about zero here, backgrounds nearly none."""
    sigma, psf, radius = 0.3, (1.5, 1.8), 1.5
    at, truth, off = np.array([(9.5, 9.2), (13.0, 11.0)]), np.array([(14.0, 9.0), (12.0, 18.0)]), np.array([(0.4, -0.2), (-0.3, 0.5)])
    spreads = [ellipse(radius, 0.0, 0.0) + sd**2 * np.eye(2) for sd in psf]
    flux = noisy(
        rng, np.stack([truth[:, b] @ gaussian(at + off, spreads[b]).reshape(2, -1) + 0.2 for b in range(2)]).reshape(2, *SHAPE), sigma
    )
    start = 0.8 * truth
    source = Source((Light(Gaussian(), Free(2)),))
    seen = (seen_as(flux, sigma, psf),)
    scene, point = scene_of(source, members(source, at, start[:, None], light_0__log_radius=np.log(radius)), seen, 2)
    free = normal.opened(point, shifts=False, backgrounds=False, sources=lambda name: name == "offset")
    fitted = normal.opened(point, shifts=False, sources=lambda name: name in ("offset", "light_0.log_flux"))

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "offset", x).sum(1)
        for b, spread in enumerate(spreads):
            each = [gaussian(at[s] + x[:, 2 * s : 2 * s + 2], spread).reshape(len(x), -1) for s in range(2)]
            design = np.stack([*each, np.ones_like(each[0])], 1) / sigma
            wide = np.append((amplitudes.WIDE * start[:, b]) ** -2.0, 0.0)
            matrix = design @ design.swapaxes(1, 2) + np.diag(wide)
            pull = design @ (flux[b].ravel() / sigma)
            value = value + 0.5 * (pull * np.linalg.solve(matrix, pull[..., None])[..., 0]).sum(1) - 0.5 * np.linalg.slogdet(matrix)[1]
        return value

    names = ("x_1", "y_1", "x_2", "y_2")
    blocks = (Block(names, density, off.ravel(), np.full(4, 0.15)),)
    return Toy(
        "(f) positions, amplitudes integrated out", scene, point, seen, free, fitted, True, names, of_source(scene, "offset"), blocks
    )


def temperature(rng: np.random.Generator) -> Toy:
    """A black body in griz."""
    names, sigma, at = tuple(f"sdss2010-{band}" for band in "griz"), 0.12, np.array([11.4, 9.8])
    psf, log_t, per_nmgy = (1.7, 1.6, 1.5, 1.6), 3.75, np.array([2.0, 2.0, 1.5, 1.0])
    curves = load_filters(names)

    def colours(log_t: np.ndarray) -> np.ndarray:
        """Means of f_nu in bands [point, band], up to a factor."""
        found = []
        for curve in curves:
            wave = np.linspace(curve.wave_aa[0], curve.wave_aa[-1], 2001)
            photons = np.interp(wave, curve.wave_aa, curve.response) / wave
            light = (5500.0 / wave) ** 3 / np.expm1(H_C_OVER_K / wave * 10 ** -log_t[:, None])
            found.append((photons * light).sum(1) / photons.sum())
        return np.stack(found, 1)

    start = np.array([6.0, 9.0, 8.0, 6.0])

    def fluxes(x: np.ndarray) -> np.ndarray:
        shape = colours(x[:, 0])
        return per_nmgy * shape * (np.exp(x[:, 1]) * np.sum(start / per_nmgy) / shape.sum(1))[:, None]

    shapes = np.stack([gaussian(at, sd**2 + (1.5 / HALF) ** 2) for sd in psf])
    guess = np.array([log_t, 0.1])
    flux = noisy(rng, fluxes(guess[None])[0][:, None, None] * shapes, sigma)
    source = Source((Light(Gaussian(), black_body(names, per_nmgy)),))
    seen = (seen_as(flux, sigma, psf),)
    begin = members(source, at[None], start[None, None], light_0__log_radius=np.log(1.5), light_0__log_temperature=3.9)
    scene, point = scene_of(source, begin, seen, 4)
    free = normal.opened(
        point, shifts=False, backgrounds=False, sources=lambda name: name in ("light_0.log_temperature", "light_0.log_amplitude")
    )  # fmt: skip

    def density(x: np.ndarray) -> np.ndarray:
        value = log_prior(source, "light_0.log_temperature", x[:, 0]) + log_prior(source, "light_0.log_amplitude", x[:, 1])
        lit = fluxes(x)
        norm, pull = (shapes**2).sum((1, 2)), (shapes * flux).sum((1, 2))
        return value - 0.5 * (lit**2 @ norm - 2.0 * lit @ pull) / sigma**2

    numbers = together(of_source(scene, "light_0.log_temperature"), of_source(scene, "light_0.log_amplitude"))
    labels = ("log T", "ln A")
    return Toy("(g) a black body in four bands", scene, point, seen, free, free, False, labels, numbers, (
        Block(labels, density, guess, np.array([0.01, 0.02])),))  # fmt: skip


class Linear(NamedTuple):
    """Twelve bright sources in two bands with backgrounds: a scene, and [band, amplitude, pixel] over the noise of which it is made."""

    scene: Scene
    point: Point
    seen: Exposure
    design: np.ndarray
    data: np.ndarray
    start: np.ndarray


def linear(rng: np.random.Generator) -> Linear:
    """All that is linear of a scene, and its data over the noise [band, pixel]."""
    sigma, psf, radius = 0.02, (1.5, 1.8), 1.5
    at = np.array(list(product((3.5, 9.0, 14.5, 20.0), (3.5, 10.0, 16.5)))) + rng.uniform(-0.7, 0.7, (12, 2))
    lit, sky = np.exp(rng.uniform(np.log(20.0), np.log(60.0), (12, 2))), np.array([0.1, -0.05])
    shapes = [gaussian(at, ellipse(radius, 0.0, 0.0) + sd**2 * np.eye(2)) for sd in psf]
    flux = noisy(rng, np.stack([np.tensordot(lit[:, b], shapes[b], 1) + sky[b] for b in range(2)]), sigma)
    source, start = Source((Light(Gaussian(), Free(2)),)), 0.9 * lit
    seen = seen_as(flux, sigma, psf)
    scene, point = scene_of(source, members(source, at, start[:, None], light_0__log_radius=np.log(radius)), (seen,), 2)
    design = np.stack([np.concatenate([shape.reshape(12, -1), np.ones((1, shape[0].size))]) for shape in shapes]) / sigma
    return Linear(scene, point, seen, design, flux.reshape(2, -1) / sigma, start)


def solved(rng: np.random.Generator) -> tuple[float, float]:
    """Amplitudes solved for, against a solution in double precision: by how many sd means differ, and sds by what share, at most."""
    one = linear(rng)
    found, off, wide = amplitudes.solve(one.scene, one.point, 0, one.seen), 0.0, 0.0
    for b in range(2):
        prior = np.append((amplitudes.WIDE * one.start[:, b]) ** -2.0, 0.0)
        covariance = np.linalg.inv(one.design[b] @ one.design[b].T + np.diag(prior))
        mean, sd = covariance @ one.design[b] @ one.data[b], np.sqrt(np.diagonal(covariance))
        off = max(off, np.abs((np.asarray(found.mean[b], np.float64) - mean) / sd).max())
        wide = max(wide, np.abs(np.sqrt(np.diagonal(np.asarray(found.covariance[b], np.float64))) / sd - 1.0).max())
    return float(off), float(wide)


def many_fluxes(rng: np.random.Generator) -> Toy:
    """Twelve sources in two bands with backgrounds: a Gaussian in their fluxes.

    The prior of ln f is next to flat there: its slope moves the mean, and no more.
    """
    one = linear(rng)
    source, start = one.scene.groups[0].source, one.start
    free = normal.opened(one.point, shifts=False, sources=lambda name: name == "light_0.log_flux")
    means, sds = [], []
    for b in range(2):
        covariance = np.linalg.inv(one.design[b] @ one.design[b].T)
        best, nearly = covariance @ one.design[b] @ one.data[b], 0.01
        x = np.log(best[:12] / start[:, b])
        slope = (log_prior(source, "light_0.log_flux", x + nearly) - log_prior(source, "light_0.log_flux", x - nearly)) / (2.0 * nearly)
        means.append(best + covariance @ np.append((slope - 1.0) / best[:12], 0.0))
        sds.append(np.sqrt(np.diagonal(covariance)))

    def numbers(points: Point) -> np.ndarray:
        fluxes = start * np.exp(of_source(one.scene, "light_0.log_flux")(points).reshape(-1, 12, 2))
        sky = np.asarray(points.sights[0].background, np.float64)
        return np.concatenate([np.concatenate([fluxes[:, :, b], sky[:, b : b + 1]], 1) for b in range(2)], 1)

    names = tuple(f"{name} {b}" for b in (1, 2) for name in (*(f"f_{i + 1}" for i in range(12)), "background"))
    return Toy("(h) 24 fluxes and two backgrounds", one.scene, one.point, (one.seen,), free, free, False, names, numbers, (
        np.concatenate(means), np.concatenate(sds)))  # fmt: skip


TOYS = {
    "a": two_fluxes, "b": position_and_background, "c": shifted_bands, "c'": anchored_bands, "d": behind_dust, "e": two_exposures,
    "f": fluxes_integrated_out, "g": temperature, "h": many_fluxes,
}  # fmt: skip
