import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine as cosine_distance

from edgeprune.similarity import angular, cosine

METRIC = angular.metric


def products(units):
    return METRIC.products([METRIC.summarise(torch.as_tensor(unit)) for unit in units])


def compare(units):
    return METRIC.finish(products(units)).numpy()


def mean_angular_similarity(x, y):
    """Row by row with scipy's cosine distance, the shorter row padded."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (x, y))
    return np.mean([1 - np.arccos(1 - cosine_distance(a, b)) / np.pi for a, b in zip(x, y, strict=True)])


def test_by_hand():
    # Angles: 60° and 90°, 0° and 180°, 45° and 135°; similarity is 1 - angle / 180°.
    ahead = np.array([[1.0, 0.0], [2.0, 0.0]])
    units = [
        ahead,
        np.array([[1.0, 3**0.5], [0.0, 5.0]]),
        np.array([[7.0, 0.0], [-1.0, 0.0]]),
        np.array([[1.0, 1.0], [-3.0, 3.0]]),
    ]
    expected = [1, (2 / 3 + 1 / 2) / 2, (1 + 0) / 2, (3 / 4 + 1 / 4) / 2]
    np.testing.assert_allclose(compare(units)[0], expected, atol=1e-7)


def test_the_mean_is_of_angles_and_not_the_angle_of_the_mean():
    # Cosines 1 and 0, angles 0° and 90°: mean angle 45°, while the angle of the mean cosine 1/2 would be 60°.
    units = [np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])]
    assert compare(units)[0, 1] == pytest.approx(3 / 4, abs=1e-7)
    mean_cosine = cosine.metric.products([METRIC.summarise(torch.as_tensor(unit)) for unit in units])[0, 1]
    assert 1 - np.arccos(mean_cosine.item()) / np.pi == pytest.approx(2 / 3, abs=1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_agrees_with_a_direct_computation_for_units_of_different_width(dtype, tolerance):
    generator = np.random.default_rng(0)
    units = [generator.uniform(-1, 3, size=(37, *shape)) for shape in ((4, 6), (30,), (7,))]
    flat = [unit.reshape(37, -1) for unit in units]
    result = compare([unit.astype(dtype) for unit in units])
    for i in range(3):
        for j in range(i):
            assert result[i, j] == pytest.approx(mean_angular_similarity(flat[i], flat[j]), abs=tolerance)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_positive_scale_of_a_frame_is_the_same(scale):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 9, 5))
    sizes = np.linspace(1, 9, 9)[:, None]
    scaled = compare([(x * scale * sizes).astype(np.float32), y.astype(np.float32)])
    assert scaled[0, 1] == pytest.approx(mean_angular_similarity(x, y), abs=1e-6)


def test_small_angles_keep_their_digits():
    # A turn by a small angle adds a part across of tan(angle): 1 - cosine would be 5e-9 here.
    x = np.random.default_rng(2).normal(size=(20, 64))
    across = np.concatenate([x[:, 32:], -x[:, :32]], axis=1)
    angle = 1e-4
    result = compare([x, x + np.tan(angle) * across])
    assert (1 - result[0, 1]) * np.pi == pytest.approx(angle, rel=1e-3)


def test_the_distance_obeys_the_triangle_inequality():
    generator = np.random.default_rng(3)
    distance = 1 - compare([generator.normal(size=(11, 3)) for _ in range(8)])
    assert (distance[:, None, :] <= distance[:, :, None] + distance[None, :, :] + 1e-12).all()


def test_a_constant_unit_has_an_angle_too():
    constant = np.tile([3.0, 4.0], (5, 1))
    np.testing.assert_allclose(products([constant, constant[:, ::-1].copy()]).diagonal(), [1, 1], rtol=0)
    assert compare([constant, constant[:, ::-1].copy()])[0, 1] == pytest.approx(1 - np.arccos(24 / 25) / np.pi)


def test_zeros_count_as_a_right_angle_and_on_the_diagonal_as_nothing():
    units = [np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[2.0, 2.0], [1.0, 0.0]])]
    np.testing.assert_allclose(products(units), [[1 / 2, 3 / 4], [3 / 4, 1]], atol=1e-7)
    np.testing.assert_allclose(compare(units), [[1, 3 / 4], [3 / 4, 1]], atol=1e-7)
