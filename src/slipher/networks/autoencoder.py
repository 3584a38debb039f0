"""The autoencoder of spectra: from what a spectrum says of the basis to a few latents, and back to a whole rest-frame spectrum.

    statistics --ridge--> coefficients, errors --MLP--> latents s --gated MLP--> coefficients --basis--> rest-frame spectrum

The encoder is told what was measured and how well (`sufficient`), not the redshift, the instrument or a window of normalisation: it has
nothing from which latents could come to depend on them. The decoder's spectrum is continuous in rest wavelength; redshift, line-spread
function and amplitude come after it. What the encoder proposes is corrected by the exact likelihood (`correct`): a few Gauss-Newton steps
in latent space, which also tell how well the latents are known.

Losses, of two observations of each galaxy of a batch; none of them changes if spectra or latents change their unit:

- fidelity: chi^2 of each observation, and of each by the latents of the *other*, over what the basis can reach, a pixel;
- consistency: squared distance of a galaxy's two latents over that of two galaxies;
- similarity: distances of latents and of decoded spectra, both over their means, must agree (a stress, Kruskal 1964).

The seed is spender (Melchior et al. 2023, arXiv:2211.07890; Liang et al. 2023, arXiv:2302.02496), whose encoder reads flux alone.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from . import emulator, sufficient
from .emulator import Perceptron
from .posterior_flow import FEATURE_LIMIT, LEAST_SCALE
from .projection import Projection
from .sufficient import Statistics

CONSISTENCY, SIMILARITY = 1.0, 0.05  # weights of the losses beside fidelity
STEPS = 6  # of the correction
BOLDEST = 2.0  # of a step, in the population's standard deviations


class Autoencoder(eqx.Module):
    """Encoder and decoder about a projection; `metric` is the mean product of its components over rest wavelengths.

    `level` is the mean of components over a range of rest wavelengths (`sufficient.levels`); `shift` and `scale` standardise features.
    """

    projection: Projection
    level: Float[Array, "component"]
    metric: Float[Array, "component component"]
    shift: Float[Array, "feature"]
    scale: Float[Array, "feature"]
    encoder: eqx.nn.MLP
    decoder: Perceptron

    @property
    def n_latent(self) -> int:
        """Number of latents."""
        return self.encoder.out_size

    def encode(self, read: Float[Array, "feature"]) -> Float[Array, "latent"]:
        """Latents of a spectrum from its `features`, by the network alone."""
        return self.encoder(jnp.clip((read - self.shift) / self.scale, -FEATURE_LIMIT, FEATURE_LIMIT))

    def decode(self, latents: Float[Array, "latent"]) -> Float[Array, "component"]:
        """Coefficients of the spectrum of these latents, of level one."""
        shape = self.projection.mean + jnp.sqrt(self.projection.variance) * self.decoder(latents)
        return shape / jnp.maximum(self.level @ shape, 0.1)

    def chi2(self, latents: Float[Array, "latent"], statistics: Statistics) -> Float[Array, ""]:
        """Of the data about the decoded spectrum at its likeliest amplitude."""
        return sufficient.chi2(self.decode(latents), statistics)


def standardise(network: Autoencoder, read: Float[Array, "galaxy feature"]) -> Autoencoder:
    """With the scales of its features set from those of first spectra."""
    return eqx.tree_at(lambda n: (n.shift, n.scale), network, (read.mean(0), jnp.maximum(read.std(0), LEAST_SCALE)))


def n_features(projection: Projection) -> int:
    """Length of `features`."""
    return 3 * len(projection.mean) + 1


def features(statistics: Statistics, projection: Projection, level: Float[Array, "component"]) -> Float[Array, "feature"]:
    """What the encoder reads: coefficients over their level, linear and compressed; their errors; the S/N of the level."""
    found = sufficient.ridge(statistics, projection, level)
    sd_prior = jnp.sqrt(projection.variance)
    a = (found.coefficients - projection.mean) / sd_prior
    _, error = sufficient.amplitude_of(found.coefficients, statistics)
    sn = jnp.log(found.amplitude / error + 1.0)
    return jnp.concatenate([jnp.clip(a, -8, 8), jnp.arcsinh(6.0 * a), jnp.log(found.sd / sd_prior), sn[None]])


def build(
    key: PRNGKeyArray,
    projection: Projection,
    level: Array,
    metric: Array,
    *,
    latents: int,
    width: int,
    depth: int,
    decoder_width: int,
    decoder_depth: int,
) -> Autoencoder:
    """An untrained autoencoder; `shift` and `scale` are set from the first spectra (`standardise`)."""
    k = jax.random.split(key)
    n = n_features(projection)
    return Autoencoder(
        projection, jnp.asarray(level), jnp.asarray(metric), jnp.zeros(n), jnp.ones(n),
        eqx.nn.MLP(n, latents, width, depth, jax.nn.silu, key=k[0]),
        emulator.build(k[1], latents, len(projection.mean), width=decoder_width, depth=decoder_depth),
    )  # fmt: skip


# --- correction ------------------------------------------------------------------------------------------------------


class Population(NamedTuple):
    """Mean and covariance of the latents of a population: the Gaussian prior of a correction."""

    mean: Float[Array, "latent"]
    covariance: Float[Array, "latent latent"]


class Corrected(NamedTuple):
    """Latents at the peak of their posterior, its covariance, chi^2 there, and the amplitude in units of the statistics' scale."""

    latents: Float[Array, "latent"]
    covariance: Float[Array, "latent latent"]
    chi2: Float[Array, ""]
    amplitude: Float[Array, ""]


