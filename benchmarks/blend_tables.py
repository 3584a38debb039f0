"""Tables of `blends`: of times, of how far fluxes and images are off, of slipher's errors, and of what it finds."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from blend_scores import Scores, Truth, matched, scores, truth
from tables import markdown_table

CODES = {"slipher": "blend_fits.py", "scarlet2": "scarlet2_twin.py"}
OVERLAP = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
SN = (10.0, 30.0, 100.0, 300.0, 1000.0)
APART = (0.0, 1.0, 1.5, 2.0, 3.0, np.inf)  # PSFs
NEAR = 0.7  # PSFs between a detection and what it is of
WANTED = 1.30  # chi^2 a pixel of the blend of HSC


def answer(folder: Path, code: str) -> dict[str, np.ndarray]:
    """What a code said; without `sources` where it failed or was never asked."""
    path = folder / (f"{code}.npz" if code in CODES else code)
    if not path.exists():
        return {}
    with np.load(path) as file:
        return dict(file)


# --- HSC -------------------------------------------------------------------------------------------------------------


def table_of_hsc(folder: Path) -> str:
    """Times, memory and chi^2 of both."""
    told = {code: answer(folder, code) for code in CODES}
    rows = [[code, *_row_of_hsc(one)] for code, one in told.items() if "chi2" in one]
    columns = [
        "code", "import, s", "set-up, s", "compile, s", "fit, s", f"to {WANTED:.2f}, s", "chi^2/pixel at the end",
        "with errors (compiling too), s",
        "fit, CPU s", "all, compiling too, CPU s", "memory, MB", "NUTS: ESS of draws", "ESS a second", "with compiling",
    ]  # fmt: skip
    return markdown_table(columns, rows)


def _row_of_hsc(told: dict[str, np.ndarray]) -> list[str]:
    """Of slipher a compiled fit's time includes its set-up, and the time to the wanted chi^2 is all of it."""
    nuts = ["", "", ""]
    if "nuts_ess" in told:
        ess = float(told["nuts_ess"])
        nuts = [f"{ess:.0f} of {int(told['nuts_draws'])}", *(f"{ess / float(told[k]):.1f}" for k in ("nuts_warm_s", "nuts_cold_s"))]
    end = [f"{float(told['chi2']):.3f}"]
    cpu = [f"{float(told[name]):.1f}" if name in told else "" for name in ("fit_cpu_s", "all_cpu_s")]
    rest = [*cpu, f"{float(told['memory_mb']):.0f}", *nuts]
    if "trace_s" in told:
        reached = told["trace_chi2"] <= WANTED
        when = f"{told['trace_s'][reached.argmax()]:.1f}" if reached.any() else "never"
        compiling = max(float(told["first_step_s"]) - float(np.median(np.diff(told["trace_s"]))), 0.0)
        parts = [f"{seconds:.1f}" for seconds in (float(told["import_s"]), float(told["set_up_s"]), compiling, float(told["fit_s"]))]
        return [*parts, when, *end, "", *rest]
    compiling, fitting = float(told["cold_fit_s"]) - float(told["fit_s"]), f"{float(told['fit_s']):.1f}"
    when = f"< {fitting}" if told["chi2"] <= WANTED else "never"
    parts = [f"{float(told['import_s']):.1f}", "in the fit", f"{compiling:.1f}", fitting, when]
    return [*parts, *end, f"{float(told['whole_s']):.1f} ({float(told['cold_s']):.1f})", *rest]


# --- simulated blends ------------------------------------------------------------------------------------------------


def gathered(folders: list[Path]) -> tuple[Truth, dict[str, Scores]]:
    """All sources of `answered` blends: truths and each code's scores."""
    known, told = [], {}
    for folder in folders:
        blend = answer(folder, "blend.npz")
        known.append(truth(blend))
        for code in CODES:
            if "sources" in (one := answer(folder, code)):
                told.setdefault(code, []).append(scores(one["sources"], blend, known[-1]))
    return _joined(Truth, known), {code: _joined(Scores, parts) for code, parts in told.items()}


