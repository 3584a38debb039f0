"""Training of emulators: components against numpy's SVD, runs that are killed anywhere, and a known function learnt."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher import files
from slipher.errors import ModelFileError
from slipher.networks import emulator, train, weights
from slipher.networks import emulator_training as training

# --- principal components --------------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
# Far from zero, and of scales over four decades: what a streaming covariance gets wrong first.
SPECTRA = -300.0 + (RNG.standard_normal((400, 12)) * np.logspace(0, -4, 12)) @ RNG.standard_normal((12, 40))
RANGES = [slice(0, 15), slice(15, 40)]


def learnt(pieces: list[np.ndarray], n: int = 6) -> tuple[tuple[emulator.Block, ...], np.ndarray]:
    return training.learn_blocks(pieces, RANGES, n)


def test_components_are_those_of_the_singular_value_decomposition():
    blocks, spread = learnt(np.array_split(SPECTRA, 7))
    for i, (block, pixels) in enumerate(zip(blocks, RANGES)):
        centred = SPECTRA[:, pixels] - SPECTRA[:, pixels].mean(0)
        _, values, vectors = np.linalg.svd(centred, full_matrices=False)
        np.testing.assert_allclose(spread[6 * i : 6 * i + 6], values[:6] / np.sqrt(len(SPECTRA)), rtol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(np.asarray(block.basis) * vectors[:6], 1)), 1.0, atol=1e-5)
        np.testing.assert_allclose(block.mean, SPECTRA[:, pixels].mean(0), rtol=1e-6)


def test_components_do_not_depend_on_how_the_rows_come():
    whole, spread = learnt([SPECTRA])
    for pieces in (np.array_split(SPECTRA, 400), [SPECTRA[:0], SPECTRA[:3], SPECTRA[3:], SPECTRA[:0]], [SPECTRA[::-1]]):
        blocks, again = learnt(pieces)
        np.testing.assert_allclose(again, spread, rtol=1e-8)
        for a, b in zip(blocks, whole):
            np.testing.assert_allclose(a.basis, b.basis, atol=1e-5)


def test_with_all_components_spectra_are_exact_and_coefficients_standard():
    blocks, spread = learnt([SPECTRA], n=40)
    assert [len(b.basis) for b in blocks] == [12, 12]  # no more than the rows vary in
    z = training.coefficients(SPECTRA, blocks, RANGES)
    np.testing.assert_allclose(z.std(0), spread, rtol=1e-3, atol=1e-6)
    back = np.concatenate([np.asarray(b.mean) + z[:, 12 * i : 12 * i + 12] @ np.asarray(b.basis) for i, b in enumerate(blocks)], 1)
    np.testing.assert_allclose(back, SPECTRA, rtol=1e-6)


# --- schedule --------------------------------------------------------------------------------------------------------


def test_batches_grow_and_rates_fall():
    schedule = training.Schedule(epochs=100, stages=5, first_batch=16, last_batch=256, first_rate=1e-2, last_rate=1e-5)
    assert [schedule.batch(e) for e in (0, 19, 20, 40, 60, 80, 99)] == [16, 16, 32, 64, 128, 256, 256]
    rates = [schedule.rate(e) for e in range(100)]
    assert rates[0] == 1e-2
    assert np.all(np.diff(rates) < 0)
    assert 1e-5 < rates[-1] < 2e-5


def test_every_row_is_seen_once_an_epoch_in_another_order():
    schedule = training.Schedule(epochs=4, stages=1, first_batch=8)
    orders = [training._order(schedule, epoch, 40) for epoch in (0, 1)]
    assert all(sorted(o.ravel()) == list(range(40)) for o in orders)
    assert not np.array_equal(*orders)
    assert training._order(schedule, 0, 5).shape == (1, 5)  # a batch is no larger than the table


# --- killed and resumed ----------------------------------------------------------------------------------------------

SCHEDULE = training.Schedule(seed=3, epochs=5, stages=2, first_batch=8, last_batch=16, checkpoint_every=2)
SPREAD = np.array([1.0, 0.2, 0.01])


def target(x: np.ndarray) -> np.ndarray:
    """A smooth function of two parameters."""
    return np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 0] * x[:, 1], np.exp(-(x[:, 1] ** 2))], 1)


def rows(n: int, seed: int) -> training.Rows:
    x = np.random.default_rng(seed).uniform(-1.7, 1.7, (n, 2))
    return training.Rows(jnp.asarray(x, jnp.float32), jnp.asarray(target(x), jnp.float32))


TRAINING, HELD_BACK = rows(50, 1), rows(30, 2)


def run(folder: Path, width: int = 6, **options: object) -> tuple[dict[str, np.ndarray], list]:
    network = emulator.build(jax.random.key(0), 2, 3, width=width, depth=2)
    folder.mkdir(exist_ok=True)
    trained, history = training.fit(network, TRAINING, HELD_BACK, SPREAD, SCHEDULE, folder, **options)
    return {name: np.asarray(leaf) for name, leaf in weights.named_leaves(trained).items()}, history


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, np.ndarray], list, dict[str, Path]]:
    """The uninterrupted run's end, and its folder at every moment at which it may be killed."""
    folder, copies, moments = tmp_path_factory.mktemp("whole") / "run", tmp_path_factory.mktemp("moments"), {}

    def photograph(what: str) -> None:
        name = f"{len(moments):02d} {what}"
        moments[name] = Path(shutil.copytree(folder, copies / name))

    @contextmanager
    def watched(path: Path) -> Iterator[Path]:
        with files.write_atomically(path) as temporary:
            yield temporary
            photograph(f"{path.name} written, not yet in its place")
        photograph(f"{path.name} in its place")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "write_atomically", watched)
        end = run(folder, progress=lambda epoch, *_: photograph(f"epoch {epoch} done"))
    return *end, moments