def correct(latents: Float[Array, "latent"], statistics: Statistics, network: Autoencoder, population: Population) -> Corrected:
    """From the encoder's latents to the most likely ones, amplitude marginalised, by damped Gauss-Newton steps that never make it worse."""
    precision = jnp.linalg.inv(population.covariance)
    gram = statistics.matrix()

    def objective(s: Array) -> Array:
        away = s - population.mean
        return 0.5 * network.chi2(s, statistics) + 0.5 * away @ precision @ away

    def curvature(s: Array) -> tuple[Array, Array]:
        shape, slope = network.decode(s), jax.jacfwd(network.decode)(s)
        amplitude, error = sufficient.amplitude_of(shape, statistics)
        along = gram @ shape
        seen = amplitude**2 * (slope.T @ gram @ slope - jnp.outer(slope.T @ along, slope.T @ along) * error**2)
        left = statistics.gradient - gram @ (amplitude * shape - statistics.centre)
        return seen + precision, amplitude * (slope.T @ left) - precision @ (s - population.mean)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        s, value, damping = carry
        bend, climb = curvature(s)
        move = jnp.linalg.solve(bend + damping * precision, climb)
        size = jnp.sqrt(move @ precision @ move / len(s))
        tried = s + move * jnp.minimum(1.0, BOLDEST / jnp.maximum(size, 1e-6))
        found = objective(tried)
        better = found < value
        return (jnp.where(better, tried, s), jnp.where(better, found, value), jnp.where(better, 0.3 * damping, 10.0 * damping + 1.0)), None

    (found, _, _), _ = jax.lax.scan(step, (latents, objective(latents), jnp.float32(0.1)), None, length=STEPS)
    covariance = jnp.linalg.inv(curvature(found)[0])
    return Corrected(found, covariance, network.chi2(found, statistics), sufficient.amplitude_of(network.decode(found), statistics)[0])


# --- training --------------------------------------------------------------------------------------------------------


def loss(network: Autoencoder, read: Float[Array, "galaxy two feature"], seen: Statistics) -> Float[Array, ""]:
    """Fidelity, consistency and similarity of a batch, whose galaxies are each seen twice: arrays [galaxy, two, ...]."""
    one, two = (jax.tree.map(lambda leaf, i=i: leaf[:, i], seen) for i in (0, 1))
    latents = [jax.vmap(network.encode)(read[:, i]) for i in (0, 1)]
    shapes = [jax.vmap(network.decode)(s) for s in latents]
    fidelity = jnp.mean(jnp.stack([_excess(shape, side) for shape in shapes for side in (one, two)]))
    return fidelity + CONSISTENCY * consistency(*latents) + SIMILARITY * similarity(latents[0], shapes[0], network.metric)


def _excess(shape: Float[Array, "galaxy component"], side: Statistics) -> Float[Array, "galaxy"]:
    """chi^2 above what the basis reaches, a pixel; its logarithm, so that the brightest are not all that counts."""
    found = jax.vmap(sufficient.chi2)(shape, side)
    return jnp.log1p(jnp.maximum((found - side.least) / jnp.maximum(side.n_pixels, 1.0), -0.9))


def consistency(one: Float[Array, "galaxy latent"], two: Float[Array, "galaxy latent"]) -> Float[Array, ""]:
    """Squared distance of a galaxy's two latents over that of two galaxies."""
    between = 2.0 * jnp.mean(jnp.sum((one - one.mean(0)) ** 2, 1))
    return jnp.mean(jnp.sum((one - two) ** 2, 1)) / jnp.maximum(between, 1e-12)


def similarity(
    latents: Float[Array, "galaxy latent"], shapes: Float[Array, "galaxy component"], metric: Float[Array, "component component"]
) -> Float[Array, ""]:
    """Stress between distances of latents and of spectra, of galaxies and their neighbours in the batch."""
    others = jnp.roll(latents, 1, 0) - latents
    difference = jnp.roll(shapes, 1, 0) - shapes
    of_latents = jnp.sqrt(jnp.sum(others**2, 1) + 1e-12)
    of_spectra = jnp.sqrt(jnp.maximum(jnp.einsum("gi,ij,gj->g", difference, metric, difference), 0.0) + 1e-12)
    return jnp.mean((of_latents / jnp.mean(of_latents) - of_spectra / jnp.mean(of_spectra)) ** 2)
