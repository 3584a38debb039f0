"""How fast the forward model is, and how well it agrees with bagpipes: `python benchmarks/forward_model.py`.

Batches of galaxies drawn from the prior of the default model, `jit` of `vmap`, compiled before the clock starts; the
best of a few repetitions. bagpipes (extra `compare`) runs beside it: the time of `model_galaxy.update`, which is what a
fit pays, with a delayed history, nebulae, dust and a velocity dispersion. A minute in all.
"""

import argparse
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tables import machine, markdown_table, write_section

from slipher.grids import sources
from slipher.grids.library import Library, library_sigma, load_library
from slipher.instrument import spectrograph, surveys
from slipher.physics import cosmology, galaxy, histories
from slipher.physics.parameters import from_normal
from slipher.units import C_KMS

REDSHIFT = 0.1
FIXED_KMS = 150.0
COMMON_KMS = 200.0
BANDS_AA = ((3200, 3600), (3600, 4500), (4500, 5500), (5500, 7000), (7000, 9500))
BAGPIPES_LSUN = 3.826e33
MODEL = galaxy.GALAXY


def best_time(call: Callable[[], object], repeat: int) -> float:
    """Shortest wall time of `call`, seconds, after one call that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def at_one_dispersion(library: Library) -> Library:
    """The library with its stars at one dispersion, for spectra whose widths are not fitted."""
    weights = galaxy.lagrange_weights(
        galaxy.dispersion_coordinate(jnp.float32(FIXED_KMS)), galaxy.dispersion_coordinate(library.sigma_nodes_kms)
    )
    mixed = (jnp.einsum("n,npk->pk", weights, table)[None] for table in (library.old, library.young))
    return eqx.tree_at(lambda x: (x.old, x.young, x.sigma_nodes_kms), library, (*mixed, jnp.zeros(1)))


def spectra_per_second(spectrum: Callable, view, library: Library, n: int, repeat: int) -> float:
    """Of `spectrum(values, t_universe, view, library)` over n draws from the prior."""
    u = jax.random.normal(jax.random.key(0), (n, len(MODEL.parameters)))
    t_universe = cosmology.age_gyr(REDSHIFT)

    def one(u, view, library):
        return spectrum(from_normal(MODEL.parameters, u), t_universe, view, library)

    batch = eqx.filter_jit(jax.vmap(one, (0, None, None)))
    return n / best_time(lambda: batch(u, view, library), repeat)


def stars_and_dust(values, t_universe, view, library):
    """Stars and nebular continuum through dust, without lines."""
    values = MODEL.complete(values)
    parts = galaxy.ingredients(MODEL, values, t_universe, library)
    return galaxy.continuum(MODEL, values, parts, view, library)


def full(values, t_universe, view, library):
    """Everything: history, stars, dust, nebulae, lines and dispersions."""
    return galaxy.spectrum(MODEL, values, t_universe, view, library)


def speeds(n: int, repeat: int) -> list[list[str]]:
    """Rows of the table of speeds."""
    library, survey = load_library(), surveys.survey("sdss")
    one = at_one_dispersion(library)
    grid = np.geomspace(2900.0, 9800.0, 5000)
    wave = survey.wavelengths()
    sdss = spectrograph.view(wave, REDSHIFT, library, lsf_kms=survey.lsf(wave))
    cases = (
        ("stars x dust, one dispersion", stars_and_dust, spectrograph.view(grid, 0.0, one, lsf_kms=0.0), one, "20,000"),
        ("stars x dust, free dispersion", stars_and_dust, sdss, library, ""),
        ("full model: lines, both dispersions", full, sdss, library, "5,000"),
    )
    rows = []
    for name, function, view, tables, target in cases:
        rate = spectra_per_second(function, view, tables, n, repeat)
        rows.append([name, f"{len(view.wave_aa):,}", f"{rate:,.0f}", f"{1e3 / rate:.3f}", target])
    return rows


def bagpipes_model(pipes, wave_aa: np.ndarray, dispersion: float | None, nebular: bool):
    """A delayed history (5 Gyr, tau 1 Gyr) of solar metallicity behind Calzetti dust."""
    model = {
        "redshift": REDSHIFT if dispersion else 0.0,
        "delayed": {"age": 5.0, "tau": 1.0, "massformed": 10.0, "metallicity": 1.0},
        "dust": {"type": "Calzetti", "Av": 0.5},
    }
    model |= {"nebular": {"logU": -2.5}} if nebular else {}
    model |= {"veldisp": dispersion} if dispersion else {}
    return pipes.model_galaxy(model, spec_wavs=wave_aa), model


def bagpipes_row(pipes, repeat: int) -> list[str]:
    """Time of one update, at bagpipes' own sampling and SDSS' pixels."""
    wave = surveys.survey("sdss").wavelengths()
    twin, model = bagpipes_model(pipes, wave, 150.0, nebular=True)
    shortest = best_time(lambda: twin.update(model), repeat)
    return ["bagpipes, full model", f"{len(wave):,}", f"{1 / shortest:,.0f}", f"{1e3 * shortest:.1f}", ""]


def agreement(pipes) -> list[list[str]]:
    """Rows: percentiles of |slipher / bagpipes - 1| by wavelength, both at 200 km/s, without nebulae."""
    wave = np.exp(np.arange(np.log(BANDS_AA[0][0]), np.log(BANDS_AA[-1][1]), 140.0 / C_KMS))
    difference = np.abs(slipher_twin(wave) / bagpipes_twin(pipes, wave) - 1.0)
    rows = []
    for low, high in BANDS_AA:
        inside = difference[(wave >= low) & (wave < high)]
        rows.append([f"{low}-{high}", *(f"{100 * np.quantile(inside, q):.2f}" for q in (0.5, 0.9, 0.99, 1.0))])
    return rows


def bagpipes_twin(pipes, wave_aa: np.ndarray) -> np.ndarray:
    """bagpipes' spectrum, Lsun/A per Msun formed, at vacuum wavelengths and the common dispersion."""
    before, pipes.config.R_spec = pipes.config.R_spec, 4000.0
    twin, _ = bagpipes_model(pipes, np.arange(3100.0, 9700.0, 5.0), None, nebular=False)
    pipes.config.R_spec = before
    log_wave = np.log(sources.vacuum_wavelength(twin.wavelengths))
    kernel = np.exp(-0.5 * ((log_wave - np.log(wave_aa)[:, None]) * C_KMS / COMMON_KMS) ** 2) * np.gradient(log_wave)
    return kernel @ twin.spectrum_full / kernel.sum(1) / BAGPIPES_LSUN / 1e10


