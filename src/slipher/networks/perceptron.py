"""Layers of units one after another, as a module whose leaves are arrays only: what holds one can be an argument of any `jax.jit`."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray


class Perceptron(eqx.Module):
    """Linear layers with silu between them."""

    layers: tuple[eqx.nn.Linear, ...]

    def __call__(self, x: Float[Array, "feature"]) -> Float[Array, "output"]:
        for layer in self.layers[:-1]:
            x = jax.nn.silu(layer(x))
        return self.layers[-1](x)


def build(key: PRNGKeyArray, inputs: int, outputs: int, width: int, depth: int) -> Perceptron:
    """One with `depth` layers of `width` units between input and output."""
    return Perceptron(tuple(eqx.nn.MLP(inputs, outputs, width, depth, key=key).layers))
