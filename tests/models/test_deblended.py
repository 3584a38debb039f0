"""Sources of a scene as photometry: their fluxes' units, the answers of `slipher.fit`, and what the command writes.

What does not depend on the answers has made-up ones; the slow tests ask an untrained network.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from synthetic_posterior import make_posterior
from typer.testing import CliRunner

import slipher
from slipher.cli import app
from slipher.data.image import Cutout, cutout
from slipher.errors import Flag, InputError
from slipher.models import deblended
from slipher.scene.blend import Blend
from slipher.scene.deblend import Deblended, View
from slipher.scene.exposure import exposure

BANDS = ("u", "g", "r", "i", "z")
FILTERS = tuple(f"sdss2010-{band}" for band in BANDS)
ZERO = np.array([24.0, 27.0, 27.0, 26.5, 27.0])
NANOMAGGIES = np.array([[0.5, 2.0, 5.0, 8.0, 10.0], [3.0, 4.0, 5.0, 5.5, 6.0], [np.nan] * 5, [np.nan, 1.0, 3.0, np.nan, np.nan]])
IDS = ["large", "blue", "outside", "10000000000000001"]


def image(zero_point: np.ndarray | None = ZERO) -> Cutout:
    zeros = None if zero_point is None else zero_point.tolist()
    noise = np.random.default_rng(0).standard_normal((5, 12, 14))
    return cutout(noise, variance=np.ones_like(noise), psf_fwhm=3.0, bands=BANDS, zero_point=zeros, id="field")


def scene(one: Cutout, *others: Cutout) -> Deblended:
    """As if a fit had found these sources; others of its images show nothing."""
    unit = 10 ** (0.4 * (ZERO - 22.5))
    table = Table({"id": IDS, "x": np.arange(4.0), "y": np.arange(4.0)})
    for i, band in enumerate(BANDS):
        table[f"flux_{band}"] = NANOMAGGIES[:, i] * unit[i]
        table[f"flux_{band}_err"] = 0.03 * NANOMAGGIES[:, i] * unit[i]
    table["half_light_radius"], table["chi2_per_pixel"], table["flags"] = 3.0, 1.0, 0
    dark = [np.zeros_like(each.flux) for each in (one, *others)]
    views = [View(image=each, model=zero, sources=zero[None].repeat(4, 0)) for each, zero in zip((one, *others), dark, strict=True)]
    seen = [exposure(*(np.asarray(x, np.float64) for x in (each.flux, each.ivar, each.psf))) for each in (one, *others)]
    behind = Blend(*[None] * len(Blend._fields))._replace(bands=BANDS, seen=tuple(seen))
    return Deblended(table=table, views=tuple(views), scores=(None,) * len(table), converged=True, blend=behind)


@pytest.fixture
def asked(monkeypatch) -> list:
    """What `fit` is asked, in its place; it answers with the posterior of another galaxy."""
    calls = []

    def fit(row: slipher.Photometry, **how):
        calls.append((row, how))
        return make_posterior(len(calls), n_draws=60, id=row.id, redshift=row.redshift or 0.5, flags=row.flags | Flag.NOVEL)

    monkeypatch.setattr(deblended, "fit", fit)
    return calls


def test_fluxes_are_nanomaggies_by_the_zero_points():
    catalogue = deblended.photometry_of(scene(image()), FILTERS, redshift=np.array([0.4, np.nan, 0.4, 0.2]), ebv=0.02)
    np.testing.assert_allclose(catalogue.flux[[0, 1]], NANOMAGGIES[[0, 1]], rtol=1e-6)
    np.testing.assert_allclose(catalogue.ivar[0], (0.03 * NANOMAGGIES[0]) ** -2.0, rtol=1e-6)
    np.testing.assert_array_equal(catalogue.ivar > 0, np.isfinite(NANOMAGGIES))
    assert [band.name for band in catalogue.bands] == list(FILTERS)
    assert list(catalogue.id) == IDS
    np.testing.assert_array_equal(catalogue.redshift, [0.4, np.nan, 0.4, 0.2])
    assert catalogue[2].flags & Flag.NO_DATA
    declared = deblended.photometry_of(scene(image(None)), FILTERS, zero_point=ZERO)
    np.testing.assert_allclose(declared.flux, catalogue.flux, rtol=1e-6)
    assert np.isnan(declared.redshift).all()


def test_a_source_that_is_not_seen_has_the_flux_and_error_of_its_pixels():
    """Least squares by hand for a source of which the logarithm has run away in one band; all else is the table's."""
    rng, made = np.random.default_rng(1), scene(image())
    y, x = np.mgrid[:12, :14]
    shapes = np.stack([np.exp(-0.5 * ((x - 4.0 - 2.0 * k) ** 2 + (y - 5.0) ** 2) / 2.0) / (4.0 * np.pi) for k in range(4)])
    table = made.table.copy()
    table["flux_g"][1], table["flux_g_err"][1] = 1e-3, 1e-4
    table["flux_g"][2], table["flags"][2] = np.nan, int(Flag.OUTSIDE_IMAGE)
    inside = [0, 1, 3]
    flux = np.nan_to_num(np.column_stack([table[f"flux_{band}"] for band in BANDS]))
    sources = (flux[inside][:, :, None, None] * shapes[inside][:, None]).astype(np.float32)
    ivar = rng.uniform(0.5, 2.0, (5, 12, 14))
    one = cutout(sources.sum(0) + rng.standard_normal(ivar.shape) / np.sqrt(ivar), ivar=ivar, psf_fwhm=3.0, bands=BANDS)
    found = Deblended(
        table=table, views=(View(image=one, model=sources.sum(0), sources=sources),), scores=made.scores, converged=True, blend=made.blend
    )
    got, error = deblended.linear_fluxes(found)
    left = (one.flux - sources.sum(0) + sources[1])[1].astype(np.float64)
    bend = np.sum(ivar[1] * shapes[1] ** 2)
    assert got[1, 1] == pytest.approx(np.sum(ivar[1] * shapes[1] * left) / bend, rel=1e-3)
    assert error[1, 1] == pytest.approx(bend**-0.5, rel=1e-4)
    np.testing.assert_array_equal(got[0, 1:], flux[0, 1:])  # in u it is not seen either
    assert np.isnan(got[2, 1])
    assert (error[0, 1:] >= np.array([table[f"flux_{band}_err"][0] for band in BANDS[1:]])).all()


