"""Stellar masses from real photometry: `python benchmarks/masses.py ../shared/data/photometry [--model photometry] [--refined 60]`.

zCOSMOS (5,622 galaxies, redshifts known) beside COSMOS2015's LePhare masses, which come from other photometry of the same field, and
RESOLVE (301 nearby galaxies) beside its own masses and NUV star-formation rates. Masses of living stars; theirs are for a Chabrier IMF
and H0 = 70 km/s/Mpc, Omega_m = 0.3, and ours (Kroupa, Planck 2015) are brought to these before they are compared. Minutes.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import catalogues
import numpy as np
from astropy.cosmology import FlatLambdaCDM
from scipy.stats import spearmanr
from tables import machine, markdown_table, write_section

import slipher
from slipher.physics import cosmology

KROUPA_TO_CHABRIER = np.log10(0.94)  # Madau & Dickinson (2014), section 3.1
OUTLIER_DEX = 0.5
Z_EDGES, MASS_EDGES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0), (7.5, 9.0, 9.5, 10.0, 10.5, 12.5)


def answers(catalogue: slipher.Catalogue, **how) -> dict[str, np.ndarray]:
    """All rows of `fit_rows` together."""
    parts = list(slipher.fit_rows(catalogue, **how))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def at_70(redshift: np.ndarray) -> np.ndarray:
    """What log masses and rates gain by distances of H0 = 70, Omega_m = 0.3."""
    theirs = FlatLambdaCDM(H0=70.0, Om0=0.3).luminosity_distance(redshift).value
    ours = np.array([float(cosmology.luminosity_distance_mpc(z)) for z in redshift.astype(np.float32)])
    return 2.0 * np.log10(theirs / ours)


def scatter(difference: np.ndarray) -> list[object]:
    """Rows, median, NMAD, share of outliers."""
    d = difference[np.isfinite(difference)]
    nmad = 1.4826 * np.median(np.abs(d - np.median(d)))
    return [len(d), f"{np.median(d):+.3f}", f"{nmad:.3f}", f"{np.mean(np.abs(d - np.median(d)) > OUTLIER_DEX):.1%}"]


def difference(found: dict[str, np.ndarray], theirs: np.ndarray) -> np.ndarray:
    """Our log mass less theirs, in their IMF and cosmology."""
    return found["log_mstar"] + KROUPA_TO_CHABRIER + at_70(found["redshift"]) - theirs


def ours(found: dict[str, np.ndarray]) -> list[str]:
    """Half of the 16 - 84 % range of the mass, and chi^2 a band: medians."""
    half = 0.5 * (found["log_mstar_p84"] - found["log_mstar_p16"])
    return [f"{np.nanmedian(half):.3f}", f"{np.nanmedian(found['chi2_per_band']):.2f}"]


def binned(d: np.ndarray, values: np.ndarray, edges: tuple[float, ...], name: str) -> list[list[object]]:
    """One row a bin."""
    return [[f"{name} {low:g}-{high:g}", *scatter(d[(values >= low) & (values < high)])] for low, high in pairwise(edges)]


def of_zcosmos(folder: Path, model: str, refined: int) -> list[str]:
    """Tables of zCOSMOS."""
    given = catalogues.zcosmos(folder)
    theirs, redshift = given.labels["log_mass"], given.labels["redshift"]
    found = answers(given.catalogue, model=model, samples=100)
    raw = answers(catalogues.zcosmos(folder, shift={}).catalogue, model=model, samples=100)
    some = np.random.default_rng(1).permutation(len(theirs))[:refined]
    exact = answers(given.catalogue[np.sort(some)], model=model, samples=300, sampler="refined")
    d = difference(found, theirs)
    d_exact = difference(exact, theirs[np.sort(some)])
    head = ["zCOSMOS", "galaxies", "bias", "NMAD", f"beyond {OUTLIER_DEX} dex", "width", "chi2 a band"]
    held = np.mean(exact["status"] == "refined")
    rows = [
        ["network alone, published zero points", *scatter(d), *ours(found)],
        ["network alone, catalogue's zero points", *scatter(difference(raw, theirs)), *ours(raw)],
        [f"refined ({held:.0%} held)", *scatter(d_exact), *ours(exact)],
        ["network alone on the same galaxies", *scatter(d[np.sort(some)]), "", ""],
    ]
    parts = binned(d, redshift, Z_EDGES, "z") + binned(d, theirs, MASS_EDGES, "log M")
    return [markdown_table(head, rows), markdown_table(["network alone", "galaxies", "bias", "NMAD", f"beyond {OUTLIER_DEX} dex"], parts)]


def of_resolve(folder: Path, model: str, refined: int) -> str:
    """Table of RESOLVE: all galaxies by the network, some refined."""
    whole, rows = catalogues.resolve(folder), []
    chosen = np.sort(np.random.default_rng(1).permutation(len(whole.catalogue))[:refined])
    for sampler, some in (("amortised", np.arange(len(whole.catalogue))), ("refined", chosen)):
        given = catalogues.Labelled(whole.catalogue[some], {name: values[some] for name, values in whole.labels.items()})
        found = answers(given.catalogue, model=model, samples=300, sampler=sampler)
        d = difference(found, given.labels["log_mass"])
        sfr = given.labels["log_sfr"]
        both = np.isfinite(sfr) & np.isfinite(found["log_sfr_100myr"])
        rank = spearmanr(sfr[both], found["log_sfr_100myr"][both]).statistic
        held = np.mean(found["status"] == "refined")
        name = "network alone" if sampler == "amortised" else f"refined ({held:.0%} held)"
        rows.append([name, *scatter(d), *ours(found), f"{rank:.3f} of {both.sum()}"])
    head = ["RESOLVE", "galaxies", "bias", "NMAD", f"beyond {OUTLIER_DEX} dex", "width", "chi2 a band", "SFR: Spearman's rank with SFR_NUV"]
    return markdown_table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="photometry")
    parser.add_argument("--refined", type=int, default=60)
    options = parser.parse_args()
    here = machine("slipher", "jax")
    text = ["## Masses from real photometry", f"`python benchmarks/masses.py FOLDER --refined {options.refined}`. {here}"]
    text.append(
        "Our log M* (living stars) less theirs, both for a Chabrier IMF and H0 = 70, Omega_m = 0.3. `width`: half of the 16 - 84 % range, "
        "median. Zero points of zCOSMOS: Ilbert et al. (2009), table 1, not compared with the printed table; magnitudes in 3 arcsec, while "
        "COSMOS2015's masses are of whole galaxies. Errors have a floor of 3 %."
    )
    text += of_zcosmos(options.folder, options.model, options.refined)
    text.append(of_resolve(options.folder, options.model, options.refined))
    write_section("masses", "\n\n".join(text))


if __name__ == "__main__":
    main()
