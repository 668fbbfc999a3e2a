import numpy as np
import pytest
import torch

from edgeprune.errors import DataError
from edgeprune.similarity import cka_biased, cka_unbiased

METRICS = {"unbiased": cka_unbiased.metric, "biased": cka_biased.metric}


def song_hsic(x, y):
    """The unbiased estimator as Song et al. write it, from Gram matrices with zeroed diagonals, float64."""
    n = len(x)
    k, el = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(el, 0.0)
    ones = np.ones(n)
    return (
        np.trace(k @ el)
        + (ones @ k @ ones) * (ones @ el @ ones) / ((n - 1) * (n - 2))
        - 2 * (ones @ k @ el @ ones) / (n - 2)
    ) / (n * (n - 3))


def gretton_hsic(x, y):
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    return np.trace(x @ x.T @ h @ y @ y.T @ h) / (n - 1) ** 2


ORACLES = {"unbiased": song_hsic, "biased": gretton_hsic}


def oracle(name, units):
    """CKA of all pairs of units, each a list of batches; HSIC averaged over batches before the ratio."""
    flat = [[np.asarray(batch, np.float64).reshape(len(batch), -1) for batch in unit] for unit in units]
    flat = [[batch - batch.mean(axis=0) for batch in unit] for unit in flat]  # both estimators are invariant to it
    hsic = np.array([[np.mean([ORACLES[name](*pair) for pair in zip(a, b, strict=True)]) for b in flat] for a in flat])
    return hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))


def compare(name, units):
    metric = METRICS[name]
    batches = zip(*units, strict=True)
    products = [metric.products([metric.summarise(torch.as_tensor(x)) for x in batch]) for batch in batches]
    return metric.finish(torch.stack(products).mean(dim=0)).numpy()


def related_units(generator, batches=1, n=32, scale=1.0, mean=0.0):
    """Activations of three layers that share part of what they say, in the shapes of feature maps, float32."""
    units = [[], [], []]
    for _ in range(batches):
        shared = generator.normal(size=(n, 6))
        for unit, width in zip(units, ((4, 5), (30,), (2, 3, 4)), strict=True):
            noise = generator.normal(size=(n, int(np.prod(width))))
            mixed = shared @ generator.normal(size=(6, noise.shape[1])) + noise
            unit.append((scale * (mixed + mean)).reshape(n, *width).astype(np.float32))
    return units


def test_unbiased_by_hand():
    # K has one pair of frames alike, (0, 1), and L another, (0, 2), so with zeroed diagonals: tr(KK) = 2, 1'K1 = 2,
    # 1'KK1 = 2, tr(KL) = 0, 1'KL1 = 1. HSIC(K, K) = (2 + 4/6 - 2) / 4 = 1/6; HSIC(K, L) = (0 + 4/6 - 1) / 4 = -1/12.
    x, y = [[1.0], [1.0], [0.0], [0.0]], [[1.0], [0.0], [1.0], [0.0]]
    metric = cka_unbiased.metric
    products = metric.products([metric.summarise(torch.tensor(rows)) for rows in (x, y)])
    np.testing.assert_allclose(products.numpy(), [[1 / 6, -1 / 12], [-1 / 12, 1 / 6]], rtol=1e-6)
    np.testing.assert_allclose(metric.finish(products).numpy(), [[1, -0.5], [-0.5, 1]], rtol=1e-6)


def test_biased_by_hand():
    # With one feature CKA is the squared correlation: of x and z 1/3, of x and y 0.
    x, y, z = [1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]
    result = compare("biased", [[np.array(unit, np.float32)[:, None]] for unit in (x, y, z)])
    np.testing.assert_allclose(result[0], [1, 0, 1 / 3], atol=1e-6)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n", [4, 5, 33])
