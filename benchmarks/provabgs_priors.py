"""What PROVABGS' priors say of histories, and how well its bases span them: `python benchmarks/provabgs_priors.py`.

Galaxies drawn from the priors of `provabgs`, of `provabgs_wide` and of the default model, and what follows from them before any data;
and the family of histories that the bases come from, drawn afresh and written as sums of 2 to 6 of them. Two minutes; BLAS with several
threads makes it slower.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from tables import machine, markdown_table, write_section

from slipher.grids import history_bases as hb
from slipher.grids.library import load_library
from slipher.physics import cosmology, derived, galaxy
from slipher.physics.parameters import from_normal

PRESETS = (galaxy.PROVABGS, galaxy.PROVABGS_WIDE, galaxy.GALAXY)
REDSHIFTS = (0.05, 0.2)
PERCENTILES = (1, 5, 16, 50, 84, 95, 99)
QUANTITIES = {
    "log_ssfr_100myr": "log sSFR, 100 Myr (1/yr)",
    "log_ssfr_1gyr": "log sSFR, 1 Gyr (1/yr)",
    "age_mw_gyr": "mass-weighted age (Gyr)",
    "log_zstar": "mass-weighted log Z/Zsun",
}
QUIESCENT, OLD_GYR = -12.0, (8.0, 10.0)
RANKS = (2, 3, 4, 5, 6)
HELD_BACK_SEED = 7
FORMING = -11.5  # log sSFR from which an error of the rate matters


def draw_prior(model: galaxy.GalaxyModel, redshift: float, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """`QUANTITIES` of n galaxies of the prior, by name [draw]."""
    library, t_universe = load_library(), cosmology.age_gyr(redshift)

    @jax.jit
    @jax.vmap
    def one(u):
        values = model.complete(from_normal(model.parameters, u))
        parts = galaxy.ingredients(model, values, t_universe, library)
        found = derived.stellar(parts, t_universe, jnp.zeros(()), library)
        formed = jnp.maximum(model.history(values, t_universe, jnp.ones(1))[0], derived.FLOOR)
        found["log_ssfr_1gyr"] = jnp.log10(formed) - 9.0 - found["log_mstar"]
        return {name: found.get(name, jnp.log10(parts.metals)) for name in QUANTITIES}

    drawn = one(jax.random.normal(jax.random.key(seed), (n, len(model.parameters))))
    return {name: np.asarray(x, float) for name, x in drawn.items()}


def prior_rows(n: int) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of percentiles, and rows of how many are quiescent or old."""
    percentiles, shares = [], []
    for redshift in REDSHIFTS:
        drawn = {model.name: draw_prior(model, redshift, n) for model in PRESETS}
        for name, label in QUANTITIES.items():
            for model, of in drawn.items():
                percentiles.append([redshift, label, model, *(f"{x:.2f}" for x in np.percentile(of[name], PERCENTILES))])
        for model, of in drawn.items():
            quiescent = [100 * np.mean(of[name] < QUIESCENT) for name in ("log_ssfr_100myr", "log_ssfr_1gyr")]
            old = [100 * np.mean(of["age_mw_gyr"] > age) for age in OLD_GYR]
            shares.append([redshift, model, *(f"{x:.1f}" for x in (*quiescent, *old)), f"{of['age_mw_gyr'].max():.1f}"])
    return percentiles, shares


def errors(truth: np.ndarray, bases: np.ndarray) -> dict[str, np.ndarray]:
    """Differences [history] between histories and the sums of bases that come nearest, at an age of the universe of 13.5 Gyr."""
    found = hb.shares_of(truth, bases) @ bases
    edges = hb.T_UNIVERSE_GYR * hb.AGE_EDGES
    middle = 0.5 * (edges[1:] + edges[:-1])

    def formed(mass, gyr):
        return np.array([np.interp(gyr, edges[1:], row) for row in np.cumsum(mass, 1)])

    forming = formed(truth, 0.1) > 10**FORMING * 1e8
    log_rate = {gyr: np.log10(formed(found, gyr)[forming] / formed(truth, gyr)[forming]) for gyr in (0.1, 1.0)}
    return {
        "cumulative mass, largest difference": np.abs(np.cumsum(found, 1) - np.cumsum(truth, 1)).max(1),
        "mass-weighted age (Gyr)": np.abs((found - truth) @ middle),
        "log SFR, 100 Myr (dex)": np.abs(log_rate[0.1]),
        "log SFR, 1 Gyr (dex)": np.abs(log_rate[1.0]),
    }


