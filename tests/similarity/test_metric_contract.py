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