def drawn(table: Table, common: np.ndarray, own: float, n: int = 4000) -> np.ndarray:
    """Errors of a table from draws of relative fluxes [draw, source, band] with a common part, as `slipher.scene.catalogue` has them."""
    rng = np.random.default_rng(3)
    off = common[:, None] * rng.standard_normal((n, len(table), 1)) + own * rng.standard_normal((n, len(table), 5))
    for i, band in enumerate(BANDS):
        table[f"flux_{band}_err"] = table[f"flux_{band}"] * np.sqrt(np.mean(off[..., i] ** 2, 0))
    for i in range(4):
        table[f"color_{BANDS[i]}_{BANDS[i + 1]}_err"] = 1.0857362 * np.sqrt(np.mean((off[..., i] - off[..., i + 1]) ** 2, 0))
    return off


def test_what_errors_of_all_bands_have_in_common_is_kept_apart():
    """The fit sees what is each band's own; never more is taken off than two bands share, and nothing where they share nothing."""
    found = scene(image())
    common, own = np.array([0.05, 0.0, 0.05, 0.05]), 0.02
    off = drawn(found.table, common, own)
    got = deblended.common_errors(found)
    shared = np.einsum("dsb,dsb->sb", off[..., 1:], off[..., :-1]) / len(off)
    np.testing.assert_allclose(got[:2] ** 2, np.maximum(shared.min(1), 0.0)[:2], atol=1e-9)
    assert got[0] == pytest.approx(0.05, rel=0.05)
    assert got[1] < 0.005
    assert (got[2], got[3]) == (0.0, pytest.approx(0.05, rel=0.05))  # without fluxes; and seen in two bands
    whole, apart = (deblended.photometry_of(found, FILTERS, apart=apart).ivar[0] for apart in (False, True))
    np.testing.assert_allclose(whole, (np.hypot(common[0], own) * NANOMAGGIES[0]) ** -2.0, rtol=0.1)
    np.testing.assert_allclose(apart, (own * NANOMAGGIES[0]) ** -2.0, rtol=0.25)
    wholly = Table(found.table, copy=True)
    wholly["color_g_r_err"] = 1e-6  # more than any error can be: bands that are off by one and the same
    assert deblended.common_errors(replace(found, table=wholly))[0] <= wholly["flux_g_err"][0] / wholly["flux_g"][0]


