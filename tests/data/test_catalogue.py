"""Catalogues from disk: one content in every format, every option, and the real catalogues."""

import gzip
import hashlib
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

from slipher.data import catalogue_from_arrays, photometry, read_catalogue
from slipher.errors import Flag, InputError, UnitsError
from slipher.grids.filters import load_filters

BANDS = "sdss2010-g=g:eg, sdss2010-r=r:er:r_limit"
OPTIONS = {"unit": "uJy", "id_column": "objid", "redshift_column": "z", "ebv_column": "ebv", "label_columns": ("logm", "class")}
LARGE = 39633345008634465
N_ROWS = 40


def table(n_rows=N_ROWS) -> Table:
    """A catalogue with missing values, negative fluxes, limits and large ids."""
    rng = np.random.default_rng(2)
    hole = rng.random((3, n_rows)) < 0.15
    made = Table({"objid": LARGE + np.arange(n_rows), "z": MaskedColumn(rng.uniform(0, 1, n_rows), mask=hole[2])})
    for k, name in enumerate("gr"):
        made[name] = MaskedColumn(rng.normal(3, 3, n_rows), mask=hole[k])
        made["e" + name] = rng.uniform(0.1, 1, n_rows)
    made["r_limit"] = rng.random(n_rows) < 0.3
    made["ebv"] = rng.uniform(0, 0.1, n_rows)
    made["logm"] = rng.normal(10, 1, n_rows)
    made["class"] = np.where(rng.random(n_rows) < 0.5, "red", "blue one")
    return made


def with_nan(made: Table) -> Table:
    """NaN in place of masks, for formats that have none."""
    filled = made.copy()
    for name in ("z", "g", "r"):
        filled[name] = made[name].filled(np.nan)
    return filled


def write_commented(made, path, delimiter):
    rows = ["# made by hand", "# " + delimiter.join(made.colnames)]
    rows += [delimiter.join(str(value).replace(" ", "_") for value in row) for row in with_nan(made)]
    path.write_text("\n".join(rows) + "\n")


def write_big_endian(made, path):
    filled = with_nan(made)
    codes = {"i": "K", "f": "D", "b": "L", "U": "8A"}
    columns = [fits.Column(name=name.upper(), format=codes[filled[name].dtype.kind], array=filled[name].data) for name in filled.colnames]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)


def write_arrow(made, path):
    arrays = {name: pa.array(np.ma.getdata(made[name]), mask=np.ma.getmaskarray(np.ma.asarray(made[name]))) for name in made.colnames}
    arrays["class"] = arrays["class"].dictionary_encode()
    pq.write_table(pa.table(arrays), path, row_group_size=7)


FORMATS = {
    "csv": lambda made, path: made.write(path, format="ascii.csv"),
    "csv with CRLF": lambda made, path: (made.write(path, format="ascii.csv"), path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))),
    "csv with a byte-order mark": lambda made, path: (
        made.write(path, format="ascii.csv"),
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
    ),
    "csv, gzipped": lambda made, path: (made.write(path, format="ascii.csv"), path.write_bytes(gzip.compress(path.read_bytes()))),
    "semicolons": lambda made, path: made.write(path, format="ascii.csv", delimiter=";"),
    "tabs": lambda made, path: made.write(path, format="ascii.tab"),
    "bars": lambda made, path: write_commented(made, path, "|"),
    "blanks": lambda made, path: write_commented(made, path, "   "),
    "ecsv": lambda made, path: made.write(path, format="ascii.ecsv"),
    "ecsv with commas": lambda made, path: made.write(path, format="ascii.ecsv", delimiter=","),
    "fits": lambda made, path: with_nan(made).write(path, format="fits"),
    "fits by hand": write_big_endian,
    "parquet by astropy": lambda made, path: made.write(path, format="parquet"),
    "parquet": write_arrow,
}


@pytest.fixture(params=FORMATS, ids=list(FORMATS))
def path(request, tmp_path):
    FORMATS[request.param](table(), tmp_path / "galaxies.dat")
    return tmp_path / "galaxies.dat"


