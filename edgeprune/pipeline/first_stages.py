"""The first stages: the unpruned network is measured and exported."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeprune.errors import ModelError
from edgeprune.files.store import canonical_sha256, to_plain
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.pipeline.settings import Settings
from edgeprune.protocols import Progress
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import OnnxModel
from edgeprune.tasks import export, identify
from edgeprune.tasks.identify import Baseline
from edgeprune.tasks.precision import PrecisionOptions
from edgeprune.tasks.stages import StageCache

BASELINE, EXPORT = "00-baseline", "00-export"
UNPRUNED = "baseline-fp32.onnx"


def identity_of(model: Checkpoint) -> str:
    """Return the hash that identifies a model in stage records: of its file, for a foreign one also of its options."""
    if model.arch.source == "registered" and model.input.normalisation != "unknown":
        return model.sha256
    return canonical_sha256([model.sha256, to_plain(model.arch), list(model.classes), to_plain(model.input)])


@dataclass(frozen=True)
class FirstStages:
    """The stages that end the job before its long work if something is wrong with the model.

    Attributes:
        model: The unpruned network as loaded.
        settings: Settings of the job.
        parts: The frames of each split.
        progress: Reporter of what is identified.
    """

    model: Checkpoint
    settings: Settings
    parts: Callable[[], dict[Split, Frames]]
    progress: Progress

    @property
    def inputs(self) -> dict[str, object]:
        """Inputs of the measurement."""
        validation = self.parts()["validation"]
        return {"data": validation.sha256, "split": validation.split_sha256 or ""}

    def measure(self) -> tuple[Checkpoint, Baseline]:
        """Identify the model's normalization and measure its accuracy.

        Returns:
            The model with its normalization, and the measurement.

        Raises:
            ConfigError: The order of its classes differs from that of the labels.
            ModelError: Its accuracy is near chance; the message also says whether the export fails.
        """
        validation, compute = self.parts()["validation"], self.settings.compute
        try:
            strict = not self.settings.accept_baseline
            model = identify.settled(
                self.model, validation, self.progress, compute, strict=strict, any_order=not strict
            )
            baseline = identify.baseline_of(model, validation, self.progress, compute)
            if strict:
                identify.refuse_low(model, baseline, validation, self.progress, compute)
        except ModelError as error:
            raise ModelError(f"{error.message}{self._export_failure()}", error.hint) from error
        return model, baseline

    def known(self, baseline: Baseline) -> Checkpoint:
        """Return the model with what an earlier measurement identified."""
        return identify.as_found(self.model, baseline.normalisation, baseline.outputs, self.progress)

    def export(self, model: Checkpoint, cache: StageCache) -> OnnxModel:
        """Export the unpruned network as float32 ONNX for the target; a failure ends the job here.

        Raises:
            ModelError: It cannot be exported; the message names the line of its code.
        """
        target, batch = self.settings.target, self.settings.batch
        inputs = {"data": self.parts()["test"].sha256, "opset": target.opset, "batch": [target.batch, batch]}
        return cache.stage(EXPORT, OnnxModel, inputs, lambda: self._exported(model, cache.path / UNPRUNED), (UNPRUNED,))

    def _exported(self, model: Checkpoint, out: Path) -> OnnxModel:
        target, batch = self.settings.target, self.settings.batch
        return export.export_checked(model, self.parts(), target, out, PrecisionOptions(), batch, self.progress)

    def _export_failure(self) -> str:
        """Try the export and describe its failure, so that one message names both problems."""
        model = self.model
        if model.input.normalisation == "unknown":
            model = identify.as_found(model, "none", "logits", self.progress)
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._exported(model, Path(folder) / UNPRUNED)
        except ModelError as error:
            return f"; besides, {error.message}"
        return ""
