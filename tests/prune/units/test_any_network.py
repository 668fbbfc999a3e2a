"""Whatever network is brought: what must hold of its units, over networks drawn at random."""

import functools
import math
import sys
import types
import warnings

import any_network
import pytest
import synthetic
import torch
from any_network import CHANNELS, CLASSES, KINDS, LENGTH, Drawn, Part, networks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.export import export
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.activations import read, taps_of
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.edits import apply_edits, lost_parameters
from edgeprune.network.model_file import ModelOptions
from edgeprune.network.tracing import Code
from edgeprune.network.unfold import unfolded
from edgeprune.prune.planning import units_to_keep
from edgeprune.prune.surgery import apply
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Arch, InputSpec, PrunePlan
from edgeprune.targets import get

SHAPE = InputSpec(CHANNELS, LENGTH)
FACTORY = "networks_of_the_tests:build"
TRUSTED = ModelOptions(factory=FACTORY)


def few(count):
    return settings(deadline=None, derandomize=True, max_examples=count)


def signals(count=4):
    return synthetic.signals(count, LENGTH)


@functools.lru_cache(maxsize=512)
def chain_of(drawn):
    return layers_of(drawn.build(), SHAPE, "0" * 64)


def without(model, units):
    return apply_edits(model, [unit.edit for unit in units], (CHANNELS, LENGTH))


def plan_of(chain, units):
    """A plan by hand that drops these units."""
    dropped = tuple(unit.index for unit in units)
    kept = tuple(unit.index for unit in chain.units if unit.index not in dropped)
    segments = ((0, len(chain.units) - 1),)
    return PrunePlan("0" * 64, "", "", segments, kept, dropped, (), tuple(unit.edit for unit in units))