def test_a_common_error_widens_masses_and_leaves_colours():
    before = make_posterior(n_draws=4000)
    after = deblended.with_common_error(before, 0.3, 1)
    off = (after.derived["log_mstar"] - before.derived["log_mstar"]) * np.log(10.0)
    assert off.std() == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(after.samples["log_mstar_formed"] - before.samples["log_mstar_formed"], off / np.log(10.0), atol=1e-9)
    np.testing.assert_allclose(after.history_sfr, before.history_sfr * np.exp(off)[:, None])
    for name in ("age_mw_gyr", "log_ssfr_100myr"):
        np.testing.assert_array_equal(after.derived[name], before.derived[name])
    assert deblended.with_common_error(before, 0.0, 1) is before


def test_each_source_is_asked_of_fit_and_summarised(asked):
    how = {"model": "small", "samples": 60, "sampler": "amortised", "seed": 3}
    found = deblended.populations(scene(image()), FILTERS, redshift=0.4, **how)
    assert [row.id for row, _ in asked] == IDS
    assert all(given == how for _, given in asked)
    np.testing.assert_allclose(asked[1][0].flux, NANOMAGGIES[1], rtol=1e-6)
    assert {row.redshift for row, _ in asked} == {0.4}
    for one, row in zip(found.posteriors, found.table, strict=True):
        assert row["log_mstar"] == pytest.approx(np.median(one.derived["log_mstar"]))
        assert row["age_mw_gyr_p84"] == pytest.approx(np.quantile(one.derived["age_mw_gyr"], 0.84))
        assert (row["redshift"], row["population_status"]) == (0.4, "refined")
        assert row["population_flags"] == int(one.flags)
    assert np.isnan(found.table["redshift_p16"]).all()
    assert str(found.table["log_mstar"].unit) == "log(Msun)"


@pytest.mark.slow
def test_answers_are_those_of_fit(small_model):
    """Of the same fluxes, typed by hand; a redshift that is not known is inferred, and a source without fluxes has no numbers."""
    how = {"model": small_model, "samples": 40, "sampler": "amortised", "seed": 3}
    found = deblended.populations(scene(image()), FILTERS, redshift=np.array([0.4, np.nan, 0.4, 0.2]), ebv=0.02, **how)
    by_hand = slipher.photometry(NANOMAGGIES[0], 0.03 * NANOMAGGIES[0], bands=FILTERS, unit="nanomaggy", redshift=0.4, ebv=0.02, id="large")
    want = slipher.fit(by_hand, **how)
    np.testing.assert_allclose(found.posteriors[0].derived["log_mstar"], want.derived["log_mstar"], rtol=1e-5)
    given, inferred, nothing, fewer = found.table
    assert given["population_flags"] == int(want.flags)
    assert inferred["redshift_p16"] < inferred["redshift"] < inferred["redshift_p84"]
    assert np.isnan(given["redshift_p16"])
    assert "redshift" in found.posteriors[1].samples
    assert Flag(int(nothing["population_flags"])) & Flag.NO_DATA
    assert np.isnan([nothing[f"log_mstar{suffix}"] for suffix in ("", "_p16", "_p84")]).all()
    assert (given["n_bands"], nothing["n_bands"], fewer["n_bands"]) == (5, 0, 2)
    assert np.isfinite(fewer["log_mstar"])


@pytest.mark.usefixtures("asked")
def test_columns_join_those_of_the_scene():
    table, answered = scene(image()).table, deblended.populations(scene(image()), FILTERS)
    whole = answered.joined(table)
    assert whole.colnames[: len(table.colnames)] == table.colnames
    assert list(whole["population_flags"]) == list(answered.table["population_flags"])
    with pytest.raises(InputError, match="other sources"):
        answered.joined(table[::-1])


