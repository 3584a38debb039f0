"""Training: a run that was killed anywhere ends like one that was not, and a known posterior is learnt."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_network import build

from slipher import files
from slipher.errors import InputError, ModelFileError
from slipher.networks import posterior_flow, train, weights

# --- a problem whose posterior is known -------------------------------------------------------------------------------

MIX = np.array([[1.0, 0.4], [-0.3, 0.8], [0.5, 0.5]])  # features = MIX u + noise
NOISE = np.array([0.5, 0.7, 1.0])
MASS = np.array([0.6, -0.4])  # log mass = 1 + MASS u + noise that the features do not know
MASS_NOISE = 0.2
PRECISION = np.eye(2) + (MIX.T / NOISE**2) @ MIX
COVARIANCE = np.linalg.inv(PRECISION)


class Simulated(NamedTuple):
    """What a simulator gives."""

    features: jax.Array
    u: jax.Array
    log_mass: jax.Array


def simulate(seed: int, number: int, n: int) -> Simulated:
    rng = np.random.default_rng([seed, number])
    u = rng.standard_normal((n, 2))
    features = u @ MIX.T + NOISE * rng.standard_normal((n, 3))
    log_mass = 1.0 + u @ MASS + MASS_NOISE * rng.standard_normal(n)
    return Simulated(*(jnp.asarray(x, jnp.float32) for x in (features, u, log_mass)))


def posterior_mean(features: np.ndarray) -> np.ndarray:
    """E[u | features] [galaxy, parameter] of the linear Gaussian problem; its covariance is COVARIANCE."""
    return (features / NOISE**2) @ MIX @ COVARIANCE


@pytest.fixture(scope="module")
def network() -> posterior_flow.PosteriorFlow:
    return build()


# --- killed and resumed -----------------------------------------------------------------------------------------------

SCHEDULE = train.Schedule(
    seed=3, chunks=5, chunk_size=24, steps=2, batch=16, window=2, checkpoint_every=2,
    validation_chunks=2, validation_size=16,
)  # fmt: skip
CONFIGURATION = {"recipe": "toy"}


@pytest.fixture(autouse=True, scope="module")
def _one_compilation() -> Iterator[None]:
    """Runs of as many steps at the same rate share their optimiser, and so their compiled step."""
    optimisers, make_optimiser = {}, train.optimiser_of

    def optimiser_of(schedule: train.Schedule) -> optax.GradientTransformation:
        key = (schedule.total_steps, schedule.learning_rate)
        return optimisers.setdefault(key, make_optimiser(schedule))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "optimiser_of", optimiser_of)
        patch.setattr(train, "_make_step", cache(train._make_step))
        yield


def run(
    network: posterior_flow.PosteriorFlow, folder: Path, simulator: train.Simulator = simulate, **options: object
) -> tuple[dict[str, np.ndarray], list]:
    """The averaged weights by name, and the history."""
    trained, history = train.train(network, simulator, SCHEDULE, folder, CONFIGURATION, **options)
    return {name: np.asarray(leaf) for name, leaf in weights.named_leaves(trained).items()}, history


class Whole(NamedTuple):
    """The uninterrupted run: its end, and its folder at every moment at which it may be killed."""

    weights: dict[str, np.ndarray]
    history: list
    folder: Path
    moments: dict[str, Path]


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory) -> Whole:
    """Train once, copying the folder whenever a chunk begins, and before and after every file appears."""
    folder, copies = tmp_path_factory.mktemp("whole") / "run", tmp_path_factory.mktemp("moments")
    moments = {}

    def photograph(what: str) -> None:
        name = f"{len(moments):02d} {what}"
        moments[name] = Path(shutil.copytree(folder, copies / name))

    @contextmanager
    def watched(path: Path) -> Iterator[Path]:
        with files.write_atomically(path) as temporary:
            yield temporary
            photograph(f"{path.name} written, not yet in its place")
            half = moments[list(moments)[-1]] / temporary.relative_to(folder)
            half.write_bytes(temporary.read_bytes()[: temporary.stat().st_size // 2])
        photograph(f"{path.name} in its place")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "write_atomically", watched)
        end = run(network, folder, progress=lambda chunk, *_: photograph(f"chunk {chunk} done"))
    return Whole(*end, folder, moments)


def timeless(history: list) -> list:
    """A history without the clock's column."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same(got: tuple[dict[str, np.ndarray], list], whole: Whole, why: str = "") -> None:
    assert timeless(got[1]) == timeless(whole.history), why
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(got[0][name], array, err_msg=f"{why}: {name}")


class Resumed(NamedTuple):
    """A run that went on from one moment: its end, the chunks it simulated, and its last checkpoint's checksum."""

    end: tuple[dict[str, np.ndarray], list]
    asked: list[int]
    checkpoint: str


