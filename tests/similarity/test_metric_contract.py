import math

import pytest
import torch

from edgeprune import registry


@pytest.fixture(params=registry.names("similarity"))
def metric(request):
    return registry.get("similarity", request.param)


def activations():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(12, 40, generator=generator)
    noise = [torch.randn(12, width, generator=generator) for width in (40, 24, 8)]
    return [(shared[:, : part.shape[1]] + part).reshape(12, -1, 4) for part in noise]


def test_gives_a_symmetric_matrix_in_range_with_ones_on_the_diagonal(metric):
    products = metric.products([metric.summarise(unit) for unit in activations()])
    similarity = metric.finish(products)
    assert similarity.dtype == torch.float64
    assert similarity.shape == (3, 3)
    assert torch.equal(similarity, similarity.T)
    assert similarity.diagonal().tolist() == [1, 1, 1]
    assert -1 <= similarity.min() < similarity.max() <= 1


def test_a_unit_is_fully_like_itself_and_less_like_another(metric):
    first, other, _ = activations()
    similarity = metric.finish(metric.products([metric.summarise(unit) for unit in (first, first.clone(), other)]))
    assert similarity[0, 1].item() == pytest.approx(1, abs=1e-6)
    assert similarity[0, 2] < 0.99


def test_leaves_what_it_was_given(metric):
    given = activations()
    summaries = [metric.summarise(unit) for unit in given]
    kept = [summary.clone() for summary in summaries]
    products = metric.products(summaries)
    before = products.clone()
    metric.finish(products)
    assert all(map(torch.equal, given, activations()))
    assert all(map(torch.equal, summaries, kept))
    assert torch.equal(products, before)


def test_the_order_of_frames_and_of_units_does_not_matter(metric):
    units = activations()
    similarity = metric.finish(metric.products([metric.summarise(unit) for unit in units]))
    turned = metric.finish(metric.products([metric.summarise(unit.flip(0)) for unit in units[::-1]]))
    torch.testing.assert_close(turned.flip(0, 1), similarity, atol=1e-6, rtol=0)


def test_the_scale_of_a_unit_does_not_matter(metric):
    units = activations()
    similarity = metric.finish(metric.products([metric.summarise(unit) for unit in units]))
    scaled = [unit * factor for unit, factor in zip(units, (2.0**20, 3.0, 2.0**-20), strict=True)]
    result = metric.finish(metric.products([metric.summarise(unit) for unit in scaled]))
    torch.testing.assert_close(result, similarity, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_other_precisions(metric, dtype):
    units = [unit.to(dtype) for unit in activations()]
    result = metric.finish(metric.products([metric.summarise(unit) for unit in units]))
    single = metric.finish(metric.products([metric.summarise(unit.float()) for unit in units]))
    torch.testing.assert_close(result, single, atol=1e-5, rtol=0)


def test_a_unit_without_any_output_has_a_product_of_exactly_zero(metric):
    dead = torch.zeros(12, 6, 4)
    products = metric.products([metric.summarise(unit) for unit in (dead, *activations())])
    assert products[0, 0] == 0
    assert (products.diagonal()[1:] > 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_show_on_the_diagonal(metric, value):
    broken, *others = activations()
    broken[3, 2, 1] = value
    products = metric.products([metric.summarise(unit) for unit in (broken, *others)])
    assert products.diagonal().isfinite().tolist() == [False, True, True]


def test_keeps_no_view_of_what_it_was_given(metric):
    """A layer that works in place changes its input after it was summarised."""
    given = activations()
    summaries = [metric.summarise(unit) for unit in given]
    products = metric.products(summaries)
    for unit in given:
        unit.zero_()
    assert torch.equal(metric.products(summaries), products)
