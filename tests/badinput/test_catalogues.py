"""Damaged and foreign catalogues, and declarations that cannot be met: slipher's own errors, each with a mend."""

import re
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from slipher.data import read_catalogue
from slipher.errors import InputError, SlipherError, UnitsError, UnreadableFile

BANDS = "sdss2010-g=g:eg,sdss2010-r=r:er"
OPTIONS = {"unit": "uJy", "id_column": "id", "redshift_column": "z"}


def written(path, n_rows=300):
    rng = np.random.default_rng(0)
    table = Table({"id": np.arange(n_rows), "z": rng.uniform(0, 1, n_rows)})
    for name in ("g", "eg", "r", "er"):
        table[name] = rng.uniform(1, 9, n_rows)
    kind = path.suffix[1:]
    if kind == "fits":
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(path, checksum=True)
    elif kind == "parquet":
        pq.write_table(pa.table({name: np.asarray(table[name]) for name in table.colnames}), path, write_page_checksum=True)
    else:
        table.write(path, format=f"ascii.{kind}")
    return path


def saved(tmp_path, content: bytes | str, name="damaged.dat"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path, error=UnreadableFile, match="", bands=BANDS, **declared):
    """The error that reading `path` raises, which must say what was expected and the mend."""
    with pytest.raises(error) as raised:
        read_catalogue(path, bands, **(OPTIONS | declared))
    message = str(raised.value)
    assert re.search(match, message), message
    assert raised.value.expected
    assert raised.value.mend
    return message


# Files that are none, or damaged.


FOREIGN = {
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    "HTML of a failed download": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "long HTML": b"<!DOCTYPE html>\n<html lang='en'>\n<body class='a b c'>\n<p>404 Not, really not, found</p>\n</body></html>\n",
    "zeros": bytes(5760),
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "truncated gzip": b"\x1f\x8b\x08\x00" + zlib.compress(b"x" * 999)[:10],
    "only FITS' magic": b"SIMPLE  =                    T",
    "only Parquet's magic": b"PAR1",
    "Parquet of nonsense": b"PAR1" + b"#" * 999 + b"PAR1",
    "UTF-16": "id,z,g,eg,r,er\n1,.1,1,1,1,1\n".encode("utf-16"),
    "Latin-1": b"id,z,g,eg,r,er,note\n1,.1,1,1,1,1,\xe9t\xe9\n",
    "a list": b"1\n2\n3\n",
    "prose": b"nothing\nof\nuse\n",
    "blank lines": b"\n\n \n",
    "ECSV without a header": b"# %ECSV 1.0\nid z g eg r er\n1 .1 1 1 1 1\n"[:12],
    "broken ECSV": b"# %ECSV 1.0\n# ---\n# datatype: [\nid z g eg r er\n1 .1 1 1 1 1\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_not_a_catalogue(tmp_path, name):
    refused(saved(tmp_path, FOREIGN[name]))


def test_missing_folder_and_empty(tmp_path):
    refused(tmp_path / "nothing.csv", match="cannot be opened")
    refused(tmp_path, match="folder")
    refused(saved(tmp_path, b""), match="empty")


@pytest.mark.parametrize("suffix", ["fits", "parquet"])
def test_truncated_anywhere(tmp_path, suffix):
    whole = written(tmp_path / f"a.{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    for cut in [1, 8, 80, 2879, len(whole) - 1, *rng.integers(100, len(whole) - 2880 * (suffix == "fits"), 20)]:
        refused(saved(tmp_path, whole[:cut]))


@pytest.mark.parametrize("suffix", ["csv", "ecsv"])
def test_text_cut_within_a_row(tmp_path, suffix):
    whole = written(tmp_path / f"a.{suffix}").read_text()
    separator = "," if suffix == "csv" else " "
    for row in (-299, -100, -2):
        start = [match.start() for match in re.finditer("\n", whole)][row]
        cut = whole.index(separator, whole.index(separator, start) + 1)
        refused(saved(tmp_path, whole[: cut - 3]), match="truncated or corrupt")


@pytest.mark.parametrize("suffix", ["fits", "parquet"])
def test_flipped_bytes_are_noticed(tmp_path, suffix):
    """Where there are checksums; what they do not cover may still make sense, and then gives the same numbers."""
    path = written(tmp_path / f"a.{suffix}")
    whole, intact = path.read_bytes(), read_catalogue(path, BANDS, **OPTIONS)
    rng = np.random.default_rng(2)
    noticed = 0
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        try:
            read = read_catalogue(saved(tmp_path, bytes(damaged)), BANDS, **OPTIONS)
        except SlipherError:
            noticed += 1
            continue
        np.testing.assert_array_equal(read.flux, intact.flux)
        np.testing.assert_array_equal(read.ivar, intact.ivar)
    assert noticed > 20


def test_real_files_truncated(shared_data, tmp_path):
    whole = (shared_data / "photometry" / "cosmos100_30band.fits").read_bytes()
    for fraction in (0.01, 0.3, 0.6, 0.9, 0.999):
        refused(saved(tmp_path, whole[: int(len(whole) * fraction)]))


# Catalogues without what is needed.


EMPTY = {
    "csv": "id,z,g,eg,r,er\n",
    "commented": "# id z g eg r er\n",
    "ecsv": None,
    "fits": None,
    "parquet": None,
}


@pytest.mark.parametrize("kind", EMPTY)
def test_no_rows(tmp_path, kind):
    path = saved(tmp_path, EMPTY[kind]) if EMPTY[kind] else written(tmp_path / f"a.{kind}", n_rows=0)
    refused(path, match="no rows")


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "parquet"])
def test_missing_columns_list_the_close_ones(tmp_path, suffix):
    path = written(tmp_path / f"a.{suffix}")
    refused(path, InputError, r"no column 'err' .*Did you mean er", bands="sdss2010-r=r:err")
    refused(path, InputError, r"no column 'flux_r'", bands="sdss2010-r=flux_r:er")
    refused(path, InputError, r"no column 'zz' .*Did you mean z", redshift_column="zz")
    refused(path, InputError, "no column 'target'", id_column="target")
    refused(path, InputError, "no column 'ebv'", ebv_column="ebv")
    refused(path, InputError, "no column 'limit'", bands="sdss2010-r=r:er:limit")
    refused(path, InputError, "no column 'mass'", label_columns=("mass",))


