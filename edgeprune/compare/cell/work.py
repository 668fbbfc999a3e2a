"""The work of a cell: choose, prune, train, test, export. No other module of the comparison calls these stages.

A `CellWork` holds the network and frames. `stages.py` keeps the records of what is done.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from edgeprune import targets
from edgeprune.compare.cell import released
from edgeprune.compare.cell.cost import cost_of
from edgeprune.compare.cell.frames import frames_of
from edgeprune.compare.cell.settings import distills, is_soft, plan_settings, recipe_of, selects_on_test, soft_epochs
from edgeprune.compare.records import CellJob, CellPlan, Shape, Tested
from edgeprune.errors import ModelError
from edgeprune.export import export
from edgeprune.files.store import to_plain
from edgeprune.frames.labelled import fit_to
from edgeprune.frames.splits import AUTO
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.cards import choose
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import Compute, brought_home
from edgeprune.network.running import seeded
from edgeprune.network.statistics import reestimate
from edgeprune.protocols import Progress
from edgeprune.prune.channels import narrow as width
from edgeprune.records.frames import Frames, Reading
from edgeprune.records.names import Split
from edgeprune.records.pruning import Arch, InputSpec, OnnxModel
from edgeprune.records.results import TrainingResult
from edgeprune.tasks import export as measuring
from edgeprune.tasks import plan as planning
from edgeprune.tasks import train as training
from edgeprune.tasks.data.frames import at_most, splits_of, spread, stored, tell_skipped
from edgeprune.tasks.data.reading import SPLIT_SEED, ReadOptions, data_ref, handling_of, reading_of
from edgeprune.train.accuracy import accuracy
from edgeprune.train.evaluate import predict
from edgeprune.train.finetune import Recipe, train

SOFT_STATE = ".soft"
"""Suffix of the state of the soft half of a training."""

_UNTRAINED = TrainingResult(0, 0.0, (), "fp32", False)


class CellWork:
    """The network and frames of a cell, and the operations on them.

    Args:
        job: The job of the cell.
        progress: Reporter of the progress of long work.
    """

    def __init__(self, job: CellJob, progress: Progress) -> None:
        self.job, self.cell, self.progress = job, job.cell, progress

    @cached_property
    def model(self) -> Checkpoint:
        """The network to start from: the trained one, or one with fresh weights."""
        if self.cell.model is None:
            return self._untrained()
        return checkpoints.load(self.cell.model.path, self.job.options, self.cell.model.sha256)

    @cached_property
    def compute(self) -> Compute:
        """Device on which the networks of the cell run."""
        return choose(self.job.compute)

    @cached_property
    def parts(self) -> dict[Split, Frames]:
        """The frames of each split."""
        tell_skipped(self._frames, self.progress)
        fitting = fit_to(self._frames, self.model.classes, self.model.input)
        parts = splits_of(fitting, self.handling.seed, self.handling.method, self.job.checked)
        return at_most(parts, self.job.test_frames, "test")

    @cached_property
    def handling(self) -> ReadOptions:
        """Reading and splitting of the frames: as in training, with the overrides of the grid."""
        overrides, seed = self.job.overrides, self.job.split_seed
        if self.cell.model is not None:
            return replace(handling_of(self.model, overrides), seed=seed)
        return ReadOptions(seed, overrides.split or AUTO, reading_of(None, Reading.length, overrides), overrides.stream)

    @property
    def _frames(self) -> Frames:
        return frames_of(self.cell.data, self.handling.reading, self.handling.stream)

    def plan(self, cached: planning.Remember) -> CellPlan:
        """Choose the layers to keep; `cached` keeps what plans of the same model and frames share."""
        method, settings = self.cell.method, plan_settings(self.cell)
        assert method is not None
        planned = planning.decide(self.model, self.parts, settings, self.progress, cached, self.compute)
        if {"traceback", "probe"} & set(method.released):
            subject = planning.subject(self.model, planned.chain, self.parts, settings, self.progress)
            with self.compute.lent(subject.model):
                planned = replace(planned, plan=released.plan(planned, subject, settings, method.released))
        units = [planned.chain.units[index] for index in planned.plan.kept]
        return CellPlan(
            planned.plan,
            fixed=tuple(unit.index for unit in planned.chain.units if not unit.droppable),
            transitions=tuple(unit.path for unit in units if unit.droppable and unit.in_shape != unit.out_shape),
        )

    def prune(self, plan: CellPlan | None, keep_macs: int | None, out: Path) -> Shape:
        """Drop layers by a plan, channels down to a number of MACs, or nothing, and write the network to be trained.

        Fresh weights are drawn if the method requires them. Soft filter pruning drops nothing yet.
        """
        method, pruned = self.cell.method, self.model
        with seeded(self.cell.seed):
            if plan is not None:
                pruned = self._reassembled(plan)
            elif keep_macs is not None and not is_soft(self.cell):
                pruned = self._narrowed(self.model, keep_macs)
                self._reestimate(pruned)
            if method is not None and plan is not None and "transitions" in method.released:
                pruned = released.with_fresh_transitions(pruned, with_fresh_weights(pruned), plan.transitions)
            if method is not None and method.init == "scratch":
                pruned = with_fresh_weights(pruned)
        saved = checkpoints.save(out, pruned)
        return Shape(saved.sha256, cost_of(saved.model, saved.input))

    def planned_macs(self, cached: planning.Remember) -> int:
        """Count the MACs that this cell's plan leaves."""
        pruned = self._reassembled(self.plan(cached))
        return cost_of(pruned.model, pruned.input).macs

    def _reassembled(self, plan: CellPlan) -> Checkpoint:
        """Drop layers from the model, and then channels if the method requires it."""
        pruned = planning.reassemble(self.model, plan.plan, self.parts, plan_settings(self.cell), self.compute)
        method = self.cell.method
        if method is None or method.then_width is None:
            return pruned
        narrowed = self._without_channels(pruned, method.width_method, method.then_width)
        self._reestimate(narrowed)
        return narrowed

    def _reestimate(self, pruned: Checkpoint) -> None:
        """Estimate the statistics of batch norm anew."""
        with self.compute.lent(pruned.model):
            reestimate(pruned.model, planning.calibration(pruned, self.parts))

    def train(self, source: Path, keep_macs: int | None, out: Path, state: Path, key: str) -> TrainingResult:
        """Train the network in a file and write it to another; an interrupted training continues from the state.

        Soft filter pruning trains softly for half of the epochs, drops its channels, and is trained on like the others.
        """
        pruned, recipe = checkpoints.load(source, self.model.trusted), recipe_of(self.job)
        result = _UNTRAINED
        if is_soft(self.cell):
            half = soft_epochs(recipe)
            soften = width.soften(pruned.model, pruned.input, self._share(keep_macs))
            softly = replace(recipe, epochs=half)
            result = self._learn(pruned, softly, state.with_suffix(SOFT_STATE), f"{key}, softly", soften)
            pruned, recipe = self._narrowed(pruned, keep_macs), replace(recipe, epochs=recipe.epochs - half)
        result = _joined(result, self._learn(pruned, recipe, state, key))
        about = {"training": to_plain(result), "recipe": to_plain(recipe_of(self.job))}
        checkpoints.save(out, replace(pruned, metrics=about))
        return result

    def _learn(
        self,
        pruned: Checkpoint,
        recipe: Recipe,
        state: Path,
        key: str,
        after_epoch: Callable[[nn.Module], None] | None = None,
    ) -> TrainingResult:
        """Train a network in place."""
        if not recipe.epochs:
            return _UNTRAINED
        teacher = self.model.model if distills(self.job) else None
        with self.compute.lent(pruned.model, teacher):
            return train(
                pruned.model,
                training.training_data(self._training_parts(), pruned.input),
                recipe,
                self.progress,
                teacher=teacher,
                state_path=state,
                state_key=f"{key}{', streamed' if stored(self.parts['train']) else ''}",
                after_epoch=after_epoch,
            )

    def _training_parts(self) -> dict[Split, Frames]:
        given = self.job.training
        parts = at_most(at_most(dict(self.parts), given.frames), given.validation_frames, "validation")
        if selects_on_test(self.cell):
            parts["validation"] = parts["test"]
        return parts

    def test(self, source: Path) -> tuple[Tested, npt.NDArray[np.bool_]]:
        """Evaluate the network in a file on the test split, and mark the frames it classified correctly.

        Raises:
            ModelError: Its outputs are not finite.
        """
        final, frames = checkpoints.load(source, self.model.trusted), self.parts["test"]
        with self.compute.lent(final.model):
            logits = predict(final.model, frames.iq, final.input, self.progress, "test frames")
        if not np.isfinite(logits).all():
            raise ModelError("the network outputs NaN or infinity for frames of the test split")
        tested = Tested(accuracy(logits, frames, "test"), cost_of(final.model, final.input))
        return tested, logits.argmax(axis=1) == frames.labels

    def export(self, source: Path, out: Path) -> OnnxModel:
        """Write the network in a file as ONNX, checked against torch."""
        final, target = checkpoints.load(source, self.model.trusted), targets.get(self.job.bench.target)
        frames = spread(self.parts["validation"], measuring.CHECKED_FRAMES, SPLIT_SEED).iq
        about = measuring.onnx_metadata(final)
        return export(final.model, final.input, frames, target, out, about, self.progress)

    def _narrowed(self, model: Checkpoint, keep_macs: int | None) -> Checkpoint:
        assert self.cell.method is not None
        narrowed = self._without_channels(model, str(self.cell.method.criterion), self._share(keep_macs))
        return replace(narrowed, metrics={}, sha256="")

    def _without_channels(self, model: Checkpoint, how: str, share: float) -> Checkpoint:
        """Narrow the network by a method of `prune.channels`."""
        with self.compute.lent(model.model):
            narrow, sizes = width.narrow(model.model, model.input, how, share, seed=self.cell.seed)
        return replace(model, model=brought_home(narrow), widths={**model.widths, **sizes})

    def _share(self, keep_macs: int | None) -> float:
        """Express a number of MACs as a share of the unpruned network's."""
        assert keep_macs is not None
        return keep_macs / cost_of(self.model.model, self.model.input).macs

    def _untrained(self) -> Checkpoint:
        assert self.cell.network is not None
        frames = self._frames
        _, channels, length = frames.iq.shape
        arch = Arch(self.cell.network.name, {"channels": channels, "length": length, "classes": len(frames.classes)})
        with seeded(self.cell.seed):
            model = checkpoints.build(arch)
        return Checkpoint(
            model=model,
            arch=arch,
            classes=frames.classes,
            input=InputSpec(channels, length),
            data=data_ref(str(self.cell.data.path), frames, self.handling),
            plan=None,
            metrics={},
        )


def with_fresh_weights(pruned: Checkpoint) -> Checkpoint:
    """Return the same pruned network with the weights of an untrained one.

    Raises:
        ModelError: The network was not built by code but read with its weights.
    """
    if pruned.embedded:
        raise ModelError(f"{pruned.name} came with its weights, so that there is no untrained network to begin with")
    untrained = checkpoints.build(pruned.arch)
    return replace(pruned, model=checkpoints.rebuilt(untrained, pruned.plan, pruned.widths, pruned.input).eval())


def _joined(first: TrainingResult, then: TrainingResult) -> TrainingResult:
    """Join two successive trainings of one network."""
    before = len(first.epochs)
    if not then.epochs:
        return first
    curve = (*first.epochs, *(replace(each, epoch=each.epoch + before) for each in then.epochs))
    return replace(then, best_epoch=then.best_epoch + before, epochs=curve)
