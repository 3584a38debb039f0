"""The flow of redshift and galaxy: one density in two parts, and its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import bands, photometric_flow
from slipher.networks.weights import load_arrays, save_arrays
from slipher.physics.abundance import RedshiftRange

SIZES = {"context": 6, "width": 12, "depth": 1, "layers": 3, "flow_width": 10, "knots": 4}
N_PARAMETER = 4
REDSHIFTS = RedshiftRange(0.01, 3.0)


@pytest.fixture(scope="module")
def network():
    made = photometric_flow.build_photometric(jax.random.key(0), N_PARAMETER, REDSHIFTS, **SIZES)
    # Untrained flows are nearly the identity: bend them.
    bend = lambda leaf: leaf + 0.15 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)  # noqa: E731
    return jax.tree.map(
        lambda leaf: bend(leaf) if jnp.issubdtype(getattr(leaf, "dtype", int), jnp.floating) and leaf.ndim > 0 else leaf, made
    )


FEATURES = jnp.linspace(-1.0, 1.0, bands.N_FEATURES)


def test_there_and_back(network):
    there, here = (jax.jit(lambda x, f=f: f(x, FEATURES)) for f in (network.from_base, network.to_base))
    slopes = jax.jit(jax.jacobian(lambda x: network.from_base(x, FEATURES)[0]))
    for z in jax.random.normal(jax.random.key(1), (4, 1 + N_PARAMETER)):
        u, log_det = there(z)
        back, again = here(u)
        np.testing.assert_allclose(back, z, atol=2e-3)
        assert float(again) == pytest.approx(float(log_det), abs=5e-3)
        assert float(log_det) == pytest.approx(float(jnp.linalg.slogdet(slopes(z))[1]), abs=5e-3)


def test_loss_is_the_density_of_both_parts(network):
    """Base density through the map, with the head's Gaussian of the mass."""
    u = jnp.array([0.3, -0.2, 0.8, 0.1, -1.1])
    z, log_det = network.to_base(u, FEATURES)
    log_q = -0.5 * jnp.sum(z**2) - 0.5 * len(z) * jnp.log(2 * jnp.pi) - log_det
    mean, sd = network.mass(u[1:], network.galaxy_context(FEATURES, u[0]))
    of_mass = -0.5 * ((0.7 - mean) / sd) ** 2 - jnp.log(sd / network.mass_scale)
    assert float(network.loss(u, jnp.float32(0.7), FEATURES)) == pytest.approx(float(-log_q - of_mass), abs=5e-3)


def test_the_galaxy_depends_on_the_redshift(network):
    one, other = (network.galaxy_context(FEATURES, jnp.float32(u)) for u in (-1.0, 1.0))
    assert np.abs(np.asarray(one - other)).max() > 1e-3


def test_weights_fill_a_blank_network(network, tmp_path):
    path = tmp_path / "w.safetensors"
    save_arrays(network, path)
    blank = photometric_flow.build_photometric(jax.random.key(5), N_PARAMETER, REDSHIFTS, blank=True, **SIZES)
    filled = load_arrays(blank, path)
    u = jnp.array([0.3, -0.2, 0.8, 0.1, -1.1])
    assert float(filled.loss(u, jnp.float32(0.0), FEATURES)) == pytest.approx(float(network.loss(u, jnp.float32(0.0), FEATURES)), abs=1e-4)
