import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from edgeprune.similarity import procrustes

METRIC = procrustes.metric


def products(units):
    return METRIC.products([METRIC.summarise(torch.as_tensor(unit)) for unit in units])


def compare(units):
    return METRIC.finish(products(units)).numpy()


def normalised(x, width):
    x = np.pad(x.reshape(len(x), -1), ((0, 0), (0, width - x[0].size)))
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


def fit(x, y):
    """tr((XR)ᵀY) after the rotation R that scipy finds, the narrower one padded."""
    width = max(x[0].size, y[0].size)
    x, y = normalised(x, width), normalised(y, width)
    rotation, _ = orthogonal_procrustes(x, y)
    return np.sum((x @ rotation) * y)


def related(generator, n, shapes=((4, 6), (30,), (7,))):
    shared = generator.normal(size=(n, 5))
    return [
        (shared @ generator.normal(size=(5, np.prod(shape))) + generator.normal(size=(n, np.prod(shape)))).reshape(
            n, *shape
        )
        for shape in shapes
    ]


@pytest.mark.parametrize("n", [4, 16, 64])
def test_agrees_with_scipy_for_units_wider_and_narrower_than_the_batch(n):
    units = related(np.random.default_rng(n), n)
    expected = [[fit(x, y) for y in units] for x in units]
    np.testing.assert_allclose(compare(units), expected, atol=1e-7)
    single = [unit.astype(np.float32) for unit in units]
    np.testing.assert_allclose(compare(single), expected, atol=1e-6)


def test_by_hand():
    # Centred, x varies by 2 along one axis and 1 along another, y by 1 and 2: XᵀY = diag(2·1·2, 1·2·2) = diag(4, 4),
    # both squared norms are 2·4 + 2·1 = 10, so the similarity is 8/10; a rotation of y by 90° changes nothing.
    x = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])
    y = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
    turned = y @ np.array([[0, 1.0], [-1, 0]])
    result = compare([x, y + 5, turned])
    np.testing.assert_allclose(result, [[1, 0.8, 0.8], [0.8, 1, 1], [0.8, 1, 1]], atol=1e-12)


def test_with_one_feature_it_is_the_correlation_whatever_its_sign():
    x, y = np.random.default_rng(1).normal(size=(2, 30, 1))
    assert compare([x, -2 * y + x])[0, 1] == pytest.approx(abs(np.corrcoef(x[:, 0], (x - 2 * y)[:, 0])[0, 1]))


def test_invariant_to_rotation_shift_and_isotropic_scale():
    generator = np.random.default_rng(6)
    x = generator.normal(size=(20, 12))
    rotation, _ = np.linalg.qr(generator.normal(size=(30, 30)))
    wider = np.pad(x, ((0, 0), (0, 18))) @ rotation
    result = compare([x, 3 * wider + 100, x @ np.diag(np.linspace(0.01, 10, 12))])
    assert result[0, 1] == pytest.approx(1, abs=1e-7)
    assert result[0, 2] < 0.95


@pytest.mark.parametrize(("scale", "mean"), [(1e-20, 0.0), (1e20, 0.0), (1.0, 1e3)])
def test_holds_for_any_scale_and_large_means_in_float32(scale, mean):
    units = [(scale * (unit + mean)).astype(np.float32) for unit in related(np.random.default_rng(2), 24)]
    wide = [unit.astype(np.float64) / scale for unit in units]
    np.testing.assert_allclose(compare(units), [[fit(x, y) for y in wide] for x in wide], atol=1e-6)


def test_a_unit_of_low_rank_is_no_less_exact():
    generator = np.random.default_rng(3)
    low = generator.normal(size=(64, 2)) @ generator.normal(size=(2, 500))
    units = [low, low @ generator.normal(size=(500, 90)), generator.normal(size=(64, 40))]
    single = [unit.astype(np.float32) for unit in units]
    expected = [[fit(x.astype(np.float64), y.astype(np.float64)) for y in single] for x in single]
    np.testing.assert_allclose(compare(single), expected, atol=1e-6)


def test_its_arccosine_obeys_the_triangle_inequality():
    generator = np.random.default_rng(4)
    angle = np.arccos(compare([generator.normal(size=(6, 3)) for _ in range(8)]))
    assert (angle[:, None, :] <= angle[:, :, None] + angle[None, :, :] + 1e-7).all()


def test_batches_count_by_their_variance_before_the_ratio():
    generator = np.random.default_rng(5)
    batches = [generator.normal(size=(2, 16, 4)), generator.normal(size=(2, 16, 4)) * 3]
    result = METRIC.finish(torch.stack([products(list(units)) for units in batches]).mean(dim=0))[0, 1]
    centred = [[unit - unit.mean(axis=0) for unit in units] for units in batches]
    nuclear = sum(np.linalg.norm(x.T @ y, "nuc") for x, y in centred)
    norms = [sum(np.sum(units[i] ** 2) for units in centred) for i in (0, 1)]
    assert result.item() == pytest.approx(nuclear / np.sqrt(norms[0] * norms[1]), abs=1e-7)


def test_a_constant_unit_has_a_product_of_exactly_zero_with_all():
    generator = np.random.default_rng(7)
    constant = np.tile(np.linspace(0.1, 7.3, 50, dtype=np.float32), (37, 1))
    result = products([constant, generator.normal(size=(37, 5))])
    assert result[0].tolist() == [0, 0]
    assert result[1, 1] > 0


def test_unrelated_wide_units_look_alike_as_the_page_says():
    generator = np.random.default_rng(8)
    narrow, wide = (compare(generator.normal(size=(2, 64, width)))[0, 1] for width in (2, 4096))
    assert narrow < 0.5
    assert wide > 0.9
