"""What a generative model says of a spectrum: its latents, how unusual it is, where in wavelength, and which galaxies are like it.

    Spectrum --observe--> statistics --encode, correct--> latents +- errors --density, residuals--> false-alarm rate, what is strange

Nothing here fits physics: for masses and ages there is `slipher.fit`. A spectrum with a wrong redshift is as strange as a quasar.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..data.observation import Spectrum
from ..errors import Flag, InputError
from ..instrument import systematics as sys_
from ..networks import autoencoder, sufficient
from . import answer, false_alarms, latent_set, observed, shipped
from .false_alarms import Explained
from .shipped import ShippedLatents

EDGE_AA = (2400.0, 10400.0)  # rest wavelengths that are looked at
VAGUE = 0.5  # of a latent's spread over the population: where the median latent is known no better, coverage or S/N is too little
STRANGE_SIGMA, MOST_STRANGE = 6.0, 3
NEAR_AA = 15.0  # of a line whose name explains a feature
NAMES = {
    3727.1: "[O II]", 3869.9: "[Ne III]", 3890.2: "H8", 3971.2: "H epsilon", 4102.9: "H delta", 4341.7: "H gamma", 4862.7: "H beta",
    4960.3: "[O III] 4959", 5008.2: "[O III] 5007", 5877.2: "He I or Na D", 6302.0: "[O I]", 6549.9: "[N II] 6548", 6564.6: "H alpha",
    6585.3: "[N II] 6583", 6718.3: "[S II] 6716", 6732.7: "[S II] 6731", 7137.8: "[Ar III]", 9071.1: "[S III]", 9533.2: "[S III]",
    3934.8: "Ca K", 5176.6: "Mg b", 2799.1: "Mg II",
}  # fmt: skip


@dataclass(frozen=True)
class Strange:
    """A stretch that the model does not explain: observed wavelengths (vacuum A), sigma (negative: too faint), a known line."""

    low_aa: float
    high_aa: float
    sigma: float
    near: str

    def __str__(self) -> str:
        kind = "excess" if self.sigma > 0 else "deficit"
        return f"{kind} at {self.low_aa:.0f}-{self.high_aa:.0f} A{f' ({self.near})' if self.near else ''}, {abs(self.sigma):.0f} sigma"


@dataclass(frozen=True, eq=False, kw_only=True)
class Latents:
    """What `slipher.latents` answers.

    Parameters
    ----------
    latents, covariance
        At the peak of their posterior given the spectrum and the population; their errors [latent, latent].
    standard, sd_standard
        Latents in units of the population, of mean zero and unit covariance, and their errors.
    log_density
        ln p(s) in the population.
    rates
        False-alarm rates by question (`slipher.models.false_alarms`), and of all together: 'rate'.
    wave_aa, flux, ivar, predicted
        The spectrum, Galactic dust taken off, as fitted, and what its latents and the likeliest calibration
        predict (observed frame; 1e-17 erg/s/cm2/A) [pixel].
    significance
        Residuals in sigma, summed over the widths of `false_alarms.WIDTHS` [width, pixel].
    strange
        Where most is left over.
    """

    id: str
    survey: str
    redshift: float
    model: str
    checksum: str
    latents: Float[np.ndarray, "latent"]
    covariance: Float[np.ndarray, "latent latent"]
    standard: Float[np.ndarray, "latent"]
    sd_standard: Float[np.ndarray, "latent"]
    log_density: float
    rates: dict[str, float]
    chi2_per_pixel: float
    n_pixels: int
    median_sn: float
    wave_aa: Float[np.ndarray, "pixel"]
    flux: Float[np.ndarray, "pixel"]
    ivar: Float[np.ndarray, "pixel"]
    predicted: Float[np.ndarray, "pixel"]
    significance: Float[np.ndarray, "width pixel"]
    strange: tuple[Strange, ...]
    flags: Flag
    seconds: float

    @property
    def sd(self) -> Float[np.ndarray, "latent"]:
        """Errors of the latents."""
        return np.sqrt(np.diagonal(self.covariance))

    def to_dict(self) -> dict[str, Any]:
        """What `slipher outliers --json` prints."""
        return {
            "id": self.id, "redshift": self.redshift, "model": self.model, "survey": self.survey, "latents": self.latents.tolist(),
            "latents_sd": self.sd.tolist(), "log_density": self.log_density, "false_alarm_rate": self.rates["rate"],
            "false_alarm_rates": {k: v for k, v in self.rates.items() if k != "rate"}, "chi2_per_pixel": self.chi2_per_pixel,
            "n_pixels": self.n_pixels, "median_sn": self.median_sn, "strange": [str(s) for s in self.strange],
            "flags": self.flags.names(), "seconds": round(self.seconds, 3),
        }  # fmt: skip


def latents(spectrum: Spectrum, *, model: str = "spectrum_latents") -> Latents:
    """Latents of a spectrum, how unusual it is, and where.

    Raises
    ------
    InputError
        For a model of another kind, or a spectrum without a usable redshift or with fewer than 200 good pixels.
    """
    made, began = shipped.load(model), time.perf_counter()
    if not isinstance(made, ShippedLatents):
        raise InputError(f"model {model!r}", expected="a generative model of spectra", mend="Choose 'spectrum_latents'.")
    seen = observed.prepare(spectrum, EDGE_AA)
    found = _explained(spectrum, seen, made)
    size = len(spectrum.wave_aa)
    rates = {name: float(x[0]) for name, x in false_alarms.rates(_one(found.measured), made.card["usual"]).items()}
    flux, ivar, predicted = (np.asarray(x, np.float64)[:size] for x in (seen.flux, seen.ivar, found.flux))
    sigma = np.asarray(false_alarms.significance(jnp.asarray(flux), jnp.asarray(ivar), jnp.asarray(predicted)))
    values, covariance = np.asarray(found.corrected.latents, np.float64), np.asarray(found.corrected.covariance, np.float64)
    whiten = np.linalg.inv(np.asarray(made.trained.density.root, np.float64))
    width = np.sqrt(np.diagonal(whiten @ covariance @ whiten.T))
    inside = ivar > 0
    chi2 = float(found.corrected.chi2) / int(inside.sum())
    return Latents(
        id=spectrum.id, survey=spectrum.survey, redshift=seen.redshift, model=model, checksum=made.card["sha256"],
        latents=values, covariance=covariance, standard=whiten @ (values - np.asarray(made.trained.prior.mean, np.float64)),
        sd_standard=width,
        log_density=-float(found.measured.latents), rates=rates, chi2_per_pixel=chi2, n_pixels=int(inside.sum()),
        median_sn=float(np.median(flux[inside] * np.sqrt(ivar[inside]))),
        wave_aa=spectrum.wave_aa, flux=flux * seen.norm, ivar=ivar / seen.norm**2, predicted=predicted * seen.norm, significance=sigma,
        strange=strange(spectrum.wave_aa, seen.redshift, sigma),
        flags=spectrum.flags | answer.raised({
            Flag.EBV_ASSUMED_ZERO: spectrum.ebv is None,
            Flag.LITTLE_COVERAGE: float(np.median(width)) > VAGUE,
            Flag.NOVEL: rates["rate"] < answer.NOVEL_RATE,
        }),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def _one(measured: false_alarms.Measured) -> false_alarms.Measured:
    return false_alarms.Measured(*(np.asarray(x, np.float64)[None] for x in measured))


def _explained(spectrum: Spectrum, seen: observed.Prepared, made: ShippedLatents) -> Explained:
    rest = seen.wave_aa / (1.0 + seen.redshift)
    lsf = observed.padded(spectrum.lsf_sigma_kms().astype(np.float64), None)
    network = made.trained.network
    basis = latent_set.basis_at(network.projection, rest, lsf, made.library)
    systematics = made.recipe.systematics
    errors = latent_set.errors_at(seen.wave_aa, seen.redshift, systematics)
    return _explain(jnp.asarray(seen.flux), jnp.asarray(seen.ivar), basis, errors, made.trained, systematics)


@eqx.filter_jit
def _explain(flux: Array, ivar: Array, basis: Array, errors: latent_set.Errors, trained, systematics: sys_.Systematics) -> Explained:
    network = trained.network
    templates = latent_set.nuisances(ivar, errors, systematics)
    found = sufficient.collect(flux, ivar, basis, *templates, network.projection, network.level)
    read = autoencoder.features(found, network.projection, network.level)
    return false_alarms.explain(trained, read, found, flux, ivar, basis, *templates, errors.rest_aa)


def strange(wave_aa: np.ndarray, redshift: float, significance: np.ndarray) -> tuple[Strange, ...]:
    """The stretches where most is left over, most significant first; of those that touch, the most significant."""
    left, found = np.abs(significance).copy(), []
    while len(found) < MOST_STRANGE:
        width, pixel = np.unravel_index(np.argmax(left), left.shape)
        if left[width, pixel] < STRANGE_SIGMA:
            break
        n = false_alarms.WIDTHS[width]
        low, high = max(pixel - n // 2, 0), min(pixel + n - n // 2, len(wave_aa)) - 1
        found.append(Strange(float(wave_aa[low]), float(wave_aa[high]), float(significance[width, pixel]),
                             _near(wave_aa[low] / (1 + redshift), wave_aa[high] / (1 + redshift))))  # fmt: skip
        for i, other in enumerate(false_alarms.WIDTHS):
            left[i, max(low - other // 2 - 1, 0) : high + other - other // 2 + 1] = 0.0
    return tuple(found)


def _near(low_aa: float, high_aa: float) -> str:
    """The known feature that a stretch of rest wavelengths holds or lies beside, if it is narrow."""
    if high_aa - low_aa > 10 * NEAR_AA:
        return ""
    centre = 0.5 * (low_aa + high_aa)
    nearest = min(NAMES, key=lambda wave: abs(wave - centre))
    return NAMES[nearest] if abs(nearest - centre) < NEAR_AA + 0.5 * (high_aa - low_aa) else ""


def neighbours(found: Sequence[Latents], n: int = 3) -> list[list[tuple[str, float]]]:
    """Of each spectrum the n others most like it: their ids and distances in the population's standard deviations (root mean square)."""
    points = np.array([one.standard for one in found])
    out = []
    for i, one in enumerate(found):
        distance = np.sqrt(np.mean((points - one.standard) ** 2, axis=1))
        order = [j for j in np.argsort(distance, kind="stable") if j != i][:n]
        out.append([(found[j].id, float(distance[j])) for j in order])
    return out
