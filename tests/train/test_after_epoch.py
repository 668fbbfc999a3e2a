"""What is done to the network after every epoch, before it is validated."""

import dataclasses

import pytest
import synthetic
import torch
from torch import nn

from edgeprune.prune.channels.narrow import narrow, soften
from edgeprune.records.pruning import InputSpec
from edgeprune.train.finetune import Recipe, train

RECIPE = Recipe(epochs=3, batch_size=24, learning_rate=0.1)


class Forgetting:
    """Sets the answer for one class far below the others, and remembers when."""

    def __init__(self, lost=0):
        self.lost = lost
        self.called = 0

    @torch.no_grad()
    def __call__(self, model):
        self.called += 1
        model.fc.bias[self.lost] = -1000


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_what_it_leaves_is_validated_and_kept(data):
    model, forgetting = synthetic.small_network(), Forgetting()
    result = train(model, data, RECIPE, synthetic.Silent(), after_epoch=forgetting)
    with torch.no_grad():
        answers = model(data.validation_iq).argmax(1)
    assert forgetting.called == 3
    assert model.fc.bias.tolist()[0] == -1000
    assert 0 not in answers
    assert result.best_validation_top1 == pytest.approx(float((answers == data.validation_labels).float().mean()))
    assert max(epoch.validation_top1 for epoch in result.epochs) <= 10 / 15  # 5 of 15 frames are of the lost class


def test_an_interrupted_training_ends_as_one_that_was_not(data, tmp_path):
    whole, forgetting = synthetic.small_network(), Forgetting()
    train(whole, data, RECIPE, synthetic.Silent(), after_epoch=forgetting)
    options = {"state_path": tmp_path / "state.pt", "state_key": "key"}
    with pytest.raises(KeyboardInterrupt):
        train(synthetic.small_network(), data, RECIPE, synthetic.Silent("epoch 3"), after_epoch=Forgetting(), **options)
    continued, again = synthetic.small_network(), Forgetting()
    train(continued, data, RECIPE, synthetic.Silent(), after_epoch=again, **options)
    assert (forgetting.called, again.called) == (3, 1)
    assert torch.equal(weights(whole), weights(continued))


def test_soft_filter_pruning_removes_what_it_zeroed_in_the_epoch_that_was_kept(data):
    model, shape = synthetic.small_network(), InputSpec(2, 16)
    soft = soften(model, shape, 0.4)
    train(model, data, dataclasses.replace(RECIPE, epochs=2), synthetic.Silent(), after_epoch=soft)
    convolutions = {path: module for path, module in model.named_modules() if isinstance(module, nn.Conv1d)}
    zeroed = {path: int((module.weight == 0).all(2).all(1).sum()) for path, module in convolutions.items()}
    narrowed, _ = narrow(model, shape, "sfp", 0.4)
    left = {path: narrowed.get_submodule(path).out_channels for path in convolutions}
    assert left == {path: module.out_channels - zeroed[path] for path, module in convolutions.items()}
    assert all((narrowed.get_submodule(path).weight != 0).any(2).any(1).all() for path in convolutions)
    assert min(zeroed.values()) > 0
