"""An image to its catalogue: rows for all sources, coordinates, magnitudes and flags; and what cannot be taken apart."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from test_detect import STARS, images
from test_render import moffat
from typer.testing import CliRunner

from slipher import programs
from slipher.cli import app
from slipher.data.detections import Detections, read_detections
from slipher.data.image import cutout
from slipher.errors import Flag, InputError
from slipher.scene.deblend import View, _masked, _outside, _overlap, _shares, _without_unseen, deblend

VARIANCE = np.full((2, 80, 90), 0.05**2)
ERROR = np.sqrt(1.0 / np.sum(moffat() ** 2)) * 0.05  # of the flux of a star at a known place


def field() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [150.0, 2.0], [45.5, 40.5], [-5e-5, 5e-5]
    return wcs


def stars(**how):
    flux = images(0, 0.3)
    return cutout(flux, **{"variance": VARIANCE, "psf": np.stack([moffat()] * 2), "bands": ("g", "r"), "wcs": field()} | how)


@pytest.fixture(scope="module")
def found():
    return deblend(stars(zero_point=(27.0, 26.5)), draws=16)


@pytest.mark.slow
def test_stars_have_their_fluxes_and_places_within_errors(found):
    table = found.table
    assert list(table["id"]) == ["1", "2", "3", "4"]
    for row, (x, y, flux) in zip(table, STARS, strict=True):
        for band, share in (("g", 1.0), ("r", 0.5)):
            error = row[f"flux_{band}_err"]
            assert abs(row[f"flux_{band}"] - share * flux) < 5.0 * error
            assert 0.7 * ERROR < error < 5.0 * ERROR
        assert np.hypot(row["x"] - x, row["y"] - y) < 5.0 * np.hypot(row["x_err"], row["y_err"]) + 0.01
        assert row["chi2_per_pixel"] == pytest.approx(1.0, abs=0.4)
    assert found.chi2_per_pixel == pytest.approx(1.0, abs=0.05)
    assert found.converged


@pytest.mark.slow
def test_coordinates_and_magnitudes_follow_from_pixels_and_fluxes(found):
    row = found.table[0]
    ra, dec = field().pixel_to_world_values(row["x"], row["y"])
    np.testing.assert_allclose([row["ra"], row["dec"]], [ra, dec])
    assert row["mag_g"] == pytest.approx(27.0 - 2.5 * np.log10(row["flux_g"]))
    assert row["mag_r_err"] == pytest.approx(1.0857 * row["flux_r_err"] / row["flux_r"], rel=1e-3)


@pytest.mark.slow
def test_the_sum_of_the_sources_is_the_model(found):
    background = found.views[0].model - found.views[0].sources.sum(0)
    assert np.ptp(background, axis=(1, 2)).max() < 1e-4
    np.testing.assert_allclose(background.mean((1, 2)), 0.3, atol=0.02)
    np.testing.assert_allclose(found.views[0].residual + found.views[0].model, found.image.flux, atol=1e-5)


@pytest.mark.slow
def test_a_star_without_its_core_is_found_and_measured_by_its_wings():
    apart = np.concatenate([[(20.3, 60.6, 400.0)], STARS[1:]])
    flux, variance = images(3, stars=apart), VARIANCE.copy()
    flux[:, 59:63, 18:23], variance[:, 59:63, 18:23] = np.nan, np.inf  # the brightest, saturated
    table = deblend(cutout(flux, variance=variance, psf=np.stack([moffat()] * 2), bands=("g", "r")), draws=16).table
    assert len(table) == len(STARS)
    brightest = table[np.argmax(table["flux_g"])]
    assert abs(brightest["flux_g"] - 400.0) < 4 * brightest["flux_g_err"] < 40.0
    masked = [Flag.MASKED in Flag(int(flags)) for flags in table["flags"]]
    assert masked == [row["id"] == brightest["id"] for row in table]


@pytest.mark.slow
def test_what_lies_under_another_and_what_the_edge_cuts_are_flagged():
    y, x = np.mgrid[:40, :40]
    psf = moffat()
    shown = 300.0 * np.exp(-0.5 * ((x - 18) ** 2 + (y - 20) ** 2) / 9.0) / (2 * np.pi * 9.0)  # a galaxy that covers the next
    shown += 8.0 * np.exp(-0.5 * ((x - 22) ** 2 + (y - 20) ** 2) / 4.0) / (2 * np.pi * 4.0)
    shown += 60.0 * np.exp(-0.5 * ((x - 20) ** 2 + (y - 39.4) ** 2) / 4.0) / (2 * np.pi * 4.0)  # at the edge
    noise = np.random.default_rng(0).normal(0.0, 0.02, (1, 40, 40))
    image = cutout(shown[None] + noise, variance=np.full((1, 40, 40), 0.02**2), psf=psf[None], bands=("g",))
    table = deblend(image, Detections(("large", "under", "edge"), np.array([[18.0, 20.0], [22.0, 20.0], [20.0, 39.0]])), draws=4).table
    flags = [Flag(int(row)) & (Flag.BLENDED | Flag.TRUNCATED) for row in table["flags"]]
    assert flags == [Flag(0), Flag.BLENDED, Flag.TRUNCATED]
    assert table["overlap"][0] < 0.2 < 0.8 < table["overlap"][1]


def test_overlap_and_what_is_outside_or_masked_are_those_of_the_definition():
    """Two squares of which one covers the other, the second three times as bright, with a second view that sees the first alone."""
    one, two = np.zeros((2, 1, 6, 6), np.float32)
    one[0, :4, :4], two[0, :4, 2:] = 1.0, 3.0
    image = cutout(np.zeros((1, 6, 6)), variance=np.full((1, 6, 6), 0.25), psf=moffat()[None], bands=("g",))
    view = View(image=image, model=one + two, sources=np.stack([one, two]))
    np.testing.assert_allclose(_overlap((view,)), [1 - 16 / (16 + 8 * 3), 1 - 144 / (144 + 8 * 3)])
    alone = View(image=image, model=one, sources=np.stack([one, 0.0 * two]))
    np.testing.assert_allclose(_overlap((view, alone)), [1 - 32 / (32 + 8 * 3), 1 - 144 / (144 + 8 * 3)])
    holed = dataclasses.replace(image, ivar=np.where(one > 0, image.ivar, 0.0))
    masked = dataclasses.replace(view, image=holed)
    table = Table({"flux_g": [20.0, 48.0]})
    shown, seen = _shares((masked,), table, ("g",))
    np.testing.assert_allclose(shown[:, 0], [0.8, 1.0])
    np.testing.assert_allclose(seen[:, 0], [0.8, 0.5])
    np.testing.assert_allclose(_masked(shown, seen), [0.0, 0.5])
    both = _shares((masked, view), table, ("g",))  # one image that shows it is enough
    np.testing.assert_allclose(both[1][:, 0], [0.8, 1.0])
    np.testing.assert_allclose(_masked(*both), [0.0, 0.0])
    np.testing.assert_array_equal(_masked(0.0 * shown, 0.0 * seen), 0.0)
    np.testing.assert_allclose(_outside((view,), *_shares((view,), table, ("g",)), ("g",)), [0.2, 0.0])
    np.testing.assert_allclose(_outside((masked,), shown, seen, ("g",)), [0.2, 0.0])
    np.testing.assert_array_equal(_outside((masked,), shown, 0.0 * seen, ("g",)), 0.0)  # of what nobody sees there is no edge


def test_there_is_no_flux_in_a_band_of_which_no_image_shows_the_source():
    image = cutout(np.zeros((2, 6, 6)), variance=np.full((2, 6, 6), 0.25), psf=moffat(), bands=("g", "r"))
    light = np.ones((2, 2, 6, 6), np.float32)
    light[1, 1] = 0.0
    names = ("flux_g", "flux_r", "color_g_r")
    table = Table({"x": [1.0, 2.0]} | {f"{name}{kind}": [36.0, 36.0] for name in names for kind in ("", "_err")})
    _, seen = _shares((View(image=image, model=light.sum(0), sources=light),), table, ("g", "r"))
    _without_unseen(table, seen, ("g", "r"))
    assert [np.isnan(table[1][name]) for name in table.colnames] == [False, False, False, True, True, True, True]
    assert np.isfinite(list(table[0])).all()


@pytest.mark.slow
def test_an_image_that_shows_two_sources_of_four_has_their_fluxes_alone():
    """A smaller image in a third band; the fluxes of those it shows are those of the sky, of the others there are none."""
    whole = images(5, 0.3)
    corner = (slice(10, 50), slice(0, 50))
    shown = (0.7 * whole[:1] + 0.05 * np.random.default_rng(6).standard_normal(whole[:1].shape))[(slice(None), *corner)]
    how = {"psf": moffat()[None], "bands": ("i",), "id": "part"}
    part = cutout(shown, variance=np.full(shown.shape, 0.05**2 * 1.49), **how, wcs=field()[corner])
    table = deblend([stars(), part], Detections(tuple("abcd"), STARS[:, :2]), draws=16).table
    inside = part.holds(STARS[:, :2] - [0.0, 10.0])
    assert inside.sum() == 2
    np.testing.assert_array_equal(np.isfinite(table["flux_i"]), inside)
    np.testing.assert_array_equal(np.isfinite(table["color_r_i_err"]), inside)
    for row, (_, _, flux) in zip(table[inside], STARS[inside], strict=True):
        assert abs(row["flux_i"] - 0.7 * flux) < 5.0 * row["flux_i_err"] < flux
    assert np.isfinite(table["flux_g"]).all()


@pytest.mark.parametrize(
    ("detections", "words"),
    [
        (Detections((), np.zeros((0, 2))), "empty catalogue"),
        (Detections(("a",), np.array([[500.0, -20.0]])), "none of 1 sources"),
        (Detections(("a",), np.array([[150.0, 2.0]]), celestial=True), "without coordinates"),
    ],
)
def test_detections_that_cannot_be_used_are_refused(detections, words):
    with pytest.raises(InputError, match=words):
        deblend(stars(wcs=None), detections)


@pytest.mark.parametrize(
    ("text", "words"),
    [("x,y\n", "no rows"), ("a,b\n1,2\n", "x and y, or ra and dec"), ("x,y\nhere,there\n", "number"), ("", "empty")],
)
def test_catalogues_that_cannot_be_read_are_refused(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_detections(tmp_path / "t.csv")


def test_catalogues_are_read_by_pixels_or_coordinates(tmp_path):
    (tmp_path / "t.csv").write_text("NAME,X,Y\n9007199254740993,3.5,4\nb,5,\n")
    one = read_detections(tmp_path / "t.csv")
    assert (one.ids, one.celestial) == (("9007199254740993", "b"), False)
    np.testing.assert_array_equal(one.position, [[3.5, 4.0], [5.0, np.nan]])
    Table({"ra": [150.0], "dec": [2.0]}).write(tmp_path / "t.fits")
    assert read_detections(tmp_path / "t.fits") == (("1",), pytest.approx(np.array([[150.0, 2.0]])), True)


def test_an_empty_sky_has_no_sources():
    noise = 0.05 * np.random.default_rng(5).standard_normal((2, 80, 90))
    with pytest.raises(InputError, match="nothing is found"):
        deblend(cutout(noise, variance=VARIANCE, psf=moffat()))


def test_a_scene_that_memory_does_not_hold_is_refused(monkeypatch):
    """Before anything is compiled, and by what the largest matrix takes: of each source some numbers, each with an image of its own."""
    here = stars()
    least = 4 * 4 * here.flux.size * 4  # sources have at least a position and two fluxes each, and numbers have four bytes
    monkeypatch.setattr(programs, "memory", lambda: float(least))
    with pytest.raises(InputError, match=r"4 sources on 90 x 80 pixels in 2 bands.*pieces that overlap"):
        deblend(here)


@pytest.mark.slow
def test_the_command(tmp_path):
    """A catalogue by ra and dec with a source outside: its row is there, flagged, without numbers."""
    hdus = [
        fits.PrimaryHDU(images(0, 0.3), field().to_header()),
        fits.ImageHDU(VARIANCE, name="VARIANCE"),
        fits.ImageHDU(moffat(), name="PSF"),
    ]
    hdus[0].header["BANDS"] = "gr"
    fits.HDUList(hdus).writeto(tmp_path / "field.fits")
    ra, dec = field().pixel_to_world_values(np.append(STARS[:, 0], 400.0), np.append(STARS[:, 1], 10.0))
    Table({"id": ["a", "b", "c", "d", "out"], "RA": ra, "DEC": dec}).write(tmp_path / "stars.csv")
    call = ["deblend", str(tmp_path / "field.fits"), "--catalog", str(tmp_path / "stars.csv"), "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, call)
    assert ran.exit_code == 0, ran.output
    table = Table.read(tmp_path / "out" / "catalogue.ecsv")
    assert list(table["id"]) == ["a", "b", "c", "d", "out"]
    assert [bool(Flag(int(f)) & Flag.OUTSIDE_IMAGE) for f in table["flags"]] == [False] * 4 + [True]
    assert np.isnan(table["flux_g"][-1])
    assert np.isfinite(table["flux_g"][:-1]).all()
    with fits.open(tmp_path / "out" / "model.fits") as written:
        np.testing.assert_allclose(written["MODEL"].data + written["RESIDUAL"].data, images(0, 0.3), atol=1e-4)
        assert written["SOURCES"].data.shape == (4, 2, 80, 90)
    assert (tmp_path / "out" / "scene.png").stat().st_size > 10_000
    refused = CliRunner().invoke(app, ["deblend", str(tmp_path / "stars.csv")])
    assert refused.exit_code != 0