def metallicity_errors(truth: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Mean over time of |Z - nearest sum of bases| over the mean of Z, for each history [history]."""
    parts = bases / bases.sum(1, keepdims=True)
    rows, shares = truth / truth.sum(1, keepdims=True), np.full((len(truth), len(bases)), 1.0 / len(bases))
    for _ in range(1000):
        shares = hb.update_shares(shares, rows, parts)
    return np.abs(shares @ parts - rows).sum(1)


def spans(n: int) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of percentiles of the errors of held-back histories, and of metallicities, by number of bases."""
    family = hb.draw_family(np.random.default_rng(hb.SEED), hb.N_HISTORIES)
    fresh = hb.draw_family(np.random.default_rng(HELD_BACK_SEED), n)
    rows: dict[str, list[list[str]]] = {}
    metals = []
    for rank in RANKS:
        for name, error in errors(fresh.mass, hb.star_formation_bases(family.mass, rank)).items():
            rows.setdefault(name, []).append([name, rank, *(f"{x:.3f}" for x in np.percentile(error, (50, 84, 95)))])
        if rank < 5:
            error = metallicity_errors(fresh.metallicity, hb.metallicity_bases(family.metallicity, rank))
            metals.append([rank, *(f"{x:.3f}" for x in np.percentile(error, (50, 84, 95)))])
    return [row for of in rows.values() for row in of], metals


def section(n_prior: int, n_held_back: int) -> str:
    """The section of README.md."""
    facts = machine("slipher", "jax")
    percentiles, shares = prior_rows(n_prior)
    histories, metals = spans(n_held_back)
    quiescent = [f"sSFR {when} < 1e-12, %" for when in ("100 Myr", "1 Gyr")]
    return "\n".join(
        [
            "## What PROVABGS' priors say",
            "",
            f"`python benchmarks/provabgs_priors.py`: {n_prior:,} galaxies of each prior. {facts}",
            "",
            "A flat Dirichlet distribution seldom leaves one of four shares alone: a ceiling on the age and a floor under the rate of"
            " star formation. `provabgs_wide` is the same model under other priors (`slipher.physics.provabgs`).",
            "",
            markdown_table(["z", "preset", *quiescent, *(f"age > {a:.0f} Gyr, %" for a in OLD_GYR), "oldest, Gyr"], shares),
            "",
            "Percentiles of what is quoted, before any data:",
            "",
            markdown_table(["z", "quantity", "preset", *(f"{p} %" for p in PERCENTILES)], percentiles),
            "",
            f"How well sums of bases come near {n_held_back:,} held-back histories of the family (`slipher.grids.history_bases`; without"
            f" the burst, which is a parameter by itself), percentiles of the error. Rates: of the histories with sSFR > 10^{FORMING}.",
            "",
            markdown_table(["error", "bases", "median", "84 %", "95 %"], histories),
            "",
            "Metallicity histories: mean over time of |Z - sum of bases|, over the mean Z.",
            "",
            markdown_table(["bases", "median", "84 %", "95 %"], metals),
        ]
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", type=int, default=20000)
    parser.add_argument("--held-back", type=int, default=2000)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write README.md")
    options = parser.parse_args()
    markdown = section(options.prior, options.held_back)
    print(markdown)
    if not options.dry_run:
        write_section("provabgs-priors", markdown)


if __name__ == "__main__":
    main()
