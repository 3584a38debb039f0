"""DESI coadds (`coadd-*.fits`) with the redshifts of the redrock file beside them: every target in the file.

A coadd holds, for each arm (b, r, z), a wavelength grid common to all targets, their flux, ivar and mask, and a banded
resolution matrix for each target. The arms overlap by some tens of angstrom and stay separate segments. Rows of the two
files are matched by TARGETID, an integer that float64 cannot hold, and never by their order.

Sky fibres and positioners without a target are not galaxies: they are left out and counted. A target without a single
good pixel stays, flagged LITTLE_COVERAGE, so that no target is lost. So does one whose spectrum is refused, without its
pixels and with the reason in its label REFUSED: one target must not cost the others of its file. An E(B-V) out of range
is as good as none.

File format: desidatamodel.readthedocs.io, `coadd-*.fits` and `redrock-*.fits`; resolution: Bolton & Schlegel (2010,
PASP 122, 248).
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits

from slipher.data import checks
from slipher.data import files as disk
from slipher.data.observation import Spectrum
from slipher.errors import Flag, InputError, UnreadableFile

ARM_SUFFIX = "_WAVELENGTH"
REDROCK_LABELS = ("z", "zerr", "zwarn", "spectype", "subtype", "deltachi2")
FIBERMAP_LABELS = ("target_ra", "target_dec", "objtype", "coadd_fiberstatus")


@dataclass(frozen=True)
class Coadd:
    """One coadd file: iterate over it for the spectra of its targets, made one at a time.

    Parameters
    ----------
    file
        The file that it was read from.
    fibermap
        Columns of FIBERMAP by lower-case name.
    arms
        For each arm, blue to red: `wave` [pixel], and for all rows `flux`, `ivar`, `mask` [row, pixel] and
        `resolution` [row, diagonal, pixel]; the last two may be None.
    redrock
        The redrock file, or None without one.
    redshifts
        Its columns by lower-case name for each TARGETID; empty without a redrock file.
    rows
        The rows that are returned.
    skipped
        How many rows are left out, by kind: "sky" and "unassigned".
    """

    file: disk.File
    fibermap: dict
    arms: tuple[dict, ...]
    redrock: Path | None
    redshifts: dict[int, dict]
    rows: tuple[int, ...]
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Spectrum]:
        twice = {target for target, count in Counter(map(self.targetid, self.rows)).items() if count > 1}
        for row in self.rows:
            yield _answered(self, row, Flag.DUPLICATE_ID if self.targetid(row) in twice else Flag(0))

    def targetid(self, row: int) -> int:
        """TARGETID of a row, exact."""
        return int(self.fibermap["targetid"][row])


def is_coadd(hdus: fits.HDUList) -> bool:
    """Whether this is a coadd: it has a FIBERMAP and the wavelengths of an arm."""
    names = disk.names(hdus)
    return "FIBERMAP" in names and any(name.endswith(ARM_SUFFIX) for name in names)


def is_redrock(hdus: fits.HDUList) -> bool:
    """Whether this is a redrock file: redshifts without spectra."""
    return "REDSHIFTS" in disk.names(hdus) and not is_coadd(hdus)


def read_coadd(hdus: fits.HDUList, file: disk.File, *, redrock: str | os.PathLike | None = None, keep_sky: bool = False) -> Coadd:
    """The targets of a coadd file.

    Parameters
    ----------
    hdus, file
        As `slipher.data.files` opened them.
    redrock
        The redrock file; by default the one beside the coadd whose name has `redrock` for `coadd`, if there is one.
    keep_sky
        Return the sky fibres as well.

    Raises
    ------
    UnreadableFile
        If an HDU or column is missing, if HDUs disagree in shape, or if the redrock file cannot be read.
    InputError
        If the redrock file is of other targets, or if the file holds no target at all.
    """
    fibermap = disk.table(hdus, "FIBERMAP", file.path)
    disk.require(fibermap, ("targetid",), f"FIBERMAP of {file.path}")
    n_row = len(fibermap["targetid"])
    arms = tuple(_arm(hdus, name, n_row, file.path) for name in _arm_names(hdus))
    kinds = [_kind(fibermap, row) for row in range(n_row)]
    wanted = {"target", "sky"} if keep_sky else {"target"}
    rows = tuple(row for row, kind in enumerate(kinds) if kind in wanted)
    if not rows:
        came = f"{file.path} with no target among its {n_row} fibres ({dict(Counter(kinds))})"
        raise InputError(came, expected="at least one target", mend="Sky fibres are read with keep_sky=True.")
    path = Path(redrock) if redrock is not None else _beside(file.path)
    redshifts = _redshifts(file, path, {int(fibermap["targetid"][row]) for row in rows if kinds[row] == "target"})
    skipped = {kind: kinds.count(kind) for kind in ("sky", "unassigned") if kind not in wanted}
    return Coadd(file=file, fibermap=fibermap, arms=arms, redrock=path, redshifts=redshifts, rows=rows, skipped=skipped)


def _kind(fibermap: dict, row: int) -> str:
    """`target`, `sky`, or `unassigned` (a stuck or unused positioner)."""
    kind = disk.scalar(fibermap["objtype"][row]) if "objtype" in fibermap else "TGT"
    return {"TGT": "target", "SKY": "sky"}.get(kind, "unassigned")


def _arm_names(hdus: fits.HDUList) -> list[str]:
    """The arms' letters, blue to red."""
    arms = [name.removesuffix(ARM_SUFFIX) for name in disk.names(hdus) if name.endswith(ARM_SUFFIX)]
    return sorted(arms, key=lambda arm: float(np.nanmin(hdus[arm + ARM_SUFFIX].data)))