def test_a_run_killed_at_any_moment_resumes_to_the_identical_weights(whole, tmp_path):
    """Also between the files of a checkpoint, and within a stage of batches."""
    expected, history, moments = whole
    assert len(moments) == 5 + 4 * 3
    for name, moment in moments.items():
        found, again = run(Path(shutil.copytree(moment, tmp_path / name)))
        assert again == history, name
        for leaf, array in expected.items():
            np.testing.assert_array_equal(found[leaf], array, err_msg=f"{name}: {leaf}")


def test_the_history_has_a_row_for_every_checkpoint(whole):
    assert [row["epoch"] for row in whole[1]] == [2, 4, 5]
    assert all(np.isfinite([row["loss"], row["validation"]]).all() for row in whole[1])


def test_a_checkpoint_of_another_network_is_refused(whole, tmp_path):
    folder = Path(shutil.copytree(list(whole[2].values())[-1], tmp_path / "run"))
    with pytest.raises(ModelFileError, match="does not fit this architecture"):
        run(folder, width=7)


def test_a_finished_run_is_left_as_it_is(whole, tmp_path):
    folder = Path(shutil.copytree(list(whole[2].values())[-1], tmp_path / "run"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert json.loads((folder / "history.json").read_text()) == whole[1]


# --- what is learnt --------------------------------------------------------------------------------------------------


def test_a_known_function_is_learnt_to_a_per_cent_and_better_than_at_the_start(tmp_path):
    schedule = training.Schedule(epochs=120, stages=1, first_batch=64, last_batch=64, first_rate=5e-3, checkpoint_every=20)
    network = emulator.build(jax.random.key(1), 2, 3, width=32, depth=2)
    fresh = rows(500, 9)
    before = training.rms_error(network, fresh, SPREAD)
    trained, history = training.fit(network, rows(1000, 8), HELD_BACK, SPREAD, schedule, tmp_path)
    after = training.rms_error(trained, fresh, SPREAD)
    assert after < 0.01 < 0.5 < before  # of ln flux whose standard deviation is one
    assert history[-1]["validation"] < history[0]["validation"]


def test_the_error_is_that_of_ln_flux():
    """Against a sum written out: components are orthonormal, so that pixels need not be asked."""
    network = emulator.build(jax.random.key(1), 2, 3, width=8, depth=1)
    predicted = np.stack([np.asarray(network(x)) for x in HELD_BACK.x])
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((7, 3)))[0].T
    residual = ((predicted - np.asarray(HELD_BACK.z)) * SPREAD) @ basis
    assert training.rms_error(network, HELD_BACK, SPREAD) == pytest.approx(np.sqrt((residual**2).sum(1).mean()), rel=1e-5)
