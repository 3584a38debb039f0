"""How unusual a spectrum is, as a false-alarm rate: of spectra like those of training, the share that looks as unusual.

Four questions, of which the most damning answer counts: are its latents improbable in the population, is more of it left over than noise
and decoder explain, is much left over anywhere between the strong lines, and is much left over in these (whose profiles ordinary strong
emitters have by the hundred sigma: apart, they do not hide the rest)? What is usual depends on the S/N (faint spectra have latents near
the middle and hide what is wrong with them), so that each is compared with simulations of the same S/N. A threshold on `rate` is the share
of ordinary spectra that it lets pass for unusual.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..instrument import systematics as sys_
from ..networks import autoencoder, projection, sufficient
from ..networks.sufficient import Statistics
from . import latent_set

N_BINS = 10
LEVELS = np.concatenate([np.linspace(0.0, 0.9, 10), 1.0 - np.logspace(-1.2, -3.2, 11)])  # of the quantiles on the card
NAMES = ("latents", "left_over", "local", "lines")
WIDTHS = (1, 4, 16, 64, 256)  # pixels over which residuals are summed


class Measured(NamedTuple):
    """Of spectra [galaxy]: ln of the S/N a pixel (rms), -ln p(s), ln of chi^2 a pixel, and ln of the largest residuals in sigma.

    `local` is that between the strong lines, `lines` that in them.
    """

    log_sn: Float[np.ndarray, "galaxy"]
    latents: Float[np.ndarray, "galaxy"]
    left_over: Float[np.ndarray, "galaxy"]
    local: Float[np.ndarray, "galaxy"]
    lines: Float[np.ndarray, "galaxy"]


class Explained(NamedTuple):
    """A spectrum by its corrected latents: these, what they predict in the spectrum's unit [pixel], and what `rates` needs."""

    corrected: autoencoder.Corrected
    flux: Float[Array, "pixel"]
    measured: Measured


def explain(
    model, read: Float[Array, "feature"], statistics: Statistics, flux: Float[Array, "pixel"], ivar: Float[Array, "pixel"],
    basis: Float[Array, "pixel component"], nuisance: Float[Array, "pixel template"], multiplied: Float[Array, "pixel factor"],
    rest_aa: Float[Array, "pixel"],
) -> Explained:  # fmt: skip
    """One spectrum by a `slipher.models.latent_recipe.TrainedLatents`; nuisances as in `sufficient.collect`."""
    found, coefficients = model.answer(read, statistics)
    predicted = statistics.scale * (basis @ coefficients)
    predicted += sufficient.instrumental(flux, ivar, predicted, nuisance, multiplied)
    left = jnp.log(jnp.maximum(found.chi2, 1e-3) / jnp.maximum(statistics.n_pixels, 1.0))
    between = projection.between_lines(rest_aa)
    local, lines = (jnp.log(jnp.max(jnp.abs(significance(flux, ivar * some, predicted))) + 1e-3) for some in (between, 1.0 - between))
    # That of the photons: with calibration and mismatch in the errors, all bright spectra would seem alike.
    log_sn = 0.5 * jnp.log(jnp.sum(ivar * predicted**2) / jnp.maximum(jnp.sum(ivar > 0), 1) + 1e-6)
    return Explained(found, predicted, Measured(log_sn, -model.density.log_prob(found.latents), left, local, lines))


