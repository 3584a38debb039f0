"""Files as the surveys write them: what slipher writes its own readers read, and the resolution is that of a matrix."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.sparse import dia_array

from slipher.data import checks, read
from slipher.data import survey_files as writers
from slipher.errors import InputError


def sdss(identifier: str = "20000-52003-0007"):
    wave = 10 ** (3.58 + 1e-4 * np.arange(3800))
    rng = np.random.default_rng(0)
    ivar = np.where(rng.random(3800) < 0.02, 0.0, 3.0)
    return checks.spectrum(wave, 5 + rng.standard_normal(3800), ivar=ivar, redshift=0.1, lsf_kms=np.linspace(80, 55, 3800), survey="sdss",
                           id=identifier, ebv=0.0)  # fmt: skip


def desi(identifier: str, seed: int = 0):
    arms = [np.arange(low, high, 0.8) for low, high in ((3600, 5800), (5760, 7620), (7520, 9824))]
    edges = np.cumsum([0, *map(len, arms)])
    wave, rng = np.concatenate(arms), np.random.default_rng(seed)
    return checks.spectrum(
        wave, 1 + 0.1 * rng.standard_normal(len(wave)), ivar=np.full(len(wave), 4.0), redshift=0.2 + 0.01 * seed,
        lsf_kms=np.linspace(55, 25, len(wave)), segments=tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)), survey="desi",
        id=identifier, ebv=0.05,
    )  # fmt: skip


def test_sdss_reads_back(tmp_path):
    spectrum = sdss()
    path = writers.write_sdss(spectrum, tmp_path, simulated=True)
    assert path.name == "spec-20000-52003-0007.fits"
    (again,) = read(path)
    assert (again.id, again.survey, again.redshift) == (spectrum.id, "sdss", pytest.approx(0.1))
    np.testing.assert_allclose(again.wave_aa, spectrum.wave_aa, rtol=1e-9)
    np.testing.assert_allclose(again.flux[again.ivar > 0], spectrum.flux[again.ivar > 0], rtol=1e-6)
    sky = np.abs(spectrum.wave_aa - 5578.89) < 7.0  # the reader's own rule
    np.testing.assert_array_equal(again.ivar[~sky], spectrum.ivar[~sky].astype(np.float32))
    np.testing.assert_allclose(again.lsf_kms, spectrum.lsf_kms, rtol=1e-5)
    assert fits.getheader(path)["SIMULATD"] is True


def test_desi_reads_back_with_exact_numbers(tmp_path):
    ids = ["39900000000000001", "39900000000000002"]
    spectra = [desi(ids[0], 0), desi(ids[1], 1)]
    path = writers.write_desi(spectra, tmp_path, "x", simulated=True)
    again = read(path)
    assert [s.id for s in again] == ids
    for one, two in zip(again, spectra, strict=True):
        assert one.redshift == pytest.approx(two.redshift)
        assert one.segments == two.segments
        assert one.ebv == pytest.approx(0.05)
        np.testing.assert_allclose(one.flux, two.flux, rtol=1e-6)
        np.testing.assert_allclose(one.ivar, two.ivar, rtol=1e-6)
        # Away from the arms' ends, where rows are cut off, the matrix is as wide as the Gaussian, and a pixel besides.
        start, stop = one.segments[1]
        inside = slice(start + 20, stop - 20)
        np.testing.assert_allclose(one.lsf_sigma_kms()[inside], two.lsf_kms[inside], rtol=0.1)


def test_rows_of_the_resolution_matrix_are_averages():
    wave = 6000.0 + 0.8 * np.arange(60)
    diagonals = writers.gaussian_diagonals(wave, np.full(60, 0.9))
    half = writers.DIAGONALS // 2
    matrix = dia_array((diagonals, range(half, -half - 1, -1)), shape=(60, 60)).toarray()
    np.testing.assert_allclose(matrix.sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(matrix[30] @ (wave - wave[30]) ** 2, 0.81, rtol=0.02)
    assert matrix[30].argmax() == 30


def test_what_is_not_the_surveys_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected PLATE-MJD-FIBER"):
        writers.write_sdss(sdss("galaxy-1"), tmp_path, simulated=True)
    with pytest.raises(InputError, match="not DESI's"):
        writers.write_desi([sdss()], tmp_path, "x", simulated=True)
    with pytest.raises(InputError, match="no spectra"):
        writers.write_desi([], tmp_path, "x", simulated=True)
    assert not list(tmp_path.iterdir())
