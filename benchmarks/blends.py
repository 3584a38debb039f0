"""Deblending beside scarlet2: `python benchmarks/blends.py [--n 100] [--hsc FILE] [--peer-python PATH] [--table-only]`.

The same images, positions and weights go to slipher and to scarlet2, each in a process of its own with two threads, one after the other:
the blend of HSC that scarlet2's quick start has (`--hsc`, an npz of images, variance, psfs, filters and catalog), where only time, memory
and chi^2 can be compared, and blends by GalSim (`pip install galsim`) of which the truth is known (`galsim_blends`, `blend_scores`).
scarlet2 is told which sources are stars, slipher is not; the simulated images have no sky, which slipher fits none the less. These it fits
once more without positions, to see what it finds by itself. Every blend has a folder in `runs/blends` with what was seen and what each
code made of it, so that a run that was ended goes on where it was; delete a code's files to have its answers anew. `--figures` draws the
first so many there.
"""

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from blend_tables import (
    CODES,
    OVERLAP,
    SN,
    answer,
    answered,
    detections,
    failures,
    gathered,
    table_of_detections,
    table_of_errors,
    table_of_hsc,
    table_of_scores,
    times,
)
from tables import machine, write_section

HERE = Path(__file__).parent
ROOM = HERE.parent / "runs" / "blends"
THREADS = 2


# --- fits ------------------------------------------------------------------------------------------------------------


def fit(code: str, python: str, folders: list[Path], *options: str) -> None:
    """Have a code answer what it has not answered yet, in a process with two threads."""
    left = [str(folder) for folder in folders if not (folder / f"{code}.npz").exists()]
    if left:
        subprocess.run([python, str(HERE / CODES[code]), *left, *options], check=True, preexec_fn=_two_threads)


def _two_threads() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def hsc(path: Path) -> Path:
    """The blend of HSC as the others are; its first source is a star, as the quick start has it."""
    own = ROOM / "hsc"
    own.mkdir(parents=True, exist_ok=True)
    with np.load(path) as file:
        place = np.stack([file["catalog"]["x"], file["catalog"]["y"]], 1)
        seen = {name: file[name] for name in ("images", "variance", "psfs")} | {"bands": file["filters"]}
        np.savez(own / "blend.npz", **seen, position=place, star=np.arange(len(place)) == 0)
    return own


# --- all of it -------------------------------------------------------------------------------------------------------


def report(asked: str, here: str, own: Path | None, folders: list[Path]) -> str:
    """The section."""
    text = ["## Blends", f"`{asked}`. {here}{_peer(own, folders)}"]
    if own is not None:
        text += ["HSC, 5 bands of 58 x 48 pixels, 7 sources; each code in a process of its own.", table_of_hsc(own)]
    whole = answered(folders)
    if whole:
        known, told = gathered(whole)
        failed = {code: failures(folders, code) for code in CODES}
        words = [f"{code} failed on {len(f)} ({'; '.join(f[:3])})." for code, f in failed.items() if f]
        text += [
            f"{len(whole)} blends by GalSim, {len(known.sn)} sources; medians unless it says 90 %. {' '.join(words)}".strip(),
            table_of_scores(known, told, known.overlap, OVERLAP, "overlap"), table_of_scores(known, told, known.sn, SN, "S/N"),
            "slipher's errors: median pull, and truths within 68 and 95 %:", table_of_errors(whole, known),
            "What slipher finds by itself, at first look > in the catalogue of a fit without positions, which looks again at what is left "
            "over: completeness by the sources' own S/N and the distance of the next one, and purity by significance (of the catalogue, "
            "flux over its error in the best band):",
            table_of_detections(detections(whole)), times(whole),
        ]  # fmt: skip
    return "\n\n".join(text)


def _peer(own: Path | None, folders: list[Path]) -> str:
    """Its version, if it was asked."""
    told = [answer(folder, "scarlet2") for folder in ([own] if own else []) + folders[:1]]
    return next((f" scarlet2 {one['version']}." for one in told if "version" in one), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--hsc", type=Path)
    parser.add_argument("--peer-python", default=sys.executable if find_spec("scarlet2") else None, help="an interpreter with scarlet2")
    parser.add_argument("--figures", type=int, default=6)
    parser.add_argument("--table-only", action="store_true", help="of what there is, to the screen")
    options = parser.parse_args()
    here, peer = machine("slipher", "jax"), options.peer_python
    asked = f"python benchmarks/blends.py --n {options.n}" + (" --hsc FILE" if options.hsc else "")
    if options.table_only:
        folders = sorted(ROOM.glob("*-????"))[: options.n]
        own = ROOM / "hsc" if (ROOM / "hsc" / "slipher.npz").exists() else None
        print(report(asked, here, own, folders))
        return
    own = hsc(options.hsc) if options.hsc else None
    if find_spec("galsim") is None:
        print("no GalSim (pip install galsim): no blends of which the truth is known", flush=True)
        folders = []
    else:
        import galsim_blends

        folders = [galsim_blends.write(ROOM, i) for i in range(options.n)]
    if peer is None:
        print("no scarlet2 (pip install scarlet2, or --peer-python)", flush=True)
    for code, python in (("slipher", sys.executable), ("scarlet2", peer)):
        if python is not None and own is not None:
            fit(code, python, [own], "--nuts", *(["--again"] if code == "slipher" else []))
        if python is not None:
            fit(code, python, folders, *(["--blind"] if code == "slipher" else []))
    if options.figures:
        import blend_figures

        for folder in folders[: options.figures]:
            blend_figures.draw(folder, {code: answer(folder, code) for code in CODES})
    write_section("blends", report(asked, here, own, folders))


if __name__ == "__main__":
    main()