def test_no_line_of_names(tmp_path):
    refused(saved(tmp_path, "1,0.1,1,1,1,1\n2,0.2,1,1,1,1\n"), match="begins with a row of numbers.*column_names")


def test_rows_of_different_lengths(tmp_path):
    refused(saved(tmp_path, "id,z,g,eg,r,er\n1,.1,1,1,1,1\n2,.1,1\n"), match="6 values in every row")
    refused(saved(tmp_path, "id,z,g,eg,r,er\n1,.1,1,1,1,1,7,8\n"), match="6 values in every row")


def test_a_column_that_comes_twice(tmp_path):
    refused(saved(tmp_path, "id,z,g,eg,g,r,er\n1,.1,1,1,1,1,1\n"), InputError, "2 columns g, g")
    refused(saved(tmp_path, "id,z,g,EG,eG,r,er\n1,.1,1,1,1,1,1\n"), InputError, "2 columns EG, eG")


def test_columns_of_several_values(tmp_path):
    table = Table({"g": np.ones((3, 8)), "eg": np.ones(3)})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table)]).writeto(tmp_path / "a.fits")
    pq.write_table(pa.table({"g": [[1.0, 2.0]], "eg": [1.0]}), tmp_path / "a.parquet")
    for name in ("a.fits", "a.parquet"):
        refused(tmp_path / name, InputError, "column g", bands="sdss2010-g=g:eg", id_column=None, redshift_column=None)


def test_images_are_no_catalogues(tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "image.fits")
    refused(tmp_path / "image.fits", match="PRIMARY")


@pytest.mark.parametrize("cell", ["bright", "1_000", "0x10", "1,5", "12h", "1e", "--1"])
def test_words_among_numbers(tmp_path, cell):
    text = f"id;z;g;eg;r;er\n1;.1;1;1;1;1\n2;.1;{cell};1;1;1\n"
    assert f"{cell!r} in row 2" in refused(saved(tmp_path, text), InputError, "column g")


