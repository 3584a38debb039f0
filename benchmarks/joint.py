"""A spectrum and photometry together: `python benchmarks/joint.py ../shared/data [--samples 1000]`.

The DESI galaxy with its Legacy Survey photometry, and RESOLVE's rs0010 with its SDSS spectrum (a text file without errors: these are
taken from the scatter of neighbouring pixels) and FUV to Ks. Each is fitted by its spectrum, by its bands, and by both, refined: is the
last narrower than the other two, and consistent with them? Minutes.
"""

import argparse
from pathlib import Path

import catalogues
import numpy as np
from astropy.io import fits
from tables import machine, markdown_table, write_section

import slipher
from slipher.instrument.filters import filter_matrix

SHOWN = {"log_mstar": 2, "log_sfr_100myr": 2, "age_mw_gyr": 2, "log_zstar": 2, "a_v": 2, "dust_slope": 2, "log_aperture_share": 2}
DESI_BANDS = ("BASS-g", "BASS-r", "MzLS-z", "wise2010-W1", "wise2010-W2")
SDSS_RESOLVING_POWER = 1900.0
MADE_OF = 51  # pixels of which the scatter is taken
LEAST_ERROR = 0.03  # of the flux: neighbouring pixels agree to 1 %, far better than SDSS at this magnitude, so that they were smoothed


def of_desi(folder: Path) -> slipher.Galaxy:
    """The coadd of one galaxy, and the photometry in its FIBERMAP."""
    coadd = next(folder.glob("coadd-4-*.fits"))
    spectrum = slipher.read(coadd, redrock=next(folder.glob("redrock-4-*.fits")))[0]
    with fits.open(coadd) as file:
        facts = file["FIBERMAP"].data[0]
    names = ("G", "R", "Z", "W1", "W2")
    photometry = slipher.photometry(
        [facts["FLUX_" + band] for band in names], ivar=[facts["FLUX_IVAR_" + band] for band in names], bands=DESI_BANDS, unit="nanomaggy",
        id=spectrum.id, redshift=spectrum.redshift, ebv=spectrum.ebv,
    )  # fmt: skip
    inside, total = ([facts[kind + band] for band in "GRZ"] for kind in ("FIBERFLUX_", "FLUX_"))
    return slipher.Galaxy(
        spectrum=spectrum,
        photometry=photometry,
        aperture=slipher.Aperture.from_fluxes(inside, total, caught_of_point=float(facts["MEAN_PSF_TO_FIBER_SPECFLUX"])),
    )


def of_resolve(folder: Path, name: str = "rs0010") -> slipher.Galaxy:
    """The text file of the fibre's spectrum (nm, erg/s/cm2/A), and RESOLVE's magnitudes."""
    given = catalogues.resolve(folder / "photometry").catalogue
    row = given[int(np.flatnonzero(given.id == name)[0])]
    wave_nm, flux = np.loadtxt(folder / "images" / f"{name}_sdss_spectrum_nm.txt", unpack=True)
    wave, flux = 10.0 * wave_nm, flux * 1e17
    # Noise from third differences of every second pixel, which a spectrum's lines leave out (Stoehr et al. 2008).
    third = np.abs(2 * flux[2:-2] - flux[:-4] - flux[4:])
    local = np.array([np.median(third[max(0, i - MADE_OF // 2) : i + MADE_OF // 2 + 1]) for i in range(len(third))])
    sigma = np.maximum(np.pad(0.6052697 * local, 2, mode="edge"), LEAST_ERROR * np.abs(flux))
    spectrum = slipher.spectrum(
        wave, flux, uncertainty=sigma, redshift=row.redshift, resolving_power=SDSS_RESOLVING_POWER, survey="sdss", id=name, ebv=row.ebv,
        wave_medium="vacuum",
    )  # fmt: skip
    bands = [i for i, band in enumerate(row.bands) if band.name in ("sdss2010-g", "sdss2010-r")]
    inside = np.asarray(filter_matrix([row.bands[i] for i in bands], wave.astype(np.float32), min_coverage=0.99)) @ flux
    aperture = slipher.Aperture.from_fluxes(inside, row.flux[bands], sd_dex=0.1)
    return slipher.Galaxy(spectrum=spectrum, photometry=row, aperture=aperture)


def said(posterior: slipher.Posterior, name: str, digits: int) -> str:
    """Median and half of the 16 - 84 % range."""
    draws = posterior.samples.get(name, posterior.derived.get(name))
    if draws is None or np.isnan(draws).all():
        return ""
    low, middle, high = np.quantile(draws, (0.16, 0.5, 0.84))
    return f"{middle:.{digits}f} ± {(high - low) / 2:.{digits}f}"


def compared(name: str, galaxy: slipher.Galaxy, samples: int) -> list[list[object]]:
    """Three rows: by the spectrum, by the bands, by both."""
    rows = []
    for how, given in (("spectrum", galaxy.spectrum), ("bands", galaxy.photometry), ("both", galaxy)):
        found = slipher.fit(given, samples=samples)
        d = found.diagnostics
        bands = found.photometry or (found.prediction if how == "bands" else None)
        worst = "" if bands is None else f"{np.nanmax(np.abs(bands.residuals())):.1f}"
        rows.append([
            name if how == "spectrum" else "", how, found.status, f"{d.ess:.0f}", f"{d.chi2_per_pixel:.2f}", worst,
            *(said(found, quantity, digits) for quantity, digits in SHOWN.items()), f"{found.seconds:.0f}", " ".join(found.flags.names()),
        ])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    here = machine("slipher", "jax")
    rows = compared("DESI 80613", of_desi(options.folder / "desi"), options.samples)
    rows += compared("rs0010", of_resolve(options.folder), options.samples)
    head = ["galaxy", "fitted", "status", "ESS", "chi2", "worst band, sigma", *SHOWN, "s", "flags"]
    text = ["## A spectrum and photometry together", f"`python benchmarks/joint.py FOLDER --samples {options.samples}`. {here}"]
    text.append(
        "Median and half of the 16 - 84 % range. Masses by the spectrum alone are of the light in the fibre; those of both are of the "
        "whole galaxy. `chi2`: a pixel, or of bands alone a band. Seconds with compilation."
    )
    text.append(markdown_table(head, rows))
    write_section("joint", "\n\n".join(text))


if __name__ == "__main__":
    main()
