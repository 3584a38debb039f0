r"""Recipes of learned priors of morphologies: `kind = "morphology"` in the TOML file.

    recipe --simulate, train--> denoiser and flow --pack--> weights.safetensors + card.json

The counterpart of `recipe` for images; trainer, weights, cards and the reading of TOML are the same. Both networks see the same galaxies
and are trained at once: their losses are added. With a section `[stamps]` real galaxies are among them (`morphology_stamps`).
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..networks import denoiser, train, wavelet_flow
from ..networks.denoiser import Denoiser
from ..networks.wavelet_flow import WaveletFlow
from . import morphology_set, morphology_stamps, packing
from .morphology_set import Galaxies, Images
from .morphology_stamps import RealStamps
from .recipe_text import content_of, read_text, section

KIND = "morphology"
SECTIONS = ("name", "kind", "galaxies", "stamps", "network", "schedule")
LEVELS = int(np.log2(morphology_set.SIZE // wavelet_flow.COARSEST))


@dataclass(frozen=True)
class Sizes:
    """Of the networks, and the standard deviation of the noise that x is given before the flow sees it: dark sky has a density then."""

    widths: tuple[int | float, ...] = denoiser.WIDTHS
    flow_widths: tuple[int | float, ...] = wavelet_flow.WIDTHS
    flow_layers: int = wavelet_flow.LAYERS
    dither: float = 0.05


@dataclass(frozen=True, eq=False)
class MorphologyRecipe:
    """What priors of morphologies are made from; `text` is the file itself, `stamps` None where all galaxies are simulated."""

    name: str
    galaxies: Galaxies
    sizes: Sizes
    schedule: train.Schedule
    text: str
    stamps: RealStamps | None = None


class TrainedMorphology(eqx.Module):
    """What the weights file holds: a score and a density of x (`slipher.scene.learned`), learnt from the same galaxies."""

    denoiser: Denoiser
    flow: WaveletFlow

    @property
    def denoiser_units(self) -> denoiser.Units:
        """Of the denoiser: constants of a run."""
        return self.denoiser.units

    @property
    def flow_units(self) -> wavelet_flow.Units:
        """Of the flow."""
        return self.flow.units

    def score(self, x: Float[Array, "y x"], sigma: Float[Array, ""]) -> Float[Array, "y x"]:
        """Gradient of ln p of x with noise of standard deviation `sigma`."""
        return self.denoiser.score(x, sigma)

    def log_prob(self, x: Float[Array, "y x"]) -> Float[Array, ""]:
        """ln p of x with the recipe's dither."""
        return self.flow.log_prob(x)


def read_recipe(path: Path) -> MorphologyRecipe:
    """Read a recipe; errors as for `slipher.models.recipe.read_recipe`."""
    return parse_recipe(read_text(path), Path(path).resolve().parent)


def parse_recipe(text: str, beside: Path = Path()) -> MorphologyRecipe:
    """The recipe of a TOML text that lies in the folder `beside`."""
    content = content_of(text)
    if unknown := sorted(set(content) - set(SECTIONS)):
        raise InputError(f"{unknown[0]!r} in a recipe", expected=f"one of {', '.join(SECTIONS)}", mend="Mend the recipe.")
    galaxies = section(Galaxies, content, "galaxies")
    kinds = len(morphology_set.KINDS)
    if len(galaxies.shares) != kinds or min(galaxies.shares) < 0 or not sum(galaxies.shares) > 0:
        expected = f"{kinds} numbers, none negative: {', '.join(morphology_set.KINDS)}"
        raise InputError(f"[galaxies] shares = {list(galaxies.shares)}", expected=expected, mend="Mend the recipe.")
    return MorphologyRecipe(
        name=str(content.get("name", KIND)),
        galaxies=galaxies,
        sizes=section(Sizes, content, "network"),
        schedule=section(train.Schedule, content, "schedule"),
        text=text,
        stamps=_real_stamps(content["stamps"], beside) if "stamps" in content else None,
    )


def _real_stamps(table: object, beside: Path) -> RealStamps:
    """The section `[stamps]`. Raises InputError where it names no folder, or its share is none."""
    numbers = {key: value for key, value in table.items() if key != "folder"} if isinstance(table, dict) else table
    made = section(RealStamps, {"stamps": numbers}, "stamps")
    folder = table.get("folder")
    if not isinstance(folder, str) or not folder.strip() or not 0.0 < made.share <= 1.0:
        expected = 'folder = "..." and a share above 0, of 1 at most'
        raise InputError(f"[stamps] folder = {folder!r}, share = {made.share!r}", expected=expected, mend="Mend the recipe.")
    return dataclasses.replace(made, folder=str(beside / Path(folder).expanduser()))


