"""The public face: what `import slipher` offers, and what it costs."""

import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from synthetic_posterior import make_posterior

import slipher
from slipher import models
from slipher.citation import USED, bibliography
from slipher.data.photometry_checks import catalogue_from_arrays, curves_of
from slipher.models.deblended import Populations
from slipher.scene import learned, morphology, spectrum
from slipher.scene.blend import Blend
from slipher.scene.deblend import Deblended
from slipher.scene.hallucination import Score
from slipher.scene.render import Group, Scene
from slipher.scene.source import Light, Source


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


def found(*lights: morphology.Morphology, score: Score | None = None) -> Deblended:
    """What deblending says of itself, as far as its references ask."""
    source = Source(tuple(Light(one, spectrum.Free(2)) for one in lights))
    behind = Blend(*[None] * len(Blend._fields))._replace(scene=Scene((Group(source, 1),), 2))
    return Deblended(table=Table(), views=(), scores=(score,), converged=True, blend=behind)


def test_a_scene_cites_what_its_fit_and_its_parts_rest_on():
    points = slipher.citation(found(morphology.Point()))
    for key in ("jax2018", "astropy2022", "sampson2024", "papandreou2010", "knollmueller2019", "frangella2023", "zackay2017"):
        assert f"{{{key}," in points
    assert not any(key in points for key in ("bruzual2003", "sersic1963", "karras2022", "sampson2023"))
    textured = slipher.citation(found(morphology.Textured(morphology.Sersic(), 5, 1.0), score=Score(*[np.ones((2, 2), np.float32)] * 3)))
    assert "sersic1963" in textured  # a part of a part
    assert "sampson2023" in textured
    assert "karras2022" in slipher.citation(found(learned.Denoised(5)))


def test_populations_of_a_scene_cite_what_their_posteriors_do():
    posterior = make_posterior(n_draws=50, survey="scene")
    catalogue = catalogue_from_arrays(np.ones((2, 1)), np.ones((2, 1)), bands=curves_of(["sdss2010-g"]), unit="nanomaggy")
    made = Populations(photometry=catalogue, posteriors=(posterior, posterior), table=Table())
    assert slipher.citation(made) == slipher.citation(posterior)
