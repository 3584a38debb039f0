"""Damaged and foreign files: always one of slipher's own errors, with a mend; never an invented spectrum."""

import re
import zlib

import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits
from astropy.table import Table

from slipher.data import read, write_spectrum
from slipher.data.bundled import bundled_spectrum
from slipher.errors import Flag, InputError, SlipherError, UnreadableFile


def refused(path, error=UnreadableFile, match="", **declared):
    """The error that reading `path` raises, which must name the file and say what was expected and the mend."""
    with pytest.raises(error) as raised:
        read(path, **declared)
    message = str(raised.value)
    assert re.search(match, message), message
    assert raised.value.expected
    assert raised.value.mend
    return message


def fits_bytes(tmp_path, write=survey.write_spec) -> bytes:
    return write(tmp_path / "whole.fits").read_bytes()


def saved(tmp_path, content: bytes):
    path = tmp_path / "damaged.fits"
    path.write_bytes(content)
    return path


# Files that are no files.


def test_missing(tmp_path):
    assert "nothing.fits" in refused(tmp_path / "nothing.fits", match="cannot be opened")


def test_folder(tmp_path):
    refused(tmp_path, match="folder")


def test_empty(tmp_path):
    refused(saved(tmp_path, b""), match="empty")


def test_unreadable_file_is_an_input_and_an_os_error(tmp_path):
    for kind in (SlipherError, InputError, OSError, ValueError):
        refused(tmp_path / "nothing.fits", error=kind)


