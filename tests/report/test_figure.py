"""The figure of one galaxy: it shows what the posterior holds, and survives posteriors with little or odd in them."""

import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy import stats
from synthetic_posterior import make_posterior

from slipher.errors import Flag, InputError
from slipher.inference.posterior import Posterior
from slipher.inference.prediction import Prediction
from slipher.report.corner import density_levels
from slipher.report.figure import (
    MAIN,
    axis_label,
    diagnostic_lines,
    drawn_edges,
    main_quantities,
    plot_posterior,
    rate_bands,
    rate_limits,
    save_figure,
    unit_text,
)
from slipher.report.spectrum import averaging_width, flux_limits, observed, pieces, smooth


def cut(prediction: Prediction, n: int) -> Prediction:
    """The first n pixels."""
    names = ("wave_aa", "flux", "ivar", "sigma_model")
    arrays = {name: getattr(prediction, name)[:n] for name in names}
    return replace(prediction, **arrays, draws=prediction.draws[:, :n], segments=())


def with_prediction(change) -> Posterior:
    posterior = make_posterior(n_draws=60)
    return replace(posterior, prediction=change(posterior.prediction))


def with_derived(**derived) -> Posterior:
    posterior = make_posterior(n_draws=60)
    return replace(posterior, derived=posterior.derived | derived)


def with_history(change) -> Posterior:
    posterior = make_posterior(n_draws=60)
    return replace(posterior, history_sfr=change(posterior.history_sfr))


def every_other(first: int) -> np.ndarray:
    return np.where(np.arange(60) % 2 == first, np.linspace(0.0, 1.0, 60), np.nan)


def nan_everywhere(posterior: Posterior) -> Posterior:
    """What a fit that lost its numbers would hand over."""
    nothing = {name: {key: np.full(60, np.nan) for key in getattr(posterior, name)} for name in ("samples", "derived")}
    prediction = replace(posterior.prediction, draws=np.full_like(posterior.prediction.draws, np.nan))
    return replace(posterior, **nothing, history_sfr=np.full((60, 9), np.nan), prediction=prediction, seconds=np.nan)


def starburst(prediction: Prediction) -> Prediction:
    line = 5000.0 * np.exp(-0.5 * ((prediction.wave_aa - 7080.0) / 3.0) ** 2)
    draws = (prediction.draws + line).astype(np.float32)
    return replace(prediction, flux=(prediction.flux + line).astype(np.float32), draws=draws)


def nan_pixels(prediction: Prediction) -> Prediction:
    flux, ivar = prediction.flux.copy(), prediction.ivar.copy()
    flux[100:400], ivar[100:400] = np.nan, 0.0
    return replace(prediction, flux=flux, ivar=ivar)