def slipher_twin(wave_aa: np.ndarray) -> np.ndarray:
    """The same by slipher."""
    library = load_library()
    view = spectrograph.view(wave_aa, 0.0, library, lsf_kms=np.hypot(COMMON_KMS, library_sigma(wave_aa)))
    model = galaxy.GalaxyModel(
        name="twin",
        parameters=(),
        history=lambda values, t_universe, age: histories.delayed_tau(
            age, t_universe, age_start_gyr=jnp.float32(5.0), log_tau=jnp.float32(0.0)
        ),
        diffuse_curve="calzetti",
        fixed={"log_zstar": 0.0, "log_zgas": 0.0, "log_u": -2.5, "a_v": 0.5, "tau_bc": 0.0, "sigma_star": 0.0},
    )
    values = model.complete({})
    parts = galaxy.ingredients(model, values, jnp.float32(13.0), library)
    return np.asarray(galaxy.continuum(model, values, parts._replace(nebular=0 * parts.nebular), view, library))


def section(n: int, repeat: int) -> str:
    """The section of README.md."""
    try:
        import bagpipes as pipes
    except ImportError:
        pipes = None
    facts = machine("slipher", "jax", *(["bagpipes"] if pipes else []))
    rows = speeds(n, repeat)
    rows += [bagpipes_row(pipes, 2 * repeat)] if pipes else []
    text = [
        "## Forward model",
        "",
        f"`python benchmarks/forward_model.py`, batches of {n}, best of {repeat}. {facts}",
        "",
    ]
    text += [markdown_table(["spectra", "pixels", "per second", "ms each", "wanted per second"], rows)]
    if pipes:
        text += [
            "",
            "Difference from bagpipes in per cent: delayed history of 5 Gyr, Calzetti dust, both at 200 km/s.",
            "",
        ]
        text += [markdown_table(["A, rest frame", "median", "90 %", "99 %", "largest"], agreement(pipes))]
    else:
        text += ["", "bagpipes is not installed: no comparison."]
    return "\n".join(text)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    markdown = section(options.galaxies, options.repeat)
    print(markdown)
    if not options.dry_run:
        write_section("forward-model", markdown)


if __name__ == "__main__":
    main()