def template(recipe: MorphologyRecipe) -> TrainedMorphology:
    """A model of the right shapes, to be filled with weights."""
    return eqx.filter_eval_shape(lambda: _networks(recipe))


def _networks(recipe: MorphologyRecipe) -> TrainedMorphology:
    k, sizes = jax.random.split(jax.random.key(recipe.schedule.seed)), recipe.sizes
    widths, flow_widths = (tuple(int(w) for w in some) for some in (sizes.widths, sizes.flow_widths))
    return TrainedMorphology(denoiser.build(k[0], widths), wavelet_flow.build(k[1], flow_widths, sizes.flow_layers))


def assumptions(recipe: MorphologyRecipe) -> dict:
    """What is simulated, as JSON values."""
    facts = {"galaxies": dataclasses.asdict(recipe.galaxies), "dither": recipe.sizes.dither}
    return json.loads(json.dumps(facts))


def task(dither: float) -> train.Task:
    """Both losses: that of the denoiser, and the flow's -ln p a pixel of x with a dither."""

    def standardise(model: TrainedMorphology, some: Images) -> TrainedMorphology:
        noisy = some.x + dither * jax.random.normal(jax.random.key(0), some.x.shape)
        first = eqx.tree_at(lambda d: d.units, model.denoiser, denoiser.Units(jnp.mean(some.x), jnp.std(some.x)))
        return TrainedMorphology(first, wavelet_flow.standardise(model.flow, noisy))

    def loss(model: TrainedMorphology, x: Float[Array, "galaxy y x"], seed: Array) -> Array:
        # Of a batch's own numbers: fresh noise at each step, and the same in a run that was resumed.
        k = jax.random.split(jax.random.key(jnp.sum(seed)))
        error = jax.vmap(model.denoiser.loss)(jax.random.split(k[0], len(x)), x)
        noisy = x + dither * jax.random.normal(k[1], x.shape)
        return jnp.mean(error) - jnp.mean(jax.vmap(model.flow.log_prob)(noisy)) / x[0].size

    return train.Task(("x", "seed"), ("denoiser_units", "flow_units"), standardise, loss)


def run(recipe: MorphologyRecipe, out: Path, *, resume: bool = True, progress: Callable | None = None) -> Path:
    """Train a recipe's networks in the folder `out`, which then holds weights.safetensors and card.json; returns it.

    Raises
    ------
    InputError
        If the folder holds a run of another recipe or of other stamps; of a recipe with `[stamps]` also if there are none.
    """
    simulate, facts = _source(recipe)
    model, history = train.train(
        _networks(recipe), simulate, recipe.schedule, Path(out), {"recipe": recipe.text, "slipher": version("slipher"), **facts},
        task=task(recipe.sizes.dither), resume=resume, progress=progress,
    )  # fmt: skip
    pack(model, recipe, history, Path(out), history[-1]["seconds"])
    return Path(out)


def _source(recipe: MorphologyRecipe) -> tuple[Callable[[int, int, int], Images], dict]:
    """What makes a recipe's galaxies, and what decides them."""
    simulate, facts = morphology_set.simulator(recipe.galaxies), assumptions(recipe)
    if recipe.stamps is None:
        return simulate, facts
    stamps, share = morphology_stamps.read(Path(recipe.stamps.folder)), recipe.stamps.share

    def both(seed: int, number: int, n: int) -> Images:
        return morphology_stamps.mixed(simulate(seed, number, n), np.random.default_rng([seed, number, 1]), stamps, share, recipe.galaxies)

    return both, {**facts, "stamps": stamps.identity()}


def pack(model: TrainedMorphology, recipe: MorphologyRecipe, history: list[dict], out: Path, seconds: float) -> None:
    """Write weights, in half precision, and card."""
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), eqx.filter(model, eqx.is_inexact_array))
    units = (model.denoiser.units, model.flow.units)
    half = eqx.tree_at(lambda m: (m.denoiser.units, m.flow.units), half, units)
    packing.write_model(half, recipe, history, out, seconds, {"kind": KIND, **assumptions(recipe)})
