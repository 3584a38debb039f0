"""A posterior flow of two parameters and three features, small enough to train in a test."""

import jax

from slipher.networks import posterior_flow

N_FEATURE = 3
SIZES = {"context": 6, "width": 16, "depth": 1, "layers": 2, "flow_width": 12, "knots": 4}


def build(seed: int = 0, **sizes: int) -> posterior_flow.PosteriorFlow:
    return posterior_flow.build(jax.random.key(seed), N_FEATURE, 2, **{**SIZES, **sizes})
