"""SDSS and BOSS: synthetic files for the rules, real ones against the pipeline's own numbers and another reader."""

import csv

import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits

from slipher.data import read
from slipher.data.sdss import BRIGHTSKY, OI_5577_AA, plate_ebv
from slipher.errors import Flag


def test_values_of_a_spec_file(tmp_path):
    spectrum = read(survey.write_spec(tmp_path / "a.fits"))[0]
    flux, ivar = survey.flux_and_ivar(survey.N_PIXEL)
    assert (spectrum.id, spectrum.survey, spectrum.redshift) == ("0266-51602-0007", "sdss", pytest.approx(0.1))
    assert spectrum.flags == Flag(0)
    assert spectrum.ebv == pytest.approx(0.1)
    assert spectrum.labels["EBV_ORIGIN"] == "plate median (REDDEN)"
    np.testing.assert_allclose(spectrum.wave_aa, 10 ** survey.loglam(), rtol=1e-12)
    np.testing.assert_array_equal(spectrum.flux, flux)
    np.testing.assert_allclose(spectrum.lsf_kms, 0.9 * 69.0299, rtol=1e-5)
    assert np.all((spectrum.ivar == ivar) | (spectrum.ivar == 0))
    assert spectrum.labels["LINES"].keys() == {"H_alpha"}
    assert spectrum.labels["LINES"]["H_alpha"]["flux"] == 50.0
    expected = {"CLASS": "GALAXY", "SUBCLASS": "STARFORMING", "VDISP": 120.0, "ZWARNING": 0, "SN_MEDIAN": 9.5}
    assert expected.items() <= spectrum.labels.items()


def test_sky_residuals_carry_no_information(tmp_path):
    mask = np.zeros(survey.N_PIXEL, np.int32)
    mask[10], mask[11] = BRIGHTSKY, 1 << 25
    loglam = (survey.loglam() + 0.1).astype(np.float32)
    spectrum = read(survey.write_spec(tmp_path / "a.fits", coadd={"and_mask": mask, "loglam": loglam}))[0]
    near_oi = np.abs(spectrum.wave_aa - OI_5577_AA) < 7
    assert near_oi.sum() > 5
    np.testing.assert_array_equal(np.flatnonzero(~spectrum.good), [10, *np.flatnonzero(near_oi)])


def test_missing_dispersion_is_filled_or_assumed(tmp_path):
    wdisp = np.full(survey.N_PIXEL, 0.9, np.float32)
    wdisp[:3], wdisp[50] = 0.0, np.nan
    filled = read(survey.write_spec(tmp_path / "a.fits", coadd={"wdisp": wdisp}))[0]
    assert filled.flags == Flag(0)
    np.testing.assert_allclose(filled.lsf_kms, 0.9 * 69.0299, rtol=1e-5)
    assumed = read(survey.write_spec(tmp_path / "b.fits", coadd={"wdisp": 0 * wdisp}))[0]
    assert assumed.flags == Flag.RESOLUTION_ASSUMED


PIPELINE = {
    "warning": ({"ZWARNING": 4}, Flag.PIPELINE_WARNING, 0.1),
    "quasar": ({"CLASS": "QSO"}, Flag.NOT_A_GALAXY, 0.1),
    "star": ({"CLASS": "STAR", "Z": -1e-4}, Flag.NOT_A_GALAXY, -1e-4),
    "no redshift": ({"Z": np.nan}, Flag.PIPELINE_WARNING, None),
    "absurd redshift": ({"Z": -1.0}, Flag.PIPELINE_WARNING, None),
}


@pytest.mark.parametrize("case", PIPELINE)
def test_what_the_pipeline_says_becomes_flags(tmp_path, case):
    columns, flag, redshift = PIPELINE[case]
    spectrum = read(survey.write_spec(tmp_path / "a.fits", obj=columns))[0]
    assert spectrum.flags == flag
    assert spectrum.redshift == (None if redshift is None else pytest.approx(redshift))


def test_a_redshift_that_is_not_usable_is_named_in_the_labels(tmp_path):
    path = survey.write_spec(tmp_path / "a.fits", obj={"Z": -0.5})
    assert "the pipeline's Z = -0.5" in read(path)[0].labels["NO_REDSHIFT"]
    assert "NO_REDSHIFT" not in read(path, redshift=0.1)[0].labels
    (text,) = read(survey.write_spspec(tmp_path / "a.fit", Z="none"))
    assert (text.redshift, text.flags) == (None, Flag.PIPELINE_WARNING)


def test_a_declared_redshift_wins_and_takes_the_warning_along(tmp_path):
    path = survey.write_spec(tmp_path / "a.fits", obj={"ZWARNING": 4})
    spectrum = read(path, redshift=0.25, ebv=0.5)[0]
    assert (spectrum.redshift, spectrum.ebv, spectrum.flags) == (0.25, 0.5, Flag(0))


def test_air_wavelengths_are_believed_when_the_header_says_so(tmp_path):
    air = read(survey.write_spec(tmp_path / "a.fits", header={"VACUUM": False}))[0]
    np.testing.assert_allclose(air.wave_aa / 10 ** survey.loglam() - 1, 2.8e-4, rtol=0.03)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"REDDEN": "0.0745 0.0548 0.0398 0.0302 0.0214"}, 0.01446),
        ({f"REDDEN{k + 1:02d}": v for k, v in enumerate((0.2948, 0.2297, 0.1589, 0.1181, 0.0878))}, 0.0583),
        ({"REDDEN": "0.0 0.0 0.0 0.0 0.0"}, None),
        ({"REDDEN": "500 500 500 500 500"}, None),
        ({"REDDEN01": 0.3}, None),
        ({}, None),
    ],
)
def test_ebv_from_the_plate(cards, expected):
    header = fits.Header()
    header.update(cards)
    assert plate_ebv(header) == (None if expected is None else pytest.approx(expected, rel=2e-3))