CASES = {
    "SDSS": lambda: make_posterior(n_draws=60),
    "DESI": lambda: make_posterior(n_draws=60, survey="desi", refined=False, sn=2.0),
    "negative flux": lambda: with_prediction(lambda p: replace(p, flux=-p.flux)),
    "starburst": lambda: with_prediction(starburst),
    "NaN pixels": lambda: with_prediction(nan_pixels),
    "one pixel": lambda: with_prediction(lambda p: cut(p, 1)),
    "five pixels": lambda: with_prediction(lambda p: cut(p, 5)),
    "all masked": lambda: with_prediction(lambda p: replace(p, ivar=np.zeros_like(p.ivar))),
    "one model spectrum": lambda: with_prediction(lambda p: replace(p, draws=p.draws[:1])),
    "one draw": lambda: make_posterior(n_draws=1),
    "no derived quantities": lambda: make_posterior(n_draws=60, derived={}),
    "undefined quantity": lambda: with_derived(age_mw_gyr=np.full(60, np.nan)),
    "some undefined": lambda: with_derived(age_mw_gyr=np.where(np.arange(60) % 2, 5.0 + np.arange(60) / 60, np.nan)),
    "no star formation": lambda: with_derived(log_ssfr_100myr=np.where(np.arange(60) < 20, -np.inf, -11.0)),
    "constant quantity": lambda: with_derived(log_zstar=np.full(60, 0.2)),
    "no history": lambda: make_posterior(n_draws=60, history_sfr=np.zeros((60, 9))),
    "NaN history": lambda: make_posterior(n_draws=60, history_sfr=np.full((60, 9), np.nan)),
    "history with NaN draws": lambda: with_history(lambda sfr: np.where(np.arange(60)[:, None] < 2, np.nan, sfr)),
    "history with a NaN bin": lambda: with_history(lambda sfr: np.where(np.arange(9) == 3, np.nan, sfr)),
    "infinite history": lambda: make_posterior(n_draws=60, history_sfr=np.full((60, 9), np.inf)),
    "never defined together": lambda: with_derived(log_mstar=every_other(0), log_zstar=every_other(1)),
    "no redshift": lambda: make_posterior(n_draws=60, redshift=np.nan, history_edges_gyr=np.full(10, np.nan)),
    "NaN everywhere": lambda: nan_everywhere(make_posterior(n_draws=60)),
    "no labels or units": lambda: make_posterior(n_draws=60, labels={}, units={}),
    "id with dollars": lambda: make_posterior(n_draws=60, id=r"$\frac{" + 80 * "x_"),
    "every flag": lambda: make_posterior(n_draws=60, flags=~Flag(0)),
    "rest frame": lambda: make_posterior(n_draws=60, redshift=0.0),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_every_posterior_has_its_figure(make, tmp_path):
    save_figure(make(), tmp_path / "x.png", dpi=30.0)
    image = imread(tmp_path / "x.png")
    assert image.shape == (390, 360, 4)
    assert image[:, :, :3].std() > 0.02


def test_the_figure_says_what_it_shows():
    posterior = make_posterior(n_draws=60, refined=False, flags=Flag.NOVEL)
    figure = plot_posterior(posterior)
    assert isinstance(figure, Figure)
    said = " ".join(text.get_text() for text in figure.texts)
    for words in ("0390-51900-0282", "z = 0.0785", "SDSS", "amortised", "novel"):
        assert words in said
    spectrum, residuals = figure.axes[:2]
    names = [text.get_text() for text in spectrum.texts]
    assert {r"H$\alpha$", r"H$\beta$", "[O III]", "[O II]", "Ca H K", "Mg b", "Na D"} <= set(names)
    assert residuals.get_xlim() == spectrum.get_xlim()
    assert len(figure.axes) == 2 + 2 + 6 * 7 // 2


def test_no_percentiles_of_a_part_of_the_draws():
    quiescent = CASES["no star formation"]()
    corner = plot_posterior(quiescent, quantities=("log_mstar", "log_ssfr_100myr")).axes[4:]
    assert [bool(axes.get_title()) for axes in corner] == [True, False, False]


def test_other_quantities_can_be_asked_for():
    figure = plot_posterior(make_posterior(n_draws=60), quantities=("log_u", "dn4000", "unheard_of"))
    assert len(figure.axes) == 2 + 2 + 3


def test_without_any_quantity_the_rest_is_drawn(tmp_path):
    plot_posterior(make_posterior(n_draws=60), quantities=()).savefig(tmp_path / "x.png", dpi=30.0)


def test_figures_are_vector_graphics_too(tmp_path):
    save_figure(make_posterior(n_draws=60), tmp_path / "x.pdf")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        save_figure(make_posterior(n_draws=5), tmp_path / "nowhere" / "x.png")


def test_nothing_global_is_touched():
    before = dict(matplotlib.rcParams)
    plot_posterior(make_posterior(n_draws=60))
    assert dict(matplotlib.rcParams) == before
    code = "import sys, slipher.report.figure; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_masked_pixels_are_gaps():
    prediction = make_posterior(n_draws=60).prediction
    flux, sigma = observed(prediction)
    np.testing.assert_array_equal(np.isnan(flux), prediction.ivar == 0)
    np.testing.assert_array_equal(np.isnan(sigma), prediction.ivar == 0)


def test_arms_and_jumps_are_not_joined():
    sdss = make_posterior(n_draws=5).prediction
    assert list(pieces(sdss)) == [slice(0, sdss.wave_aa.size)]
    desi = make_posterior(n_draws=5, survey="desi").prediction
    assert [(piece.start, piece.stop) for piece in pieces(desi)] == list(desi.segments)
    keep = np.r_[0:1000, 1500:3000]
    names = ("wave_aa", "flux", "ivar", "sigma_model")
    whole = make_posterior(n_draws=5).prediction
    jumping = replace(whole, **{name: getattr(whole, name)[keep] for name in names}, draws=whole.draws[:, keep], segments=())
    assert list(pieces(jumping)) == [slice(0, 1000), slice(1000, 2500)]


def test_the_continuum_is_shown_under_strong_lines():
    prediction = starburst(make_posterior(n_draws=60).prediction)
    low, high = flux_limits(observed(prediction)[0], prediction.median)
    assert low < 10
    assert 60 < high < 150


def test_the_running_mean_is_the_mean_of_what_is_there():
    values = np.random.default_rng(0).standard_normal(200)
    values[60:80] = np.nan
    weights = np.random.default_rng(1).uniform(1, 2, 200)
    ours = smooth(values, 9, weights)
    for i in range(10, 190):
        window, w = values[i - 4 : i + 5], weights[i - 4 : i + 5]
        good = np.isfinite(window)
        expected = np.sum((w * window)[good]) / np.sum(w[good]) if good.sum() >= 3 else np.nan
        np.testing.assert_allclose(ours[i], expected, rtol=1e-10)


def test_only_noisy_spectra_are_averaged():
    assert averaging_width(make_posterior(n_draws=5, sn=30.0).prediction) == 1
    widths = [averaging_width(make_posterior(n_draws=5, sn=sn).prediction) for sn in (8.0, 4.0, 0.5)]
    assert widths == sorted(widths)
    assert widths[-1] == 15
    assert all(width % 2 == 1 for width in widths)


def test_contours_hold_their_mass():
    """A Gaussian: the contour that holds the fraction m is at exp(-r^2 / 2) = 1 - m."""
    x = np.linspace(-6, 6, 301)
    density = np.exp(-0.5 * (x[:, None] ** 2 + x**2))
    np.testing.assert_allclose(density_levels(density, (0.95, 0.68)), [0.05, 0.32], rtol=0.02)


def test_contours_of_draws_hold_their_share():
    draws = np.random.default_rng(2).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 4000)
    counts, _, _ = np.histogram2d(*draws.T, bins=30)
    outer, inner = density_levels(counts, (0.95, 0.68))
    assert counts[counts >= outer].sum() / 4000 == pytest.approx(0.95, abs=0.02)
    assert counts[counts >= inner].sum() / 4000 == pytest.approx(0.68, abs=0.02)


