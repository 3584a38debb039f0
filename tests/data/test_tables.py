"""Tables, text, specutils' objects and the bundled galaxy."""

from pathlib import Path

import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits
from astropy.table import Table

from slipher.data import from_specutils, read, spectrum, to_table, write_spectrum
from slipher.data.bundled import build, bundled_spectrum
from slipher.errors import Flag, InputError, UnitsError, UnreadableFile

FLUX_UNIT = "1e-17 erg / (s cm2 Angstrom)"


def columns(n_pixel=survey.N_PIXEL):
    flux, ivar = survey.flux_and_ivar(n_pixel)
    return 10 ** survey.loglam(n_pixel), flux, ivar


def csv(path, header="wavelength,flux,error", rows=None):
    wave, flux, ivar = columns()
    rows = np.c_[wave, flux, ivar**-0.5] if rows is None else rows
    lines = [",".join(f"{value:.9g}" for value in row) for row in rows]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_ecsv_converts_units_and_reads_metadata(tmp_path):
    (table,) = read(survey.write_ecsv(tmp_path / "a.ecsv", EBV=0.02, airorvac="vac"))
    wave, flux, ivar = columns()
    np.testing.assert_allclose(table.wave_aa, wave, rtol=1e-12)
    np.testing.assert_allclose(table.flux, flux, rtol=1e-6)
    np.testing.assert_allclose(table.ivar, ivar, rtol=1e-5)
    assert (table.id, table.redshift, table.ebv, table.survey) == ("NGC 1", 0.1, 0.02, "custom")


@pytest.mark.parametrize("key", ["airorvac", "wave_medium"])
def test_air_in_the_metadata_is_believed(tmp_path, key):
    (air,) = read(survey.write_ecsv(tmp_path / "a.ecsv", **{key: "air"}))
    (declared,) = read(survey.write_ecsv(tmp_path / "b.ecsv"), wave_medium="air")
    np.testing.assert_array_equal(air.wave_aa, declared.wave_aa)
    assert air.wave_aa[0] - columns()[0][0] == pytest.approx(1.08, abs=0.02)


def test_keywords_win_over_metadata(tmp_path):
    path = survey.write_ecsv(tmp_path / "a.ecsv")
    (table,) = read(path, redshift=0.5, id="M 31", lsf_kms=30.0, survey="desi")
    assert (table.redshift, table.id, table.survey) == (0.5, "M 31", "desi")
    np.testing.assert_array_equal(table.lsf_kms, np.float32(30.0))


def test_a_declared_resolution_is_no_longer_assumed(tmp_path):
    spec = survey.write_spec(tmp_path / "a.fits", coadd={"wdisp": None})
    own = write_spectrum(read(spec)[0], tmp_path / "own.fits")
    assert read(own)[0].flags == Flag.RESOLUTION_ASSUMED
    assert read(own, resolving_power=1900.0)[0].flags == Flag(0)


def test_csv_with_declared_units(tmp_path):
    (table,) = read(csv(tmp_path / "NGC2.csv"), wave_unit="AA", flux_unit=FLUX_UNIT, resolving_power=1800)
    assert table.id == "NGC2"
    assert table.redshift is None
    np.testing.assert_allclose(table.ivar, columns()[2], rtol=1e-5)


@pytest.mark.parametrize("header", ["Wave,FLAM,ivar", "lambda,f_lambda,invvar"])
def test_aliases_of_columns(tmp_path, header):
    path = csv(tmp_path / "a.csv", header, np.c_[columns()])
    (table,) = read(path, wave_unit="Angstrom", flux_unit=FLUX_UNIT, survey="sdss")
    np.testing.assert_allclose(table.ivar, columns()[2], rtol=1e-6)


def test_loglam_says_its_unit(tmp_path):
    path = csv(tmp_path / "a.csv", "loglam,flux,ivar", np.c_[survey.loglam(), columns()[1], columns()[2]])
    (table,) = read(path, flux_unit=FLUX_UNIT, survey="sdss")
    np.testing.assert_allclose(table.wave_aa, columns()[0], rtol=1e-6)


def test_fits_table_with_units(tmp_path):
    wave, flux, ivar = columns()
    cards = [
        fits.Column(name="WAVE", format="D", unit="Angstroms", array=wave),
        fits.Column(name="FLUX", format="E", unit="1E-17 erg/cm^2/s/Ang", array=flux),
        fits.Column(name="IVAR", format="E", array=ivar),
    ]
    hdu = fits.BinTableHDU.from_columns(cards)
    hdu.header["REDSHIFT"], hdu.header["SPECRES"] = 0.1, 2000.0
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits")
    (table,) = read(tmp_path / "a.fits", resolving_power=2000)
    np.testing.assert_array_equal(table.flux, flux)
    assert table.redshift == 0.1


