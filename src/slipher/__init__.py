"""slipher: galaxy physics from spectra, photometry and images, in calibrated posteriors.

This is the public face, a table of contents:

- `read` opens survey files and tables, `spectrum` makes a `Spectrum` from arrays, `write_spectrum` writes one, and
  `bundled_spectrum` is the galaxy that ships with slipher;
- `photometry` makes a `Photometry` from fluxes in bands, `read_catalogue` a `Catalogue` of many from a file, and `Galaxy` joins a
  spectrum and photometry of one galaxy by an `Aperture`;
- `fit` takes a `Spectrum`, a `Photometry` or a `Galaxy` to a `Posterior`, which has `samples`, `summary()`, `predict()`, `plot()`,
  `save()`, `load()` and `to_arviz()`; `fit_rows` takes a `Catalogue` to a table, and `zero_points` finds what its
  bands are off;
- `cutout` makes images of a piece of sky from arrays, `read_image` from a file, and `deblend` takes them apart into sources with errors;
- `simulate` makes mock spectra with their true values;
- `citation` says whom to cite; `errors` holds what slipher raises and flags.

Importing slipher imports neither JAX nor matplotlib: what needs them is looked up when it is first asked for.
"""

import os
from importlib import import_module
from importlib.metadata import version

from slipher import errors
from slipher.citation import citation
from slipher.data import Aperture, Catalogue, Galaxy, Photometry, Spectrum, photometry, read, read_catalogue, spectrum, write_spectrum
from slipher.data.bundled import bundled_spectrum
from slipher.data.image import Cutout, cutout
from slipher.data.image_files import read_image
from slipher.inference.posterior import Posterior

__all__ = [
    "Aperture",
    "Catalogue",
    "Cutout",
    "Galaxy",
    "Photometry",
    "Posterior",
    "Spectrum",
    "bundled_spectrum",
    "citation",
    "cutout",
    "deblend",
    "errors",
    "fit",
    "fit_rows",
    "photometry",
    "read",
    "read_catalogue",
    "read_image",
    "simulate",
    "spectrum",
    "write_spectrum",
    "zero_points",
]
__version__ = version("slipher")

# On machines of two or three cores XLA's threads, one a core, can each hold a batch of triangular systems and wait for the others for
# ever. XLA reads how many it is to have when it first computes; with four that has not been seen.
if (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) < 4:
    os.environ.setdefault("PJRT_NPROC", "4")

_LATER = dict.fromkeys(("deblend", "fit", "fit_rows", "simulate", "zero_points"), "slipher.models")


def __getattr__(name: str):
    """`deblend`, `fit`, `fit_rows`, `simulate` and `zero_points`, at the cost of importing JAX (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module 'slipher' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def _plot(self: Posterior, **options):
    """The figure of this galaxy, a matplotlib `Figure`; options as in `slipher.report.figure.plot_posterior`."""
    from slipher.report.figure import plot_posterior  # matplotlib is imported at the first figure

    return plot_posterior(self, **options)


# The report is a layer above inference, so that a posterior learns to draw itself here.
_plot.__name__, _plot.__qualname__ = "plot", "Posterior.plot"
Posterior.plot = _plot