def test_words_among_limits(tmp_path):
    path = saved(tmp_path, "id,z,g,eg,l\n1,.1,1,1,maybe\n")
    refused(path, InputError, "'maybe' in the column l", bands="sdss2010-g=g:eg:l")


def test_large_ids_as_floating_point_numbers(tmp_path):
    table = Table({"id": [39633345008634465.0, 1.0], "z": [0.1, 0.1], "g": [1.0, 1.0], "eg": [0.1, 0.1]})
    for name in ("a.fits", "a.parquet"):
        table.write(tmp_path / name)
        refused(tmp_path / name, InputError, r"2\^53", bands="sdss2010-g=g:eg")


# Declarations


@pytest.mark.parametrize(
    ("bands", "match"),
    [
        ("", "no bands"),
        ({}, "no bands"),
        ("sdss2010-g", "FILTER=FLUX"),
        ("sdss2010-g=", "columns ''"),
        ("sdss2010-g=:eg", "columns ':eg'"),
        ("sdss2010-g=g:eg:l:x", "columns 'g:eg:l:x'"),
        ("sdss2010_g=g:eg", "Did you mean sdss2010-g"),
        ("sdss2010-*=g:eg", "one filter for each column"),
        ("=g:eg", "filter ''"),
        ({"sdss2010-g": ()}, "columns"),
        ("nowhere/curve.txt=g:eg", "cannot be opened"),
    ],
)
def test_bands_that_cannot_be_understood(tmp_path, bands, match):
    refused(written(tmp_path / "a.csv"), InputError, match, bands=bands)


@pytest.mark.parametrize(
    ("declared", "error", "match"),
    [
        ({"unit": None}, UnitsError, "no unit"),
        ({"unit": "mag"}, UnitsError, "which magnitudes"),
        ({"unit": "parrot"}, UnitsError, "parrot"),
        ({"unit": "erg/s/cm2/AA"}, UnitsError, "f_nu"),
        ({"unit": ["uJy"]}, InputError, "1 units for 2 bands"),
        ({"redshift": 0.1}, InputError, "both redshift=0.1 and redshift_column='z'"),
        ({"ebv": 0.1, "ebv_column": "z"}, InputError, "both ebv"),
        ({"redshift": -1.0, "redshift_column": None}, InputError, "redshift -1"),
        ({"ebv": -1.0}, InputError, r"E\(B-V\) -1"),
        ({"limit_sigma": 0}, InputError, "limit_sigma"),
        ({"errors": "ivar", "negative_error_is_limit": True}, InputError, "negative_error_is_limit"),
        ({"missing": (None,)}, InputError, "missing"),
    ],
)
def test_declarations_that_cannot_be(tmp_path, declared, error, match):
    refused(written(tmp_path / "a.csv"), error, match, **declared)


@pytest.mark.parametrize("suffix", ["ecsv", "fits", "parquet"])
def test_declarations_of_text_for_other_formats(tmp_path, suffix):
    refused(written(tmp_path / f"a.{suffix}"), InputError, "delimited text", delimiter=",")


CURVES = {
    "nanometres": ("400 0\n500 1\n600 0\n", UnitsError, "wave_nm"),
    "three points of one column": ("4000\n5000\n6000\n", UnreadableFile, "two columns"),
    "words": ("4000 a\n5000 b\n", UnreadableFile, "two columns"),
    "nothing": ("# nothing\n", UnreadableFile, "two columns"),
    "one point": ("5000 1\n", InputError, "at least two"),
    "decreasing": ("6000 0\n5000 1\n4000 0\n", InputError, "increasing"),
    "negative": ("4000 0\n5000 1\n6000 -1\n", InputError, "not negative"),
    "NaN": ("4000 0\n5000 nan\n6000 0\n", InputError, "finite"),
    "binary": (b"\xff\xfe\x00", UnreadableFile, "two columns"),
    "a time": (
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: w, unit: s, datatype: float64}\n# - {name: t, datatype: float64}\nw t\n1 0\n2 1\n",
        UnitsError,
        "unit of length",
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_that_are_none(tmp_path, name):
    content, error, match = CURVES[name]
    curve = saved(tmp_path, content, "curve.txt")
    refused(written(tmp_path / "a.csv"), error, match, bands=f"{curve}=g:eg")
