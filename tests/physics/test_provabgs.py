"""The preset `provabgs`: its priors are PROVABGS', nothing shines but stars, and float32 is near float64."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from slipher.grids.history_bases import load_history_bases
from slipher.grids.library import load_library
from slipher.physics import galaxy, provabgs
from slipher.physics.galaxy import MODELS, PROVABGS, PROVABGS_WIDE
from slipher.physics.parameters import from_normal

T_UNIVERSE = jnp.float32(12.0)
PRESETS = pytest.mark.parametrize("model", [PROVABGS, PROVABGS_WIDE], ids=lambda model: model.name)


def draws(model, n, seed=0):
    return from_normal(model.parameters, jax.random.normal(jax.random.key(seed), (len(model.parameters), n)))


def test_priors_are_those_of_the_paper():
    drawn = draws(PROVABGS, 20000)
    betas = np.asarray(jax.vmap(provabgs.shares)(drawn), float)
    stated = {
        "mass": (drawn["log_mstar_formed"], stats.uniform(7.0, 5.5)),
        "f_burst": (drawn["f_burst"], stats.uniform(0.0, 1.0)),
        "t_burst": (drawn["t_burst_gyr"], stats.uniform(0.01, 13.26)),
        "gamma_1": (10 ** drawn["log_gamma_1"], stats.loguniform(4.5e-5, 1.5e-2)),
        "gamma_2": (10 ** drawn["log_gamma_2"], stats.loguniform(4.5e-5, 1.5e-2)),
        "tau_bc": (drawn["tau_bc"], stats.uniform(0.0, 3.0)),
        "tau_ism": (drawn["a_v"] / (2.5 * np.log10(np.e)), stats.uniform(0.0, 3.0)),
        "n_dust": (drawn["dust_slope"], stats.uniform(-2.0, 3.0)),
        **{f"beta_{i}": (betas[:, i], stats.beta(1, 3)) for i in range(4)},
    }
    assert len(stated) == 12
    for name, (values, distribution) in stated.items():
        assert stats.kstest(np.asarray(values, float), distribution.cdf).pvalue > 1e-3, name


def test_both_presets_are_registered_with_the_mass_last():
    for model in (PROVABGS, PROVABGS_WIDE):
        assert MODELS[model.name] is model
        assert model.names[-1] == "log_mstar_formed"


@PRESETS
def test_one_basis_alone_is_that_basis(model):
    """Sticks, or ratios, at their ends; no burst: the cumulative mass at the ends of the basis' own steps."""
    bases = load_history_bases()
    at = jnp.asarray(bases.age_edges) * T_UNIVERSE
    for i in range(provabgs.N_BASIS):
        values = {
            "f_burst": jnp.float32(0.0),
            "t_burst_gyr": jnp.float32(1.0),
            "log_f_burst": jnp.float32(-30.0),
            "log_t_burst": jnp.zeros(()),
        }
        values |= {f"stick_{k}": jnp.float32(k == i + 1) for k in range(1, provabgs.N_BASIS)}
        values |= {f"log_beta_ratio_{k}": jnp.float32(20.0 if k > i else -20.0) for k in range(1, provabgs.N_BASIS)}
        np.testing.assert_allclose(model.history(values, T_UNIVERSE, at)[1:], np.cumsum(bases.mass[i]), atol=2e-6)


@PRESETS
def test_nothing_shines_but_stars(model):
    library = load_library()
    values = model.complete({name: x[0] for name, x in draws(model, 1).items()})
    parts = galaxy.ingredients(model, values, T_UNIVERSE, library)
    assert parts.lines.shape == library.line_wave_aa.shape
    assert not np.any(parts.lines)
    assert not np.any(parts.nebular)
    assert np.all(np.any(parts.stars[:, : library.n_young] > 0, 0))


def test_metallicity_is_the_sum_of_the_bases():
    """At the middles of the library's cells, in float64: gamma_1 b_1 + gamma_2 b_2 over 0.02."""
    bases, library = load_history_bases(), load_library()
    values = {"log_gamma_1": jnp.float32(-2.5), "log_gamma_2": jnp.float32(-3.0)}
    found = provabgs.metallicity(values, T_UNIVERSE, library.age_edges_gyr)
    edges = np.minimum(np.asarray(library.age_edges_gyr, float), 12.0)
    x = 0.5 * (edges[1:] + edges[:-1]) / 12.0
    z = sum(10.0**g * np.interp(x, bases.metallicity_knots, b) for g, b in zip((-2.5, -3.0), bases.metallicity))
    np.testing.assert_allclose(found, np.log10(z / 0.02), atol=2e-4)


IN_FLOAT64 = """
import sys, json, jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from slipher.physics.galaxy import MODELS
given = np.load(sys.argv[1])
edges, found = jnp.asarray(given["edges"], float), {}
for name in json.loads(sys.argv[3]):
    model = MODELS[name]
    values = {p: jnp.asarray(given[f"{name} {p}"], float) for p in model.names}
    both = lambda v: (jnp.diff(model.history(v, jnp.float64(12.0), edges)), model.metallicity(v, jnp.float64(12.0), edges))
    found[name + " mass"], found[name + " metals"] = jax.vmap(both)(values)
np.savez(sys.argv[2], **found)
"""


@pytest.mark.slow
def test_float32_is_near_float64(tmp_path):
    """Mass in the library's cells and metallicities of 200 draws; double precision in a process of its own, the switch is for good."""
    edges, drawn = load_library().age_edges_gyr, {model.name: draws(model, 200) for model in (PROVABGS, PROVABGS_WIDE)}
    np.savez(tmp_path / "given.npz", edges=edges, **{f"{name} {p}": x for name, of in drawn.items() for p, x in of.items()})
    arguments = [tmp_path / "given.npz", tmp_path / "found.npz", json.dumps(list(drawn))]
    subprocess.run([sys.executable, "-c", IN_FLOAT64, *map(str, arguments)], check=True, timeout=120)
    exact = np.load(tmp_path / "found.npz")
    for name, values in drawn.items():
        model = MODELS[name]
        mass = jax.vmap(lambda v, m=model: jnp.diff(m.history(v, T_UNIVERSE, edges)))(values)
        metals = jax.vmap(lambda v, m=model: m.metallicity(v, T_UNIVERSE, edges))(values)
        np.testing.assert_allclose(mass, exact[f"{name} mass"], atol=2e-6)
        np.testing.assert_allclose(metals, exact[f"{name} metals"], atol=2e-4)