@pytest.fixture(scope="module")
def resumed(network, whole, tmp_path_factory) -> dict[str, Resumed]:
    """The run, resumed from every moment."""
    found, place = {}, tmp_path_factory.mktemp("resumed")
    for name, moment in whole.moments.items():
        folder, asked = Path(shutil.copytree(moment, place / name)), []

        def counted(seed: int, number: int, n: int, asked: list = asked) -> Simulated:
            asked.extend([number] if seed == SCHEDULE.seed else [])
            return simulate(seed, number, n)

        found[name] = Resumed(run(network, folder, counted), asked, weights.sha256(folder / "checkpoint.safetensors"))
    return found


def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(whole, resumed):
    """Also between the files of one checkpoint, and with half-written temporary files lying about."""
    assert len(resumed) > 25
    for name, other in resumed.items():
        assert_same(other.end, whole, name)
        assert other.checkpoint == weights.sha256(whole.folder / "checkpoint.safetensors")


def test_a_resumed_run_simulates_nothing_twice(resumed):
    """Whatever its steps still need is on disk."""
    on_disk = set()
    for name, other in resumed.items():
        if name.endswith("npz in its place"):
            on_disk.add(int(name.split()[1].removesuffix(".npz")))
        assert set(other.asked) == set(range(SCHEDULE.chunks)) - on_disk, name


def test_a_run_that_is_killed_again_and_again_gets_there(network, whole, tmp_path):
    class Killed(BaseException):
        """Not an error that anything may catch."""

    def kill(chunk: int, *_: object) -> None:
        if chunk % SCHEDULE.checkpoint_every == 1:  # just before the next checkpoint, the worst moment
            raise Killed

    assert SCHEDULE.chunks % 2 == 1
    with pytest.raises(Killed):  # the first chunk is never followed by a checkpoint
        run(network, tmp_path, progress=kill)
    done = []
    for first in (2, 4):  # each start gets over one checkpoint
        with pytest.raises(Killed):
            run(network, tmp_path, progress=lambda chunk, *_, first=first: kill(chunk if chunk > first else 0))
        done.append(json.loads((tmp_path / "history.json").read_text())[-1]["chunk"])
    assert done == [2, 5]
    assert_same(run(network, tmp_path), whole)


def test_a_finished_run_is_left_as_it_is(network, whole, tmp_path):
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert_same(run(network, folder), whole)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_window_on_disk_does_not_grow_with_the_run(whole):
    for moment in whole.moments.values():
        kept = [path for path in (moment / "window").glob("*.npz") if not path.name.startswith(".")]
        assert len(kept) <= SCHEDULE.window + SCHEDULE.checkpoint_every + 1


def test_the_history_has_a_row_for_every_checkpoint(whole):
    assert [row["chunk"] for row in whole.history] == [2, 4, 5]
    assert all(np.isfinite([row["loss"], row["validation"]]).all() for row in whole.history)
    assert json.loads((whole.folder / "history.json").read_text()) == whole.history


