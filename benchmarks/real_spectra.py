"""Real spectra: `python benchmarks/real_spectra.py SDSS_FOLDER DESI_COADD [--out DIR]`.

Every `spec-*.fits` of a folder and one DESI coadd, fitted and refined; beside what the SDSS pipeline says of the dispersion (VDISP) and of
Halpha and [O III] (SPZLINE, 1e-17 erg/s/cm2). Figures and tables of every galaxy go to --out. Minutes.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from tables import machine, markdown_table, write_section

import slipher
from slipher.report.folder import write_answer


def pipeline(path: Path) -> dict[str, tuple[float, float]]:
    """VDISP and line areas with their errors, as the survey's own file has them."""
    with fits.open(path) as file:
        facts = file[2].data[0]
        found = {"sigma_star": (float(facts["VDISP"]), float(facts["VDISP_ERR"]))}
        lines = {row["LINENAME"].strip(): row for row in file[3].data}
        for name, of in (("flux_halpha", "H_alpha"), ("flux_oiii5007", "[O_III] 5007")):
            found[name] = (float(lines[of]["LINEAREA"]), float(lines[of]["LINEAREA_ERR"]))
    return found


def said(posterior: slipher.Posterior, name: str, digits: int) -> str:
    """Median and half of the 16 - 84 % range."""
    draws = posterior.samples.get(name, posterior.derived.get(name))
    low, middle, high = np.quantile(draws, (0.16, 0.5, 0.84))
    return f"{middle:.{digits}f} ± {(high - low) / 2:.{digits}f}"


def misfit(posterior: slipher.Posterior) -> str:
    """The 60 A (rest frame) where the residuals, in units of their errors, are worst: chi^2 a pixel and mean there, and where."""
    residual = posterior.prediction.residuals()
    bins = (posterior.prediction.wave_aa / (1.0 + posterior.redshift) / 60.0).astype(int)
    worst, found = 0.0, ""
    for b in np.unique(bins[np.isfinite(residual)]):
        here = residual[(bins == b) & np.isfinite(residual)]
        if len(here) >= 15 and np.mean(here**2) > worst:
            worst = np.mean(here**2)
            found = f"{60 * b}-{60 * b + 60} A: {worst:.1f}, mean {here.mean():+.1f}"
    return found


def row_of(spectrum: slipher.Spectrum, survey_says: dict, out: Path | None) -> tuple[list[object], slipher.Posterior | None]:
    """One galaxy of the table."""
    try:
        posterior = slipher.fit(spectrum)
    except slipher.errors.SlipherError as error:
        return [spectrum.id, f"{spectrum.redshift:.3f}", f"refused: {error}", *[""] * 13], None
    if out is not None:
        write_answer(posterior, out, posterior.id)
    d = posterior.diagnostics

    def beside(name: str, digits: int = 0) -> str:
        if name not in survey_says:
            return said(posterior, name, digits)
        value, error = survey_says[name]
        return f"{said(posterior, name, digits)} ({value:.{digits}f} ± {error:.{digits}f})"

    return [
        posterior.id, f"{posterior.redshift:.3f}", posterior.status, f"{posterior.seconds:.1f}", f"{d.median_sn:.0f}", f"{d.ess:.0f}",
        f"{d.khat:.2f}", f"{d.chi2_per_pixel:.2f}", beside("sigma_star"), beside("flux_halpha"), beside("flux_oiii5007"),
        said(posterior, "log_mstar", 2), said(posterior, "log_ssfr_100myr", 2), said(posterior, "age_lw_gyr", 1),
        misfit(posterior), ", ".join(posterior.flags.names()),
    ], posterior  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sdss", type=Path)
    parser.add_argument("desi", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
    rows, refined, fitted = [], 0, 0
    paths = [*sorted(options.sdss.glob("spec-*.fits")), *([options.desi] if options.desi else [])]
    for path in paths:
        for spectrum in slipher.read(path):
            says = pipeline(path) if path.name.startswith("spec-") else {}
            row, posterior = row_of(spectrum, says, options.out)
            rows.append(row)
            print(*row, sep=" | ", flush=True)
            fitted += posterior is not None
            refined += posterior is not None and posterior.status == "refined"
    columns = ["id", "z", "status", "s", "S/N", "ESS", "k", "chi2/pixel", "sigma_star km/s (VDISP)", "F(Halpha) (SPZLINE)"]
    columns += ["F([O III]) (SPZLINE)", "log M*", "log sSFR", "light-weighted age, Gyr", "worst 60 A: chi2/pixel", "flags"]
    text = [
        "## Real spectra",
        f"`python benchmarks/real_spectra.py`, SDSS, BOSS and DESI spectra. {machine('slipher', 'jax')}",
        f"Refined: {refined} of {fitted} that were fitted. In brackets: the survey's pipeline. The first fit includes compilation.",
        markdown_table(columns, rows),
    ]
    write_section("real-spectra", "\n\n".join(text))


if __name__ == "__main__":
    main()
