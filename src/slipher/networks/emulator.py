"""A neural emulator of spectra: Speculator's network (Alsing et al. 2020, arXiv:1911.11778) for any forward model, linear or not.

    parameters, standardised --MLP--> coefficients --principal components of ln flux, block by block--> ln flux

The hidden units are gated by [b + (1 - b) sigmoid(a x)] x with learned a and b (its equation 8): between a line, a rectifier and something
that turns smoothly, unit by unit. The wavelengths are cut into blocks with components of their own, which one network predicts together.
Pure functions of one galaxy; how far they are off is measured in `slipher.models.emulator_error`, trained they are in `emulator_training`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Gate(eqx.Module):
    """The activation [b + (1 - b) sigmoid(a x)] x; at the start a = 1 and b = 0, x sigmoid(x)."""

    a: Float[Array, "unit"]
    b: Float[Array, "unit"]

    def __call__(self, x: Float[Array, "unit"]) -> Float[Array, "unit"]:
        return (self.b + (1.0 - self.b) * jax.nn.sigmoid(self.a * x)) * x


class Perceptron(eqx.Module):
    """Gated hidden layers and a linear last one."""

    layers: tuple[eqx.nn.Linear, ...]
    gates: tuple[Gate, ...]
    last: eqx.nn.Linear

    def __call__(self, x: Float[Array, "parameter"]) -> Float[Array, "component"]:
        for layer, gate in zip(self.layers, self.gates):
            x = gate(layer(x))
        return self.last(x)


class Block(eqx.Module):
    """Mean of ln flux in a range of pixels and its principal components, orthonormal."""

    mean: Float[Array, "pixel"]
    basis: Float[Array, "component pixel"]


class Emulator(eqx.Module):
    """ln flux of parameters in physical units; `scale` and `spread` are their standard deviations and those of the coefficients."""

    shift: Float[Array, "parameter"]
    scale: Float[Array, "parameter"]
    network: Perceptron
    spread: Float[Array, "component"]
    blocks: tuple[Block, ...]

    def ln_flux(self, parameters: Float[Array, "parameter"]) -> Float[Array, "pixel"]:
        """ln of the flux in the unit of the spectra that it was trained on."""
        coefficients = self.spread * self.network((parameters - self.shift) / self.scale)
        parts, first = [], 0
        for block in self.blocks:
            here = coefficients[first : first + len(block.basis)]
            parts.append(block.mean + here @ block.basis)
            first += len(block.basis)
        return jnp.concatenate(parts)


def build(key: PRNGKeyArray, n_parameter: int, n_component: int, *, width: int, depth: int) -> Perceptron:
    """An untrained network with `depth` hidden layers."""
    keys = jax.random.split(key, depth + 1)
    sizes = [n_parameter] + [width] * depth
    return Perceptron(
        layers=tuple(eqx.nn.Linear(a, b, key=k) for a, b, k in zip(sizes, sizes[1:], keys)),
        gates=tuple(Gate(jnp.ones(width), jnp.zeros(width)) for _ in range(depth)),
        last=eqx.nn.Linear(sizes[-1], n_component, key=keys[-1]),
    )


def empty(n_parameter: int, pixels: list[int], components: list[int], *, width: int, depth: int) -> Emulator:
    """An emulator with blocks of so many pixels and components, to be filled from a file (its shapes: `eqx.filter_eval_shape`)."""
    blocks = tuple(Block(jnp.zeros(p), jnp.zeros((c, p))) for p, c in zip(pixels, components, strict=True))
    network = build(jax.random.key(0), n_parameter, sum(components), width=width, depth=depth)
    return Emulator(jnp.zeros(n_parameter), jnp.ones(n_parameter), network, jnp.ones(sum(components)), blocks)
