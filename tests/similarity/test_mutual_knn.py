import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from edgeprune.errors import DataError
from edgeprune.similarity import mutual_knn

METRIC = mutual_knn.metric


def products(units):
    return METRIC.products([METRIC.summarise(torch.as_tensor(unit)) for unit in units])


def compare(units):
    return METRIC.finish(products(units)).numpy()


def nearest(rows, k):
    """Neighbours of each frame found in a tree of directions: between unit vectors, near means a large cosine."""
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = KDTree(directions).query(directions, k + 1)[1]
    return [set(near) - {frame} for frame, near in enumerate(found)]


def related(generator, n, widths=(40, 24, 6)):
    shared = generator.normal(size=(n, 5))
    return [shared @ generator.normal(size=(5, width)) + generator.normal(size=(n, width)) for width in widths]


@pytest.mark.parametrize(("n", "k"), [(64, 10), (22, 10), (21, 10), (20, 9), (7, 3), (4, 1)])
def test_agrees_with_a_search_in_a_tree(n, k):
    units = related(np.random.default_rng(n), n)
    sets = [nearest(rows, k) for rows in units]
    expected = [[np.mean([len(a & b) / k for a, b in zip(x, y, strict=True)]) for y in sets] for x in sets]
    np.testing.assert_allclose(compare(units), expected, rtol=1e-12)
    assert mutual_knn.neighbours(n) == k


def test_by_hand():
    # Directions at 0°, 10°, 30° and 90°, k = 1: the nearest are 1, 0, 1, 2. At 0°, 50°, 40°, 90° they are 2, 2, 1, 1.
    # Common: none of frame 0, none of 1, the one of 2, none of 3.
    x, y = (
        np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for angles in (np.deg2rad([0, 10, 30, 90]), np.deg2rad([0, 50, 40, 90]))
    )
    np.testing.assert_allclose(compare([x, y]), [[1, 1 / 4], [1 / 4, 1]])


def test_invariant_to_rotation_and_scale_but_not_to_stretch():
    generator = np.random.default_rng(6)
    x = generator.normal(size=(64, 12))
    rotation, _ = np.linalg.qr(generator.normal(size=(12, 12)))
    result = compare([x, 3 * x @ rotation, x @ np.diag(np.linspace(0.01, 10, 12)), x * np.linspace(1, 9, 64)[:, None]])
    assert result[0, [0, 1, 3]].tolist() == [1, 1, 1]
    assert result[0, 2] < 0.9


def test_units_that_share_nothing_agree_by_chance():
    generator = np.random.default_rng(7)
    overlaps = [compare(generator.normal(size=(2, 64, 50)))[0, 1] for _ in range(20)]
    assert np.mean(overlaps) == pytest.approx(10 / 63, abs=0.02)


@pytest.mark.parametrize(("scale", "mean"), [(1e-25, 0.0), (1e25, 0.0), (1.0, 1e3)])
def test_holds_for_any_scale_and_large_means(scale, mean):
    units = [(scale * (rows + mean)).astype(np.float32) for rows in related(np.random.default_rng(8), 40)]
    sets = [nearest(rows.astype(np.float64), 10) for rows in units]
    expected = [[np.mean([len(a & b) / 10 for a, b in zip(x, y, strict=True)]) for y in sets] for x in sets]
    np.testing.assert_allclose(compare(units), expected, rtol=1e-12)


def test_of_equally_near_frames_the_earlier_count():
    # Three frames along each of two axes, scaled so that rounding differs: all on one axis are equally near.
    sizes = np.array([3.0, 0.7, 11.0, 0.1, 1 / 3, 7.0])[:, None]
    marks = METRIC.summarise(torch.as_tensor(sizes * np.repeat([[1.0, 2.0, 3.0], [3.0, 2.0, -1.0]], 3, axis=0)))
    assert marks.argwhere()[:, 1].tolist() == [1, 2, 0, 2, 0, 1, 4, 5, 3, 5, 3, 4]
    half = METRIC.summarise(torch.as_tensor(sizes * np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [1, 0], [0, 1]])))
    assert half[:5].argwhere()[:, 1].tolist() == [1, 2, 0, 2, 0, 1, 0, 1, 0, 1]


def test_a_frame_without_direction_or_with_one_for_all_has_no_neighbours():
    x = np.random.default_rng(9).normal(size=(8, 3))
    x[2] = 0
    marks = METRIC.summarise(torch.as_tensor(x))
    assert marks.sum(dim=1).tolist() == [3, 3, 0, 3, 3, 3, 3, 3]
    assert compare([x, x])[0].tolist() == [1, 7 / 8]
    constant = np.linspace(1, 2, 8)[:, None] * np.linspace(0.1, 7.3, 50)
    assert products([constant])[0, 0] == 0


def test_needs_three_frames():
    with pytest.raises(DataError, match="at least 3 frames in a batch, got 2"):
        METRIC.summarise(torch.randn(2, 10))