def _arm(hdus: fits.HDUList, arm: str, n_row: int, path: str) -> dict:
    wave = disk.native(hdus[arm + ARM_SUFFIX].data)
    shape = (n_row, wave.size)
    return {
        "wave": wave,
        "flux": _image(hdus, f"{arm}_FLUX", shape, path),
        "ivar": _image(hdus, f"{arm}_IVAR", shape, path),
        "mask": _image(hdus, f"{arm}_MASK", shape, path, required=False),
        "resolution": _resolution(hdus, f"{arm}_RESOLUTION", (n_row, None, wave.size), path),
    }


def _image(hdus: fits.HDUList, name: str, shape: tuple, path: str, *, required: bool = True) -> np.ndarray | None:
    if name not in disk.names(hdus):
        if not required:
            return None
        came = f"{path} has no HDU {name} (its HDUs: {', '.join(disk.names(hdus))})"
        raise UnreadableFile(came, expected=f"an HDU named {name}", mend=disk.DOWNLOAD_AGAIN)
    data = hdus[name].data
    found = None if data is None else data.shape
    if found is None or len(found) != len(shape) or any(w is not None and n != w for n, w in zip(found, shape)):
        came = f"{name} of {path} has the shape {found}"
        raise UnreadableFile(came, expected=f"{shape}, as FIBERMAP and the wavelengths have", mend=disk.DOWNLOAD_AGAIN)
    return disk.native(data)


def _resolution(hdus: fits.HDUList, name: str, shape: tuple, path: str) -> np.ndarray | None:
    data = _image(hdus, name, shape, path, required=False)
    if data is not None and data.shape[1] % 2 == 0:
        came = f"{name} of {path} with {data.shape[1]} diagonals"
        raise UnreadableFile(came, expected="an odd number, the main diagonal in the middle", mend=disk.DOWNLOAD_AGAIN)
    return data


def _redshifts(file: disk.File, path: Path | None, targets: set[int]) -> dict[int, dict]:
    if path is None:
        return {}
    found = _read_redrock(path)
    if targets and not targets & set(found):
        came = f"{path}, which holds none of the {len(targets)} targets of {file.path}"
        raise InputError(came, expected="the redrock file of this coadd", mend="Give it as redrock=...")
    return found


def _beside(path: str) -> Path | None:
    """The redrock file beside a coadd by name, compressed or not; None if there is none."""
    folder, name = Path(path).parent, Path(path).name
    base = name.replace("coadd", "redrock", 1).removesuffix(".gz")
    candidates = [folder / base, folder / f"{base}.gz"] if "coadd" in name else []
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_redrock(path: Path) -> dict[int, dict]:
    rows = disk.table(disk.open_fits(disk.load(path)), "REDSHIFTS", str(path))
    disk.require(rows, ("targetid", "z", "zwarn"), f"REDSHIFTS of {path}")
    used = [name for name in REDROCK_LABELS if name in rows]
    found = {int(t): {name: disk.scalar(rows[name][k]) for name in used} for k, t in enumerate(rows["targetid"])}
    if len(found) != len(rows["targetid"]):
        came = f"{path}, in which a TARGETID occurs more than once"
        raise InputError(came, expected="one redshift a target", mend="Give the redrock file of this coadd alone.")
    return found


