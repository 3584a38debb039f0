"""Spectra of bagpipes for `emulator_bagpipes.toml`: a double power-law history behind dust of a free slope and bump.

    SFR(t) ~ [(t / tau)^alpha + (t / tau)^-beta]^-1

of one metallicity, with nebulae, birth clouds `eta` times as thick as the rest, and 100 km/s of dispersion (Carnall et al. 2018,
arXiv:1712.04452; Salim et al. 2018, arXiv:1804.05850). History, dust and nebulae enter nonlinearly and beside each other: no sum over a
basis of spectra gives this model. Needs bagpipes (extra `compare`).
"""

from functools import cache

import bagpipes
import numpy as np

from slipher.units import LSUN_ERG_S

WAVE_AA = np.exp(np.arange(np.log(2500.0), np.log(10000.0), 1e-3))
DISPERSION_KMS = 100.0
bagpipes.config.max_redshift = 0.01  # else it spends most of its time on the far ultraviolet


def spectrum(values: dict[str, float]) -> np.ndarray:
    """Lsun/A per Msun formed at WAVE_AA."""
    model = _galaxy()
    model.update(components(values))
    return model.spectrum[:, 1] / LSUN_ERG_S


def components(values: dict[str, float]) -> dict:
    """The values as bagpipes names them; at redshift 0 its spectra are luminosities."""
    return {
        "redshift": 0.0,
        "veldisp": DISPERSION_KMS,
        "dblplaw": {
            "tau": values["tau"],
            "alpha": 10 ** values["log_alpha"],
            "beta": 10 ** values["log_beta"],
            "massformed": 0.0,
            "metallicity": 10 ** values["log_zstar"],
        },
        "dust": {"type": "Salim", "Av": values["a_v"], "delta": values["dust_slope"], "B": values["bump"], "eta": values["eta"]},
        "nebular": {"logU": values["log_u"], "velshift": 0.0},
    }


@cache
def _galaxy() -> bagpipes.model_galaxy:
    middle = {
        "tau": 5.0, "log_alpha": 0.0, "log_beta": 0.0, "log_zstar": 0.0,
        "a_v": 0.5, "dust_slope": 0.0, "bump": 1.0, "eta": 2.0, "log_u": -3.0,
    }  # fmt: skip
    return bagpipes.model_galaxy(components(middle), spec_wavs=WAVE_AA)
