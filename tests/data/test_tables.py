"""Tables, text, specutils' objects and the bundled galaxy."""

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import survey_files as survey
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time

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


def written(path, *, meta=None, leave_out=(), **more):
    """A table in slipher's units with more columns, or others: ECSV or FITS by its suffix."""
    wave, flux, ivar = columns()
    made = {"wavelength": wave * u.AA, "flux": flux * u.Unit(FLUX_UNIT), "error": ivar**-0.5, "resolving_power": np.full(wave.size, 2e3)}
    made = Table({name: values for name, values in (made | more).items() if name not in leave_out})
    made.meta = {"redshift": 0.1} | (meta or {})
    made.write(path, format="ascii.ecsv" if path.suffix == ".ecsv" else "fits")
    return path


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
@pytest.mark.parametrize(("name", "values", "unit"), [("fwhm_aa", 0.3, "nm"), ("lsf_kms", 64e3, "m/s"), ("fwhm_aa", 3.0, None)])
def test_a_resolution_column_has_its_own_unit(tmp_path, suffix, name, values, unit):
    column = MaskedColumn(np.full(survey.N_PIXEL, values), unit=unit)
    path = written(tmp_path / f"a{suffix}", leave_out=("resolving_power",), **{name: column})
    expected = 64.0 if name == "lsf_kms" else 3.0 / columns()[0] * 299792.458 / 2.3548200450309493
    np.testing.assert_allclose(read(path)[0].lsf_kms, expected, rtol=1e-6)


def test_a_resolution_column_in_a_wrong_unit_or_in_words_is_refused_unless_declared(tmp_path):
    path = written(tmp_path / "a.ecsv", fwhm_aa=np.full(survey.N_PIXEL, 3.0) * u.s, leave_out=("resolving_power",))
    with pytest.raises(UnitsError, match="fwhm_aa in s"):
        read(path)
    words = written(tmp_path / "b.ecsv", resolving_power=np.full(survey.N_PIXEL, "high"))
    with pytest.raises(InputError, match=r"the column resolving_power with .*'high'"):
        read(words)
    zeros = written(tmp_path / "c.ecsv", resolving_power=np.zeros(survey.N_PIXEL))
    with pytest.raises(InputError, match="resolving_power 0"):
        read(zeros, survey="sdss")
    for each in (path, words, zeros):
        np.testing.assert_allclose(read(each, lsf_kms=64.0)[0].lsf_kms, 64.0)


@pytest.mark.parametrize("power", [0.0, -2000.0, np.nan, 1e9])
def test_a_declared_resolution_that_is_unusable_is_refused(tmp_path, power):
    with pytest.raises(InputError, match=f"resolving_power {power:g}".replace("+", "[+]")):
        read(csv(tmp_path / "a.csv"), wave_unit="AA", flux_unit=FLUX_UNIT, survey="sdss", resolving_power=power)


def test_an_error_column_keeps_its_own_unit_when_the_flux_is_declared(tmp_path):
    _, flux, ivar = columns()
    error = ivar**-0.5 * 1e-17 * u.Unit("erg / (s cm2 AA)")
    path = written(tmp_path / "a.ecsv", flux=flux, error=error)
    np.testing.assert_allclose(read(path, flux_unit=FLUX_UNIT)[0].ivar, ivar, rtol=1e-5)
    inverse = written(tmp_path / "b.ecsv", flux=flux, ivar=ivar * 1e34 * u.Unit("s2 cm4 AA2 / erg2"), leave_out=("error",))
    np.testing.assert_allclose(read(inverse, flux_unit=FLUX_UNIT)[0].ivar, ivar, rtol=1e-5)
    unreadable = Column(flux, unit=u.Unit("parrot", parse_strict="silent"))
    np.testing.assert_allclose(
        read(written(tmp_path / "c.ecsv", flux=unreadable, error=error), flux_unit=FLUX_UNIT)[0].ivar, ivar, rtol=1e-5
    )


@pytest.mark.parametrize("unit", ["erg / (s cm2 AA)", "count"])
def test_a_declared_flux_unit_replaces_the_same_wrong_unit_of_the_errors(tmp_path, unit):
    _, flux, ivar = columns()
    path = written(tmp_path / "a.ecsv", flux=flux * u.Unit(unit), error=ivar**-0.5 * u.Unit(unit))
    np.testing.assert_allclose(read(path, flux_unit=FLUX_UNIT)[0].ivar, ivar, rtol=1e-5)
    inverse = written(tmp_path / "b.ecsv", flux=flux * u.Unit(unit), ivar=ivar * u.Unit(unit) ** -2, leave_out=("error",))
    np.testing.assert_allclose(read(inverse, flux_unit=FLUX_UNIT)[0].ivar, ivar, rtol=1e-5)


# Missing entries.


