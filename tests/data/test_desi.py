"""DESI: matching by TARGETID, sky and empty fibres, arms and matrices; real files against astropy and scipy."""

import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits
from scipy.sparse import dia_array

from slipher.data import desi, read
from slipher.data import files as disk
from slipher.errors import Flag, InputError, UnreadableFile


def opened(path, **options):
    file = disk.load(path)
    return desi.read_coadd(disk.open_fits(file), file, **options)


def test_targets_are_returned_and_the_rest_counted(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    coadd = opened(path)
    assert len(coadd) == 2
    assert coadd.skipped == {"sky": 1, "unassigned": 1}
    assert [s.id for s in coadd] == [str(survey.TARGETID), str(survey.TARGETID + 1)]
    kept = opened(path, keep_sky=True)
    assert [s.id for s in kept] == [str(survey.TARGETID), str(survey.SKY_TARGETID), str(survey.TARGETID + 1)]
    assert kept.skipped == {"unassigned": 1}


def test_without_redrock_there_is_no_redshift(tmp_path):
    spectra = read(survey.write_coadd(tmp_path / "coadd-x.fits"))
    assert [(s.redshift, s.flags) for s in spectra] == [(None, Flag(0))] * 2


@pytest.mark.parametrize("beside", [True, False])
def test_redshifts_are_matched_by_targetid(tmp_path, beside):
    """The redrock file is in another order and its ids differ by one, beyond what float64 resolves."""
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    redrock = survey.write_redrock(tmp_path / ("redrock-x.fits" if beside else "elsewhere.fits"))
    spectra = read(path) if beside else read(path, redrock=redrock)
    assert float(survey.TARGETID) == float(survey.TARGETID + 1)
    assert [s.redshift for s in spectra] == pytest.approx([0.1, 0.2])
    assert [s.flags for s in spectra] == [Flag(0)] * 2


def test_a_target_that_redrock_lacks_has_no_redshift(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    redrock = survey.write_redrock(tmp_path / "r.fits", ids=(survey.TARGETID,))
    assert [s.redshift for s in read(path, redrock=redrock)] == [pytest.approx(0.1), None]


def test_what_redrock_says_becomes_flags(tmp_path):
    columns = {"ZWARN": np.array([4, 0, 0]), "SPECTYPE": np.array(["GALAXY", "GALAXY", "QSO"])}
    survey.write_redrock(tmp_path / "redrock-x.fits", **columns)
    spectra = read(survey.write_coadd(tmp_path / "coadd-x.fits"))
    assert [s.flags for s in spectra] == [Flag.NOT_A_GALAXY, Flag.PIPELINE_WARNING]
    assert spectra[0].labels["SPECTYPE"] == "QSO"


def test_redrock_of_other_targets_is_refused(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    with pytest.raises(InputError, match="none of the 2 targets"):
        read(path, redrock=survey.write_redrock(tmp_path / "r.fits", ids=(1, 2)))
    with pytest.raises(InputError, match="more than once"):
        read(path, redrock=survey.write_redrock(tmp_path / "s.fits", ids=(survey.TARGETID,) * 2))
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        read(path, redrock=tmp_path / "missing.fits")


def test_no_target_is_lost(tmp_path):
    """A target without a good pixel is an answer with a flag; so are two of the same id."""
    path = survey.write_coadd(tmp_path / "coadd-x.fits", ids=(5, 6, 5), kinds=("TGT",) * 3, empty=(1,))
    spectra = read(path)
    assert [s.id for s in spectra] == ["5", "6", "5"]
    assert [s.flags for s in spectra] == [Flag.DUPLICATE_ID, Flag.LITTLE_COVERAGE, Flag.DUPLICATE_ID]
    assert not spectra[1].good.any()


def changed(tmp_path, source, **columns):
    """The coadd with columns of FIBERMAP, or whole images, replaced."""
    with fits.open(source) as hdus:
        for name, value in columns.items():
            if name in hdus:
                hdus[name].data = value(hdus[name].data.copy())
            else:
                hdus["FIBERMAP"].data[name] = value(hdus["FIBERMAP"].data[name].copy())
        hdus.writeto(tmp_path / "coadd-changed.fits", checksum=True)
    return tmp_path / "coadd-changed.fits"


@pytest.mark.parametrize("ebv", [25.0, -1.0, np.nan, np.inf])
def test_an_absurd_ebv_of_one_target_is_none(tmp_path, ebv):
    path = changed(tmp_path, survey.write_coadd(tmp_path / "coadd-x.fits"), EBV=lambda old: np.where(np.arange(4) == 0, ebv, old))
    assert [s.ebv for s in read(path)] == [None, pytest.approx(0.03)]


def test_a_target_that_is_refused_does_not_cost_the_others(tmp_path):
    """Its row stays without a pixel and with the reason; an empty fibre has no information either."""
    path = survey.write_coadd(tmp_path / "coadd-x.fits", ids=(5, 6, 7), kinds=("TGT",) * 3)
    scale = np.array([1e-15, 1.0, 0.0], np.float32)[:, None]

    def spoilt(flux):
        flux *= scale
        flux[0, 5] = np.inf
        return flux

    first, second, third = read(changed(tmp_path, path, **{f"{arm}_FLUX": spoilt for arm in "BRZ"}))
    assert [s.id for s in (first, second, third)] == ["5", "6", "7"]
    assert [s.flags for s in (first, second, third)] == [Flag.LITTLE_COVERAGE, Flag(0), Flag.LITTLE_COVERAGE]
    assert "looks like erg/s/cm2/A" in first.labels["REFUSED"]
    assert not first.good.any()
    assert not third.good.any()
    assert second.good.sum() == 1350 - 3
    assert "REFUSED" not in second.labels


def test_what_is_wrong_with_every_target_is_raised(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    with pytest.raises(InputError, match="NaN"):
        read(changed(tmp_path, path, R_WAVELENGTH=lambda old: np.where(old == old[3], np.nan, old)))


@pytest.mark.parametrize("arms", ["R", "BRZ"])
def test_matrices_without_a_main_diagonal_are_refused(tmp_path, arms):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    path = changed(tmp_path, path, **{f"{arm}_RESOLUTION": lambda old: old[:, 1:].copy() for arm in arms})
    with pytest.raises(UnreadableFile, match=r"_RESOLUTION of .* with 10 diagonals"):
        read(path)


def test_labels_say_why_there_is_no_redshift(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    assert {s.labels["NO_REDSHIFT"] for s in read(path)} == {"no redrock-... file lies beside the coadd"}
    lacking = read(path, redrock=survey.write_redrock(tmp_path / "r.fits", ids=(survey.TARGETID,)))
    assert [s.labels.get("NO_REDSHIFT") for s in lacking] == [None, "r.fits lacks this target"]
    survey.write_redrock(tmp_path / "redrock-x.fits", Z=np.array([-0.5, 0.1, np.nan]))
    below, nan = (s.labels["NO_REDSHIFT"] for s in reversed(read(path)))
    assert "redrock's Z = -0.5" in below
    assert "Z = nan" in nan


def test_only_sky_is_no_target(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits", ids=(5, 6), kinds=("SKY", "SKY"))
    with pytest.raises(InputError, match="no target"):
        read(path)
    assert len(read(path, keep_sky=True)) == 2


def test_arms_stay_apart(tmp_path):
    spectrum = read(survey.write_coadd(tmp_path / "coadd-x.fits"))[0]
    assert spectrum.segments == ((0, 500), (500, 900), (900, 1350))
    assert [spectrum.wave_aa[start] for start, _ in spectrum.segments] == [3600.0, 3990.0, 4300.0]
    assert spectrum.wave_aa[499] > spectrum.wave_aa[500]
    assert not spectrum.good[[3, 503, 903]].any()
    assert spectrum.good.sum() == 1350 - 3
    assert spectrum.ebv == pytest.approx(0.03)


def test_matrices_of_unequal_width_are_padded(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    with fits.open(path) as hdus:
        hdus["B_RESOLUTION"].data = hdus["B_RESOLUTION"].data[:, 1:-1].copy()
        hdus.writeto(tmp_path / "coadd-y.fits", checksum=True)
    wide, narrow = read(path)[0], read(tmp_path / "coadd-y.fits")[0]
    assert narrow.resolution_matrix.shape == (11, 1350)
    assert np.all(narrow.resolution_matrix[[0, -1], :500] == 0)
    np.testing.assert_array_equal(narrow.resolution_matrix[1:-1], wide.resolution_matrix[1:-1])


def test_one_redshift_for_several_targets_is_refused(tmp_path):
    with pytest.raises(InputError, match="2 spectra"):
        read(survey.write_coadd(tmp_path / "coadd-x.fits"), redshift=0.1)


def test_the_real_galaxy(shared_data):
    (spectrum,) = read(shared_data / "desi" / "coadd-4-80613-thru20210324.fits")
    assert spectrum.id == "39633345008634465"
    assert spectrum.redshift == pytest.approx(0.36874355, abs=1e-8)
    assert spectrum.flags == Flag(0)
    assert spectrum.ebv == pytest.approx(0.0514, abs=1e-4)
    assert spectrum.median_sn() == pytest.approx(5.1, abs=0.2)
    assert spectrum.segments == ((0, 2751), (2751, 5077), (5077, 7958))


def test_the_real_matrix_has_desis_convention(shared_data):
    """Rows of R sum to one: five times closer with the highest offset first than in any other reading of the file."""
    path = shared_data / "desi" / "coadd-4-80613-thru20210324.fits"
    (spectrum,) = read(path)
    for arm, (start, stop) in zip("BRZ", spectrum.segments, strict=True):
        matrix = spectrum.resolution_matrix[:, start:stop]
        np.testing.assert_array_equal(matrix, fits.getdata(path, f"{arm}_RESOLUTION")[0])
        shape = (stop - start, stop - start)
        scatter = [np.std(dia_array((matrix, offsets), shape=shape).sum(1)[10:-10]) for offsets in (np.arange(5, -6, -1), np.arange(-5, 6))]
        assert scatter[0] < 0.01
        assert scatter[0] < 0.3 * scatter[1]


def test_the_real_resolution_is_desis(shared_data):
    """R from 2,000 in the blue to above 5,000 in the red (DESI Collaboration 2022, AJ 164, 207)."""
    (spectrum,) = read(shared_data / "desi" / "coadd-4-80613-thru20210324.fits")
    power = 299792.458 / (2.3548 * spectrum.lsf_sigma_kms())
    assert power[0] == pytest.approx(2150, rel=0.1)
    assert power[-1] == pytest.approx(5300, rel=0.1)
    assert np.all((power > 1900) & (power < 6000))


def test_the_real_sky_file(shared_data):
    coadd = opened(shared_data / "desi" / "coadd-sv3-dark-26065.fits")
    assert coadd.skipped == {"sky": 1, "unassigned": 2}
    assert [s.id for s in coadd] == ["39627866878511337", "39627866878514741"]
    with fits.open(shared_data / "desi" / "coadd-sv3-dark-26065.fits") as hdus:
        masked = sum(int((hdus[f"{arm}_IVAR"].data[2] == 0).sum()) for arm in "BRZ")
    assert (~next(iter(coadd)).good).sum() == masked
    sky = opened(shared_data / "desi" / "coadd-sv3-dark-26065.fits", keep_sky=True)
    flags = {s.id: s.flags for s in sky}
    assert len(flags) == 3
    assert flags["616088619186127404"] == Flag.LITTLE_COVERAGE | Flag.RESOLUTION_ASSUMED