def assert_identical(first, second):
    for name in ("flux", "ivar", "censored", "redshift", "ebv", "id", "flags"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert [curve.name for curve in first.bands] == [curve.name for curve in second.bands]
    assert set(first.labels) == set(second.labels)


def expected():
    """The same catalogue through the door of arrays."""
    made = with_nan(table())
    fluxes, errors = (np.stack([made[name] for name in names], axis=1) for names in (("g", "r"), ("eg", "er")))
    limits = np.stack([np.zeros(N_ROWS, bool), made["r_limit"]], axis=1)
    columns = {"redshift": made["z"], "ebv": made["ebv"], "labels": {"logm": made["logm"], "class": made["class"]}}
    return catalogue_from_arrays(
        fluxes, errors, bands=["sdss2010-g", "sdss2010-r"], unit="uJy", limits=limits, id=made["objid"].data, **columns
    )


def test_every_format_gives_the_same_catalogue(path):
    read = read_catalogue(path, BANDS, **OPTIONS)
    assert_identical(read, expected())
    assert read.id[-1] == str(LARGE + N_ROWS - 1)
    np.testing.assert_array_equal(read.labels["logm"], table()["logm"])
    assert [label.replace("_", " ") for label in read.labels["class"]] == table()["class"].tolist()
    assert read.censored.any()
    assert (read.ivar == 0).any()
    assert np.isnan(read.redshift).any()


def test_where_it_came_from(path):
    galaxy = read_catalogue(path, BANDS, survey="mine", **OPTIONS)[3]
    assert galaxy.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (galaxy.source, galaxy.survey, galaxy.id) == (str(path), "mine", str(LARGE + 3))
    assert galaxy.labels["logm"] == table()["logm"][3]
    assert read_catalogue(path, BANDS, unit="uJy")[3].id == "galaxies-4"


def test_rows_are_what_photometry_makes_of_them(path):
    made = with_nan(table())
    for galaxy, row in zip(read_catalogue(path, BANDS, **OPTIONS), made, strict=True):
        alone = photometry(
            [row["g"], row["r"]], [row["eg"], row["er"]], bands=["sdss2010-g", "sdss2010-r"], unit="uJy", limits=[False, row["r_limit"]]
        )
        np.testing.assert_array_equal(galaxy.flux, alone.flux)
        np.testing.assert_array_equal(galaxy.ivar, alone.ivar)
        assert galaxy.flags == alone.flags


# Large ids


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "parquet"])
@pytest.mark.parametrize("ids", [np.array([2**63 + 5, 2**64 - 1], np.uint64), np.array([-(2**63), 2**53 + 1])], ids=str)
def test_integers_of_64_bits(tmp_path, suffix, ids):
    path = tmp_path / f"a.{suffix}"
    made = Table({"id": ids, "g": [1.0, 2.0], "eg": [0.1, 0.1]})
    made.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(suffix, suffix))
    assert read_catalogue(path, "sdss2010-g=g:eg", unit="uJy", id_column="id").id.tolist() == [str(one) for one in ids.tolist()]


