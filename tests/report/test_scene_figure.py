"""The figure of a scene: a row a band, sources where each image has them, and images of which a band has no data."""

import numpy as np
import pytest
from astropy.table import Table

from slipher.data.image import Cutout, cutout
from slipher.report.scene import plot_scene, save_figure
from slipher.scene.blend import Blend
from slipher.scene.deblend import Deblended, View
from slipher.scene.exposure import exposure

TURNED, ORIGIN = np.array([[0.0, -2.0], [2.0, 0.0]]), np.array([20.0, 1.0])


def image(shape: tuple[int, int], bands: tuple[str, ...], dead: int | None = None) -> Cutout:
    noise = np.random.default_rng(0).standard_normal((len(bands), *shape))
    if dead is not None:
        noise[dead] = np.nan
    return cutout(noise, variance=np.ones_like(noise), psf_fwhm=3.0, bands=bands, id="_".join(bands))


def view(one: Cutout) -> View:
    nothing = np.zeros_like(one.flux)
    return View(image=one, model=nothing, sources=nothing[None].repeat(2, 0))


@pytest.fixture
def found() -> Deblended:
    """Two images, the second turned and of pixels half as large; the second source is beyond its edge."""
    images = image((12, 14), ("g", "r"), dead=1), image((22, 24), ("i",))
    first, second = ([np.asarray(x, np.float64) for x in (one.flux, one.ivar, one.psf)] for one in images)
    seen = exposure(*first), exposure(*second, jacobian=TURNED, origin=ORIGIN)
    behind = Blend(*[None] * len(Blend._fields))._replace(seen=seen, bands=("g", "r", "i"))
    table = Table({"id": ["a", "b", "out"], "x": [3.0, 12.0, np.nan], "y": [4.0, 11.0, np.nan]})
    return Deblended(table=table, views=tuple(map(view, images)), scores=(None, None), converged=True, blend=behind)


def marked(found: Deblended, which: int) -> dict[str, tuple[float, float]]:
    panel = plot_scene(found, which).axes[0]
    return {text.get_text(): tuple(text.xy) for text in panel.texts}


def test_sources_are_marked_where_each_image_has_them(found):
    assert marked(found, 0) == {"a": (3.0, 4.0), "b": (12.0, 11.0)}
    assert marked(found, 1) == {"a": (12.0, 7.0)}


def test_each_image_has_a_row_a_band_and_its_own_name(found):
    first, second = plot_scene(found), plot_scene(found, 1)
    assert [axes.get_ylabel() for axes in first.axes[:6:3]] == ["g", "r"]
    assert second.get_suptitle().startswith("i   3 sources")


def test_a_band_without_data_is_drawn_empty(found, tmp_path):
    save_figure(found, tmp_path / "scene.png")
    assert (tmp_path / "scene.png").stat().st_size > 10_000
