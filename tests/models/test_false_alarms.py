"""False alarms: residuals against a loop, and rates that are rates."""

import jax.numpy as jnp
import numpy as np
import pytest

from slipher.models import false_alarms
from slipher.models.false_alarms import WIDTHS, Measured
from slipher.models.spectrum_latents import strange


def test_residuals_are_sums_over_widths():
    rng = np.random.default_rng(0)
    n = 300
    flux, ivar = 1.0 + 0.1 * rng.standard_normal(n), np.where(rng.random(n) < 0.1, 0.0, 100.0)
    predicted = np.ones(n)
    found = np.asarray(false_alarms.significance(*(jnp.asarray(x, jnp.float32) for x in (flux, ivar, predicted))))
    left = np.where(ivar > 0, (flux - 1.0) / np.hypot(0.1, 0.01), 0.0)
    for row, width in zip(found, WIDTHS, strict=True):
        for i in range(0, n, 7):
            some = slice(max(i - width // 2, 0), min(i + width - width // 2, n))
            count = max(np.sum(ivar[some] > 0), 1)
            want = left[some].sum() / np.sqrt(count) if ivar[i] > 0 else 0.0
            assert row[i] == pytest.approx(want, abs=1e-3)


def usual(seed: int, n: int) -> Measured:
    """Statistics that depend on the S/N."""
    rng = np.random.default_rng(seed)
    log_sn = rng.uniform(0, 4, n)
    return Measured(
        log_sn, 3.0 + log_sn + rng.gamma(3.0, 1.0, n), 0.1 * rng.standard_normal(n) / (1 + log_sn), np.log(4.0 + rng.exponential(1, n)),
        log_sn + rng.standard_t(3, n),
    )  # fmt: skip


def test_rates_of_ordinary_spectra_are_uniform():
    card = false_alarms.statistics([usual(0, 10_000), usual(1, 10_000)])
    rates = false_alarms.rates(usual(2, 20_000), card)
    for name in false_alarms.NAMES:
        for level in (0.3, 0.1, 0.01):
            assert np.mean(rates[name] < level) == pytest.approx(level, abs=4 * np.sqrt(level / 20_000) + 0.15 * level)
    for level in (0.1, 0.01):
        assert np.mean(rates["rate"] < level) == pytest.approx(level, abs=4 * np.sqrt(level / 20_000) + 0.15 * level)


def test_questions_that_ask_the_same_count_once():
    """Together they are as rare as each, not four times as often."""

    def same(seed: int, n: int) -> Measured:
        one = usual(seed, n)
        return one._replace(left_over=one.latents, local=one.latents, lines=one.latents)

    rates = false_alarms.rates(same(2, 20_000), false_alarms.statistics([same(0, 20_000)]))
    np.testing.assert_allclose(np.mean(rates["rate"] < 0.01), 0.01, atol=0.003)
    usual_ones = rates["local"] > 0.02
    np.testing.assert_allclose(rates["rate"][usual_ones], rates["local"][usual_ones], rtol=0.2)


def test_what_is_far_out_has_a_tiny_rate_and_stays_finite():
    card = false_alarms.statistics([usual(0, 20_000)])
    far = Measured(*(np.array([x]) for x in (2.0, 40.0, 0.0, np.log(5.0), 2.0)))
    further = far._replace(latents=np.array([1e5]))
    rates = [false_alarms.rates(m, card) for m in (far, further)]
    assert rates[1]["rate"][0] <= rates[0]["rate"][0] < 1e-5
    assert rates[0]["left_over"][0] > 0.01
    assert np.isfinite(rates[1]["rate"][0])


def test_what_is_strange_is_named_once():
    wave = np.linspace(4000.0, 8000.0, 2000)
    rng = np.random.default_rng(1)
    flux = 1.0 + 0.05 * rng.standard_normal(2000) + 0.9 * np.exp(-0.5 * ((wave - 6564.6 * 1.1) / 6.0) ** 2)
    flux -= 0.06 * ((wave > 4800) & (wave < 5300))
    ivar = np.full(2000, 400.0)
    sigma = np.asarray(false_alarms.significance(jnp.asarray(flux, jnp.float32), jnp.asarray(ivar, jnp.float32), jnp.ones(2000)))
    found = strange(wave, 0.1, sigma)
    assert len(found) >= 2
    assert found[0].near == "H alpha"
    assert found[0].sigma > 10
    assert found[0].low_aa < 6564.6 * 1.1 < found[0].high_aa
    assert str(found[0]).startswith("excess at 72")
    wide = next(s for s in found if s.sigma < 0)
    assert wide.near == ""
    assert 4700 < wide.low_aa < wide.high_aa < 5400