FOREIGN = {
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "HTML of a failed download": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "zeros": bytes(5760),
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "truncated gzip": b"\x1f\x8b\x08\x00" + zlib.compress(b"x" * 999)[:10],
    "only the magic": b"SIMPLE  =                    T",
    "FITS header of nonsense": b"SIMPLE  =".ljust(2880, b"#"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_not_a_fits_file(tmp_path, name):
    refused(saved(tmp_path, FOREIGN[name]))


# Truncation and corruption.


@pytest.mark.parametrize("write", [survey.write_spec, survey.write_coadd, survey.write_spspec])
def test_truncated_anywhere(tmp_path, write):
    """Cut at any byte, the file is refused; at a block's edge too, where needed HDUs or data are gone."""
    whole = fits_bytes(tmp_path, write)
    with fits.open(tmp_path / "whole.fits") as hdus:
        needed = sum(hdus[k].filebytes() for k in range({survey.write_spec: 3, survey.write_spspec: 1}.get(write, 16)))
    rng = np.random.default_rng(0)
    cuts = [1, 80, 2879, 2881, *rng.integers(2880, len(whole), 15)]
    blocks = [2880 * k for k in rng.integers(1, needed // 2880, 10)]
    for cut in [*cuts, *blocks]:
        refused(saved(tmp_path, whole[:cut]))


def test_flipped_bytes_are_noticed_where_the_file_has_checksums(tmp_path):
    """A flipped byte is refused, but for the blanks after a header's END, which hold nothing."""
    whole = write_spectrum(bundled_spectrum(), tmp_path / "own.fits").read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        line = whole[position - position % 80 :][:80]
        if line == b" " * 80:
            continue
        refused(saved(tmp_path, bytes(damaged)), error=SlipherError)


def test_flipped_header_bytes_never_escape_as_other_errors(tmp_path):
    """Without checksums a changed header may still make sense: then the answer must pass every check."""
    spec = survey.write_spec(tmp_path / "a.fits")
    with fits.open(spec) as hdus:
        hdus.writeto(tmp_path / "plain.fits", checksum="remove")
    whole = (tmp_path / "plain.fits").read_bytes()
    rng = np.random.default_rng(2)
    header = np.flatnonzero(np.frombuffer(whole, np.uint8) < 128)[:12000]
    for position in rng.choice(header, 60, replace=False):
        damaged = bytearray(whole)
        damaged[position] = rng.integers(32, 127)
        try:
            (spectrum,) = read(saved(tmp_path, bytes(damaged)))
        except SlipherError:
            continue
        assert np.all(np.isfinite(spectrum.flux))
        assert np.all(spectrum.ivar >= 0)
        assert np.all(np.diff(spectrum.wave_aa) > 0)


def test_real_files_truncated(shared_data, tmp_path):
    for path in (shared_data / "sdss_spectra" / "spec-0266-51602-0107.fits", *(shared_data / "desi").glob("coadd-4*")):
        whole = path.read_bytes()
        for fraction in (0.01, 0.3, 0.6, 0.9, 0.999):
            refused(saved(tmp_path, whole[: int(len(whole) * fraction)]))


# Files of the right format without what is needed.


@pytest.mark.parametrize("hdu", ["COADD", "SPECOBJ"])
def test_spec_without_an_hdu(tmp_path, hdu):
    refused(survey.write_spec(tmp_path / "a.fits", leave_out=(hdu,)), match="HDU")


def test_spec_without_line_measurements_is_read(tmp_path):
    (spectrum,) = read(survey.write_spec(tmp_path / "a.fits", leave_out=("SPZLINE",)))
    assert "LINES" not in spectrum.labels


@pytest.mark.parametrize("column", ["flux", "ivar"])
def test_spec_without_a_column(tmp_path, column):
    refused(survey.write_spec(tmp_path / "a.fits", coadd={column: None}), match=f"no column {column}")


def test_spec_without_identity(tmp_path):
    path = survey.write_spec(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        del hdus[0].header["FIBERID"]
        hdus.writeto(tmp_path / "b.fits", checksum=True)
    refused(tmp_path / "b.fits", match="FIBERID")


@pytest.mark.parametrize("hdu", ["FIBERMAP", "B_FLUX", "R_IVAR"])
def test_coadd_without_an_hdu(tmp_path, hdu):
    refused(survey.write_coadd(tmp_path / "coadd-x.fits", leave_out=(hdu,)), match="HDU")


def test_coadd_whose_parts_disagree(tmp_path):
    survey.write_coadd(tmp_path / "coadd-x.fits")
    with fits.open(tmp_path / "coadd-x.fits") as hdus:
        hdus["B_IVAR"].data = hdus["B_IVAR"].data[:-1].copy()
        hdus.writeto(tmp_path / "coadd-y.fits", checksum=True)
    refused(tmp_path / "coadd-y.fits", match="B_IVAR .* shape")


def test_redrock_in_place_of_the_coadd(tmp_path):
    refused(survey.write_redrock(tmp_path / "redrock-x.fits"), match="name the coadd")


def test_damaged_redrock_beside_a_coadd(tmp_path):
    path = survey.write_coadd(tmp_path / "coadd-x.fits")
    redrock = survey.write_redrock(tmp_path / "redrock-x.fits")
    redrock.write_bytes(redrock.read_bytes()[:-2880])
    assert "redrock-x" in refused(path)


def test_fits_without_a_spectrum(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "image.fits")
    refused(tmp_path / "image.fits", match="PRIMARY")


def test_the_photometric_catalogue_is_not_a_spectrum(shared_data):
    refused(shared_data / "desi" / "tractor-1054p567.fits", match="wavelength and flux")


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_no_rows_or_one(tmp_path, rows):
    table = Table({name: np.ones(rows, np.float32) for name in ("wavelength", "flux", "ivar")})
    hdu = fits.BinTableHDU(table)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", error=InputError, wave_unit="nm", flux_unit="Jy", survey="sdss")


def test_spec_of_no_rows(tmp_path):
    path = survey.write_spec(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        empty = fits.BinTableHDU(hdus["COADD"].data[:0], name="COADD")
        fits.HDUList([hdus[0], empty, hdus[2]]).writeto(tmp_path / "b.fits")
    refused(tmp_path / "b.fits", match="no rows")


# Spectra of the right format that are of no use, or of use with a flag.


def test_everything_masked(tmp_path):
    refused(
        survey.write_spec(tmp_path / "a.fits", coadd={"ivar": np.zeros(survey.N_PIXEL, np.float32)}),
        InputError,
        "masked",
    )


def test_nan_wavelengths(tmp_path):
    loglam = np.full(survey.N_PIXEL, np.nan, np.float32)
    refused(survey.write_spec(tmp_path / "a.fits", coadd={"loglam": loglam}), InputError, "NaN")


def test_reversed_wavelengths(tmp_path):
    path = survey.write_spec(tmp_path / "a.fits", coadd={"loglam": survey.loglam()[::-1].astype(np.float32)})
    assert read(path)[0].flags == Flag.WAVELENGTHS_REORDERED


def test_nan_and_negative_pixels(tmp_path):
    flux, ivar = survey.flux_and_ivar(survey.N_PIXEL)
    flux[3], ivar[4], ivar[5] = np.nan, np.inf, -1
    (spectrum,) = read(survey.write_spec(tmp_path / "a.fits", coadd={"flux": flux, "ivar": ivar}))
    assert spectrum.flags == Flag.NON_FINITE_PIXELS | Flag.NEGATIVE_IVAR
    assert not spectrum.good[3:6].any()


def test_keywords_of_tables_are_refused_for_surveys(tmp_path):
    refused(survey.write_spec(tmp_path / "a.fits"), InputError, "wave_unit", wave_unit="nm")


@pytest.mark.parametrize("redshift", [-0.5, 11.0, np.nan, np.inf])
def test_declared_redshifts_out_of_range(tmp_path, redshift):
    refused(survey.write_spec(tmp_path / "a.fits"), InputError, "redshift", redshift=redshift)
