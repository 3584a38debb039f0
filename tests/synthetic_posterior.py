"""A posterior like that of a star-forming galaxy, made without the galaxy model: for tests of what reads it."""

import numpy as np

from slipher.errors import Flag
from slipher.inference.posterior import Posterior
from slipher.inference.prediction import Diagnostics, Prediction

EDGES_GYR = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 2.5, 5.0, 8.0, 12.2])

UNITS = {
    "log_mstar_formed": "log(Msun)",
    "a_v": "mag",
    "log_zgas": "log(Zsun)",
    "log_u": "dex",
    "sigma_star": "km / s",
    "sigma_gas": "km / s",
    "log_mstar": "log(Msun)",
    "log_ssfr_100myr": "log(1 / yr)",
    "log_sfr_100myr": "log(Msun / yr)",
    "age_mw_gyr": "Gyr",
    "log_zstar": "log(Zsun)",
    "dn4000": "",
    "ew_halpha": "Angstrom",
    "flux_siii9533": "1e-17 erg / (s cm2)",
}

LABELS = {
    "log_mstar_formed": r"\log M_{\rm formed}",
    "a_v": "A_V",
    "log_u": r"\log U",
    "sigma_star": r"\sigma_\star",
    "log_mstar": r"\log M_\star",
    "log_ssfr_100myr": r"\log {\rm sSFR}_{100}",
    "age_mw_gyr": r"\langle t \rangle_M",
    "log_zstar": r"\log Z_\star",
}

ABSORPTION = ((3934.8, 7.0, 0.45), (3969.6, 7.0, 0.4), (4305.6, 12.0, 0.18), (5176.6, 15.0, 0.14), (5893.0, 6.0, 0.15))
EMISSION = (
    (3728.5, 1.5),
    (4341.7, 0.25),
    (4862.7, 0.7),
    (4960.3, 0.25),
    (5008.2, 0.75),
    (6549.9, 0.35),
    (6564.6, 2.2),
    (6585.3, 1.0),
    (6718.3, 0.5),
    (6732.7, 0.4),
)


def make_posterior(
    seed: int = 0,
    *,
    n_draws: int = 500,
    survey: str = "sdss",
    id: str = "0390-51900-0282",
    redshift: float = 0.0785,
    sn: float = 18.0,
    refined: bool = True,
    **changes,
) -> Posterior:
    """A posterior whose parts agree with one another; `changes` replace fields."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n_draws, 7))
    samples = _samples(z)
    fields = {
        "id": id,
        "redshift": redshift,
        "model": "galaxy",
        "survey": survey,
        "status": "refined" if refined else "amortised",
        "samples": samples,
        "derived": _derived(z, samples),
        "history_edges_gyr": EDGES_GYR,
        "history_sfr": _history(rng, z),
        "log_density": -0.5 * (z**2).sum(1),
        "units": dict(UNITS),
        "labels": dict(LABELS),
        "diagnostics": _diagnostics(refined, sn),
        "prediction": make_prediction(rng, z[:100], survey, redshift, sn),
        "flags": Flag.EBV_ASSUMED_ZERO | Flag.RESOLUTION_ASSUMED,
        "seconds": 3.25,
        "provenance": {"slipher": "0.1.0", "model": "sha256:0123", "seed": seed, "configuration": {"refine": True}},
    }
    return Posterior(**(fields | changes))


def make_prediction(
    rng: np.random.Generator, z: np.ndarray, survey: str = "sdss", redshift: float = 0.0785, sn: float = 18.0
) -> Prediction:
    """A spectrum with noise, sky residuals and bad pixels, and model spectra [k, pixel] driven by z [k, 7]."""
    wave, segments = _pixels(survey)
    truth = _spectrum(wave / (1 + redshift), np.zeros(7))
    draws = np.stack([_spectrum(wave / (1 + redshift), each) for each in z]).astype(np.float32)
    noise = np.median(truth) / sn * (1.0 + 1.5 * np.exp(-(wave - wave.min()) / 400.0) + 0.6 * (wave > 7500))
    flux = truth * (1.0 + 0.01 * np.sin(wave / 120.0)) + noise * rng.standard_normal(wave.size)
    ivar = 1.0 / noise**2
    bad = (np.abs(wave - 5578.0) < 12) | ((wave > 7000) & (wave < 7080)) | (rng.uniform(size=wave.size) < 0.002)
    ivar[bad] = 0.0
    return Prediction(
        wave_aa=wave,
        flux=flux.astype(np.float32),
        ivar=ivar.astype(np.float32),
        draws=draws,
        sigma_model=(0.01 * truth).astype(np.float32),
        segments=segments,
    )


def _pixels(survey: str) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    if survey != "desi":
        wave = 10.0 ** np.arange(np.log10(3810.0), np.log10(9200.0), 1e-4)
        return wave, ((0, wave.size),)
    arms = [np.arange(3600.0, 5800.1, 0.8), np.arange(5760.0, 7620.1, 0.8), np.arange(7520.0, 9824.1, 0.8)]
    stops = np.cumsum([arm.size for arm in arms]).tolist()
    return np.concatenate(arms), tuple(zip([0, *stops[:-1]], stops))


def _spectrum(rest: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A continuum with a 4000 A break, stellar absorption and emission lines; z moves its shape by per cents."""
    x = rest / 5500.0
    flux = 22.0 * x ** (-0.3 + 0.03 * z[2]) * (1 + 0.01 * z[0])
    flux = flux * (1.0 - (0.33 + 0.012 * z[4]) / (1.0 + np.exp((rest - 4000.0) / 18.0)))
    flux = flux * (1.0 + 0.02 * np.sin(rest / 45.0) * np.exp(-((rest - 4600) ** 2) / 900**2))
    for centre, width, depth in ABSORPTION:
        flux = flux * (1.0 - (depth + 0.01 * z[3]) * np.exp(-0.5 * ((rest - centre) / width) ** 2))
    for centre, strength in EMISSION:
        flux = flux + (9.0 + 0.4 * z[1]) * strength * np.exp(-0.5 * ((rest - centre) / 2.6) ** 2)
    return flux


