"""What is done in a cell: choose, prune, train, test, export. No other module of the comparison calls these stages.

A `CellWork` holds what they work on; it keeps no books: which of its products are already there is for `stages.py`.
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
from edgeprune.compare.cell.settings import chooses_on_test, distills, plan_settings, recipe_of, soft_epochs, softens
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
    """The network and frames of a cell, and what can be done with them.

    Args:
        job: Which cell.
        progress: Told of long work.
    """

    def __init__(self, job: CellJob, progress: Progress) -> None:
        self.job, self.cell, self.progress = job, job.cell, progress

    @cached_property
    def model(self) -> Checkpoint:
        """The network the cell starts from: the trained one, or one with fresh weights."""
        if self.cell.model is None:
            return self._untrained()
        return checkpoints.load(self.cell.model.path, self.job.options, self.cell.model.sha256)

    @cached_property
    def compute(self) -> Compute:
        """Where the networks of the cell run."""
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
        """How frames are read and split: as in the model's training or as `edgeprune train` does, but for the grid."""
        asked, seed = self.job.asked, self.job.split_seed
        if self.cell.model is not None:
            return replace(handling_of(self.model, asked), seed=seed)
        return ReadOptions(seed, asked.split or AUTO, reading_of(None, Reading.length, asked), asked.stream)

    @property
    def _frames(self) -> Frames:
        return frames_of(self.cell.data, self.handling.reading, self.handling.stream)

    def plan(self, judged: planning.Remember) -> CellPlan:
        """Choose the layers that stay; `judged` keeps what plans of the same model and frames share."""
        method, settings = self.cell.method, plan_settings(self.cell)
        assert method is not None
        planned = planning.decide(self.model, self.parts, settings, self.progress, judged, self.compute)
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
        """Drop layers by a plan, or channels until so many MACs are left, or nothing; write what is to be trained.

        Weights are drawn afresh where the method wants that. Soft filter pruning drops nothing yet.
        """
        method, pruned = self.cell.method, self.model
        with seeded(self.cell.seed):
            if plan is not None:
                pruned = self._reassembled(plan)
            elif keep_macs is not None and not softens(self.cell):
                pruned = self._narrowed(self.model, keep_macs)
                self._settle(pruned)
            if method is not None and plan is not None and "transitions" in method.released:
                pruned = released.with_fresh_transitions(pruned, with_fresh_weights(pruned), plan.transitions)
            if method is not None and method.init == "scratch":
                pruned = with_fresh_weights(pruned)
        saved = checkpoints.save(out, pruned)
        return Shape(saved.sha256, cost_of(saved.model, saved.input))

    def planned_macs(self, judged: planning.Remember) -> int:
        """MACs that this cell's plan leaves."""
        pruned = self._reassembled(self.plan(judged))
        return cost_of(pruned.model, pruned.input).macs

    def _reassembled(self, plan: CellPlan) -> Checkpoint:
        """The model without the dropped layers, and then narrower where the method wants that."""
        pruned = planning.reassemble(self.model, plan.plan, self.parts, plan_settings(self.cell), self.compute)
        method = self.cell.method
        if method is None or method.then_width is None:
            return pruned
        narrowed = self._without_channels(pruned, method.width_method, method.then_width)
        self._settle(narrowed)
        return narrowed

    def _settle(self, pruned: Checkpoint) -> None:
        """Tell batch norm what it sees now."""
        with self.compute.lent(pruned.model):
            reestimate(pruned.model, planning.calibration(pruned, self.parts))

    def train(self, source: Path, keep_macs: int | None, out: Path, state: Path, key: str) -> TrainingResult:
        """Train the network in a file and write it to another; interrupted, it continues from the state.

        Soft filter pruning trains softly for half of the epochs, drops its channels, and is trained on like the others.
        """
        pruned, recipe = checkpoints.load(source, self.model.trusted), recipe_of(self.job)
        result = _UNTRAINED
        if softens(self.cell):
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
        if chooses_on_test(self.cell):
            parts["validation"] = parts["test"]
        return parts

    def test(self, source: Path) -> tuple[Tested, npt.NDArray[np.bool_]]:
        """Evaluate the network in a file on the test split, and mark the frames it classified correctly.

        Raises:
            ModelError: Its answers are not finite.
        """
        final, frames = checkpoints.load(source, self.model.trusted), self.parts["test"]
        with self.compute.lent(final.model):
            logits = predict(final.model, frames.iq, final.input, self.progress, "test frames")
        if not np.isfinite(logits).all():
            raise ModelError("the network answers NaN or infinity to frames of the test split")
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
        """The same network narrower, by a method of `prune.width`."""
        with self.compute.lent(model.model):
            narrow, sizes = width.narrow(model.model, model.input, how, share, seed=self.cell.seed)
        return replace(model, model=brought_home(narrow), widths={**model.widths, **sizes})

    def _share(self, keep_macs: int | None) -> float:
        """Share of the unpruned network's multiply-accumulates."""
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
    """The same pruned network, with weights as a network has them that was never trained.

    Raises:
        ModelError: It was not built by code but read with its weights.
    """
    if pruned.embedded:
        raise ModelError(f"{pruned.name} came with its weights, so that there is no untrained network to begin with")
    untrained = checkpoints.build(pruned.arch)
    return replace(pruned, model=checkpoints.rebuilt(untrained, pruned.plan, pruned.widths, pruned.input).eval())


def _joined(first: TrainingResult, then: TrainingResult) -> TrainingResult:
    """Two trainings of one network as one."""
    before = len(first.epochs)
    if not then.epochs:
        return first
    curve = (*first.epochs, *(replace(each, epoch=each.epoch + before) for each in then.epochs))
    return replace(then, best_epoch=then.best_epoch + before, epochs=curve)
