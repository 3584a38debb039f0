r"""Spectra of sources: how the flux of a light is divided among the bands of a scene.

Implementing a spectrum: a final subclass of `Spectrum` with `parameters` and `fluxes`; a line in tests/scene/test_spectrum.py has it pass
the laws of all.
"""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..physics.parameters import Parameter, SinhNormal
from .morphology import Values


class Spectrum(eqx.Module):
    """What has a colour."""

    @property
    @abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """What is free."""

    @abstractmethod
    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        """In the unit of the images, from the fluxes with which the light starts."""


class Free(Spectrum):
    """Any flux in any band."""

    n_bands: int = eqx.field(static=True)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("log_flux", "ln", r"\ln f", SinhNormal(4.0), "ln of the fluxes over those of the start", (self.n_bands,)),)

    def fluxes(self, values: Values, start: Float[Array, "band"]) -> Float[Array, "band"]:
        return start * jnp.exp(values["log_flux"])