def test_large_ids_beside_missing_ones(tmp_path):
    ids = np.array([LARGE, -999, LARGE + 2])
    columns = {"g": np.ones(3), "eg": np.full(3, 0.1)}
    card = fits.Column(name="id", format="K", null=-999, array=ids)
    cards = [card, *(fits.Column(name=name, format="D", array=values) for name, values in columns.items())]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(cards)]).writeto(tmp_path / "a.fits")
    pq.write_table(pa.table({"id": pa.array(ids, mask=ids < 0), **columns}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(f"id,g,eg\n{ids[0]},1,.1\n,1,.1\n{ids[2]},1,.1\n")
    for suffix in ("fits", "parquet", "csv"):
        read = read_catalogue(tmp_path / f"a.{suffix}", "sdss2010-g=g:eg", unit="uJy", id_column="id")
        assert read.id.tolist() == [str(LARGE), "a-2", str(LARGE + 2)]


def test_duplicates_are_flagged(tmp_path):
    path = csv(tmp_path, "id,g,eg\n7,1,.1\n007,1,.1\n 7 ,1,.1\n")
    read = read_catalogue(path, "sdss2010-g=g:eg", unit="uJy", id_column="id")
    assert read.flags.tolist() == [int(Flag.DUPLICATE_ID), 0, int(Flag.DUPLICATE_ID)]
    assert read.id.tolist() == ["7", "007", "7"]


# Options


def csv(folder, text):
    path = folder / "a.csv"
    path.write_text(text)
    return path


SMALL = "g,eg,z\n1.5,.1,0.1\n,.1,\n-99,-99,-99\nNULL,0.2,nan\n+2e0,0,12\n INDEF ,.1,high\n3,.1,-0.5\n"


def test_cells_of_every_kind(tmp_path):
    read = read_catalogue(csv(tmp_path, SMALL), "sdss2010-g=g:eg", unit="nanomaggy", redshift_column="z", missing=(-99, "INDEF"))
    assert read.flux[:, 0].tolist() == [1.5, 0, 0, 0, 2.0, 0, 3.0]
    assert (read.ivar[:, 0] > 0).tolist() == [True, False, False, False, False, False, True]
    np.testing.assert_array_equal(read.redshift, [0.1] + [np.nan] * 6)
    no_redshift, no_data = Flag.REDSHIFT_UNUSABLE, Flag.NO_DATA
    expected = [Flag(0), no_data, no_data, no_data, no_data | no_redshift | Flag.NON_POSITIVE_ERRORS, no_data | no_redshift, no_redshift]
    assert [galaxy.flags for galaxy in read] == expected


def test_a_declared_word_is_no_redshift_to_remark_on(tmp_path):
    path = csv(tmp_path, "g,eg,z\n1,.1,unknown\n1,.1,far\n")
    read = read_catalogue(path, "sdss2010-g=g:eg", unit="nanomaggy", redshift_column="z", missing="unknown")
    assert [galaxy.flags for galaxy in read] == [Flag(0), Flag.REDSHIFT_UNUSABLE]
    assert np.isnan(read.redshift).all()


def test_a_word_among_the_fluxes_is_named(tmp_path):
    with pytest.raises(InputError, match=r"'INDEF' in row 6 of the column g .* missing=\('INDEF',\)"):
        read_catalogue(csv(tmp_path, SMALL), "sdss2010-g=g:eg", unit="nanomaggy")


def test_one_redshift_for_all(tmp_path):
    read = read_catalogue(csv(tmp_path, "g,eg\n1,.1\n2,.1\n"), "sdss2010-g=g:eg", unit="uJy", redshift=0.02, ebv=0.1)
    assert [(galaxy.redshift, galaxy.ebv) for galaxy in read] == [(0.02, 0.1)] * 2


def test_inverse_variances(tmp_path):
    path = csv(tmp_path, "g,v\n1,4\n2,0\n3,-1\n4,\n5,inf\n")
    read = read_catalogue(path, "sdss2010-g=g:v", unit="nanomaggy", errors="ivar")
    np.testing.assert_allclose(read.ivar[:, 0], [4, 0, 0, 0, 0])
    wrong = [0, 0, Flag.NEGATIVE_IVAR, 0, Flag.NON_FINITE_PIXELS]
    assert [galaxy.flags & ~Flag.NO_DATA for galaxy in read] == wrong


def test_default_errors_for_bands_without(tmp_path):
    path = csv(tmp_path, "g,r,er\n20,30,3\n")
    with pytest.raises(InputError, match="sdss2010-g without a column of errors"):
        read_catalogue(path, "sdss2010-g=g,sdss2010-r=r:er", unit="nanomaggy")
    read = read_catalogue(path, "sdss2010-g=g,sdss2010-r=r:er", unit="nanomaggy", default_error=0.25)
    np.testing.assert_allclose(read.ivar[0] ** -0.5, [5.0, 3.0])
    mags = read_catalogue(path, "sdss2010-g=g", unit="ABmag", default_error=0.25)
    np.testing.assert_allclose(mags.ivar[0] ** -0.5, 0.25 * mags.flux[0])


@pytest.mark.parametrize("words", [("1", "0"), ("True", "False"), ("yes", ""), ("T", "F"), ("1.0", "nan")])
def test_limits_as_words(tmp_path, words):
    path = csv(tmp_path, f"g,l\n3,{words[0]}\n3,{words[0]}\n")
    read = read_catalogue(path, "sdss2010-g=g::l", unit="nanomaggy", limit_sigma=5)
    assert read.censored.all()
    np.testing.assert_allclose(read.ivar[:, 0] ** -0.5, 0.6)
    both = read_catalogue(csv(tmp_path, f"g,e,l\n3,1,{words[0]}\n3,1,{words[1]}\n"), "sdss2010-g=g:e:l", unit="nanomaggy")
    assert both.censored[:, 0].tolist() == [True, False]


def test_limits_that_are_missing(tmp_path):
    path = csv(tmp_path, "g,e,l\n3,1,-99\n3,1,1\n3,1,unknown\n3,1,2\n")
    read = read_catalogue(path, "sdss2010-g=g:e:l", unit="nanomaggy", missing=(-99, "unknown"))
    assert read.censored[:, 0].tolist() == [False, True, False, True]


def test_no_row_is_lost_to_its_name(tmp_path):
    path = csv(tmp_path, "# made by hand\nid,g,e\n#12,3,1\n# a comment\n13,3,1\n")
    assert read_catalogue(path, "sdss2010-g=g:e", unit="nanomaggy", id_column="id").id.tolist() == ["#12", "13"]


def test_labels_keep_their_digits(tmp_path):
    path = csv(tmp_path, f"g,e,n,x,large,holes,w\n3,1,1,1.5,{LARGE},{LARGE},a\n3,1,2,,{LARGE + 1},,b\n")
    names = ("n", "x", "large", "holes", "w")
    first, second = read_catalogue(path, "sdss2010-g=g:e", unit="nanomaggy", label_columns=names)
    assert first.labels == {"n": 1.0, "x": 1.5, "large": str(LARGE), "holes": str(LARGE), "w": "a"}
    assert np.isnan(second.labels["x"])
    assert (second.labels["large"], second.labels["holes"]) == (str(LARGE + 1), "")


@pytest.mark.parametrize("suffix", ["fits", "parquet"])
def test_integers_with_holes_and_names_with_dots(tmp_path, suffix):
    values, hole = np.array([30, -999, 50]), np.array([False, True, False])
    columns = {"f_hsc/g.pb": values, "f_hsc/g.pb2": values, "e.e": np.ones(3)}
    if suffix == "fits":
        cards = [fits.Column(name=name, format="J", null=-999, array=array) for name, array in columns.items()]
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(cards)]).writeto(tmp_path / "a.fits")
    else:
        pq.write_table(pa.table(columns | {"f_hsc/g.pb": pa.array(values, mask=hole)}), tmp_path / "a.parquet")
    read = read_catalogue(tmp_path / f"a.{suffix}", "sdss2010-g=f_hsc/g.pb:e.e", unit="nanomaggy")
    assert read.flux[:, 0].tolist() == [30, 0, 50]
    assert [galaxy.flags for galaxy in read] == [Flag(0), Flag.NO_DATA, Flag(0)]