def test_agrees_with_the_published_formula(name, n):
    units = related_units(np.random.default_rng(n), n=n)
    np.testing.assert_allclose(compare(name, units), oracle(name, units), atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_averages_hsic_over_batches_before_the_ratio(name):
    units = related_units(np.random.default_rng(1), batches=3)
    result = compare(name, units)
    np.testing.assert_allclose(result, oracle(name, units), atol=1e-5)
    mean_of_ratios = np.mean([oracle(name, [[unit[i]] for unit in units]) for i in range(3)], axis=0)
    assert np.abs(result - mean_of_ratios).max() > 1e-4


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("scale", "mean"), [(1e-20, 0.0), (1e15, 0.0), (1.0, 1e4), (1e-3, 1e3)])
def test_holds_for_any_scale_and_large_means(name, scale, mean):
    units = related_units(np.random.default_rng(2), scale=scale, mean=mean)
    np.testing.assert_allclose(compare(name, units), oracle(name, units), atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_holds_when_the_first_frame_is_unlike_all_others(name):
    units = related_units(np.random.default_rng(8))
    for unit in units:
        unit[0][0] *= 300
    np.testing.assert_allclose(compare(name, units), oracle(name, units), atol=1e-5)


@pytest.mark.parametrize("far", [3e3, 3e4])
@pytest.mark.parametrize("place", [0, 7])
@pytest.mark.parametrize("name", METRICS)
def test_one_frame_far_from_all_others_costs_no_digits(name, far, place):
    units = related_units(np.random.default_rng(9), n=64)
    units[0][0][place] *= far
    np.testing.assert_allclose(compare(name, units), oracle(name, units), atol=3e-6)


def test_units_of_very_different_scale_compare_as_if_of_one():
    small, middle, large = related_units(np.random.default_rng(3))
    same = compare("unbiased", [small, middle, large])
    factor = np.float32(2.0**60)
    scaled = compare("unbiased", [[small[0] / factor], middle, [large[0] * factor]])
    np.testing.assert_allclose(scaled, same, rtol=1e-12)


def test_a_wide_unit_in_float32_is_as_good_as_in_float64():
    generator = np.random.default_rng(4)
    shared = generator.normal(size=(128, 8))
    units = [
        [np.maximum(shared @ generator.normal(size=(8, 4096)) + generator.normal(size=(128, 4096)), 0)]
        for _ in range(3)
    ]
    single = compare("unbiased", [[batch.astype(np.float32) for batch in unit] for unit in units])
    np.testing.assert_allclose(single, compare("unbiased", units), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_activations_are_multiplied_in_float32(dtype):
    units = [torch.as_tensor(unit[0]).to(dtype) for unit in related_units(np.random.default_rng(5))]
    result = compare("unbiased", [[unit] for unit in units])
    np.testing.assert_allclose(result, oracle("unbiased", [[unit.float().numpy()] for unit in units]), atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_invariant_to_rotation_and_isotropic_scale(name):
    generator = np.random.default_rng(6)
    x = generator.normal(size=(20, 12))
    rotation, _ = np.linalg.qr(generator.normal(size=(12, 12)))
    stretch = np.diag(np.linspace(0.01, 10, 12))
    result = compare(name, [[x], [3 * x @ rotation], [x @ stretch]])
    assert result[0, 1] == pytest.approx(1, abs=1e-12)
    assert result[0, 2] < 0.99


def test_only_the_biased_estimator_calls_independent_wide_units_alike():
    generator = np.random.default_rng(7)
    units = [[generator.normal(size=(16, 500)) for _ in range(20)] for _ in range(2)]
    assert compare("unbiased", units)[0, 1] == pytest.approx(0, abs=0.1)
    assert compare("biased", units)[0, 1] > 0.9


@pytest.mark.parametrize("name", METRICS)
def test_a_constant_unit_has_a_product_of_exactly_zero(name):
    constant = np.tile(np.linspace(0.1, 7.3, 50, dtype=np.float32), (37, 1))
    metric = METRICS[name]
    summary = metric.summarise(torch.as_tensor(constant))
    assert metric.products([summary])[0, 0] == 0


def test_unbiased_needs_four_frames():
    with pytest.raises(DataError, match="at least 4 frames in a batch, got 3"):
        cka_unbiased.metric.summarise(torch.randn(3, 10))
