"""The public face: what `import slipher` offers, and what it costs."""

import re
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from synthetic_posterior import make_posterior

import slipher
from slipher import models
from slipher.citation import USED, bibliography


@pytest.mark.parametrize("name", slipher.__all__)
def test_everything_in_the_table_of_contents_exists(name):
    if name in slipher._LATER and name != "deblend" and not hasattr(models, name):
        pytest.skip("this checkout has no trained model")
    assert getattr(slipher, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = slipher.fti


def test_dir_lists_what_is_looked_up_late():
    assert set(slipher.__all__) <= set(dir(slipher))


def test_importing_slipher_imports_neither_jax_nor_matplotlib_nor_xarray():
    code = "import sys, slipher; print([m for m in ('jax', 'matplotlib', 'xarray', 'pandas') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_posterior_plots_itself():
    figure = make_posterior(n_draws=100).plot(quantities=("a_v", "log_mstar"))
    assert isinstance(figure, Figure)


def test_version_is_the_package_s():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", slipher.__version__)


# Citations


def test_every_entry_is_used_and_every_use_has_an_entry():
    assert {key for keys in USED.values() for key in keys} == set(bibliography())


@pytest.mark.parametrize("key", bibliography())
def test_entries_are_whole(key):
    entry = bibliography()[key]
    assert entry.count("{") == entry.count("}")
    assert all(re.search(rf"\b{field}\s*=", entry) for field in ("author", "title"))
    assert re.search(r"\b(doi|eprint|url)\s*=", entry)


def test_a_posterior_cites_what_it_rests_on():
    refined = slipher.citation(make_posterior(n_draws=50, survey="desi"))
    assert "bruzual2003" in refined
    assert "vehtari2024" in refined
    assert "desi2022" in refined
    assert "york2000" not in refined
    assert "vehtari2024" not in slipher.citation(make_posterior(n_draws=50, refined=False))
    assert len(slipher.citation()) > len(refined)