def test_negative_errors_as_lephare_has_them(tmp_path):
    path = csv(tmp_path, "g,eg\n25,-1\n24,0.1\n-99,-99\n")
    read = read_catalogue(path, "sdss2010-g=g:eg", unit="ABmag", negative_error_is_limit=True, missing=-99, limit_sigma=2)
    assert read.censored[:, 0].tolist() == [True, False, False]
    np.testing.assert_allclose(read.ivar[0, 0] ** -0.5, read.flux[0, 0] / 2)
    assert (read[2].flags, read[0].flags) == (Flag.NO_DATA, Flag(0))


def test_bands_as_a_mapping(tmp_path):
    path = csv(tmp_path, 'f:g,"f,r",er\n1,2,.1\n')
    (g, r) = load_filters(["sdss2010-g", "sdss2010-r"])
    mapping = {g: ("f:g", "er"), "sdss2010-r": ["f,r", "er", None], "sdss2010-i": "er:er"}
    read = read_catalogue(path, mapping, unit="nanomaggy")
    np.testing.assert_array_equal(read.flux, [[1, 2, 0.1]])
    assert read.bands[:2] == (g, r)


def test_two_measurements_in_one_band(tmp_path):
    read = read_catalogue(csv(tmp_path, "a,b,e\n1,2,.1\n"), "sdss2010-g=a:e,sdss2010-g=b:e", unit="uJy")
    np.testing.assert_allclose(read.flux[0] * 3.631, [1, 2])