def test_plates_beyond_9999_and_boss(tmp_path):
    header = {"PLATEID": 10000, "MJD": 57346, "FIBERID": 1000}
    spectrum = read(survey.write_spec(tmp_path / "a.fits", header=header))[0]
    assert (spectrum.id, spectrum.survey) == ("10000-57346-1000", "boss")


def test_values_of_an_spspec_file(tmp_path):
    spectrum = read(survey.write_spspec(tmp_path / "a.fit"))[0]
    new = read(survey.write_spec(tmp_path / "a.fits"))[0]
    assert (spectrum.id, spectrum.survey, spectrum.redshift) == (new.id, new.survey, pytest.approx(new.redshift))
    assert spectrum.flags == Flag(0)
    assert spectrum.ebv is None
    assert spectrum.labels["CLASS"] == "GALAXY"
    assert spectrum.labels["VDISP"] == 120.0
    np.testing.assert_allclose(spectrum.wave_aa, new.wave_aa, rtol=1e-12)
    np.testing.assert_allclose(spectrum.flux, new.flux, rtol=1e-6)
    np.testing.assert_allclose(spectrum.lsf_kms, new.lsf_kms, rtol=1e-6)
    bad = np.isin(np.arange(survey.N_PIXEL), (5, 20))
    assert not spectrum.good[bad].any()
    np.testing.assert_allclose(spectrum.ivar[~bad & new.good], new.ivar[~bad & new.good], rtol=1e-5)


def test_an_spspec_file_without_dispersion_and_of_a_quasar(tmp_path):
    spectrum = read(survey.write_spspec(tmp_path / "a.fit", dispersion=False, SPEC_CLN=3, Z_WARNIN=1))[0]
    assert spectrum.flags == Flag.RESOLUTION_ASSUMED | Flag.NOT_A_GALAXY | Flag.PIPELINE_WARNING


# Real files.


def real(shared_data, *folders):
    return [path for folder in folders for path in sorted((shared_data / folder).glob("spec-*.fits"))]


def test_every_real_file_is_read(shared_data):
    paths = real(shared_data, "sdss_spectra", "sdss_sky")
    assert len(paths) == 18
    for path in paths:
        (spectrum,) = read(path)
        assert path.stem == f"spec-{spectrum.id}"
        assert Flag.RESOLUTION_ASSUMED not in spectrum.flags
        assert spectrum.good.mean() > 0.8
        # Bright-sky pixels are few and typical: dropping them leaves the pipeline's median S/N of a galaxy.
        if path.parent.name == "sdss_spectra":
            assert spectrum.median_sn() == pytest.approx(spectrum.labels["SN_MEDIAN"], rel=0.04)


def test_real_files_against_their_index(shared_data):
    with (shared_data / "sdss_spectra" / "index.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        (spectrum,) = read(shared_data / "sdss_spectra" / row["file"])
        labels = spectrum.labels
        assert (labels["CLASS"], labels["SUBCLASS"]) == (row["class"], row["subclass"])
        assert spectrum.redshift == pytest.approx(float(row["z"]), abs=1e-5)
        assert labels["VDISP"] == pytest.approx(float(row["vdisp"]), abs=0.1)
        assert labels["SN_MEDIAN"] == pytest.approx(float(row["medSN"]), rel=0.03)
        assert (Flag.PIPELINE_WARNING in spectrum.flags) == (int(row["zwarning"]) != 0)
        assert (Flag.NOT_A_GALAXY in spectrum.flags) == (row["class"] != "GALAXY")
        assert spectrum.wave_aa[0] == pytest.approx(float(row["lam_min"]), abs=1)
        assert spectrum.wave_aa[-1] == pytest.approx(float(row["lam_max"]), abs=1)
        for column, line in {"Ha_flux": "H_alpha", "OIII5007_flux": "[O_III] 5007"}.items():
            measured = labels["LINES"].get(line, {"flux": 0.0})["flux"]
            assert measured == pytest.approx(float(row[column]), abs=0.1)


def test_real_files_against_specutils(shared_data):
    specutils = pytest.importorskip("specutils")
    import warnings

    for path in real(shared_data, "sdss_spectra"):
        (ours,) = read(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs: units with several slashes
            theirs = specutils.Spectrum.read(path, format="SDSS-III/IV spec")
        np.testing.assert_allclose(ours.wave_aa, theirs.spectral_axis.to_value("AA"), rtol=1.5e-6)
        np.testing.assert_allclose(ours.flux, np.where(np.isfinite(theirs.flux.value), theirs.flux.value, 0), rtol=1e-6)
        kept = ours.good
        np.testing.assert_allclose(ours.ivar[kept], theirs.uncertainty.array[kept], rtol=1e-6)


def test_sky_fibres_are_as_noisy_as_their_ivar_says(shared_data):
    """What remains of a sky fibre is noise: its chi is of order one, and no pixel left is wildly off."""
    chi = [spectrum.flux[spectrum.good] * np.sqrt(spectrum.ivar[spectrum.good]) for spectrum in _sky(shared_data)]
    for one in chi:
        assert 0.6 < 1.4826 * np.median(np.abs(one - np.median(one))) < 1.4
    assert np.mean(np.abs(np.concatenate(chi)) > 10) < 1e-3


def _sky(shared_data):
    return [read(path)[0] for path in real(shared_data, "sdss_sky")]
