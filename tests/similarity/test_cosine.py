import numpy as np
import pytest
import torch

from edgeprune.similarity import cosine

METRIC = cosine.metric


def mean_cosine(x, y):
    """As the authors compute it: rows scaled to length 1, the shorter padded, mean of the diagonal of the product."""
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (x, y))
    return np.diag(x @ y.T).mean()


def products(units):
    return METRIC.products([METRIC.summarise(torch.as_tensor(unit)) for unit in units])


def test_by_hand():
    # Frame 0: (3, 4) and (4, 3) have cosine 24/25; frame 1: (1, 0) and (0, 1) have 0.
    result = METRIC.finish(products([np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [0.0, 1.0]])]))
    np.testing.assert_allclose(result.numpy(), [[1, 0.48], [0.48, 1]], rtol=1e-12)


def test_agrees_with_a_direct_computation_for_units_of_different_width():
    generator = np.random.default_rng(0)
    units = [generator.uniform(-1, 3, size=(37, *shape)) for shape in ((4, 6), (30,), (7,))]
    flat = [unit.reshape(37, -1) for unit in units]
    expected = [[mean_cosine(x, y) for y in flat] for x in flat]
    np.testing.assert_allclose(METRIC.finish(products(units)).numpy(), expected, atol=1e-12)
    single = METRIC.finish(products([unit.astype(np.float32) for unit in units]))
    np.testing.assert_allclose(single.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_scale_of_float32(scale):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 9, 5))
    scaled = products([(x * scale).astype(np.float32), y.astype(np.float32)])
    assert scaled[0, 1].item() == pytest.approx(mean_cosine(x, y), abs=1e-6)


def test_a_frame_of_zeros_adds_nothing_and_the_diagonal_stays_one():
    units = [np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[2.0, 2.0], [1.0, 0.0]])]
    assert products(units)[0].tolist() == pytest.approx([0.5, 0.5])
    np.testing.assert_allclose(METRIC.finish(products(units)).numpy(), [[1, 0.5], [0.5, 1]])