def test_names_of_columns_differ_in_case(tmp_path):
    path = csv(tmp_path, "G,E_g,Z\n1,.1,.5\n")
    assert read_catalogue(path, "sdss2010-g=g:e_G", unit="uJy", redshift_column="z").redshift[0] == 0.5
    both = csv(tmp_path, "g,G,e\n1,2,.1\n")
    np.testing.assert_allclose(read_catalogue(both, "sdss2010-g=G:e", unit="nanomaggy").flux, [[2]])


def test_declared_names_and_delimiter(tmp_path):
    path = csv(tmp_path, "#any;thing\n1!.1!0.3\n# between\n2!.1!0.4\n")
    for names in ("g,eg,z", ["g", "eg", "z"]):
        read = read_catalogue(path, "sdss2010-g=g:eg", unit="nanomaggy", redshift_column="z", column_names=names, delimiter="!")
        assert (read.flux[:, 0].tolist(), read.redshift.tolist()) == ([1, 2], [0.3, 0.4])


def test_the_table_of_a_fits_file_that_has_the_columns(tmp_path):
    first, second = Table({"a": [1.0, 2.0]}), Table({"g": [3.0], "eg": [0.1]})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(first), fits.BinTableHDU(second)]).writeto(tmp_path / "a.fits")
    assert len(read_catalogue(tmp_path / "a.fits", "sdss2010-g=g:eg", unit="uJy")) == 1


# Units in the table


def with_units(path, flux, error, *, quantities=False):
    made = (QTable if quantities else Table)({"g": [1.0, 2.0], "eg": [0.1, 0.1]})
    for name, unit in (("g", flux), ("eg", error)):
        if unit is not None:
            made[name].unit = unit
    made.write(path, format={".ecsv": "ascii.ecsv"}.get(path.suffix, path.suffix[1:]), overwrite=True)
    return path


