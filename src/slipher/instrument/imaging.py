"""Imaging surveys as their photometry reaches the networks: which bands, how deep relative to each other.

Sets of bands that are published together, with 5-sigma depths (AB) of a typical release; a simulated
chunk takes one, moves all depths together, scatters each, and loses some bands. Depths: SDSS (York et al. 2000), GALEX MIS and DIS
(Martin et al. 2005), 2MASS XSC (Skrutskie et al. 2006), WISE (Wright et al. 2010; Meisner et al. 2021), Legacy Surveys DR9 (Dey et al.
2019), Pan-STARRS 3 pi (Chambers et al. 2016), HSC wide (Aihara et al. 2018), LSST (Ivezic et al. 2019), Euclid (Laureijs et al. 2011),
COSMOS2015 (Laigle et al. 2016).
"""

from typing import NamedTuple

import numpy as np

from ..grids.filters import filter_names


class BandSet(NamedTuple):
    """Filters with their typical 5-sigma depths (AB mag), how often the set is simulated, and where its median depth may lie."""

    depth: dict[str, float]
    share: float
    median_depth: tuple[float, float]


def _named(group: str, **depth: float) -> dict[str, float]:
    return {f"{group}-{band}": value for band, value in depth.items()}


_SDSS = _named("sdss2010", u=22.1, g=23.2, r=22.7, i=22.3, z=20.8)
_GALEX = _named("galex", fuv=22.7, nuv=22.7)
_TWOMASS = _named("twomass", J=17.5, H=17.2, Ks=17.0)
_WISE = _named("wise2010", W1=20.7, W2=20.0, W3=16.7, W4=14.5)
_UBVGRIZ = {
    "cfht_megacam-u": 26.6, "bessell-B": 27.0, "bessell-V": 26.2, "hsc2017-g": 26.6, "hsc2017-r": 26.5, "hsc2017-i": 26.2,
    "hsc2017-z": 25.9, "hsc2017-y": 25.3,
}  # fmt: skip
_EUCLID = _named("lsst2023", u=25.0, g=26.3, r=26.4, i=25.7, z=25.0) | _named("Euclid", VIS=26.2, Y=24.5, J=24.5, H=24.5)
_SUPRIME = dict.fromkeys(filter_names("suprime"), 25.7)

_WISE_DEEP = _named("wise2010", W1=21.0, W2=20.2)
_NEAR_INFRARED = _named("twomass", J=24.7, H=24.3, Ks=24.0)

BAND_SETS: dict[str, BandSet] = {
    "sdss": BandSet(_SDSS, 0.16, (18.5, 23.5)),
    "sdss+": BandSet(_GALEX | _SDSS | _TWOMASS | _WISE, 0.12, (17.0, 23.0)),
    "legacy": BandSet(_named("decamDR1", g=24.7, r=23.9, z=23.0) | _WISE | _WISE_DEEP, 0.1, (19.0, 24.5)),
    "north": BandSet({"BASS-g": 24.2, "BASS-r": 23.7, "MzLS-z": 23.3} | _WISE_DEEP, 0.05, (19.0, 24.5)),
    "panstarrs": BandSet(_named("panstarrs", g=23.3, r=23.2, i=23.1, z=22.3, y=21.4) | _WISE_DEEP, 0.06, (18.0, 24.0)),
    "des": BandSet(_named("decam2014", g=25.4, r=25.1, i=24.5, z=23.8, Y=22.4), 0.05, (19.5, 26.0)),
    "hsc": BandSet(_named("hsc2017", g=26.6, r=26.2, i=26.2, z=25.3, y=24.5), 0.08, (20.5, 27.0)),
    "lsst": BandSet(_named("lsst2023", u=26.1, g=27.4, r=27.5, i=26.8, z=26.1, y=24.9), 0.08, (21.0, 27.5)),
    "euclid": BandSet(_EUCLID, 0.06, (21.0, 26.8)),
    "cosmos": BandSet({"galex-fuv": 25.5, "galex-nuv": 25.5} | _UBVGRIZ | _NEAR_INFRARED, 0.12, (20.0, 27.0)),
    "cosmos+": BandSet(_UBVGRIZ | _SUPRIME | _NEAR_INFRARED | _named("wise2010", W1=24.8, W2=24.6), 0.08, (20.5, 27.0)),
    "bessell": BandSet(_named("bessell", U=23.0, B=24.0, V=23.8, R=23.7, I=23.2) | _TWOMASS, 0.04, (17.5, 24.5)),
}
MOST_BANDS = 26
DEPTH_SCATTER = 0.35  # mag, of a band about its set


def draw_bands(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """A random set of bands among the named ones: filters, and 5-sigma depths (AB mag) [band] moved together and each by itself."""
    shares = np.array([BAND_SETS[name].share for name in names])
    chosen = BAND_SETS[names[rng.choice(len(names), p=shares / shares.sum())]]
    depth = np.array(list(chosen.depth.values()))
    move = rng.uniform(*chosen.median_depth) - np.median(depth)
    return tuple(chosen.depth), depth + move + rng.normal(0.0, DEPTH_SCATTER, len(depth))