@pytest.mark.parametrize(
    ("zero_point", "filters", "how", "words"),
    [
        (ZERO, FILTERS[:2], {}, "bands u, g, r, i, z"),
        (ZERO, "sdss2010-g", {}, "bands u, g, r, i, z"),
        (ZERO, (*FILTERS[:4], "sdss2010-q"), {}, "sdss2010-q"),
        (None, FILTERS, {}, "zero points of u, g"),
        (ZERO, FILTERS, {"redshift": -3.0}, "redshift"),
    ],
)
def test_declarations_that_are_wrong_are_refused(zero_point, filters, how, words):
    with pytest.raises(InputError, match=words):
        deblended.photometry_of(scene(image(zero_point)), filters, **how)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`slipher deblend` of a field whose fit is known."""
    one = image(None)
    np.savez(tmp_path / "field.npz", flux=one.flux, ivar=one.ivar, psf=one.psf, bands=np.array(BANDS))
    Table({"id": IDS, "x": np.arange(4.0), "y": np.arange(4.0), "z": [0.4, 0.3, 0.4, 0.2]}).write(tmp_path / "sources.csv")
    monkeypatch.setattr("slipher.models.deblended.deblend", lambda images, detections, prior, seed: scene(*images))
    call = ["deblend", str(tmp_path / "field.npz"), "--catalog", str(tmp_path / "sources.csv"), "--out", str(tmp_path / "out")]
    return lambda *more: CliRunner().invoke(app, [*call, *more])


def test_the_command_writes_posteriors_and_columns(command, tmp_path, asked):
    zero = ",".join(map(str, ZERO))
    ran = command("--filters", ",".join(FILTERS), "--zero-point", zero, "--redshift", "z", "--ebv", "0.02", "--no-refine", "--seed", "3")
    assert ran.exit_code == 0, ran.output
    assert [(row.redshift, row.ebv) for row, _ in asked] == [(z, 0.02) for z in (0.4, 0.3, 0.4, 0.2)]
    assert {(how["sampler"], how["seed"]) for _, how in asked} == {("amortised", 3)}
    np.testing.assert_allclose(asked[0][0].flux, NANOMAGGIES[0], rtol=1e-5)
    table = Table.read(tmp_path / "out" / "catalogue.ecsv")
    assert np.isfinite(table["log_mstar"]).all()
    written = sorted(path.name for path in (tmp_path / "out" / "populations").iterdir())
    assert written == sorted(f"{id}{end}" for id in ("large", "blue", IDS[3]) for end in (".posterior.nc", ".summary.ecsv", ".png"))
    assert "log M*" in ran.output
    assert "NOVEL" in ran.output


def test_without_filters_there_are_no_populations(command, tmp_path):
    for more in ((), ("--filters", ",".join(FILTERS), "--no-populations")):
        assert command(*more).exit_code == 0
        assert "log_mstar" not in Table.read(tmp_path / "out" / "catalogue.ecsv").colnames
        assert not (tmp_path / "out" / "populations").exists()


def two_images(folder: Path) -> list[str]:
    """Files of g and r, and of z with pixels half as large; the words that declare what they have not."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [7.5, 6.5]
    for name, n, scale in (("ground", 2, 5e-5), ("space", 1, 2.5e-5)):
        wcs.wcs.cdelt = [-scale, scale]
        noise = np.random.default_rng(0).standard_normal((n, 12, 14))
        fits.HDUList([fits.PrimaryHDU(noise, wcs.to_header()), fits.ImageHDU(np.ones_like(noise), name="IVAR")]).writeto(
            folder / f"{name}.fits"
        )
    return [str(folder / "ground.fits"), str(folder / "space.fits"), "--bands", "g,r", "--bands", "z", "--psf-fwhm", "3"]