def _joined(kind, parts: list):
    return kind(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def table_of_scores(known: Truth, told: dict[str, Scores], by: np.ndarray, edges: tuple[float, ...], name: str) -> str:
    """Rows are ranges of a quantity of the sources, and all of them, for each code."""
    rows = []
    for span, here in {**ranges(by, edges), "all": by == by}.items():
        limit = _percent(np.median(0.6745 * known.limit[here])) if here.any() else ""
        rows += [[span, here.sum(), limit, code, *_row_of_scores(one, here)] for code, one in told.items() if here.any()]
    columns = [
        name, "sources", "flux off, were shapes known", "code", "flux off", "90 %", "bias", "colour off, mag", "correlation", "image off",
        "lost to others", "90 %", "of others in it", "90 %",
    ]  # fmt: skip
    return markdown_table(columns, rows)


def ranges(by: np.ndarray, edges: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Which values are in each range; the last has its upper end."""
    names = [f"{a:g}-{b:g}" if np.isfinite(b) else f"> {a:g}" for a, b in pairwise(edges)]
    return {n: (by >= a) & ((by < b) | (by == edges[-1]) & (b == edges[-1])) for n, (a, b) in zip(names, pairwise(edges), strict=True)}


def _row_of_scores(one: Scores, here: np.ndarray) -> list[str]:
    flux, colour = one.flux[here], one.colour[here]
    coloured = f"{np.nanmedian(np.abs(colour)):.3f}" if np.isfinite(colour).any() else ""
    stolen = [f(np.abs(x[here])) for x in (one.lost, one.gained) for f in (np.median, lambda v: np.quantile(v, 0.9))]
    return [
        _percent(np.nanmedian(np.abs(flux))), _percent(np.nanquantile(np.abs(flux), 0.9)), f"{100.0 * np.nanmedian(flux):+.1f} %", coloured,
        f"{np.nanmedian(one.correlation[here]):.4f}", _percent(np.nanmedian(one.distance[here])), *map(_percent, stolen),
    ]  # fmt: skip


def _percent(value: float) -> str:
    return f"{100.0 * value:.1f} %"


# --- slipher's errors, and what it finds -----------------------------------------------------------------------------


def pulls(blend: dict[str, np.ndarray], told: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(value - truth) / error of each source, [source, number]; of stars no shape."""
    bands = [str(band) for band in blend["bands"]]
    flux, error = (np.stack([told[f"table_flux_{b}{end}"] for b in bands], 1) for end in ("", "_err"))
    place, place_error = (np.stack([told[f"table_{a}{end}"] for a in "xy"], 1) for end in ("", "_err"))
    shape, shape_error = (np.stack([told[f"table_e_{i}{end}"] for i in (1, 2)], 1) for end in ("", "_err"))
    round_ = np.where(blend["star"], np.nan, 1.0)[:, None]
    colour, colour_error = (np.stack([told[f"table_color_{a}_{b}{end}"] for a, b in pairwise(bands)], 1) for end in ("", "_err"))
    true_colour = -2.5 * np.log10(blend["true_flux"][:, :-1] / blend["true_flux"][:, 1:])
    radius = told["table_half_light_radius"] - blend["true_radius"]
    return {
        "flux": (flux - blend["true_flux"]) / error, "place": (place - blend["true_position"]) / place_error,
        "half-light radius": round_ * (radius / told["table_half_light_radius_err"])[:, None],
        "ellipticity": round_ * (shape - np.stack([blend["true_e_1"], blend["true_e_2"]], 1)) / shape_error,
        "colour": (colour - true_colour) / colour_error,
    }  # fmt: skip


def table_of_errors(folders: list[Path], known: Truth) -> str:
    """Bias in sigma, and the truths within 68 and 95 %, of all sources and of some; `flagged` are those that slipher says are BLENDED."""
    each = [pulls(answer(folder, "blend.npz"), answer(folder, "slipher")) for folder in folders]
    flagged = np.concatenate([answer(folder, "slipher")["blended"] for folder in folders])
    some = {"all": known.sn > 0, "overlap < 0.1": known.overlap < 0.1, "0.1-0.5": (known.overlap >= 0.1) & (known.overlap < 0.5),
            "> 0.5": known.overlap >= 0.5, "S/N < 100": known.sn < 100, "> 100": known.sn >= 100,
            "flagged": flagged, "not flagged": ~flagged}  # fmt: skip
    rows = []
    for name in each[0]:
        values = np.concatenate([one[name] for one in each])
        rows.append([name, *(_covered(values[here]) for here in some.values())])
    return markdown_table(["quantity", *(f"{name} ({here.sum()})" for name, here in some.items())], rows)


def _covered(pull: np.ndarray) -> str:
    values = pull[np.isfinite(pull)]
    if not values.size:
        return ""
    return f"{np.median(values):+.2f}, {np.mean(np.abs(values) < 1):.2f}/{np.mean(np.abs(values) < 1.96):.2f}"


class Found(NamedTuple):
    """What slipher found by itself: of true sources whether they were found at all, of what was found whether it is one of them.

    `found` and `real` have a row for each look: the first, and, where it was taken, the catalogue of a fit that looked a second time.
    """

    sn: np.ndarray  # [source]
    apart: np.ndarray  # [source]: of the next one, in PSFs
    found: list[np.ndarray]  # of looks, [source]
    significance: list[np.ndarray]  # of looks, [detection]: of the catalogue flux over its error in the best band
    real: list[np.ndarray]  # of looks, [detection]


def detections(folders: list[Path]) -> Found:
    """Of blends that both looks were taken at, where any were."""
    told = [(folder, one) for folder in folders if "detected" in (one := answer(folder, "slipher"))]
    looks = ("", "blind_") if any("blind_detected" in one for _, one in told) else ("",)
    sn, apart, each = [], [], [([], [], []) for _ in looks]
    for folder, one in told:
        if f"{looks[-1]}detected" not in one:
            continue
        blend = answer(folder, "blend.npz")
        known = truth(blend)
        width = 2.0 * np.sqrt(np.mean([np.sum(p > 0.5 * p.max()) for p in blend["psfs"]]) / np.pi)
        sn.append(known.sn)
        apart.append(known.apart / width)
        for look, (found, significance, real) in zip(looks, each, strict=True):
            own = matched(one[f"{look}detected"], blend["true_position"], known.sn, NEAR * width)
            found.append(own >= 0)
            significance.append(one[f"{look}significance"])
            real.append(np.isin(np.arange(len(one[f"{look}detected"])), own))
    joined = [[np.concatenate(values) for values in look] for look in each]
    return Found(np.concatenate(sn), np.concatenate(apart), *map(list, zip(*joined, strict=True)))


def table_of_detections(one: Found) -> str:
    """Completeness by S/N (rows) and distance of the next source; and purity by significance: of the first look > of both."""
    rows, apart = [], ranges(one.apart, APART)
    pure = [ranges(significance, SN) for significance in one.significance]
    for span, here in ranges(one.sn, SN).items():
        cells = [_shares([found[here & near] for found in one.found]) for near in apart.values()]
        rows.append([span, *cells, " > ".join(_share(real[of[span]]) or "none" for real, of in zip(one.real, pure, strict=True))])
    rows.append(["all", *(_shares([found[near] for found in one.found]) for near in apart.values()), " > ".join(map(_share, one.real))])
    return markdown_table(["S/N", *(f"next at {span} PSFs" for span in apart), "purity, by significance"], rows)


def _shares(each: list[np.ndarray]) -> str:
    """Of the same sources in each look."""
    return f"{' > '.join(f'{yes.mean():.2f}' for yes in each)} ({each[0].size})" if each[0].size else ""


def _share(yes: np.ndarray) -> str:
    return f"{yes.mean():.2f} ({yes.size})" if yes.size else ""


# --- fits that were made ---------------------------------------------------------------------------------------------


def failures(folders: list[Path], code: str) -> list[str]:
    """What a code could not do, and its word on it."""
    told = ((folder, answer(folder, code)) for folder in folders)
    return [f"{folder.name}: {one['error']}" for folder, one in told if "error" in one]


def answered(folders: list[Path]) -> list[Path]:
    """Those that all codes fitted that fitted any."""
    codes = [code for code in CODES if any((folder / f"{code}.npz").exists() for folder in folders)]
    return [folder for folder in folders if all("sources" in answer(folder, code) for code in codes)]


def times(folders: list[Path]) -> str:
    """What a blend took, in the median."""
    ours = [float(told["cold_s"]) for f in folders if "cold_s" in (told := answer(f, "slipher"))]
    theirs = [
        float(told["set_up_s"] + told["first_step_s"] + told["fit_s"]) for f in folders if "set_up_s" in (told := answer(f, "scarlet2"))
    ]
    parts = [f"{code} {np.median(seconds):.1f} s" for code, seconds in (("slipher", ours), ("scarlet2", theirs)) if seconds]
    return f"A blend after another in one process, compiling included, in the median: {', '.join(parts)} (slipher's with errors)."
