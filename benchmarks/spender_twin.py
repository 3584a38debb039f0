"""spender as a peer: `python benchmarks/spender_twin.py --peer-python PATH [--minutes 90] [--spectra 40000] [--out runs/spender]`.

The published autoencoder of SDSS spectra (Melchior et al. 2023, arXiv:2211.07890; Liang et al. 2023, arXiv:2302.02496), trained by this
script on slipher's mocks of SDSS. It needs torch, which slipher does without, and therefore runs in an environment of its own:

    python -m venv ENV && ENV/bin/pip install torch spender
    python benchmarks/spender_twin.py --peer-python ENV/bin/python

What is spender's own: architecture, instrument (its grid of 3784-9332 A and its mask of sky lines), augmentation and losses, of whose
version 0.3 similarity and consistency are scale-invariant; and of its training script for the second paper the weights of the losses, the
clipped gradients, Adam over one cycle and 7,000 rest wavelengths from 2359 to 9332 A. Spectra are normalised by their median over rest
5300-5850 A, as its users do, and predictions have their likeliest amplitude. What is this script's: as many latents as slipher has; the
clock in place of epochs; fidelity alone at first, for the other losses ask for a second pass through the encoder; and to the peer's
advantage twice the learning rate and a floor in the errors of the fidelity that falls from 10 to 1 %, without which spectra of S/N 100
would be all that counts: with either it learnt faster here.

Mocks come in small chunks, for a chunk has one redshift. Their pixels (1e-4 dex, as spender's) are put on its grid as they are: each
spectrum's redshift takes up the part of a pixel by which they are off. Both processes use two threads.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of slipher's side; `latents` says why

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

LOG_START, LOG_STEP, N_GRID = 3.578, 1e-4, 3921  # spender's SDSS instrument
REST_AA, N_REST = (2359.0, 9332.0), 7000
NORM_AA = (5300.0, 5850.0)  # rest wavelengths over whose median a spectrum is one
CHUNK = 64  # galaxies that share a redshift
SEED = 55
THREADS = 2
BATCH, RATE, CLIP = 32, 2e-3, 1.0
WARM_UP, FIRST_RATE = 0.3, 0.04  # share of the time to the highest rate, and the rate at first over it
FIDELITY_ALONE = 0.5  # share of the time
FLOOR = (0.1, 0.01)  # of the median flux, beside the noise: at first, and from `FIDELITY_ALONE` on
HELD_BACK, LOOKS = 512, 10  # spectra that no step sees, and how often they are looked at
ARRAYS = ("flux", "ivar", "redshift")
STATE, CARD, MOCKS = "spender.pt", "card.json", "mocks"


# --- spectra, on slipher's side ---------------------------------------------------------------------------------------


class Spectra(NamedTuple):
    """On spender's grid, flux in any unit; `redshift` is that at which its pixels are the spectrum's."""

    flux: np.ndarray  # [galaxy, pixel]
    ivar: np.ndarray  # [galaxy, pixel]
    redshift: np.ndarray  # [galaxy]


def offset(rest_aa: np.ndarray, redshift: float) -> tuple[int, float]:
    """Where on spender's grid the first of rest wavelengths (1e-4 dex apart) falls, and the redshift at which it does exactly."""
    place = (np.log10(float(rest_aa[0]) * (1.0 + redshift)) - LOG_START) / LOG_STEP
    first = round(place)
    return first, (1.0 + redshift) * 10 ** ((first - place) * LOG_STEP) - 1.0


def onto_grid(flux: np.ndarray, ivar: np.ndarray, rest_aa: np.ndarray, redshift: float) -> Spectra:
    """Spectra [galaxy, pixel] of one redshift on spender's grid; no weight where they do not reach."""
    first, aligned = offset(rest_aa, redshift)
    there, here = _overlap(first, flux.shape[1])
    out = [np.zeros((len(flux), N_GRID), np.float32) for _ in range(2)]
    for on_grid, array in zip(out, (flux, ivar), strict=True):
        on_grid[:, there] = np.asarray(array)[:, here]
    return Spectra(*out, np.full(len(flux), aligned, np.float32))


def from_grid(values: np.ndarray, rest_aa: np.ndarray, redshift: float) -> np.ndarray:
    """Values [galaxy, spender's pixel] at the pixels that `onto_grid` took; zero beyond the grid."""
    there, here = _overlap(offset(rest_aa, redshift)[0], len(rest_aa))
    out = np.zeros((len(values), len(rest_aa)), np.float32)
    out[:, here] = values[:, there]
    return out


