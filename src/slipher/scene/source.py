r"""A source: sums of lights, each a shape times a spectrum, behind screens of dust.

    S_b(r) = sum_j f_jb M_j(r)                                    without screens, in Fourier space;
    S_b(r) = sum_j f_jb M_j(r) prod_i exp(-tau_i k_i(b) D_i(r))    with them, on a grid of pixels first.

A source says what is free in it, in order of its lights and screens; its position is free too. All of it starts somewhere (`Start`): a
point in the image, and fluxes, of which what is free is the logarithm of a factor. No flux is negative, then: pairs of a positive and a
negative source that cancel each other explain any image.
"""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ..errors import InputError
from ..physics.parameters import Normal, Parameter
from .dust import Following
from .exposure import Frequencies
from .morphology import Morphology, Values, of_grid, on_grid
from .spectrum import Spectrum

POSITION = Parameter("offset", "pixel", r"\Delta r", Normal(0.0, 1.0), "from the source's starting point, x and y", (2,))


class Start(NamedTuple):
    """Where one source begins: its position in reference pixels, x and y, and the fluxes of its lights in the unit of the images.

    `given` holds values that are known, by the names of the source's parameters (a redshift), and are not fitted then; `about` what is
    added to values that are, where their priors are about something that the images show (a size).
    """

    position: Float[Array, "*source 2"]
    flux: Float[Array, "*source light band"]
    given: Values | None = None
    about: Values | None = None


class Light(eqx.Module):
    """A shape that shines."""

    morphology: Morphology
    spectrum: Spectrum

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of shape and spectrum."""
        return self.morphology.parameters + self.spectrum.parameters


class Screen(eqx.Module):
    """Dust in front of a source's lights: optical depth tau at the densest point of a shape, times the law's k in each band.

    A `Following` shape lies where the source's first light is; its tau is at its centre, but for its texture.
    """

    morphology: Morphology
    law: Float[Array, "band"]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of the shape, and the depth."""
        return (*self.morphology.parameters, Parameter("log_tau", "ln", r"\ln\tau", Normal(-0.7, 1.0), "ln of the largest optical depth"))

    def column(self, values: Values, light: Values, n: int, step: float) -> Float[Array, "v u"]:
        """The shape on a source's grid; `light` are the values of its first light.

        Raises
        ------
        InputError
            If a shape that follows the light has another grid.
        """
        if not isinstance(self.morphology, Following):
            shape = on_grid(self.morphology, values, n, step)
            return shape / jnp.max(shape)
        own = self.morphology.n, self.morphology.step
        if own != (n, step):
            raise InputError(f"dust on a grid of {own}", expected=f"the source's, {(n, step)}", mend="Give both the same n and step.")
        return self.morphology.column(values, light)


class Source(eqx.Module):
    """A kind of source; `grid` and `step` are those of the pixels on which screens work."""

    lights: tuple[Light, ...]
    screens: tuple[Screen, ...] = ()
    grid: int = eqx.field(static=True, default=41)
    step: float = eqx.field(static=True, default=0.5)

    def parts(self) -> Iterator[tuple[str, Light | Screen]]:
        """Lights and screens with the names that lead those of their parameters."""
        yield from ((f"light_{i}", light) for i, light in enumerate(self.lights))
        yield from ((f"screen_{i}", screen) for i, screen in enumerate(self.screens))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All that is free but amplitudes."""
        inner = (
            Parameter(f"{name}.{p.name}", p.unit, p.label, p.prior, p.meaning, p.shape)
            for name, part in self.parts()
            for p in part.parameters
        )
        return (POSITION, *inner)

    def transform(self, values: Values, start: Start, q: Frequencies) -> Complex[Array, "band ky kx"]:
        """About the source's position, in each of the scene's bands."""
        return self.shone(values, self.fluxes(values, start), q)

    def shone(self, values: Values, fluxes: Float[Array, "light band"], q: Frequencies) -> Complex[Array, "band ky kx"]:
        """The same of lights of these fluxes."""
        own = {name: of_part(values, name) for name, _ in self.parts()}
        if not self.screens:
            shapes = [light.morphology.transform(own[f"light_{i}"], q) for i, light in enumerate(self.lights)]
            return jnp.einsum("lb,lyx->byx", fluxes, jnp.stack(shapes)) + 0j
        shapes = [on_grid(light.morphology, own[f"light_{i}"], self.grid, self.step) for i, light in enumerate(self.lights)]
        dimming = jnp.exp(-sum(self.depths(values)))
        lit = jnp.einsum("lb,lvu->bvu", fluxes, jnp.stack(shapes)) * dimming
        return jax.vmap(lambda band: of_grid(band, self.step, q))(lit)

    def fluxes(self, values: Values, start: Start) -> Float[Array, "light band"]:
        """Of each light, before any dust."""
        each = zip(self.lights, start.flux, strict=True)
        return jnp.stack([light.spectrum.fluxes(of_part(values, f"light_{i}"), flux) for i, (light, flux) in enumerate(each)])

    def depths(self, values: Values) -> list[Float[Array, "band v u"]]:
        """Optical depths of each screen on the grid."""
        found, light = [], of_part(values, "light_0")
        for i, screen in enumerate(self.screens):
            own = of_part(values, f"screen_{i}")
            found.append(jnp.exp(own["log_tau"]) * screen.law[:, None, None] * screen.column(own, light, self.grid, self.step))
        return found


def of_part(values: Values, name: str) -> Values:
    """The values of one part, by their own names."""
    lead = name + "."
    return {key.removeprefix(lead): value for key, value in values.items() if key.startswith(lead)}