def test_the_clock_goes_on_where_a_killed_run_left_it(network, whole, tmp_path):
    folder = Path(shutil.copytree(next(moment for name, moment in whole.moments.items() if "chunk 4 done" in name), tmp_path / "run"))
    earlier = json.loads((folder / "history.json").read_text())
    earlier[-1]["seconds"] += 1000.0
    (folder / "history.json").write_text(json.dumps(earlier))
    _, history = run(network, folder)
    assert 1000.0 + whole.history[1]["seconds"] < history[-1]["seconds"] < 1100.0 + whole.history[1]["seconds"]
    assert np.all(np.diff([row["seconds"] for row in whole.history]) > 0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(network, whole, tmp_path):
    assert_same(run(network, tmp_path / "again"), whole)
    other = train.train(network, simulate, dataclasses.replace(SCHEDULE, seed=4), tmp_path / "other", CONFIGURATION)[0]
    assert all(np.any(np.asarray(leaf) != whole.weights[name]) for name, leaf in weights.named_leaves(other).items())


@pytest.mark.slow
def test_a_process_that_is_killed_for_good_resumes_to_the_same_weights(network, whole, tmp_path):
    """SIGKILL amid the writing of the second checkpoint, in a process of its own."""
    folder = tmp_path / "run"
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_train
from pathlib import Path
from slipher.networks import train, weights
save, calls = weights.save_arrays, []
def save_or_die(tree, path):
    calls.append(path)
    save(tree, path)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
weights.save_arrays = save_or_die
test_train.run(test_train.build(), Path({str(folder)!r}))
"""
    ended = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert ended.returncode == -signal.SIGKILL
    assert [row["chunk"] for row in json.loads((folder / "history.json").read_text())] == [2, 4]
    assert_same(run(network, folder), whole)


# --- refused ----------------------------------------------------------------------------------------------------------

CHANGES = {
    "another recipe": ({"recipe": "toy, changed"}, {}),
    "a setting more": ({**CONFIGURATION, "extra": 1}, {}),
    "another learning rate": (CONFIGURATION, {"learning_rate": 2e-3}),
    "more chunks": (CONFIGURATION, {"chunks": 9}),
    "another seed": (CONFIGURATION, {"seed": 4}),
    "another validation": (CONFIGURATION, {"validation_size": 8}),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_a_run_is_refused_if_its_configuration_changed(network, whole, tmp_path, name):
    configuration, schedule = CHANGES[name]
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    changed = dataclasses.replace(SCHEDULE, **schedule)
    with pytest.raises(InputError, match=r"holds a run of another configuration; expected .*the same recipe to resume"):
        train.train(network, simulate, changed, folder, configuration)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_is_not_resumed_against_the_users_wish(network, whole, tmp_path):
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    with pytest.raises(InputError, match="holds a run; expected an empty folder"):
        run(network, folder, resume=False)


def test_a_checkpoint_of_another_network_is_refused(whole, tmp_path):
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    other = build(width=17)
    with pytest.raises(ModelFileError, match="does not fit this architecture"):
        run(other, folder)


def test_a_damaged_checkpoint_is_refused_rather_than_begun_again(network, whole, tmp_path):
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    content = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match=r"checkpoint\.safetensors cannot be read"):
        run(network, folder)


# --- what is learnt ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt(network, tmp_path_factory) -> tuple[posterior_flow.PosteriorFlow, list]:
    schedule = train.Schedule(
        seed=1, chunks=40, chunk_size=512, steps=20, batch=256, window=40, learning_rate=5e-3, average=0.99,
        checkpoint_every=20, validation_chunks=4, validation_size=512,
    )  # fmt: skip
    return train.train(network, simulate, schedule, tmp_path_factory.mktemp("learnt"), {})


@pytest.fixture(scope="module")
def fresh() -> Simulated:
    """Galaxies that no run has seen."""
    return simulate(99, 0, 4000)


def test_a_known_posterior_is_learnt_to_a_fiftieth_of_a_nat(learnt, fresh):
    """Mean over galaxies of log p - log q of (u, log M) at the truth: the Kullback-Leibler divergence."""
    network, _ = learnt
    loss = eqx.filter_jit(lambda n, s: jax.vmap(n.loss)(s.u, s.log_mass, s.features))(network, fresh)
    # The loss leaves out the Gaussian's constant and takes masses in the simulations' standard deviations.
    log_q = -np.asarray(loss, np.float64) - 0.5 * np.log(2 * np.pi) - np.log(float(network.mass_scale))
    off = np.asarray(fresh.u) - posterior_mean(np.asarray(fresh.features))
    log_p = -0.5 * np.einsum("ni,ij,nj->n", off, PRECISION, off) - np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(PRECISION)[1]
    pull = (np.asarray(fresh.log_mass) - 1.0 - np.asarray(fresh.u) @ MASS) / MASS_NOISE
    log_p += -0.5 * pull**2 - 0.5 * np.log(2 * np.pi) - np.log(MASS_NOISE)
    assert -0.006 < np.mean(log_p - log_q) < 0.02  # the mean of these 4,000 is known to 0.0015


@eqx.filter_jit
def draw(network: posterior_flow.PosteriorFlow, features: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return network.sample(jax.random.key(7), network.context(features), 4000)


@pytest.mark.parametrize("features", [(0.0, 0.0, 0.0), (1.2, -0.8, 0.9), (-1.5, 1.0, 0.2)])
def test_draws_have_the_known_mean_and_covariance(learnt, features):
    network, _ = learnt
    u, log_mass, _ = draw(network, jnp.array(features))
    sd = np.sqrt(np.diagonal(COVARIANCE))
    mean = posterior_mean(np.array(features))
    np.testing.assert_allclose((np.mean(u, 0) - mean) / sd, 0.0, atol=0.15)
    np.testing.assert_allclose(np.std(u, 0) / sd, 1.0, atol=0.1)
    correlation = COVARIANCE[0, 1] / np.prod(sd)
    assert np.corrcoef(np.asarray(u).T)[0, 1] == pytest.approx(correlation, abs=0.1)
    assert np.mean(log_mass) == pytest.approx(1.0 + MASS @ mean, abs=0.05)
    assert np.std(log_mass) == pytest.approx(np.sqrt(MASS @ COVARIANCE @ MASS + MASS_NOISE**2), rel=0.1)


def test_the_scales_of_input_and_mass_are_no_weights(learnt):
    """They stay what the validation set says, however long the training."""
    network, _ = learnt
    seen = [simulate(1_000_004, i, 512) for i in range(4)]
    features, log_mass = (np.concatenate([np.asarray(getattr(s, k)) for s in seen]) for k in ("features", "log_mass"))
    np.testing.assert_allclose(network.shift, features.mean(0), atol=1e-5)
    np.testing.assert_allclose(network.scale, features.std(0), rtol=1e-5)
    np.testing.assert_allclose([network.mass_shift, network.mass_scale], [log_mass.mean(), log_mass.std()], rtol=1e-5)


def test_the_validation_loss_falls(learnt):
    losses = [row["validation"] for row in learnt[1]]
    assert losses[-1] < losses[0]
