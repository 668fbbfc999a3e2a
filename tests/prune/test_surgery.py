"""Carrying out plans: the published pruned networks, every single unit, and batch norm afterwards."""

import dataclasses

import pytest
import synthetic
import torch

from edgeprune.errors import ConfigError
from edgeprune.network import checkpoint as checkpoints
from edgeprune.prune.surgery import apply
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Decision, PrunePlan


def plan_of(chain, dropped):
    """A plan by hand that drops the units of these indices."""
    return PrunePlan(
        model_sha256=chain.model_sha256,
        metric="by hand",
        criterion="by hand",
        segments=((0, len(chain.units) - 1),),
        kept=tuple(unit.index for unit in chain.units if unit.index not in dropped),
        dropped=tuple(dropped),
        decisions=tuple(
            Decision(unit.index, unit.path, unit.index not in dropped, 0, "by hand") for unit in chain.units
        ),
        edits=tuple(unit.edit for unit in chain.units if unit.index in dropped),
    )


def keeping(chain, per_stage):
    """A plan that keeps so many blocks of each stage, the first of them, which is the transition, always."""
    blocks = len(chain.droppable) // 3
    stay = {1 + stage * blocks + place for stage, count in enumerate(per_stage) for place in range(count)}
    return plan_of(chain, [index for index in chain.droppable if index not in stay])


PUBLISHED = [
    ("resnet56", 128, 11, (1, 1, 1), 3.91, 75_067),
    ("resnet56", 512, 12, (1, 1, 1), 15.65, 75_132),
    ("resnet56", 128, 11, (1, 2, 1), 5.10, 93_627),
    ("resnet56", 1024, 24, (1, 1, 1), 31.29, 75_912),
    ("resnet110", 128, 11, (1, 1, 2), 6.28, 149_051),
    ("resnet110", 512, 12, (1, 1, 2), 25.12, 149_116),
    ("resnet110", 1024, 24, (1, 1, 2), 50.23, 149_896),
    ("resnet110", 128, 11, (1, 1, 1), 3.91, 75_067),
]