def significance(flux: Float[Array, "pixel"], ivar: Float[Array, "pixel"], predicted: Float[Array, "pixel"]) -> Float[Array, "width pixel"]:
    """Residuals in sigma, summed over each of `WIDTHS` pixels about each pixel; noise and the working floor of `sufficient` in the error.

    Zero where there are no data.
    """
    seen = ivar > 0
    floor = projection.working_floor(predicted, sufficient.mean_of(predicted, seen))
    variance = jnp.where(seen, 1.0 / jnp.where(seen, ivar, 1.0), 1.0) + floor**2
    left = jnp.where(seen, (flux - predicted) / jnp.sqrt(variance), 0.0)

    total, count = (jnp.concatenate([jnp.zeros(1), jnp.cumsum(x)]) for x in (left, seen.astype(left.dtype)))
    index = jnp.arange(len(left))

    def summed(width: int) -> Float[Array, "pixel"]:
        low, high = (jnp.clip(index + end, 0, len(left)) for end in (-(width // 2), width - width // 2))
        return jnp.where(seen, (total[high] - total[low]) / jnp.sqrt(jnp.maximum(count[high] - count[low], 1.0)), 0.0)

    return jnp.stack([summed(width) for width in WIDTHS])


def measured(model, seen, setting, systematics: sys_.Systematics) -> Measured:
    """Of a chunk of simulations (`Seen` and `Setting` of `slipher.models.latent_set`)."""
    return Measured(*(np.asarray(x, np.float64) for x in _measured(model, seen, setting, systematics)))


@eqx.filter_jit
def _measured(model, seen, setting, systematics: sys_.Systematics) -> Measured:
    def one(some) -> Measured:
        flux, ivar = some.pixels.flux, some.pixels.ivar
        templates = latent_set.nuisances(ivar, setting.errors, systematics)
        return explain(model, some.read, some.statistics, flux, ivar, setting.basis, *templates, setting.errors.rest_aa).measured

    return jax.lax.map(one, seen, batch_size=16)


def statistics(parts: list[Measured]) -> dict:
    """What the card keeps: quantiles of each by S/N."""
    whole = Measured(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    edges = np.quantile(whole.log_sn, np.linspace(0, 1, N_BINS + 1))
    where = np.clip(np.searchsorted(edges, whole.log_sn, side="right") - 1, 0, N_BINS - 1)

    def quantiles(values: Float[np.ndarray, "galaxy"]) -> list[list[float]]:
        return [[round(float(q), 4) for q in np.quantile(values[where == b], LEVELS)] for b in range(N_BINS)]

    card = {"log_sn": [round(float(np.median(whole.log_sn[where == b])), 4) for b in range(N_BINS)]}
    card |= {name: quantiles(getattr(whole, name)) for name in NAMES}
    return card | {"least": quantiles(-np.log(_least(_of_each(whole, card))))}


def rates(found: Measured, usual: dict) -> dict[str, Float[np.ndarray, "galaxy"]]:
    """False-alarm rates of each question, and of the most damning answer (`rate`).

    The least of several rates is no rate, and how small it usually is depends on how the questions hang together: it is compared with what
    it is of usual spectra, as the answers are.
    """
    each = _of_each(found, usual)
    return {"rate": _tail(-np.log(_least(each)), found.log_sn, usual["log_sn"], usual["least"]), **each}


def _of_each(found: Measured, usual: dict) -> dict[str, Float[np.ndarray, "galaxy"]]:
    return {name: _tail(getattr(found, name), found.log_sn, usual["log_sn"], usual[name]) for name in NAMES}


def _least(each: dict[str, Float[np.ndarray, "galaxy"]]) -> Float[np.ndarray, "galaxy"]:
    return np.min(list(each.values()), axis=0)


def _tail(values: np.ndarray, log_sn: np.ndarray, centres: list[float], table: list[list[float]]) -> Float[np.ndarray, "galaxy"]:
    """Share of usual spectra of that S/N with larger values; beyond the last quantile it falls exponentially, as it did before."""
    table = np.asarray(table)
    at = np.stack([np.interp(log_sn, centres, column) for column in table.T], 1)  # [galaxy, level]
    log_tail = np.log(1.0 - LEVELS)
    out = np.empty(len(values))
    for i, (value, edges) in enumerate(zip(values, at, strict=True)):
        inside = np.interp(value, edges, log_tail)
        slope = (log_tail[-1] - log_tail[-6]) / max(edges[-1] - edges[-6], 1e-9)
        out[i] = inside if value <= edges[-1] else log_tail[-1] + slope * (value - edges[-1])
    return np.exp(np.maximum(out, -700.0))
