"""The stages of one cell and their records: existing records are reused, missing ones are made.

Each record is kept in the cell's folder under the hash of its inputs. A cell that was interrupted continues with the
stage it was in; training continues after the last finished epoch.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeprune import targets
from edgeprune.compare.cell.settings import (
    changed_reading,
    distills,
    frame_limits,
    is_soft,
    plan_settings,
    recipe_of,
    selects_on_test,
    soft_epochs,
)
from edgeprune.compare.cell.work import SOFT_STATE, CellWork
from edgeprune.compare.records import CellJob, CellPlan, Finished, Shape, Tested
from edgeprune.files.store import RunFolder, canonical_sha256, record_sha256, to_plain
from edgeprune.files.whole import remove, replacing
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import TrainingResult
from edgeprune.tasks.stages import DryRunEnd, StageCache

MATCH, PLAN, PRUNE, TRAIN, TEST, EXPORT = "00-match", "01-plan", "02-prune", "03-train", "04-accuracy", "05-export"
REASSEMBLED, PRUNED, ONNX = "reassembled.pt", "pruned.pt", "network.onnx"
RIGHT = "right.npy"
"""Test frames that were classified correctly, bool (N,)."""
_STATE = "training.state"

Record = TypeVar("Record")


def finished_of(job: CellJob) -> Finished | None:
    """Return the results of a cell, or None if a part is missing or has other inputs."""
    try:
        return CellStages(job, NullProgress(), dry=True).run()
    except DryRunEnd:
        return None


class CellStages:
    """One cell, stage by stage.

    Args:
        job: The job of the cell.
        progress: Reporter of each stage.
        dry: Only reuse; `run` raises `DryRunEnd` at the first stage that is not done.
    """

    def __init__(self, job: CellJob, progress: Progress, dry: bool = False) -> None:
        self.job, self.cell, self.progress = job, job.cell, progress
        self.cache = StageCache(
            RunFolder(job.folder), self._model_and_data, progress, _title, tell_reused=False, dry=dry
        )
        self.work = CellWork(job, progress)

    def run(self) -> Finished:
        """Do every stage that is not done."""
        method = self.cell.method
        plan = self._plan() if method is not None and method.kind == "layers" else None
        shape = self._prune(plan)
        trained = self._train(shape) if method is not None or self.cell.network is not None else None
        final = REASSEMBLED if trained is None else PRUNED
        made_from = {"pruned": shape.sha256, "training": None if trained is None else record_sha256(trained)}
        return Finished(self.cell, plan, trained, self._test(final, made_from), self._export(final, made_from))

    def planned_macs(self) -> int | None:
        """Return the MACs after pruning if that stage is done, else None."""
        try:
            return self._prune(self._plan()).cost.macs
        except DryRunEnd:
            return None

    def _plan(self) -> CellPlan:
        assert self.cell.method is not None
        inputs = {"settings": to_plain(plan_settings(self.cell)), "released": self.cell.method.released}
        return self.cache.stage(PLAN, CellPlan, inputs, lambda: self.work.plan(self._shared))

    def _prune(self, plan: CellPlan | None) -> Shape:
        method, network = self.cell.method, self.cell.network
        inputs = {
            "plan": None if plan is None else record_sha256(plan),
            "method": None if method is None else method.model_dump(exclude={"name", "distill", "mix"}),
            "network": None if network is None else network.name,
            "seed": self.cell.seed,
            "macs": self._macs_to_match,
        }
        out = self._file(REASSEMBLED)
        return self.cache.stage(
            PRUNE, Shape, inputs, lambda: self.work.prune(plan, self._macs_to_match, out), (REASSEMBLED,)
        )

    @cached_property
    def _macs_to_match(self) -> int | None:
        """MACs that a channel method is to match: those of the reference cell, planned here if that cell has no plan.

        The folder of the reference cell is only read, since another worker may be working in it. None for other
        methods.
        """
        reference = self.job.reference
        if reference is None:
            return None
        there = CellStages(reference, self.progress, dry=True).planned_macs()
        if there is not None:
            return there
        settings = to_plain(plan_settings(reference.cell))
        work = CellWork(reference, self.progress)
        return self.cache.stage(MATCH, int, {"settings": settings}, lambda: work.planned_macs(self._shared))

    def _train(self, shape: Shape) -> TrainingResult:
        inputs = {
            "pruned": shape.sha256,
            "recipe": to_plain(recipe_of(self.job)),
            "frames": frame_limits(self.job.training),
            "distill": distills(self.job),
            "on_test": selects_on_test(self.cell),
        }
        if is_soft(self.cell):
            inputs |= {"soft_epochs": soft_epochs(recipe_of(self.job)), "macs": self._macs_to_match}
        state = self._file(_STATE)

        def make() -> TrainingResult:
            source, out = self._file(REASSEMBLED), self._file(PRUNED)
            return self.work.train(source, self._macs_to_match, out, state, canonical_sha256(inputs))

        result = self.cache.stage(TRAIN, TrainingResult, inputs, make, (PRUNED,))
        if not self.cache.dry:
            remove(state)
            remove(state.with_suffix(SOFT_STATE))
        return result

    def _test(self, final: str, made_from: Mapping[str, Any]) -> Tested:
        def make() -> Tested:
            tested, right = self.work.test(self._file(final))
            with replacing(self._file(RIGHT)) as file:
                np.save(file, right)
            return tested

        return self.cache.stage(TEST, Tested, made_from, make, (RIGHT,))

    def _export(self, final: str, made_from: Mapping[str, Any]) -> OnnxModel:
        target = targets.get(self.job.bench.target)
        inputs = {**made_from, "opset": target.opset, "batch": target.batch}
        return self.cache.stage(
            EXPORT, OnnxModel, inputs, lambda: self.work.export(self._file(final), self._file(ONNX)), (ONNX,)
        )

    def _shared(self, name: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """Make a record that plans of this model and these frames share, once for all cells of the comparison."""
        assert self.cell.model is not None
        shared = RunFolder(self.job.shared_cache / f"{self.cell.model.sha256[:12]}-{self.cell.data.sha256[:12]}")
        return shared.reuse_or_make(name, kind, self._model_and_data, (), make)

    @property
    def _model_and_data(self) -> dict[str, str]:
        model = self.cell.model
        data = [self.cell.data.sha256, self.job.split_seed, *changed_reading(self.job)]
        known = "" if model is None else canonical_sha256([model.sha256, to_plain(self.job.options)])
        return {"data": canonical_sha256(data), "model": known}

    def _file(self, name: str) -> Path:
        return self.job.folder / name


def _title(stage: str) -> str:
    return stage.partition("-")[2]