BAD = {
    "no unit of wavelength": ({"flux_unit": FLUX_UNIT}, UnitsError, "wavelength"),
    "no unit of flux": ({"wave_unit": "AA"}, UnitsError, "flux"),
    "unit that is none": ({"wave_unit": "parrot", "flux_unit": FLUX_UNIT}, UnitsError, "parrot"),
    "counts": ({"wave_unit": "AA", "flux_unit": "count"}, UnitsError, "ct"),
    "nm for angstrom": ({"wave_unit": "mm", "flux_unit": FLUX_UNIT}, UnitsError, "wavelengths from"),
    "no resolution": ({"wave_unit": "AA", "flux_unit": FLUX_UNIT, "resolving_power": None}, InputError, "resolution"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_declarations(tmp_path, name):
    declared, error, word = BAD[name]
    with pytest.raises(error, match=word):
        read(csv(tmp_path / "a.csv"), **({"resolving_power": 2000.0} | declared))


BAD_TEXT = {
    "no error column": ("wavelength,flux\n5000,1\n5001,2\n", InputError, "ivar nor uncertainty"),
    "no flux column": ("wavelength,error\n5000,1\n", UnreadableFile, "columns"),
    "no header": ("5000,1,1\n5001,2,1\n", UnreadableFile, "columns"),
    "no rows": ("wavelength,flux,error\n", UnreadableFile, "no rows"),
    "ragged": ("wavelength,flux,error\n5000,1,1\n5001\n1,2,3,4,5\n", UnreadableFile, "table"),
    "words": ("wavelength,flux,error\n5000,a,1\n5001,b,1\n", InputError, "flux"),
    "prose": ("this is not a table\nat all\n", UnreadableFile, "table"),
    "blank": ("\n\n\n", UnreadableFile, "columns"),
    "broken ECSV": ("# %ECSV 1.0\n# ---\n# datatype: [\nwavelength\n", UnreadableFile, "table"),
}


@pytest.mark.parametrize("name", BAD_TEXT)
def test_bad_text(tmp_path, name):
    text, error, word = BAD_TEXT[name]
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(error, match=word):
        read(tmp_path / "a.csv", wave_unit="AA", flux_unit=FLUX_UNIT, resolving_power=2000)


def test_bad_metadata_is_named(tmp_path):
    with pytest.raises(InputError, match="redshift = 'high'"):
        read(survey.write_ecsv(tmp_path / "a.ecsv", redshift="high"))


def test_a_real_text_spectrum_says_what_it_lacks(shared_data):
    path = shared_data / "images" / "rs0010_sdss_spectrum_nm.txt"
    with pytest.raises(InputError):
        read(path, wave_unit="nm", flux_unit="erg/s/cm2/A", survey="sdss")


def test_the_table_opens_in_astropy(tmp_path):
    galaxy = bundled_spectrum()
    written = Table.read(write_spectrum(galaxy, tmp_path / "a.fits"), hdu=1)
    np.testing.assert_array_equal(written["flux"], galaxy.flux)
    assert str(written["wavelength"].unit) == "Angstrom"
    assert to_table(galaxy)["flux"].unit.is_equivalent("erg / (s cm2 Angstrom)")


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InputError, match="csv"):
        write_spectrum(bundled_spectrum(), tmp_path / "a.csv")


# specutils


@pytest.fixture
def specutils():
    return pytest.importorskip("specutils")


@pytest.mark.parametrize("kind", ["StdDevUncertainty", "InverseVariance", "VarianceUncertainty"])
def test_from_specutils(specutils, kind):
    import astropy.units as u
    from astropy import nddata

    wave, flux, ivar = columns()
    power = {"StdDevUncertainty": -0.5, "InverseVariance": 1.0, "VarianceUncertainty": -1.0}[kind]
    theirs = specutils.Spectrum(
        spectral_axis=wave / 10 * u.nm,
        flux=flux.astype(float) * 1e-17 * u.Unit("erg / (s cm2 AA)"),
        uncertainty=getattr(nddata, kind)((ivar.astype(float) * 1e34) ** power),
        mask=np.arange(wave.size) == 4,
        redshift=0.1,
    )
    ours = from_specutils(theirs, resolving_power=2000, id="x")
    np.testing.assert_allclose(ours.wave_aa, wave, rtol=1e-12)
    np.testing.assert_allclose(ours.flux, flux, rtol=1e-6)
    np.testing.assert_allclose(ours.ivar, np.where(np.arange(wave.size) == 4, 0, ivar), rtol=1e-5)
    assert (ours.redshift, ours.id, ours.flags) == (pytest.approx(0.1), "x", Flag(0))


def test_from_specutils_needs_errors_and_one_spectrum(specutils):
    import astropy.units as u

    wave, flux, _ = columns()
    with pytest.raises(InputError, match="without uncertainty"):
        from_specutils(specutils.Spectrum(spectral_axis=wave * u.AA, flux=flux * u.Jy), resolving_power=2000)
    many = specutils.Spectrum(spectral_axis=wave * u.AA, flux=np.stack([flux, flux]) * u.Jy)
    with pytest.raises(InputError):
        from_specutils(many, resolving_power=2000)


# The bundled galaxy


def test_the_bundled_galaxy():
    galaxy = bundled_spectrum()
    assert (galaxy.id, galaxy.survey, galaxy.flags) == ("0945-52652-0470", "sdss", Flag(0))
    assert galaxy.redshift == pytest.approx(0.00386, abs=1e-5)  # cz = 1157 km/s
    assert galaxy.ebv == pytest.approx(0.0084, abs=1e-4)
    assert galaxy.median_sn() > 50
    assert "H_alpha" in galaxy.labels["LINES"]


def test_the_bundled_file_is_what_its_builder_makes(tmp_path):
    ppxf = pytest.importorskip("ppxf")
    source = Path(ppxf.__file__).parent / "spectra" / "NGC3073_SDSS_DR18.fits"
    (rebuilt,) = read(build(source, tmp_path / "again.fits"))
    shipped = bundled_spectrum()
    for name in ("wave_aa", "flux", "ivar", "lsf_kms"):
        np.testing.assert_array_equal(getattr(rebuilt, name), getattr(shipped, name))
    assert (rebuilt.redshift, rebuilt.ebv, rebuilt.labels) == (shipped.redshift, shipped.ebv, shipped.labels)


def test_spectrum_is_the_same_door_for_arrays_and_files():
    galaxy = bundled_spectrum()
    again = spectrum(galaxy.wave_aa, galaxy.flux, ivar=galaxy.ivar, lsf_kms=galaxy.lsf_kms)
    np.testing.assert_array_equal(again.flux, galaxy.flux)
    np.testing.assert_array_equal(again.lsf_kms, galaxy.lsf_kms)