def _overlap(first: int, n: int) -> tuple[slice, slice]:
    """The pixels of the grid, and of n pixels that begin at the grid's pixel `first`, which are the same."""
    low, high = max(first, 0), min(first + n, N_GRID)
    return slice(low, high), slice(low - first, high - first)


def of_chunk(seen, setting) -> Spectra:
    """A chunk of `slipher.models.latent_set` on spender's grid."""
    return onto_grid(seen.pixels.flux, seen.pixels.ivar, np.asarray(setting.errors.rest_aa, np.float64), float(setting.redshift))


def chi2_per_pixel(spectra: Spectra, model: np.ndarray) -> np.ndarray:
    """Of models [galaxy, pixel] on the same grid, over the pixels where both are; NaN where there are none."""
    weight = np.where(model != 0, spectra.ivar, 0.0)
    n = np.sum(weight > 0, 1)
    return np.sum(weight * (spectra.flux - model) ** 2, 1) / np.where(n, n, np.nan)


def of_sdss(simulator):
    """The same simulator with spectra of SDSS alone."""
    from dataclasses import replace

    return simulator._replace(population=replace(simulator.population, surveys={"sdss": 1.0}))


# --- the peer, as slipher's side sees it ------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a trained spender says of spectra: `flux` in their unit, zero outside of its rest wavelengths; times a spectrum, in ms."""

    latents: np.ndarray  # [galaxy, latent]
    flux: np.ndarray  # [galaxy, pixel]
    encode_ms: float
    decode_ms: float


