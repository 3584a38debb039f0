"""The ridge projection against its dense float64 twin, and what must not matter: units, masks, order of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slipher.networks import projection as proj

N_PIXEL, N_COMPONENT = 400, 10
WAVE = np.geomspace(3600.0, 7200.0, N_PIXEL)


def smooth_basis() -> np.ndarray:
    """A continuum, waves on it and two emission lines: [pixel, component]."""
    x = np.log(WAVE / WAVE[0])
    waves = [np.cos(k * np.pi * x / x[-1]) for k in range(N_COMPONENT - 2)]
    lines = [6.0 * np.exp(-0.5 * ((WAVE - centre) / 8.0) ** 2) for centre in (4863.0, 6565.0)]
    return np.stack([*waves, *lines], 1)


BASIS = smooth_basis()
MEAN = np.array([1.0, 0.2, -0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
VARIANCE = np.geomspace(0.3, 1e-4, N_COMPONENT)
VARIANCE[-2:] = 0.2


def spectrum(seed: int, sn: float) -> tuple[np.ndarray, np.ndarray]:
    """A draw from the prior with noise that varies over the range: flux and ivar."""
    rng = np.random.default_rng(seed)
    truth = BASIS @ (MEAN + np.sqrt(VARIANCE) * rng.standard_normal(N_COMPONENT))
    sigma = np.mean(truth) / sn * (0.5 + rng.random(N_PIXEL))
    return truth + sigma * rng.standard_normal(N_PIXEL), 1.0 / sigma**2


def project(flux: np.ndarray, ivar: np.ndarray, *, wave: np.ndarray = WAVE, basis: np.ndarray = BASIS) -> proj.Projected:
    arrays = (jnp.asarray(a, jnp.float32) for a in (flux, ivar, wave, basis, MEAN, VARIANCE))
    return PROJECT(*arrays)


PROJECT = jax.jit(proj.project)


class Dense:
    """The same posterior in float64 from the data's covariance, pixels without information left out.

    a | d ~ N(m + V B' C^-1 (d - B m), V - V B' C^-1 B V) with C = B V B' + W^-1: no normal equations anywhere.
    """

    def __init__(self, flux: np.ndarray, ivar: np.ndarray):
        seen = ivar > 0
        window = seen & (WAVE > 3800.0) & (WAVE < 6500.0)
        self.norm = flux[window].mean()
        self.data, basis = flux[seen] / self.norm, BASIS[seen]
        floor = 0.01 + 0.03 * np.maximum(self.data - 2.0, 0.0)
        self.noise = 1.0 / (ivar[seen] * self.norm**2) + floor**2
        v = np.diag(VARIANCE)
        self.covariance = basis @ v @ basis.T + np.diag(self.noise)
        gain = np.linalg.solve(self.covariance, basis @ v).T
        self.coefficients = MEAN + gain @ (self.data - basis @ MEAN)
        self.sd = np.sqrt(np.diagonal(v - gain @ basis @ v))
        self.chi2 = np.sum((self.data - basis @ self.coefficients) ** 2 / self.noise)
        # Up to constants of the noise, which no trial redshift changes.
        off = self.data - basis @ MEAN
        log_det = np.linalg.slogdet(self.covariance)[1] - np.sum(np.log(self.noise))
        self.log_evidence = -0.5 * (off @ np.linalg.solve(self.covariance, off) + log_det)


def masked(ivar: np.ndarray, *, share: float) -> np.ndarray:
    """Pixels lost at random, and a long gap between the lines."""
    lost = np.random.default_rng(5).random(N_PIXEL) < share
    lost[230:290] = True
    return np.where(lost, 0.0, ivar)


@pytest.mark.parametrize("mask", [0.0, 0.3], ids=["whole", "masked"])
@pytest.mark.parametrize("sn", [0.5, 5.0, 50.0])
def test_agrees_with_the_dense_posterior(sn, mask):
    flux, ivar = spectrum(int(10 * sn), sn)
    ivar = masked(ivar, share=mask) if mask else ivar
    got, twin = project(flux, ivar), Dense(flux, ivar)
    assert float(got.norm) == pytest.approx(twin.norm, rel=1e-5)
    np.testing.assert_allclose(got.sd, twin.sd, rtol=1e-3)
    np.testing.assert_allclose((got.coefficients - twin.coefficients) / twin.sd, 0.0, atol=5e-3)
    assert float(got.chi2) == pytest.approx(twin.chi2, rel=1e-3)
    assert float(got.n_pixels) == np.sum(ivar > 0)
    assert float(got.log_weight) == pytest.approx(0.5 * np.log(np.sum(1 / twin.noise)), abs=1e-4)
    assert float(got.log_evidence) == pytest.approx(twin.log_evidence, abs=0.02)


def test_its_errors_are_honest():
    """Over draws of the prior, pulls have unit variance and chi^2 is one per pixel (noise far above the floor)."""
    window = (WAVE > 3800.0) & (WAVE < 6500.0)
    # Every draw then has a mean of one.
    basis = BASIS - np.where(np.arange(N_COMPONENT) > 0, BASIS[window].mean(0), 0.0)
    mean, sd = np.eye(N_COMPONENT)[0], np.sqrt(np.where(np.arange(N_COMPONENT) > 0, VARIANCE, 1e-6))
    rng = np.random.default_rng(0)
    truth = mean + sd * rng.standard_normal((200, N_COMPONENT))
    sigma = 0.1 + 0.2 * rng.random((200, N_PIXEL))
    flux = truth @ basis.T + sigma * rng.standard_normal(sigma.shape)
    fixed = (jnp.asarray(a, jnp.float32) for a in (WAVE, basis, mean, sd**2))
    got = jax.vmap(PROJECT, (0, 0, None, None, None, None))(jnp.asarray(flux), jnp.asarray(sigma**-2), *fixed)
    pulls = ((got.coefficients - truth) / got.sd)[:, 1:]
    # A mean square of 200 pulls scatters by 0.1 about one, a mean of residuals of 400 pixels by 0.005.
    np.testing.assert_allclose(np.mean(pulls**2, 0), 1.0, atol=0.35)
    assert float(np.mean(pulls**2)) == pytest.approx(1.0, abs=0.1)
    assert float(np.mean(got.chi2 / got.n_pixels)) == pytest.approx(1.0, abs=0.03)


# --- what must not matter --------------------------------------------------------------------------------------------


def equal(a: proj.Projected, b: proj.Projected, **tolerance: float) -> None:
    for name in proj.Projected._fields:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), err_msg=name, **tolerance)


@pytest.mark.parametrize("nonsense", [1e6, -1e6, 1.0])
def test_flux_where_there_is_no_information_changes_nothing(nonsense):
    flux, ivar = spectrum(1, 10.0)
    ivar = masked(ivar, share=0.2)
    equal(project(np.where(ivar > 0, flux, nonsense), ivar), project(np.where(ivar > 0, flux, 0.0), ivar), rtol=0)


def test_masked_pixels_are_pixels_that_are_not_there():
    flux, ivar = spectrum(2, 10.0)
    ivar = masked(ivar, share=0.2)
    kept = ivar > 0
    alone = project(flux[kept], ivar[kept], wave=WAVE[kept], basis=BASIS[kept])
    equal(project(flux, ivar), alone, rtol=2e-4, atol=2e-5)


def test_the_order_of_pixels_does_not_matter():
    flux, ivar = spectrum(3, 10.0)
    order = np.random.default_rng(0).permutation(N_PIXEL)
    shuffled = project(flux[order], ivar[order], wave=WAVE[order], basis=BASIS[order])
    equal(project(flux, ivar), shuffled, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("unit", [2.0**-30, 2.0**20])
def test_units_of_flux_do_not_matter(unit):
    """A power of two is exact in floating point: not one bit of what the network reads may change."""
    flux, ivar = spectrum(4, 10.0)
    a, b = project(flux, ivar), project(flux * unit, ivar / unit**2)
    assert float(b.norm) == unit * float(a.norm)
    equal(a, b._replace(norm=a.norm), rtol=0)


def test_more_noise_makes_larger_errors_up_to_the_priors():
    flux, ivar = spectrum(5, 40.0)
    ivar = masked(ivar, share=0.3)
    sds = np.array([project(flux, ivar / noise**2).sd for noise in (1.0, 2.0, 8.0, 64.0)])
    assert np.all(np.diff(sds, axis=0) > 0)
    assert np.all(sds <= np.sqrt(VARIANCE) * (1 + 1e-5))


def test_fewer_pixels_make_larger_errors():
    flux, ivar = spectrum(6, 20.0)
    window = (WAVE > 3800.0) & (WAVE < 6500.0)
    less = np.where(window, ivar, 0.0)  # the norm stays as it is
    assert np.all(project(flux, less).sd > project(flux, ivar).sd)


def test_without_information_the_prior_remains():
    flux, _ = spectrum(7, 10.0)
    got = project(flux, np.zeros(N_PIXEL))
    np.testing.assert_allclose(got.coefficients, MEAN, atol=1e-6)
    np.testing.assert_allclose(got.sd, np.sqrt(VARIANCE), rtol=1e-5)
    assert float(got.n_pixels) == float(got.chi2) == 0.0


def test_where_a_line_is_not_seen_nothing_is_known_of_it():
    flux, ivar = spectrum(8, 30.0)
    got = project(flux, np.where(WAVE > 6300.0, 0.0, ivar))
    assert float(got.sd[-1]) == pytest.approx(np.sqrt(VARIANCE[-1]), rel=1e-4)
    assert float(got.sd[-2]) < 0.1 * np.sqrt(VARIANCE[-2])


def test_bright_lines_claim_no_more_than_a_few_per_cent():
    """However little noise: a line of height h is known no better than its working floor allows."""
    flux = BASIS @ np.array([1.0, 0, 0, 0, 0, 0, 0, 0, 0, 3.0])
    got = project(flux, np.full(N_PIXEL, 1e10))
    in_line = np.exp(-0.5 * ((WAVE - 6565.0) / 8.0) ** 2)
    floor = 0.01 + 0.03 * np.maximum(flux / float(got.norm) - 2.0, 0.0)
    best = 1.0 / np.sqrt(np.sum((6.0 * in_line / floor) ** 2))
    assert float(got.sd[-1]) >= best * (1 - 1e-3)


# --- the norm --------------------------------------------------------------------------------------------------------


def norm(flux: np.ndarray, weight: np.ndarray) -> float:
    return float(proj.norm_of(*(jnp.asarray(a, jnp.float32) for a in (flux, weight, WAVE))))


def test_the_norm_is_the_mean_of_the_window():
    flux = np.where((WAVE > 3800.0) & (WAVE < 6500.0), 3.0, 1e4)
    assert norm(flux, np.ones(N_PIXEL)) == pytest.approx(3.0)
    assert norm(np.where(WAVE < 4000.0, 7.0, flux), np.where(WAVE < 4000.0, 0.0, 1.0)) == pytest.approx(3.0)


@pytest.mark.parametrize("level", [0.0, -5.0])
def test_the_norm_is_positive_where_the_flux_is_not(level):
    n = np.sum((WAVE > 3800.0) & (WAVE < 6500.0))
    assert norm(np.full(N_PIXEL, level), np.full(N_PIXEL, 0.25)) == pytest.approx(0.1 * 2.0 / np.sqrt(n), rel=1e-5)


# --- what the network reads ------------------------------------------------------------------------------------------


def features_of(projected: proj.Projected) -> np.ndarray:
    basis, mean, variance = (jnp.asarray(a, jnp.float32) for a in (BASIS, MEAN, VARIANCE))
    made = proj.Projection(basis.astype(jnp.float16), mean, variance, jnp.ones((1, 2)), N_COMPONENT - 2)
    return np.asarray(proj.features(projected, made, jnp.float32(0.1), jnp.log(jnp.array([70.0, 65.0, 60.0]))))


def test_features_are_finite_without_any_information():
    assert np.all(np.isfinite(features_of(project(np.zeros(N_PIXEL), np.zeros(N_PIXEL)))))


def test_features_do_not_know_the_unit():
    flux, ivar = spectrum(9, 10.0)
    other = features_of(project(flux * 2.0**-40, ivar * 2.0**80))
    np.testing.assert_array_equal(features_of(project(flux, ivar)), other)


def test_features_tell_coefficients_and_errors_apart():
    flux, ivar = spectrum(9, 10.0)
    a, b = project(flux, ivar), project(flux, ivar)
    b = b._replace(sd=b.sd.at[3].mul(2.0))
    changed = np.flatnonzero(features_of(a) != features_of(b))
    np.testing.assert_array_equal(changed, [2 * N_COMPONENT + 3])
    assert (features_of(b) - features_of(a))[changed[0]] == pytest.approx(np.log(2.0), rel=1e-4)


def test_the_shape_of_a_complex_is_told_apart_from_its_strength():
    """Lines ten times as strong, their errors too: the same shape, a strength of log 10 more."""
    once = project(*spectrum(9, 10.0))
    scale = jnp.ones(N_COMPONENT).at[-2:].set(10.0)
    often = once._replace(coefficients=once.coefficients * scale, sd=once.sd * scale)
    at = slice(3 * N_COMPONENT, 3 * N_COMPONENT + 3)
    one, other = features_of(once)[at], features_of(often)[at]
    np.testing.assert_allclose(other - one, [0.0, 0.0, np.log(10.0)], atol=1e-5)
    assert np.sum(one[:2] ** 2) <= 1.0


# --- learning the basis ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30, 80), (80, 30)], ids=["few spectra", "many spectra"])
def test_principal_components_are_singular_vectors(shape):
    spectra = np.random.default_rng(0).standard_normal(shape) * np.geomspace(10.0, 0.1, shape[1])
    vectors, values = proj.principal(spectra, 6)
    _, s, v = np.linalg.svd(spectra, full_matrices=False)
    np.testing.assert_allclose(values, s[:6], rtol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(vectors * v[:6], 1)), np.sqrt(shape[1]), rtol=1e-8)
    np.testing.assert_allclose(np.mean(vectors**2, 1), 1.0, rtol=1e-10)


@pytest.mark.parametrize(("gap", "beside"), [(45.0, [[4341.7, 4364.4]]), (22.0, [[4341.7], [4364.4]])])
def test_lines_within_the_gap_are_one_complex(gap, beside):
    lines = np.array([6585.3, 4862.7, 4364.4, 6549.9, 3727.1, 6564.6, 3729.9, 4960.3, 4341.7])
    found = [sorted(lines[c]) for c in proj.complexes(lines, gap)]
    assert found == [[3727.1, 3729.9], *beside, [4862.7], [4960.3], [6549.9, 6564.6, 6585.3]]


def test_every_pixel_belongs_to_one_complex():
    lines = np.array([3727.1, 4862.7, 4960.3, 6549.9, 6564.6])
    masks = proj.complex_masks(WAVE, lines, 45.0)
    np.testing.assert_array_equal(np.sum(masks, 0), 1)
    for inside, members in zip(masks, proj.complexes(lines, 45.0), strict=True):
        assert np.all(inside[np.searchsorted(WAVE, lines[members])])


@pytest.fixture(scope="module")
def learnt() -> tuple[proj.Projection, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = np.log(WAVE / WAVE[0])
    shapes = np.stack([np.cos(k * np.pi * x / x[-1]) for k in range(60)])
    continua = 1.0 + (rng.standard_normal((300, 60)) * np.geomspace(0.3, 1e-4, 60)) @ shapes
    width = rng.uniform(8.0, 20.0, (300, 1))
    lines = sum(rng.lognormal(size=(300, 1)) * np.exp(-0.5 * ((WAVE - at) / width) ** 2) for at in (4863.0, 6565.0))
    return proj.learn(continua, lines, WAVE, np.array([4863.0, 6565.0])), continua, lines


def test_the_learnt_basis_holds_continua_and_lines(learnt):
    made, continua, lines = learnt
    basis = np.asarray(made.basis, np.float64)
    for wanted, part in ((continua, basis[:, : made.n_continuum]), (lines, basis[:, made.n_continuum :])):
        left = wanted.T - part @ np.linalg.lstsq(part, wanted.T, rcond=None)[0]
        assert np.sqrt(np.mean(left**2)) < 2e-3 * np.sqrt(np.mean(wanted**2))


def test_line_components_stay_in_their_complex(learnt):
    made, _, _ = learnt
    of_lines = np.asarray(made.basis)[:, made.n_continuum :]
    blue = WAVE <= (4863.0 + 6565.0) / 2
    reach = np.stack([np.any(of_lines[blue], 0), np.any(of_lines[~blue], 0)])
    np.testing.assert_array_equal(np.sum(reach, 0), 1)


def test_each_component_is_a_member_of_its_complex(learnt):
    made, _, _ = learnt
    blue = np.any(np.asarray(made.basis)[WAVE <= (4863.0 + 6565.0) / 2, made.n_continuum :], 0)
    np.testing.assert_array_equal(made.membership, [blue, ~blue])


def test_the_prior_is_as_wide_as_the_simulations(learnt):
    """Twice the variance of the coefficients of continua; lines scatter about none."""
    made, continua, _ = learnt
    basis = np.asarray(made.basis, np.float64)[:, : made.n_continuum]
    a = np.linalg.lstsq(basis, continua.T, rcond=None)[0]
    n = made.n_continuum
    np.testing.assert_allclose(made.mean[:n], a.mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.variance[:n], np.maximum(2.0 * a.var(1), 1e-8), rtol=1e-3)
    np.testing.assert_array_equal(made.mean[n:], 0.0)
    assert np.all(np.asarray(made.variance) > 0)