def _samples(z: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "log_mstar_formed": 10.52 + 0.07 * z[:, 0],
        "a_v": np.clip(0.55 + 0.16 * z[:, 2], 0.0, None),
        "log_zgas": -0.15 + 0.1 * z[:, 3],
        "log_u": -3.1 + 0.06 * z[:, 5],
        "sigma_star": 124.0 + 9.0 * z[:, 6],
        "sigma_gas": 96.0 + 5.0 * z[:, 5],
    }


def _derived(z: np.ndarray, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    log_mstar = samples["log_mstar_formed"] - 0.22 + 0.01 * z[:, 4]
    log_ssfr = -10.1 + 0.9 * (samples["a_v"] - 0.55) + 0.10 * z[:, 1] - 0.8 * (log_mstar - 10.3)
    return {
        "log_mstar": log_mstar,
        "log_ssfr_100myr": log_ssfr,
        "log_sfr_100myr": log_mstar + log_ssfr,
        "log_zstar": -0.25 + 0.12 * z[:, 4] - 0.6 * (samples["a_v"] - 0.55),
        "age_mw_gyr": 6.0 * np.exp(0.16 * z[:, 0] - 0.12 * z[:, 4]),
        "dn4000": 1.38 + 0.012 * z[:, 4],
        "ew_halpha": 24.0 + 0.8 * z[:, 1],
        "flux_siii9533": np.full(len(z), np.nan),
    }


def _history(rng: np.random.Generator, z: np.ndarray) -> np.ndarray:
    median = np.array([1.8, 1.7, 1.6, 1.9, 2.2, 2.6, 3.2, 3.6, 2.0])
    spread = np.array([0.12, 0.15, 0.15, 0.15, 0.2, 0.2, 0.18, 0.2, 0.35])
    return median * 10.0 ** (spread * rng.standard_normal((len(z), median.size)) + 0.05 * z[:, :1])


def _diagnostics(refined: bool, sn: float) -> Diagnostics:
    common = {"chi2_per_pixel": 1.04, "novelty": 0.8, "n_pixels": 3712, "median_sn": sn}
    if not refined:
        return Diagnostics(method="amortised", **common)
    return Diagnostics(method="importance", ess=412.5, khat=0.43, log_evidence=-5123.25, **common)
