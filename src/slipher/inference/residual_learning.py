"""How the residual of a physical model is learnt: factor analysis of many galaxies, each with all of its physics left free.

    data - model = fixed x + X (rho_0 + rho s) + noise,   x ~ N(offset, 1),  s ~ N(0, 1)

For each galaxy, `fixed` holds the model's tangents (its parameters about a reference point, the amplitude), and the templates of the
error model; X the splines times the model, and faint lines (`slipher.networks.residual`). Expectation-maximisation (Rubin & Thayer 1982,
Psychometrika 47, 69): given rho, the Gaussian posterior of x and s of each galaxy; given those, the most probable rho, whose prior is
Gaussian too.

Who does what: rho is held orthogonal to what the physics can do (`allowed`), so that whatever a star-formation history, metallicity, dust
or dispersion can explain is theirs. What a systematic error has in common with them stays in the physics as a bias, since nothing in the
data tells it from them. Pixels enter once (`summary`): an iteration then costs milliseconds a galaxy.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import sparse

FIRST_SCALE = 0.01  # of the factors with which the iteration starts


class Linearised(NamedTuple):
    """One galaxy about a reference point; noise in `weight` (1/variance, zero where there is none)."""

    left: Float[np.ndarray, "pixel"]
    weight: Float[np.ndarray, "pixel"]
    fixed: Float[np.ndarray, "pixel column"]
    offset: Float[np.ndarray, "column"]
    changed: sparse.csr_matrix


class Summary(NamedTuple):
    """All that its pixels say: products of left, fixed and changed, with the weights; and log-likelihood's constant left'W left."""

    square: float
    n_pixels: int
    offset: Float[np.ndarray, "column"]
    fixed: Float[np.ndarray, "column column"]
    fixed_left: Float[np.ndarray, "column"]
    changed: Float[np.ndarray, "nonzero"]
    changed_left: Float[np.ndarray, "unknown"]
    cross: Float[np.ndarray, "unknown column"]


class Pattern(NamedTuple):
    """Where X'WX may differ from zero, the same for all galaxies: rows and columns of its lower and upper triangle."""

    rows: np.ndarray
    columns: np.ndarray
    n: int

    def matrix(self, values: Float[np.ndarray, "nonzero"]) -> sparse.csr_matrix:
        """X'WX of its nonzero values."""
        return sparse.csr_matrix((values, (self.rows, self.columns)), shape=(self.n, self.n))


class Posterior(NamedTuple):
    """Of one galaxy's latents: mean of s, E[s s'], E[x], E[x s'], and the log evidence up to the data's own constant."""

    s: Float[np.ndarray, "latent"]
    square: Float[np.ndarray, "latent latent"]
    x: Float[np.ndarray, "column"]
    cross: Float[np.ndarray, "column latent"]
    log_evidence: float


def summary(one: Linearised, pattern: Pattern) -> Summary:
    """A galaxy's pixels, compressed."""
    weighted = one.changed.multiply(one.weight[:, None]).tocsr()
    product = np.asarray((weighted.T @ one.changed).tocsr()[pattern.rows, pattern.columns]).ravel()
    heavy = one.fixed * one.weight[:, None]
    return Summary(
        float(one.left @ (one.weight * one.left)), int(np.sum(one.weight > 0)), one.offset, heavy.T @ one.fixed, heavy.T @ one.left,
        product, weighted.T @ one.left, weighted.T @ one.fixed,
    )  # fmt: skip


def pattern_of(changed: Iterable[sparse.csr_matrix]) -> Pattern:
    """Where X'WX of any galaxy has something, from each one's X."""
    total = None
    for one in changed:
        some = abs(one)
        found = (some.T @ some).astype(bool).astype(np.int8)
        total = found if total is None else (total + found).astype(bool).astype(np.int8)
    full = total.tocoo()
    return Pattern(full.row, full.col, full.shape[0])


def posterior(one: Summary, rho: Float[np.ndarray, "unknown column"], pattern: Pattern) -> Posterior:
    """Of x and s given rho (mean, then factors)."""
    product = pattern.matrix(one.changed)
    moved = product @ rho
    mean, factors = rho[:, 0], rho[:, 1:]
    n, k = len(one.offset), factors.shape[1]
    across = factors.T @ one.cross
    bend = np.eye(n + k)
    bend[:n, :n] += one.fixed
    bend[:n, n:], bend[n:, :n] = across.T, across
    bend[n:, n:] += factors.T @ moved[:, 1:]
    pull = np.concatenate([one.fixed_left - one.cross.T @ mean, factors.T @ (one.changed_left - moved[:, 0])])
    target = pull + np.concatenate([one.offset, np.zeros(k)])
    root = np.linalg.cholesky(bend)
    found = np.linalg.solve(root.T, np.linalg.solve(root, target))
    covariance = np.linalg.inv(bend)
    left = one.square - 2.0 * mean @ one.changed_left + mean @ moved[:, 0]
    log_evidence = -0.5 * (left + one.offset @ one.offset - target @ found) - np.sum(np.log(np.diagonal(root)))
    x, s = found[:n], found[n:]
    return Posterior(s, np.outer(s, s) + covariance[n:, n:], x, np.outer(x, s) + covariance[:n, n:], float(log_evidence))