@pytest.mark.parametrize("suffix", ["ecsv", "fits", "parquet"])
def test_units_of_the_table(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    for error, factor in (("uJy", 1), ("nJy", 1e-3), (None, 1)):
        for declared in (None, "uJy", "1e-6 Jy"):
            read = read_catalogue(with_units(path, "uJy", error), "sdss2010-g=g:eg", unit=declared)
            np.testing.assert_allclose(read.flux[:, 0] * 3.631, [1, 2])
            np.testing.assert_allclose(read.ivar[:, 0] ** -0.5 * 3.631, 0.1 * factor)
    for declared in ("nJy", "ABmag", "nanomaggy"):
        with pytest.raises(UnitsError, match=r"one unit"):
            read_catalogue(with_units(path, "uJy", "uJy"), "sdss2010-g=g:eg", unit=declared)
    with pytest.raises(UnitsError, match="no unit"):
        read_catalogue(with_units(path, None, None), "sdss2010-g=g:eg")
    with pytest.raises(UnitsError, match="eg"):
        read_catalogue(with_units(path, "uJy", "s"), "sdss2010-g=g:eg")
    with pytest.raises(UnitsError, match="magnitudes"):
        read_catalogue(with_units(path, "mag", "mag"), "sdss2010-g=g:eg")
    read_catalogue(with_units(path, "mag", "mag"), "sdss2010-g=g:eg", unit="ABmag")
    ivar = read_catalogue(with_units(path, "uJy", "uJy-2"), "sdss2010-g=g:eg", errors="ivar")
    np.testing.assert_allclose(ivar.ivar[:, 0], 0.1 * 3.631**2)


def test_units_of_quantities_and_of_pyarrows_fields(tmp_path):
    path = tmp_path / "a.ecsv"
    made = QTable({"g": [20.0, 21.0] * u.uJy, "eg": [0.1, 0.1] * u.uJy, "r": [20.0, 21.0] * u.ABmag, "er": [0.1, 0.1] * u.mag})
    Table(
        {name: np.asarray(made[name].value) for name in made.colnames}, units={name: str(made[name].unit) for name in made.colnames}
    ).write(path)
    read = read_catalogue(path, "sdss2010-g=g:eg,sdss2010-r=r:er")
    np.testing.assert_allclose(read.flux[0], [20 / 3.631, 10.0])
    fields = [pa.field(name, pa.float64(), metadata={"unit": "nanomaggy"}) for name in ("g", "eg")]
    pq.write_table(pa.table({"g": [1.0], "eg": [0.5]}, schema=pa.schema(fields)), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read_catalogue(tmp_path / "a.parquet", "sdss2010-g=g:eg").ivar, [[4.0]])


# Curves of one's own


CURVES = {
    "angstrom.txt": "# mine\n4000 0\n5000 1\n6000 0\n",
    "commas.csv": "wave,response\n4000,0\n5000,1\n6000,0\n",
    "nm.dat": "wave_nm response\n400 0\n500 1\n600 0\n",
    "um.txt": "lambda_um,t\n0.4,0\n0.5,1\n0.6,0\n",
    "unit.ecsv": (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: w, unit: nm, datatype: float64}\n"
        "# - {name: t, datatype: float64}\nw t\n400 0\n500 1\n600 0\n"
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_from_files(tmp_path, name):
    (tmp_path / name).write_text(CURVES[name])
    read = read_catalogue(csv(tmp_path, "g,eg\n1,.1\n"), f"{tmp_path / name}=g:eg", unit="uJy")
    (curve,) = read.bands
    np.testing.assert_allclose(curve.wave_aa, [4000, 5000, 6000])
    np.testing.assert_array_equal(curve.response, [0, 1, 0])
    assert curve.name == name.split(".")[0]


# Speed


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_hundred_thousand_rows_take_seconds(tmp_path, suffix):
    rng = np.random.default_rng(3)
    n_rows = 100_000
    columns = {"id": LARGE + np.arange(n_rows)} | {name: rng.uniform(1, 9, n_rows) for name in ("g", "eg", "r", "er", "i", "ei", "z")}
    if suffix == "csv":
        pa.csv.write_csv(pa.table(columns), tmp_path / "a.csv")
    else:
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    start = time.process_time()
    bands = "sdss2010-g=g:eg,sdss2010-r=r:er,sdss2010-i=i:ei"
    read = read_catalogue(tmp_path / f"a.{suffix}", bands, unit="uJy", id_column="id", redshift_column="z")
    assert time.process_time() - start < 6.0
    assert (len(read), read.id[-1]) == (n_rows, str(LARGE + n_rows - 1))
    np.testing.assert_array_equal(read.redshift, columns["z"])


# The real catalogues. Filters that do not ship stand in for the surveys' own: what is tested is reading, not physics.


ZCOSMOS = (
    "galex-fuv=fuv:efuv,galex-nuv=nuv:enuv,cfht_megacam-ustar=u:eu,bessell-B=b:eb,bessell-V=v:ev,hsc2017-g=g:eg,"
    "hsc2017-r=r:er,hsc2017-i=i:ei,hsc2017-z=z:ez,twomass-J=j:ej,twomass-Ks=k:ek"
)


@pytest.fixture
def zcosmos(shared_data):
    return lambda **more: read_catalogue(
        shared_data / "photometry" / "zcosmos.csv",
        ZCOSMOS,
        **({"unit": "ABmag", "id_column": "surveyID", "redshift_column": "zspec", "missing": (-99, -99.9)} | more),
    )


def test_zcosmos(zcosmos, shared_data):
    read = zcosmos(label_columns=("logmstar_cosmos2015",))
    theirs = Table.read(shared_data / "photometry" / "zcosmos.csv", format="ascii.csv")
    assert len(read) == 5622
    assert [len(set(read.id)), read.id[0]] == [len(set(theirs["surveyID"])), "960004"]
    np.testing.assert_array_equal(read.redshift, theirs["zspec"])
    np.testing.assert_array_equal(read.labels["logmstar_cosmos2015"], theirs["logmstar_cosmos2015"])
    assert set(np.unique(read.flags).tolist()) == {0, int(Flag.NO_DATA)}
    blank = np.ma.getmaskarray(theirs["r"])
    np.testing.assert_array_equal((read.flags & int(Flag.NO_DATA)) != 0, blank)
    for k, name in enumerate(("fuv", "nuv", *"ubvgrizjk")):
        mag, error = (np.ma.filled(theirs[column], np.nan) for column in (name, "e" + name))
        good = (mag > 0) & (error > 0)
        np.testing.assert_array_equal(read.ivar[:, k] > 0, good)
        np.testing.assert_allclose(22.5 - 2.5 * np.log10(read.flux[good, k]), mag[good], rtol=1e-12)


def test_zcosmos_with_its_sentinels_undeclared(zcosmos):
    read, declared = zcosmos(missing=()), zcosmos()
    np.testing.assert_array_equal(read.ivar, declared.ivar)
    missing = (declared.ivar == 0).any(axis=1) & ((declared.flags & int(Flag.NO_DATA)) == 0)  # those without data are blank
    assert missing.sum() > 2000
    wrong = int(Flag.ABSURD_PIXELS | Flag.NON_POSITIVE_ERRORS)
    np.testing.assert_array_equal((read.flags & wrong) != 0, missing)


def test_zcosmos_in_the_wrong_unit(zcosmos):
    """Magnitudes taken for fluxes are suspected in most galaxies; right units, linear or not, in none."""
    suspected = {unit: np.mean((zcosmos(unit=unit).flags & int(Flag.UNIT_SUSPECTED)) != 0) for unit in ("nanomaggy", "uJy", "Jy")}
    assert min(suspected.values()) > 0.9, suspected
    right = zcosmos()
    sigma = np.where(right.ivar > 0, np.where(right.ivar > 0, right.ivar, 1) ** -0.5, np.nan)
    for scale, unit in ((1.0, "nanomaggy"), (3.631, "uJy"), (3631, "nJy")):
        linear = catalogue_from_arrays(scale * right.flux, scale * sigma, bands=right.bands, unit=unit)
        assert not np.any(linear.flags & int(Flag.UNIT_SUSPECTED))
        np.testing.assert_allclose(linear.ivar, right.ivar, rtol=1e-12)
        as_magnitudes = catalogue_from_arrays(scale * right.flux, scale * sigma, bands=right.bands, unit="ABmag")
        assert np.mean((as_magnitudes.flags & int(Flag.UNIT_SUSPECTED)) != 0) > 0.9


def test_resolve(shared_data):
    bands = "galex-fuv=fuvmag:e_fuvmag,galex-nuv=nuvmag:e_nuvmag," + ",".join(f"sdss2010-{b}={b}mag:e_{b}mag" for b in "grz")
    path = shared_data / "photometry" / "resolve.csv"
    read = read_catalogue(path, bands, unit="ABmag", id_column="NAME", missing=(-99, 0), label_columns=("logmstar", "sdss_dr12_objid"))
    assert (len(read), read.id[0], read.bands[3].name) == (301, "rf0006", "sdss2010-r")
    assert set(np.unique(read.flags).tolist()) == {0}
    assert read.labels["sdss_dr12_objid"][0] == "1237663782588645590"
    ids = read_catalogue(path, bands, unit="ABmag", id_column="sdss_dr12_objid", missing=(-99, 0))
    assert ids.id[0] == "1237663782588645590"
    zeros = read_catalogue(path, bands, unit="ABmag", missing=(-99,))
    assert np.sum((zeros.flags & int(Flag.NON_POSITIVE_ERRORS)) != 0) == 106  # FUV magnitudes of 0 with errors of 0


def test_cosmos_in_thirty_bands(shared_data):
    path = shared_data / "photometry" / "cosmos100_30band.fits"
    theirs = Table.read(path)
    fluxes = [name for name in theirs.colnames if name.startswith("f_")]
    curve = load_filters(["hsc2017-r"])[0]
    listed = [(curve, (name, name.replace("f_", "ferr_", 1))) for name in fluxes]
    assert len(listed) == 30

    class Pairs(dict):
        def items(self):
            return listed

    options = {"id_column": "id", "redshift_column": "zspec"}
    read = read_catalogue(path, Pairs(), unit="erg / (s cm2 Hz)", **options)
    assert (read.flux.shape, read.id[0], read.redshift[0]) == ((100, 30), "1", 4.839)
    assert not np.any(read.flags)
    assert (read.flux < 0).any()
    for k, name in enumerate(fluxes):
        good = np.isfinite(theirs[name])
        np.testing.assert_array_equal(read.ivar[:, k] > 0, good)
        np.testing.assert_allclose(read.flux[good, k], theirs[name][good] / 3.631e-29, rtol=1e-12)
    for wrong in ("nanomaggy", "ABmag", "Jy"):
        assert np.all(read_catalogue(path, Pairs(), unit=wrong, **options).flags & int(Flag.UNIT_SUSPECTED))


BOSS = ",".join(f"sdss2010-{b}={b}:e{b}" for b in "ugriz")
BOSS_NAMES = "u,eu,g,eg,r,er,i,ei,z,ez,redshift"


def test_boss_with_declared_names(shared_data):
    path = shared_data / "photometry" / "boss_dr10_train.csv"
    read = read_catalogue(path, BOSS, unit="ABmag", redshift_column="redshift", column_names=BOSS_NAMES)
    theirs = np.loadtxt(path, delimiter=",")
    assert (len(read), read.id[5999]) == (6000, "boss_dr10_train-6000")
    np.testing.assert_array_equal(read.redshift, theirs[:, -1])
    np.testing.assert_allclose(22.5 - 2.5 * np.log10(read.flux), theirs[:, 0:10:2], rtol=1e-12)
    np.testing.assert_allclose(2.5 / np.log(10) / (read.flux * np.sqrt(read.ivar)), theirs[:, 1:10:2], rtol=1e-9)
    assert not np.any(read.flags)
    with pytest.raises(InputError, match="column_names"):
        read_catalogue(path, BOSS, unit="ABmag")


def test_the_legacy_surveys_tractor(shared_data):
    path = shared_data / "desi" / "tractor-1054p567.fits"
    bands = ",".join(
        f"{name}=flux_{b}:flux_ivar_{b}" for name, b in {"BASS-g": "g", "BASS-r": "r", "MzLS-z": "z", "wise2010-W1": "w1"}.items()
    )
    (galaxy,) = read_catalogue(path, bands, unit="nanomaggy", errors="ivar", ebv_column="ebv", id_column="objid", survey="legacy")
    row = Table.read(path)[0]
    np.testing.assert_allclose(galaxy.flux, [row[f"FLUX_{b}"] for b in ("G", "R", "Z", "W1")])
    assert (galaxy.good.all(), galaxy.flags) == (True, Flag(0))
    assert galaxy.ebv == pytest.approx(row["EBV"])
