"""The table of one galaxy for a terminal: its main quantities, and how far to believe them.

Reads a `Posterior` and computes nothing but percentiles, with as many digits as their width deserves.
"""

import math

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from slipher.inference.posterior import Posterior, percentiles

MAIN = (
    *("log_mstar", "log_sfr_10myr", "log_sfr_100myr", "log_ssfr_100myr"),
    *("age_mw_gyr", "age_lw_gyr", "t50_gyr", "log_zstar", "log_zgas", "log_u"),
    *("a_v", "tau_bc", "dust_slope", "sigma_star", "sigma_gas", "dn4000"),
    *("flux_halpha", "ew_halpha", "flux_hbeta", "flux_oiii5007", "flux_nii6583"),
)
MOVED_REDSHIFT = 1e-4  # 30 km/s; smaller steps are what any fit does
DIAGNOSTICS = {"ess": "effective draws {:.0f}", "khat": "Pareto k {:.2f}", "rhat": "R-hat {:.3f}"}
DIAGNOSTICS |= {"chi2_per_pixel": "chi2/pixel {:.2f}", "novelty": "novelty {:.2f}"}


def posterior_table(posterior: Posterior, *, quantities: tuple[str, ...] = MAIN) -> Table:
    """Median, 16th and 84th percentile of the named quantities that the posterior has and that are defined."""
    table = Table(title=heading(posterior), caption=judgement(posterior), box=box.SIMPLE, min_width=70)
    table.title_justify = table.caption_justify = "left"
    table.add_column("quantity")
    for name in ("median", "p16", "p84"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    pool = posterior.samples | posterior.derived
    for name in quantities:
        if name in pool and not np.isnan(pool[name]).all():
            table.add_row(name, *numbers(percentiles(pool[name])), Text(posterior.units.get(name, "")))
    return table


def heading(posterior: Posterior) -> Text:
    """Which galaxy, which model, amortised or refined."""
    parts = (posterior.id, redshift_text(posterior), posterior.survey, f"model {posterior.model}")
    style = "green" if posterior.status == "refined" else "yellow"
    return Text("   ".join(parts), style="bold").append(f"   {posterior.status}", style=style)


def redshift_text(posterior: Posterior) -> str:
    """The redshift, and the one that was given where the fit moved it."""
    text, given = f"z = {posterior.redshift:.5f}", posterior.provenance.get("redshift_given")
    moved = given is not None and abs(given - posterior.redshift) > MOVED_REDSHIFT
    return f"{text} (given {given:.5f})" if moved else text


def judgement(posterior: Posterior) -> Text:
    """The diagnostics that apply, and the flags."""
    values = {name: getattr(posterior.diagnostics, name) for name in DIAGNOSTICS}
    said = [DIAGNOSTICS[name].format(value) for name, value in values.items() if math.isfinite(value)]
    said += [f"{posterior.diagnostics.divergences} divergences"] if posterior.diagnostics.divergences else []
    said += [f"{posterior.n_draws} draws", f"{posterior.seconds:.1f} s"]
    return Text(", ".join(said) + "\nflags: " + (" ".join(posterior.flags.names()) or "none"))


def numbers(values: dict[str, float]) -> tuple[str, ...]:
    """Median, p16 and p84 as text: two digits of their distance, between 0 and 4 decimals."""
    width = values["p84"] - values["p16"]
    decimals = 2
    if math.isfinite(width) and width > 0:
        decimals = min(max(1 - math.floor(math.log10(width / 2)), 0), 4)
    return tuple(f"{values[name]:.{decimals}f}" for name in ("median", "p16", "p84"))