def allowed(forbidden: Float[np.ndarray, "unknown direction"]) -> Float[np.ndarray, "unknown free"]:
    """An orthonormal basis of all that is orthogonal to the forbidden directions."""
    q, _ = np.linalg.qr(forbidden, mode="complete")
    return q[:, forbidden.shape[1] :]


def learn(
    galaxies: list[Summary], pattern: Pattern, free: Float[np.ndarray, "unknown free"], size: Float[np.ndarray, "unknown"], n_latent: int,
    *, seed: int = 0, rounds: int = 25, start: Float[np.ndarray, "unknown column"] | None = None,
) -> tuple[Float[np.ndarray, "unknown column"], list[float]]:  # fmt: skip
    """Most probable rho [unknown, 1 + latent], and the log evidence of all galaxies by iteration.

    Parameters
    ----------
    free
        Basis of what rho may be (`allowed`).
    size
        Prior standard deviation of each of its elements.
    """
    rng = np.random.default_rng(seed)
    if start is None:
        start = np.concatenate([np.zeros((len(size), 1)), FIRST_SCALE * rng.standard_normal((len(size), n_latent))], 1)
    rho, evidence = free @ (free.T @ start), []
    for _ in range(rounds):
        found = [posterior(one, rho, pattern) for one in galaxies]
        evidence.append(float(sum(one.log_evidence for one in found)))
        rho = _standardised(_maximised(galaxies, found, pattern, free, size), found)
    return _ordered(rho), evidence


def _maximised(
    galaxies: list[Summary], found: list[Posterior], pattern: Pattern, free: np.ndarray, size: np.ndarray
) -> Float[np.ndarray, "unknown column"]:
    """The most probable rho given the posteriors of all galaxies."""
    k = 1 + len(found[0].s)
    moments = np.empty((len(found), k, k))
    for i, one in enumerate(found):
        moments[i, 0, 0], moments[i, 0, 1:], moments[i, 1:, 0], moments[i, 1:, 1:] = 1.0, one.s, one.s, one.square
    right = sum(
        np.outer(galaxy.changed_left, np.append(1.0, one.s)) - galaxy.cross @ np.column_stack([one.x, one.cross])
        for galaxy, one in zip(galaxies, found, strict=True)
    )
    products = np.tensordot(moments, np.stack([one.changed for one in galaxies]), (0, 0))  # [k, k, nonzero]
    n = free.shape[1]
    bend = np.zeros((k, n, k, n))
    prior = free.T @ (free / size[:, None] ** 2)
    for i in range(k):
        for j in range(i + 1):
            block = free.T @ (pattern.matrix(products[i, j]) @ free) + (prior if i == j else 0.0)
            bend[i, :, j], bend[j, :, i] = block, block.T
    solution = np.linalg.solve(bend.reshape(k * n, k * n), (free.T @ right).T.ravel())
    return free @ solution.reshape(k, n).T


def _standardised(rho: Float[np.ndarray, "unknown column"], found: list[Posterior]) -> Float[np.ndarray, "unknown column"]:
    """With latents of mean zero and unit covariance over galaxies, which plain EM takes hundreds of rounds for (Liu, Rubin & Wu 1998)."""
    mean = np.mean([one.s for one in found], 0)
    covariance = np.mean([one.square for one in found], 0) - np.outer(mean, mean)
    return np.column_stack([rho[:, 0] + rho[:, 1:] @ mean, rho[:, 1:] @ np.linalg.cholesky(covariance)])


def _ordered(rho: Float[np.ndarray, "unknown column"]) -> Float[np.ndarray, "unknown column"]:
    """With the factors rotated so that they are orthogonal, the largest first, each with its largest element positive."""
    u, s, _ = np.linalg.svd(rho[:, 1:], full_matrices=False)
    factors = u * s
    sign = np.sign(factors[np.argmax(np.abs(factors), 0), np.arange(factors.shape[1])])
    return np.column_stack([rho[:, 0], factors * np.where(sign == 0, 1.0, sign)])