class Peer:
    """A trained spender, at work in its own interpreter until it is closed."""

    def __init__(self, python: str, folder: Path):
        self.card = json.loads((folder / CARD).read_text())
        self._room = tempfile.TemporaryDirectory()
        self._worker = subprocess.Popen(
            [python, __file__, "--serve", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )

    def ask(self, spectra: Spectra) -> Answer:
        """Latents and predictions of spectra."""
        question, answer = (Path(self._room.name) / name for name in ("question.npz", "answer.npz"))
        np.savez(question, **spectra._asdict())
        self._worker.stdin.write(f"{question}\t{answer}\n")
        self._worker.stdin.flush()
        if self._worker.stdout.readline().strip() != "done":
            raise RuntimeError(f"spender stopped with exit status {self._worker.wait()}; its own words are above")
        with np.load(answer) as found:
            return Answer(found["latents"], found["flux"], float(found["encode_ms"]), float(found["decode_ms"]))

    def close(self) -> None:
        """End the worker."""
        self._worker.stdin.close()
        self._worker.wait()
        self._room.cleanup()


@contextlib.contextmanager
def opened(python: str | None, folder: Path) -> Iterator[Peer | None]:
    """The peer of a folder; None, and a word why, where there is no interpreter or nothing trained."""
    if python is None or not (folder / CARD).is_file():
        print("spender: not installed (--peer-python)" if python is None else f"spender: not trained ({folder})", flush=True)
        yield None
        return
    peer = Peer(python, folder)
    try:
        yield peer
    finally:
        peer.close()


def _environment() -> dict[str, str]:
    """Two threads, that sleep while they wait: on a machine that others use, those that spin made a step four times as long."""
    return {**os.environ, "OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def simulate(simulator, n: int, folder: Path, seed: int = SEED) -> None:
    """Write mocks of SDSS for training: an .npy file an array; nothing is done where as many are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    n -= n % CHUNK
    with contextlib.suppress(OSError):
        if len(np.load(folder / "redshift.npy")) == n:
            return
    shapes = {"flux": (n, N_GRID), "ivar": (n, N_GRID)}
    flux, ivar = (np.lib.format.open_memmap(folder / f"{k}.npy", "w+", np.float32, shape) for k, shape in shapes.items())
    redshift, source = np.empty(n, np.float32), of_sdss(simulator)
    for i in range(n // CHUNK):
        setting, seen, _ = source.once(seed, i, CHUNK)
        some = slice(i * CHUNK, (i + 1) * CHUNK)
        flux[some], ivar[some], redshift[some] = of_chunk(seen, setting)
        if i % 50 == 0:
            print(f"{i * CHUNK} of {n} mocks", flush=True)
    for array in (flux, ivar):
        array.flush()
    np.save(folder / "redshift.npy", redshift)  # last: it says that the others are whole


def train(python: str, folder: Path, minutes: float, latents: int) -> dict:
    """Train spender on the mocks in a folder; its card."""
    asked = [python, __file__, "--train", str(folder), "--minutes", str(minutes), "--latents", str(latents)]
    subprocess.run(asked, check=True, env=_environment())
    return json.loads((folder / CARD).read_text())


# --- in the peer's interpreter ----------------------------------------------------------------------------------------


def _built(latents: int):
    """spender's autoencoder and instrument."""
    import torch
    from spender import SpectrumAutoencoder
    from spender.data.sdss import SDSS

    class Autoencoder(SpectrumAutoencoder):
        def encode(self, x):
            """In half precision while it is trained, as spender's own scripts do on their devices: twice as fast here."""
            with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
                return self.encoder(x).float()

    torch.set_num_threads(THREADS)
    instrument = SDSS()
    if len(instrument.wave_obs) != N_GRID:
        raise RuntimeError(f"spender's grid has {len(instrument.wave_obs)} wavelengths, where version 0.3 has {N_GRID}")
    return Autoencoder(instrument, torch.linspace(*REST_AA, N_REST), n_latent=latents), instrument


def _prepared(flux: np.ndarray, ivar: np.ndarray, redshift: np.ndarray):
    """Tensors of flux and ivar normalised as spender's reader does, sky lines masked; redshifts; norms [galaxy, 1]."""
    import torch
    from spender.data.sdss import SDSS

    wave = 10 ** (LOG_START + LOG_STEP * np.arange(N_GRID)) / (1.0 + redshift[:, None])
    ivar = np.where(np.asarray(SDSS._skyline_mask), 0.0, ivar)
    inside = (ivar > 0) & (wave > NORM_AA[0]) & (wave < NORM_AA[1])
    inside |= ~inside.any(1, keepdims=True) & (ivar > 0)
    norm = np.nanmedian(np.where(inside, flux, np.nan), axis=1, keepdims=True)
    norm = np.where(norm > 0, norm, np.abs(flux).mean(1, keepdims=True) + 1e-30)
    return tuple(torch.from_numpy(np.asarray(x, np.float32)) for x in (flux / norm, ivar * norm**2, redshift, norm))


def _rate(done: float) -> float:
    """Learning rate over its highest when a share of the time has passed: one cycle of cosines, as torch's OneCycleLR."""
    if done < WARM_UP:
        return FIRST_RATE + (1.0 - FIRST_RATE) * 0.5 * (1.0 - np.cos(np.pi * done / WARM_UP))
    return 0.5 * (1.0 + np.cos(np.pi * min((done - WARM_UP) / (1.0 - WARM_UP), 1.0))) + 1e-4


def _losses(model, instrument, batch, done: float):
    """Fidelity alone, or the sum of the three losses with their usual weights, a spectrum."""
    from spender.loss import LossConfig, get_losses

    flux, ivar, redshift = batch
    whole = done > FIDELITY_ALONE
    floor = FLOOR[0] * (FLOOR[1] / FLOOR[0]) ** min(done / FIDELITY_ALONE, 1.0)
    floored = ivar / (1.0 + floor**2 * ivar)
    augmented = instrument.augment_spectra if whole else None
    fidelity, similarity, consistency = get_losses(
        model, instrument, (flux, floored, redshift), aug_fct=augmented, similarity=whole, consistency=whole
    )
    config = LossConfig()
    return (fidelity + config.similarity_amp * similarity + config.consistency_amp * consistency) / len(flux)


def _validation(model, instrument, arrays) -> float:
    """Median chi^2 a pixel of the spectra held back."""
    spectra = Spectra(*(np.array(x[-HELD_BACK:]) for x in arrays))
    model.eval()
    found = _answers(model, instrument, spectra)
    model.train()
    return float(np.nanmedian(chi2_per_pixel(spectra, found["flux"])))


def _train(folder: Path, minutes: float, latents: int) -> None:
    """Train for so many minutes of wall time; weights and card go to the folder."""
    import torch

    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model, instrument = _built(latents)
    arrays = [np.load(folder / MOCKS / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    history, steps, began = [], 0, time.perf_counter()
    while (done := (time.perf_counter() - began) / (60.0 * minutes)) < 1.0:
        some = np.sort(rng.choice(len(arrays[0]) - HELD_BACK, BATCH, replace=False))
        batch = _prepared(*(np.array(x[some]) for x in arrays))[:3]
        for group in optimiser.param_groups:
            group["lr"] = RATE * _rate(done)
        loss = _losses(model, instrument, batch, done)
        optimiser.zero_grad()
        loss.backward()
        size = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if torch.isfinite(size):
            optimiser.step()
        steps += 1
        if done >= (len(history) + 1) / LOOKS:
            chi2 = _validation(model, instrument, arrays)
            history.append({"minutes": round(done * minutes, 1), "steps": steps, "loss": float(loss), "chi2": chi2})
            print(history[-1], file=sys.stderr, flush=True)
    torch.save(model.state_dict(), folder / STATE)
    card = {
        "latents": latents, "minutes": (time.perf_counter() - began) / 60.0, "steps": steps, "batch": BATCH, "spectra": len(arrays[0]),
        "seen": steps * BATCH, "chi2": _validation(model, instrument, arrays), "history": history, "torch": torch.__version__,
        "spender": _version(),
    }  # fmt: skip
    (folder / CARD).write_text(json.dumps(card, indent=1))


def _version() -> str:
    from importlib.metadata import version

    return version("spender")


def _answers(model, instrument, spectra: Spectra) -> dict[str, np.ndarray]:
    """Latents and predictions of spectra; milliseconds a spectrum, of full batches once warm."""
    import torch

    latents, predicted, times = [], [], []
    with torch.inference_mode():
        for i in range(0, len(spectra.flux), BATCH):
            flux, ivar, redshift, norm = _prepared(*(x[i : i + BATCH] for x in spectra))
            began = time.perf_counter()
            s = model.encode(flux)
            between = time.perf_counter()
            made, valid = model.decoder.transform(model.decode(s), instrument=instrument, z=redshift, return_valid=True)
            times.append((len(flux), 1e3 * (between - began) / len(flux), 1e3 * (time.perf_counter() - between) / len(flux)))
            weight = ivar * valid
            amplitude = (weight * flux * made).sum(1, keepdim=True) / (weight * made**2).sum(1, keepdim=True).clamp(min=1e-30)
            latents.append(s.numpy())
            predicted.append((norm * amplitude * made).numpy())
    usual = np.median([t[1:] for t in times if t[0] == max(t[0] for t in times)], axis=0)
    return {"latents": np.concatenate(latents), "flux": np.concatenate(predicted), "encode_ms": usual[0], "decode_ms": usual[1]}


def _serve(folder: Path) -> None:
    """Answer questions, a line each on the standard input: the file of spectra and where the answer goes, a tab between."""
    import torch

    model, instrument = _built(json.loads((folder / CARD).read_text())["latents"])
    model.load_state_dict(torch.load(folder / STATE, weights_only=True))
    model.eval()
    for line in sys.stdin:
        question, answer = line.rstrip("\n").split("\t")
        with np.load(question) as asked:
            found = _answers(model, instrument, Spectra(*(asked[name] for name in ARRAYS)))
        np.savez(answer, **found)
        print("done", flush=True)


# --- the command ------------------------------------------------------------------------------------------------------


def trained(python: str, folder: Path, simulator, latents: int, minutes: float, spectra: int) -> dict:
    """Mocks, training and its card."""
    began = time.perf_counter()
    simulate(simulator, spectra, folder / MOCKS)
    print(f"mocks in {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    return train(python, folder, minutes, latents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter of the environment that holds spender and torch")
    parser.add_argument("--model", default="spectrum_latents", help="slipher's model: its mocks and its number of latents")
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--spectra", type=int, default=40_000)
    parser.add_argument("--out", type=Path, default=Path("runs/spender"))
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--latents", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return _serve(options.serve)
    if options.train is not None:
        return _train(options.train, options.minutes, options.latents)
    from slipher.models import shipped
    from slipher.models.latent_set import Onto, Simulator

    made = shipped.load(options.model)
    network = made.trained.network
    simulator = Simulator(made.recipe.physics(made.library), made.recipe.population, Onto(network.projection, network.level))
    card = trained(options.peer_python, options.out, simulator, network.n_latent, options.minutes, options.spectra)
    print(json.dumps({name: value for name, value in card.items() if name != "history"}, indent=1))


if __name__ == "__main__":
    main()
