"""Stands in for the trained models where a test is about the command and not about its answers."""

from synthetic_posterior import make_posterior

from slipher.data.bundled import bundled_spectrum
from slipher.errors import Flag, InputError

CARD = {"name": "galaxy", "seed": 7}
REDSHIFT_RANGE = (0.0, 1.0)


class FakeModels:
    """Has the functions of `slipher.models` that the command calls; remembers how `fit` was called."""

    def __init__(self):
        self.calls = []

    def fit(self, spectrum, **options):
        self.calls.append((spectrum, options))
        low, high = REDSHIFT_RANGE
        if spectrum.redshift is None or not low < spectrum.redshift < high:
            came = f"redshift {spectrum.redshift} of {spectrum.id!r}"
            raise InputError(came, expected=f"a redshift from {low} to {high}", mend="Declare it.")
        seed, refine = options.get("seed", 0), options.get("sampler", "refined") != "amortised"
        return make_posterior(
            seed,
            n_draws=options["samples"],
            id=spectrum.id,
            redshift=spectrum.redshift,
            survey=spectrum.survey if spectrum.survey != "custom" else "sdss",
            refined=refine,
            flags=spectrum.flags | (Flag(0) if refine else Flag.NOT_REFINED),
        )

    def names(self):
        return ["digs", "galaxy"]

    def card(self, name):
        if name not in self.names():
            raise InputError(f"model {name!r}", expected="digs or galaxy", mend="Did you mean galaxy?")
        return CARD | {"name": name}

    def train(self, recipe, out, *, resume=True, progress=None):
        if not recipe.exists():
            raise InputError(f"{recipe} does not exist", expected="a recipe", mend="Check the path.")
        (out / "card.json").write_text(f"{recipe.name} resume={resume} progress={progress}")

    def calibrate(self, model, *, mocks, seed, refine, known_redshift):
        return {"model": model, "mocks": mocks, "seed": seed, "refine": refine, "known_redshift": known_redshift, "passes": True}

    def simulate(self, n, *, model, survey, seed, redshift, median_sn):
        truth = {"log_mstar": 10.0, "redshift": redshift or 0.1}
        return [(bundled_spectrum(), truth | {"a_v": 0.1 * k}) for k in range(n)]