class TestPublished:
    @pytest.mark.parametrize(("name", "length", "classes", "per_stage", "millions", "parameters"), PUBLISHED)
    def test_pruned_networks_have_the_published_size(self, name, length, classes, per_stage, millions, parameters):
        chain = synthetic.chain(name, 128, 11)  # which blocks go depends on neither length nor classes
        pruned = apply(synthetic.checkpoint(name, length, classes), keeping(chain, per_stage))
        assert sum(parameter.numel() for parameter in pruned.model.parameters()) == parameters
        after = layers_of(pruned.model, pruned.input, "sha of the pruned file")
        assert after.params == parameters
        assert (after.macs + 2 * synthetic.batch_norm_outputs(pruned.model, length)) / 1e6 == pytest.approx(
            millions, abs=0.005
        )
        assert len(after.units) == sum(per_stage) + 2


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A checkpoint in a file of its own, its chain and its logits."""
    saved = checkpoints.save(tmp_path_factory.mktemp("model") / "model.pt", synthetic.checkpoint())
    chain = dataclasses.replace(synthetic.chain("resnet56-1d", synthetic.LENGTH, 3), model_sha256=saved.sha256)
    return saved, chain


class TestApply:
    @torch.no_grad()
    def test_dropping_nothing_changes_no_bit(self, written):
        model, chain = written
        x = synthetic.signals()
        pruned = apply(model, plan_of(chain, ()))
        assert pruned.model is not model.model
        assert torch.equal(pruned.model(x), model.model(x))

    @pytest.mark.parametrize("index", range(1, 28))
    @torch.no_grad()
    def test_any_unit_alone(self, written, tmp_path, index):
        model, chain = written
        before = synthetic.frozen(model.model)
        pruned = apply(model, plan_of(chain, [index]))
        x = synthetic.signals(2)
        seen = []
        hook = pruned.model.get_submodule(chain.units[index].path).register_forward_hook(
            lambda _module, _inputs, output: seen.append(tuple(output.shape[1:]))
        )
        logits = pruned.model(x)
        hook.remove()
        assert seen == [chain.units[index].out_shape]
        assert logits.shape == (2, 3)
        assert not torch.equal(logits, model.model(x))
        assert synthetic.unchanged(model.model, before)
        saved = checkpoints.save(tmp_path / "pruned.pt", pruned)
        loaded = checkpoints.load(tmp_path / "pruned.pt")
        assert torch.equal(loaded.model(x), logits)
        assert loaded.plan == saved.plan == pruned.plan
        assert not pruned.model.training
        torch.load(tmp_path / "pruned.pt", weights_only=True)

    @pytest.mark.parametrize("index", [10, 19])
    @torch.no_grad()
    def test_a_pooled_transition_alone(self, tmp_path, index):
        chain = synthetic.chain("resnet56", 128, 11)
        pruned = apply(synthetic.checkpoint("resnet56", 128, 11), plan_of(chain, [index]))
        x = synthetic.signals(2, 128)
        checkpoints.save(tmp_path / "pruned.pt", pruned)
        assert torch.equal(checkpoints.load(tmp_path / "pruned.pt").model(x), pruned.model(x))
        shapes = []
        pruned.model.get_submodule(chain.units[index].path).register_forward_hook(
            lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:]))
        )
        pruned.model(x)
        assert shapes == [chain.units[index].out_shape]

    @torch.no_grad()
    def test_every_droppable_unit_at_once(self, written, tmp_path):
        model, chain = written
        pruned = apply(model, plan_of(chain, chain.droppable))
        checkpoints.save(tmp_path / "pruned.pt", pruned)
        x = synthetic.signals()
        assert torch.equal(checkpoints.load(tmp_path / "pruned.pt").model(x), pruned.model(x))
        # What is left: stem, the two projections, head.
        by_hand = model.model.stem(x)
        for block in (9, 18):
            by_hand = model.model.blocks[block].shortcut(by_hand).relu()
        assert torch.equal(pruned.model(x), model.model.fc(by_hand.mean(-1)))

    @torch.no_grad()
    def test_a_pruned_model_can_be_pruned_again(self, written, tmp_path):
        model, chain = written
        once = checkpoints.save(tmp_path / "once.pt", apply(model, plan_of(chain, [2, 10, 19])))
        again = layers_of(once.model, once.input, once.sha256)
        assert [unit.path for unit in again.units if unit.index not in (0, len(again.units) - 1)][:2] == [
            "blocks.0",
            "blocks.2",
        ]
        twice = checkpoints.save(tmp_path / "twice.pt", apply(once, plan_of(again, [1, 2])))
        assert [edit.path for edit in twice.plan.edits] == ["blocks.1", "blocks.9", "blocks.18", "blocks.0", "blocks.2"]
        x = synthetic.signals()
        loaded = checkpoints.load(tmp_path / "twice.pt")
        assert torch.equal(loaded.model(x), twice.model(x))
        at_once = apply(model, plan_of(chain, [1, 2, 3, 10, 19]))
        assert torch.equal(loaded.model(x), at_once.model(x))

    def test_the_pruned_checkpoint_is_another_file_with_no_figures_yet(self, written):
        model, chain = written
        pruned = apply(dataclasses.replace(model, metrics={"top1": 0.9}), plan_of(chain, [1]))
        assert (pruned.sha256, pruned.metrics) == ("", {})
        assert (pruned.arch, pruned.classes, pruned.input) == (model.arch, model.classes, model.input)

    def test_a_plan_for_another_model_is_a_config_error(self, written):
        model, chain = written
        other = dataclasses.replace(plan_of(chain, [1]), model_sha256="e" * 64)
        with pytest.raises(ConfigError, match=f"sha256 {'e' * 12}, not {model.sha256[:12]}") as caught:
            apply(model, other)
        assert "edgeprune plan" in caught.value.hint