def test_what_is_said_of_several_images_reaches_each(tmp_path, monkeypatch, asked):
    came = []
    monkeypatch.setattr("slipher.models.deblended.deblend", lambda images, detections, prior, seed: came.extend(images) or scene(*images))
    more = ["--zero-point", "27,26.5", "--zero-point", "25.9", "--filters", "sdss2010-g,sdss2010-r", "--filters", "acs_wfc-F850LP"]
    ran = CliRunner().invoke(app, ["deblend", *two_images(tmp_path), *more, "--no-refine"])
    assert ran.exit_code == 0, ran.output
    assert [one.bands for one in came] == [("g", "r"), ("z",)]
    assert [one.zero_point.tolist() for one in came] == [[27.0, 26.5], [25.9]]
    assert [band.name for band in asked[0][0].bands] == ["sdss2010-g", "sdss2010-r", "acs_wfc-F850LP"]
    np.testing.assert_allclose(asked[0][0].flux[2], NANOMAGGIES[0, 4] * 10 ** (0.4 * (ZERO[4] - 25.9)), rtol=1e-5)
    assert "space (z): chi2/pixel" in ran.output


def test_bands_in_files_of_their_own_are_one_image(tmp_path, monkeypatch, asked):
    """With what is said of each file, filters too."""
    came = []
    monkeypatch.setattr("slipher.models.deblended.deblend", lambda images, detections, prior, seed: came.extend(images) or scene(*images))
    ground = two_images(tmp_path)[0]
    for name, i in (("g", 0), ("r", 1)):
        with fits.open(ground) as both:
            parts = [fits.PrimaryHDU(both[0].data[i], both[0].header), fits.ImageHDU(both["IVAR"].data[i], name="IVAR")]
            fits.HDUList(parts).writeto(tmp_path / f"{name}.fits")
    said = [str(tmp_path / "g.fits"), str(tmp_path / "r.fits"), "--bands", "g", "--bands", "r", "--psf-fwhm", "3", "--psf-fwhm", "4"]
    more = ["--zero-point", "27", "--zero-point", "26.5", "--filters", "sdss2010-g", "--filters", "sdss2010-r"]
    ran = CliRunner().invoke(app, ["deblend", *said, *more, "--no-refine"])
    assert ran.exit_code == 0, ran.output
    assert [(one.id, one.bands, one.zero_point.tolist()) for one in came] == [("g+r", ("g", "r"), [27.0, 26.5])]
    assert came[0].psf[0].max() > 1.5 * came[0].psf[1].max()
    assert [band.name for band in asked[0][0].bands] == ["sdss2010-g", "sdss2010-r"]


def test_several_images_are_written_to_one_file_and_have_a_figure_each(tmp_path, monkeypatch):
    came = []
    monkeypatch.setattr("slipher.models.deblended.deblend", lambda images, detections, prior, seed: came.extend(images) or scene(*images))
    ran = CliRunner().invoke(app, ["deblend", *two_images(tmp_path), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"scene.png", "scene-2.png"}
    with fits.open(tmp_path / "out" / "model.fits") as written:
        assert written[0].header["IMAGES"] == 2
        for number, (one, name) in enumerate(zip(came, ("ground", "space"), strict=True), start=1):
            header = written["MODEL", number].header
            assert (header["IMAGE"], header["BANDS"]) == (name, ",".join(one.bands))
            assert WCS(header).celestial.pixel_to_world(6.5, 5.5).ra.deg == pytest.approx(150.0)
            np.testing.assert_allclose(written["RESIDUAL", number].data, one.flux)
            assert written["SOURCES", number].data.shape == (4, *one.flux.shape)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--populations",), "without filters"),
        (("--redshift", "0.3"), "without filters"),
        (("--filters", "sdss2010-g", "--zero-point", "27"), "bands u, g, r, i, z"),
        (("--filters", ",".join(FILTERS)), "zero points"),
        (("--filters", ",".join(FILTERS), "--zero-point", "27", "--redshift", "zspec"), "zspec"),
        (("--filters", ",".join(FILTERS), "--zero-point", "twenty"), "twenty"),
    ],
)
def test_wrong_calls_are_refused_before_the_fit(command, monkeypatch, more, words):
    monkeypatch.setattr("slipher.models.deblended.deblend", lambda *args, **how: pytest.fail("fitted"))
    ran = command(*more)
    assert ran.exit_code == 2
    assert words in " ".join(ran.output.split())


def test_a_prior_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="the prior 'none'"):
        deblended.deblend((), prior="none")
