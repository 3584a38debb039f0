"""`slipher.fit`: one function for whatever was observed of a galaxy.

Spectrum --> `spectra`    Photometry --> `photometry`    Galaxy (both) --> `joint`    Spectrum, by an emulator --> `emulated`
Spectrum, by a model with a learnt residual --> `hybrid`
"""

from ..data.galaxy import Galaxy
from ..data.observation import Spectrum
from ..data.photometry import Photometry
from ..errors import InputError
from ..inference import methods
from ..inference.posterior import Posterior
from . import emulated, hybrid, joint, photometry, shipped, spectra
from .shipped import Shipped, ShippedEmulator, ShippedHybrid, ShippedLatents, ShippedMorphology, ShippedPhotometry

ROUTES = {
    (Spectrum, Shipped): spectra.fit,
    (Spectrum, ShippedHybrid): hybrid.fit,
    (Spectrum, ShippedEmulator): emulated.fit,
    (Photometry, ShippedPhotometry): photometry.fit,
    (Galaxy, Shipped): joint.fit,
}
OF = {
    Shipped: "spectra", ShippedPhotometry: "photometry", ShippedEmulator: "spectra, an emulator", ShippedHybrid: "spectra, a hybrid",
    ShippedLatents: "unusual spectra", ShippedMorphology: "shapes of galaxies",
}  # fmt: skip


def fit(
    observation: Spectrum | Photometry | Galaxy,
    *,
    model: str | None = None,
    samples: int = 1000,
    refine: bool = True,
    sampler: str | None = None,
    seed: int = 0,
) -> Posterior:
    """The posterior of a galaxy's physics given its spectrum, its photometry, or both.

    Parameters
    ----------
    observation
        Checked data (`slipher.read`, `slipher.spectrum`; `slipher.photometry`, a row of `slipher.read_catalogue`; `slipher.Galaxy`). A
        spectrum needs its redshift; photometry without one is asked for it.
    model
        Name of a shipped model, or the folder of a trained one; by default 'galaxy' for spectra, alone or with photometry, and
        'photometry' for photometry. A folder may hold an emulator, for spectra.
    samples
        Equal-weight draws wanted.
    refine, sampler
        How to draw: a name of `slipher.inference.methods.METHODS`; by default 'refined', or 'amortised' with `refine=False`.
    seed
        With the observation's id, decides all random numbers.

    Raises
    ------
    InputError
        For a spectrum without a redshift, with one beyond the model, or with too few good pixels; for an unknown model, or one of
        another kind of data.
    """
    if samples < 1:
        raise InputError(f"samples={samples}", expected="at least 1", mend="Ask for a positive number of draws.")
    wanted = methods.checked(sampler or ("refined" if refine else "amortised"))
    kind = "photometry" if isinstance(observation, Photometry) else "galaxy"
    name = model or kind
    made = shipped.load(name)
    route = ROUTES.get((type(observation), type(made)))
    if route is None:
        of = OF[type(made)]
        raise InputError(f"model {name!r}, which is of {of}", expected="a model of the data given", mend=f"Choose {kind!r}, the default.")
    return route(observation, made, name, samples, wanted, seed)