def _answered(coadd: Coadd, row: int, flags: Flag) -> Spectrum:
    """The target's spectrum; without its pixels where they are refused. What is wrong with all targets raises again."""
    try:
        return _spectrum(coadd, row, flags)
    except InputError as error:
        return _spectrum(coadd, row, flags, refused=error)


def _spectrum(coadd: Coadd, row: int, flags: Flag, *, refused: InputError | None = None) -> Spectrum:
    target = coadd.targetid(row)
    labels = {name.upper(): disk.scalar(coadd.fibermap[name][row]) for name in FIBERMAP_LABELS if name in coadd.fibermap}
    labels |= {name.upper(): value for name, value in coadd.redshifts.get(target, {}).items()}
    redshift, reason = _redshift(coadd, labels)
    matrix = _matrix(coadd.arms, row)
    kept = refused is None
    return checks.spectrum(
        np.concatenate([arm["wave"] for arm in coadd.arms]),
        np.where(kept, _joined(coadd.arms, "flux", row), 0),
        ivar=np.where(kept, _joined(coadd.arms, "ivar", row), 0),
        mask=np.concatenate([_masked(arm, row) for arm in coadd.arms]),
        redshift=redshift,
        resolution_matrix=matrix,
        segments=_segments(coadd.arms),
        id=str(target),
        survey="desi",
        ebv=_ebv(coadd.fibermap, row),
        flags=flags | _flags(labels, redshift),
        labels=labels | reason | ({} if kept else {"REFUSED": str(refused)}),
        source=coadd.file.path,
        checksum=coadd.file.checksum,
        allow_empty=True,
    )


def _redshift(coadd: Coadd, labels: dict) -> tuple[float | None, dict[str, str]]:
    """Redrock's redshift, or None with the reason (`checks.pipeline_redshift`)."""
    if "Z" in labels:
        return checks.pipeline_redshift(labels["Z"], "redrock's Z")
    lacking = "no redrock-... file lies beside the coadd" if coadd.redrock is None else f"{coadd.redrock.name} lacks this target"
    return None, {"NO_REDSHIFT": lacking}


def _flags(labels: dict, redshift: float | None) -> Flag:
    """What redrock says of its redshift."""
    if "Z" not in labels:
        return Flag(0)
    flags = Flag.PIPELINE_WARNING if labels["ZWARN"] or redshift is None else Flag(0)
    return flags | (Flag.NOT_A_GALAXY if labels.get("SPECTYPE", "GALAXY") != "GALAXY" else Flag(0))


def _ebv(fibermap: dict, row: int) -> float | None:
    """E(B-V); None where it is out of range or missing, which DESI writes as exactly 0 as well."""
    ebv = float(fibermap["ebv"][row]) if "ebv" in fibermap else 0.0
    return ebv if 0 < ebv <= checks.EBV_RANGE[1] else None


def _joined(arms: tuple[dict, ...], name: str, row: int) -> np.ndarray:
    return np.concatenate([arm[name][row] for arm in arms])


def _masked(arm: dict, row: int) -> np.ndarray:
    return np.zeros(arm["wave"].size, bool) if arm["mask"] is None else arm["mask"][row] != 0


def _segments(arms: tuple[dict, ...]) -> tuple[tuple[int, int], ...]:
    edges = np.cumsum([0, *(arm["wave"].size for arm in arms)]).tolist()
    return tuple(pairwise(edges))


def _matrix(arms: tuple[dict, ...], row: int) -> np.ndarray | None:
    """The diagonals of all arms side by side, padded to the widest arm; None where any arm has no matrix."""
    parts = [None if arm["resolution"] is None else arm["resolution"][row] for arm in arms]
    if any(part is None or not _any_usable(part) for part in parts):
        return None
    widest = max(len(part) for part in parts)
    return np.concatenate([np.pad(part, (((widest - len(part)) // 2,) * 2, (0, 0))) for part in parts], axis=1)


def _any_usable(matrix: np.ndarray) -> bool:
    return bool(np.any(np.isfinite(matrix).all(0) & (matrix.sum(0) > 0)))