def trains(model):
    """Whether one step of training reaches every parameter and leaves finite answers."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    nn.functional.cross_entropy(model(signals()), torch.tensor([0, 1, 2, 0])).backward()
    missed = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missed == []
    optimizer.step()
    model.eval()
    with torch.no_grad():
        assert model(signals()).isfinite().all()


@pytest.fixture(scope="module")
def factory():
    """The module whose function the checkpoints name; a test puts the network of the moment there."""
    module = types.ModuleType("networks_of_the_tests")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def checkpoint_of(drawn):
    return Checkpoint(
        model=drawn.build(),
        arch=Arch(FACTORY, {}, "factory"),
        classes=("AM", "FM", "CW"),
        input=SHAPE,
        data=None,
        plan=None,
        metrics={},
        sha256="0" * 64,
    )


@few(20)
@given(networks())
def test_the_chain_holds_every_parameter_once(drawn):
    model, chain = drawn.build(), chain_of(drawn)
    counted = sum(unit.params for unit in chain.units)
    shared = any(part.kind == "shared" for part in drawn.parts)
    assert chain.params == sum(parameter.numel() for parameter in model.parameters())
    assert counted > chain.params if shared else counted == chain.params
    assert [unit.index for unit in chain.units] == list(range(len(chain.units)))
    assert chain.units[0].in_shape == (CHANNELS, LENGTH)
    assert chain.units[-1].out_shape == (CLASSES,)
    assert all(after.in_shape == before.out_shape for before, after in zip(chain.units, chain.units[1:], strict=False))
    assert all(unit.reason and unit.droppable == (unit.edit is not None) for unit in chain.units)
    if chain.droppable:
        assert 0 <= units_to_keep(chain, None, 0.5) <= len(chain.droppable)
        assert units_to_keep(chain, len(chain.units), 0.5) == len(chain.droppable)


@few(25)
@given(networks())
@torch.no_grad()
def test_dropping_nothing_changes_no_bit(drawn):
    model = drawn.build()
    assert torch.equal(without(model, [])(signals()), model(signals()))


@few(12)
@given(networks())
def test_any_droppable_unit_can_be_dropped(drawn):
    model, chain = drawn.build(), chain_of(drawn)
    before = synthetic.frozen(model)
    whole = unfolded(model)
    names = {parameter: name for name, parameter in whole.named_parameters()}
    for unit in (chain.units[index] for index in chain.droppable):
        pruned = without(model, [unit])
        lost = {names[parameter] for parameter in lost_parameters(Code(whole, (CHANNELS, LENGTH)), unit)}
        assert lost
        assert {name for name, _ in pruned.named_parameters()} == set(names.values()) - lost
        with torch.no_grad():
            answers = pruned(signals())
        assert answers.shape == (4, CLASSES)
        assert answers.isfinite().all()
        trains(pruned)
    assert synthetic.unchanged(model, before)


@few(20)
@given(networks(), st.data())
def test_any_set_of_units_can_be_dropped_or_is_refused_in_words(factory, tmp_path_factory, drawn, data):
    chain = chain_of(drawn)
    factory.build = drawn.build
    chosen = data.draw(st.sets(st.sampled_from(chain.droppable))) if chain.droppable else set()
    units = [chain.units[index] for index in sorted(chosen)]
    try:
        pruned = apply(checkpoint_of(drawn), plan_of(chain, units))
    except ModelError:
        assert any(unit.drop == "adapter" for unit in units)
        return
    trains(pruned.model)
    path = tmp_path_factory.mktemp("model") / "pruned.pt"
    checkpoints.save(path, pruned)
    loaded = checkpoints.load(path, TRUSTED)
    with torch.no_grad():
        assert torch.equal(loaded.model(signals()), pruned.model(signals()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that recurrent layers set
        torch.export.export(loaded.model, (signals(2),), strict=False)


@few(10)
@given(networks(most=3))
def test_what_is_left_is_a_chain_again(drawn):
    chain = chain_of(drawn)
    units = [chain.units[index] for index in chain.droppable if chain.units[index].drop != "adapter"]
    after = layers_of(without(drawn.build(), units), SHAPE, "0" * 64)
    assert after.params <= chain.params
    assert len(after.units) <= len(chain.units)
    if units and not any(part.kind == "shared" for part in drawn.parts):
        assert sum(unit.params for unit in after.units) == after.params < chain.params


@few(10)
@given(networks(most=3))
@torch.no_grad()
def test_every_unit_can_be_read(drawn):
    model, chain = unfolded(drawn.build()), chain_of(drawn)
    outputs = read(model, taps_of(model, chain, signals()), signals(), torch.Tensor.clone)
    for unit, output in zip(chain.units, outputs, strict=True):
        assert output.isfinite().all()
        assert len(output) == 4
        folded = LENGTH if unit.path.endswith("fc") and unit.out_shape != (CLASSES,) else 1  # a mixer's, over all steps
        assert output[0].numel() == math.prod(unit.out_shape) * folded, unit.path
    assert torch.equal(outputs[-1], model(signals()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_has_something_to_drop_as_a_module_and_as_code(kind):
    for module in (True, False):
        chain = chain_of(Drawn((Part(kind, any_network.WIDTH, module),)))
        assert chain.droppable, [unit.reason for unit in chain.units]
        same = {unit.out_shape for unit in chain.units if unit.drop == "identity"}
        assert same or kind in ("dense", "pooled", "strided")


def test_a_shared_layer_is_never_dropped_alone():
    chain = chain_of(Drawn((Part("shared", 8), Part("plain", 8))))
    again = [unit for unit in chain.units if unit.path == "blocks.0.again.0"]
    assert len(again) == 3
    assert not any(unit.droppable for unit in again)
    assert all("shares its weights with unit" in unit.reason for unit in again)


MIXED = (
    Drawn((Part("residual", 12, False), Part("gru of two", 12), Part("encoder layer", 12)), "flat"),
    Drawn((Part("strided", 12), Part("attention", 12, False), Part("raw", 12, False)), "mean"),
)


@pytest.mark.parametrize("drawn", MIXED)
def test_a_pruned_network_is_exported(tmp_path, drawn):
    chain = chain_of(drawn)
    units = [chain.units[index] for index in chain.droppable][::2]
    pruned = apply(checkpoint_of(drawn), plan_of(chain, units))
    iq = signals(8).numpy()
    written = export(pruned.model, SHAPE, iq, get("host-cpu"), tmp_path / "pruned.onnx", {}, simplifiers=())
    assert units
    assert written.checked_frames == 8