def test_missing_integers_carry_no_information(tmp_path):
    missing = np.arange(survey.N_PIXEL) == 9
    whole = np.full(survey.N_PIXEL, 10)
    for name in ("flux", "error", "mask"):
        column = MaskedColumn(whole if name != "mask" else 0 * whole, mask=missing, unit=FLUX_UNIT if name == "flux" else None)
        (table,) = read(written(tmp_path / f"{name}.ecsv", **{name: column}))
        np.testing.assert_array_equal(np.flatnonzero(~table.good), [9], err_msg=name)


def test_blank_integers_of_a_csv_carry_no_information(tmp_path):
    wave = columns()[0]
    rows = [f"{w:.6f},{'' if k == 9 else 10},1" for k, w in enumerate(wave)]
    (tmp_path / "a.csv").write_text("\n".join(["wavelength,flux,error", *rows]) + "\n")
    (table,) = read(tmp_path / "a.csv", wave_unit="AA", flux_unit=FLUX_UNIT, resolving_power=2000)
    np.testing.assert_array_equal(np.flatnonzero(~table.good), [9])


@pytest.mark.parametrize("unsigned", [False, True])
def test_tnull_of_fits_integers_carries_no_information(tmp_path, unsigned):
    wave, _, ivar = columns()
    kind = {"format": "I", "bzero": 32768} if unsigned else {"format": "J"}
    counts = np.full(wave.size, 10, np.uint16 if unsigned else np.int32)
    null = 99 - 32768 if unsigned else -999
    counts[9] = 99 if unsigned else null
    cards = [
        fits.Column(name="wavelength", format="D", unit="Angstrom", array=wave),
        fits.Column(name="flux", unit="1E-17 erg/cm^2/s/Ang", null=null, array=counts, **kind),
        fits.Column(name="ivar", format="E", array=ivar),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(cards)]).writeto(tmp_path / "a.fits")
    (table,) = read(tmp_path / "a.fits", resolving_power=2000)
    np.testing.assert_array_equal(np.flatnonzero(~table.good), [9])
    np.testing.assert_array_equal(table.flux[table.good], 10)


# Columns and cards that are no business of ours, or that others write in their own way.


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
@pytest.mark.parametrize("name", ["arm", "segment"])
def test_arms_may_have_names(tmp_path, suffix, name):
    arms = np.where(np.arange(survey.N_PIXEL) < 700, "b", "r")
    path = written(tmp_path / f"a{suffix}", **{name: arms})
    assert read(path, lsf_kms=64.0)[0].segments == ((0, 700), (700, survey.N_PIXEL))


def test_arms_that_come_back_are_refused(tmp_path):
    with pytest.raises(InputError, match="the column arm, whose values come back"):
        read(written(tmp_path / "a.ecsv", arm=np.where(np.arange(survey.N_PIXEL) % 2 == 0, "b", "r")))


def test_columns_of_times_and_words_are_left_out(tmp_path):
    wave, flux, ivar = columns()
    unit = u.Unit(FLUX_UNIT)
    table = QTable({"wavelength": wave * u.AA, "flux": flux * unit, "error": ivar**-0.5 * unit})
    table["observed"] = Time(np.full(wave.size, 58000.0), format="mjd")
    table["comment"] = MaskedColumn(np.full(wave.size, "fine"), mask=np.arange(wave.size) % 2 == 0)
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    np.testing.assert_allclose(read(tmp_path / "a.ecsv", survey="sdss")[0].ivar, ivar, rtol=1e-5)


def test_a_mask_in_words(tmp_path):
    wave, flux, ivar = columns()
    rows = [f"{w:.9g},{f:.9g},{v:.9g},{k == 9}" for k, (w, f, v) in enumerate(zip(wave, flux, ivar, strict=True))]
    (tmp_path / "a.csv").write_text("\n".join(["wavelength,flux,ivar,mask", *rows]) + "\n")
    (table,) = read(tmp_path / "a.csv", wave_unit="AA", flux_unit=FLUX_UNIT, resolving_power=2000)
    np.testing.assert_array_equal(np.flatnonzero(~table.good), [9])


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
@pytest.mark.parametrize("cards", [{"FLAGS": "OK", "LABELS": "x"}, {"FLAGS": 8192}, {"LABELS": 3.5}])
def test_flags_and_labels_of_others_are_not_ours(tmp_path, suffix, cards):
    path = written(tmp_path / f"a{suffix}", meta=cards)
    (table,) = read(path)
    assert (table.flags, table.labels) == (Flag(0), {})


def test_what_is_declared_is_not_looked_at_in_the_file(tmp_path):
    path = survey.write_ecsv(tmp_path / "a.ecsv", redshift=-0.5, ebv="much", resolving_power="high")
    (table,) = read(path, redshift=0.2, ebv=0.1, resolving_power=2000)
    assert (table.redshift, table.ebv) == (0.2, 0.1)


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