def test_quantities_come_from_derived_first():
    posterior = make_posterior(n_draws=60)
    both = replace(posterior, samples=posterior.samples | {"log_zstar": np.zeros(60)})
    shown = main_quantities(both, MAIN)
    assert len(shown) == 6
    np.testing.assert_array_equal(shown[axis_label(both, "log_zstar")], posterior.derived["log_zstar"])


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("", ""),
        ("dex", ""),
        ("mag", r"$\mathrm{mag}$"),
        ("log(Msun)", r"$\mathrm{M_{\odot}}$"),
        ("log(Zsun)", r"Z$_\odot$"),
        ("furlong", "furlong"),
    ],
)
def test_units_on_axes(unit, text):
    assert unit_text(unit) == text


def test_the_first_bin_of_the_history_has_a_place_on_a_logarithmic_axis():
    edges = np.array([0.0, 0.01, 0.1, 13.0])
    drawn = drawn_edges(edges)
    assert 0 < drawn[0] < drawn[1] == 0.01
    np.testing.assert_array_equal(edges[0], 0.0)
    np.testing.assert_array_equal(drawn[1:], edges[1:])


def test_a_history_is_drawn_from_the_rates_that_are_finite():
    sfr = np.array([[1.0, np.nan], [3.0, np.inf], [np.nan, np.nan]])
    bands = rate_bands(sfr)
    np.testing.assert_allclose(bands[:, 0], np.quantile([1.0, 3.0], (0.025, 0.16, 0.5, 0.84, 0.975)))
    assert np.isnan(bands[:, 1]).all()


def test_rates_near_zero_do_not_stretch_the_axis():
    bands = stats.norm.ppf([0.025, 0.16, 0.5, 0.84, 0.975])[:, None] + np.array([2.0, 3.0])
    bands[0, 0] = 1e-30
    bands[1, 1] = 1e-20
    low, high = rate_limits(np.sort(bands, axis=0))
    assert high / low <= 1e5 * 1.001


def test_diagnostics_that_do_not_apply_are_left_out():
    assert "Pareto k" in diagnostic_lines(make_posterior(n_draws=5))
    lines = diagnostic_lines(make_posterior(n_draws=5, refined=False))
    assert not any("nan" in value for value in lines.values())
    assert "Pareto k" not in lines
