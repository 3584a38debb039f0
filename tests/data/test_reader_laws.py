"""Laws that hold for every reader: one line in `FORMATS` a format."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import survey_files as survey

from slipher.data import read, write_spectrum
from slipher.errors import Flag

FORMATS = {
    "spec": lambda folder: survey.write_spec(folder / "spec-0266-51602-0007.fits"),
    "spec without wdisp": lambda folder: survey.write_spec(folder / "spec.fits", coadd={"wdisp": None}),
    "boss": lambda folder: survey.write_spec(folder / "boss.fits", header={"MJD": 56000}),
    "spSpec": lambda folder: survey.write_spspec(folder / "spSpec-51602-0266-007.fit"),
    "coadd": lambda folder: survey.write_coadd(folder / "coadd-x.fits"),
    "coadd without matrices": lambda folder: survey.write_coadd(folder / "coadd-y.fits", resolution=False),
    "ecsv": lambda folder: survey.write_ecsv(folder / "galaxy.ecsv"),
}
SUFFIXES = (".fits", ".ecsv")


@pytest.fixture(params=FORMATS, ids=list(FORMATS))
def path(request, tmp_path):
    return FORMATS[request.param](tmp_path)


def assert_identical(first, second):
    """Everything but the name and checksum of the file, and the labels that say where it first came from."""
    for name in ("wave_aa", "flux", "ivar", "lsf_kms", "resolution_matrix"):
        a, b = getattr(first, name), getattr(second, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=name)
    for name in ("redshift", "segments", "id", "survey", "ebv", "flags"):
        assert getattr(first, name) == getattr(second, name), name
    origin = {"ORIGIN", "ORIGIN_SHA256"}
    assert {k: v for k, v in first.labels.items() if k not in origin} == {k: v for k, v in second.labels.items() if k not in origin}


def test_arrays_are_clean(path):
    for spectrum in read(path):
        assert spectrum.wave_aa.dtype == np.float64
        assert all(np.all(np.diff(spectrum.wave_aa[a:b]) > 0) for a, b in spectrum.segments)
        assert np.all(np.isfinite(spectrum.flux))
        assert np.all(spectrum.ivar >= 0)
        assert np.all(np.isfinite(spectrum.ivar))
        assert spectrum.good.any()
        assert all(array.dtype.isnative for array in (spectrum.wave_aa, spectrum.flux, spectrum.ivar))


def test_the_resolution_is_positive_and_said_to_be_assumed_where_it_is(path):
    for spectrum in read(path):
        sigma = spectrum.lsf_sigma_kms()
        assert sigma.shape == spectrum.flux.shape
        assert np.all((sigma > 20) & (sigma < 150))
        assert (Flag.RESOLUTION_ASSUMED in spectrum.flags) == ("without" in path.parent.name or _without(path))


def _without(path) -> bool:
    return path.name in ("spec.fits", "coadd-y.fits")


def test_the_checksum_is_that_of_the_bytes(path):
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert {spectrum.checksum for spectrum in read(path)} == {expected}
    assert {spectrum.source for spectrum in read(path)} == {str(path)}


def test_the_format_is_known_by_content_not_by_name(path, tmp_path):
    renamed = tmp_path / "anything.dat"
    renamed.write_bytes(path.read_bytes())
    for first, second in zip(read(path), read(renamed), strict=True):
        assert_identical(first, replace(second, id=first.id))  # without an id of its own, a table has its file's name


def test_compressed_files_are_read(path, tmp_path):
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for first, second in zip(read(path), read(packed), strict=True):
        assert_identical(first, second)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_spectra_read_back_identically(path, tmp_path, suffix):
    for spectrum in read(path):
        written = write_spectrum(spectrum, tmp_path / f"again{suffix}")
        again = read(written)[0]
        assert_identical(spectrum, again)
        assert again.labels["ORIGIN_SHA256"] == spectrum.checksum
        twice = read(write_spectrum(again, tmp_path / f"twice{suffix}"))[0]
        assert_identical(again, twice)
        assert twice.labels["ORIGIN"] == str(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_awkward_values_survive_writing(tmp_path, suffix):
    spectrum = read(survey.write_coadd(tmp_path / "coadd-x.fits"))[0]
    awkward = replace(
        spectrum,
        redshift=1.2345678901234567e-05,
        ebv=1 / 3,
        flux=(spectrum.flux * np.float32(1 / 3)),
        flags=Flag.NEGATIVE_IVAR | Flag.DUPLICATE_ID,
        labels={"quote": 'it\'s "5"', "LINES": {"H_alpha": {"flux": 0.1 + 0.2}}, "nothing": ""},
    )
    assert_identical(awkward, read(write_spectrum(awkward, tmp_path / f"awkward{suffix}"))[0])
    unknown = replace(spectrum, redshift=None, ebv=None)
    assert_identical(unknown, read(write_spectrum(unknown, tmp_path / f"unknown{suffix}"))[0])


def test_writing_leaves_the_old_file_when_it_fails(tmp_path):
    spectrum = read(survey.write_ecsv(tmp_path / "galaxy.ecsv"))[0]
    written = write_spectrum(spectrum, tmp_path / "out.fits")
    before = written.read_bytes()
    with pytest.raises(ValueError, match="ASCII"):
        write_spectrum(replace(spectrum, id="Galáxia"), written)
    assert written.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["galaxy.ecsv", "out.fits"]
