"""Posteriors of the `provabgs` preset as a table with the columns of the PROVABGS catalogue (DESI's EDR value-added catalogue).

| column | shape | what |
|---|---|---|
| TARGETID | | the id; int64 where all ids are integers, else text |
| Z_HP | | redshift |
| PROVABGS_MCMC | sample, 13 | `THETA` of draws of the posterior, evenly spaced |
| PROVABGS_LOGMSTAR | sample | log10 of the mass of living stars, Msun |
| PROVABGS_AVG_SFR, _Z_MW, _TAGE_MW | sample | as below, of the same draws; not in DESI's file |
| PROVABGS_THETA_BF, PROVABGS_LOGMSTAR_BF | 13; | the same of the draw of the highest posterior density |
| AVG_SFR | | of that draw: mean star-formation rate of the last 1 Gyr, Msun/yr, PROVABGS' `avgSFR` |
| Z_MW | | of that draw: mean metallicity (mass fraction) by mass formed |
| TAGE_MW | | of that draw: mean age by mass formed, Gyr |

The last three are as in the tables that others made of the catalogue (the Multimodal Universe's `desi_provabgs`). Betas and gammas belong
to slipher's bases and masses are for Kroupa's IMF, without remnants, which PROVABGS' include: `slipher.physics.provabgs` says what
else differs.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import Float

from slipher.errors import InputError
from slipher.inference.posterior import Posterior
from slipher.physics import metallicities, provabgs
from slipher.physics.galaxy import PROVABGS, PROVABGS_WIDE

THETA = (
    *("logmstar", "beta1_sfh", "beta2_sfh", "beta3_sfh", "beta4_sfh", "fburst", "tburst", "gamma1_zh", "gamma2_zh"),
    *("dust1", "dust2", "dust_index", "f_fiber"),
)
N_SAMPLES = 100
SFR_OVER_GYR = 1.0
UNITS = {f"{prefix}{name}": unit for prefix in ("", "PROVABGS_") for name, unit in (("AVG_SFR", "Msun / yr"), ("TAGE_MW", "Gyr"))}

Draws = Mapping[str, Float[np.ndarray, "draw"]]


def provabgs_table(posteriors: Sequence[Posterior], *, n_samples: int = N_SAMPLES) -> Table:
    """PROVABGS' columns, one row a galaxy.

    Parameters
    ----------
    posteriors
        Of the preset `provabgs` or `provabgs_wide`.
    n_samples
        Draws to write of each; the catalogue has 100.

    Raises
    ------
    InputError
        If a posterior is of another preset or has fewer draws.
    """
    _check(posteriors, n_samples)
    rows = [_row(posterior, n_samples) for posterior in posteriors]
    columns = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    table = Table({"TARGETID": target_ids([p.id for p in posteriors]), "Z_HP": [p.redshift for p in posteriors], **columns})
    for name in UNITS.keys() & set(table.colnames):
        table[name].unit = UNITS[name]
    table.meta |= {"THETA": " ".join(THETA), "IMF": "Kroupa (2001)", "SFR_GYR": SFR_OVER_GYR}  # as FITS headers can hold them
    return table


def theta(samples: Draws) -> Float[np.ndarray, "draw 13"]:
    """Draws in PROVABGS' parameters, in the order of `THETA`; no fibre factor: slipher's masses are of what the spectrum shows."""
    sticks = set(PROVABGS.names) <= set(samples)
    shares = provabgs.shares if sticks else provabgs.shares_wide
    burst = ("f_burst", "t_burst_gyr") if sticks else ("log_f_burst", "log_t_burst")
    betas = jax.vmap(shares)({name: np.asarray(samples[name], np.float32) for name in samples})
    f_burst, t_burst = (np.asarray(samples[name]) if sticks else 10 ** np.asarray(samples[name]) for name in burst)
    gammas = [10 ** np.asarray(samples[f"log_gamma_{i}"]) for i in (1, 2)]
    dust = (samples["tau_bc"], np.asarray(samples["a_v"]) / provabgs.TAU_TO_MAG, samples["dust_slope"])
    columns = (samples["log_mstar_formed"], *np.asarray(betas).T, f_burst, t_burst, *gammas, *dust)
    return np.stack([*columns, np.full_like(f_burst, np.nan)], 1).astype(np.float64)


def mean_rate(posterior: Posterior, over_gyr: float) -> Float[np.ndarray, "draw"]:
    """Mean star-formation rate of the last `over_gyr`, Msun/yr, from the history in bins."""
    inside = np.diff(np.minimum(posterior.history_edges_gyr, over_gyr))
    return posterior.history_sfr @ inside / over_gyr


def target_ids(ids: Sequence[str]) -> np.ndarray:
    """Ids [row] as int64 where every one of them is the plain decimal form of such a number, else as text."""
    return np.array([int(id) for id in ids], np.int64) if all(_is_int64(id) for id in ids) else np.array(ids, str)


def _is_int64(id: str) -> bool:
    plain = id.isascii() and id.removeprefix("-").isdigit() and str(int(id)) == id
    return plain and -(2**63) <= int(id) < 2**63


def _row(posterior: Posterior, n_samples: int) -> dict[str, np.ndarray | float]:
    drawn = {
        "LOGMSTAR": posterior.derived["log_mstar"],
        "AVG_SFR": mean_rate(posterior, SFR_OVER_GYR),
        "Z_MW": metallicities.Z_SUN * 10 ** posterior.derived["log_zstar"],
        "TAGE_MW": posterior.derived["age_mw_gyr"],
    }
    parameters, density = theta(posterior.samples), posterior.log_density
    best = None if density is None or not np.isfinite(density).any() else int(np.nanargmax(density))
    some = np.linspace(0, posterior.n_draws - 1, n_samples).round().astype(int)
    fitted = np.full(len(THETA), np.nan) if best is None else parameters[best]
    at_best = {name: np.nan if best is None else float(values[best]) for name, values in drawn.items()}
    return {
        "PROVABGS_MCMC": parameters[some],
        "PROVABGS_THETA_BF": fitted,
        **{f"PROVABGS_{name}": values[some] for name, values in drawn.items()},
        "PROVABGS_LOGMSTAR_BF": at_best.pop("LOGMSTAR"),
        **at_best,
    }


def _check(posteriors: Sequence[Posterior], n_samples: int) -> None:
    for posterior in posteriors:
        if not any(set(model.names) <= set(posterior.samples) for model in (PROVABGS, PROVABGS_WIDE)):
            raise InputError(
                f"the posterior of {posterior.id!r}, of the model {posterior.model!r}",
                expected="the parameters of the preset provabgs or provabgs_wide",
                mend="Fit with a model of one of these presets, or write the posterior's own summary.",
            )
        if posterior.n_draws < n_samples:
            raise InputError(
                f"{posterior.n_draws} draws of {posterior.id!r}", expected=f"at least {n_samples}", mend="Draw more, or lower n_samples."
            )
