"""Lower precisions: calibration, the bound on the loss of accuracy, and quantization-aware training."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeprune import datasets
from edgeprune.errors import ConfigError, DataError
from edgeprune.export import Bound, Calibration, Method
from edgeprune.frames.duplicates import fingerprints
from edgeprune.frames.labelled import fit_to, table_of, take
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute, copied
from edgeprune.protocols import Progress
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.results import TrainingResult
from edgeprune.targets import Precision
from edgeprune.tasks import train as training
from edgeprune.tasks.data import choose as choice
from edgeprune.tasks.data.frames import prints_of, spread
from edgeprune.tasks.data.reading import SPLIT_SEED
from edgeprune.train.fake_quantisation import fake_quantised
from edgeprune.train.finetune import Recipe

CALIBRATION_FRAMES = 1024
BOUND_FRAMES = 4096
AUTO_DROP = 0.005
"""Default maximum loss of top-1, 0..1, for a precision that is chosen by its speed."""
CALIBRATION_FILE = "frames.npz"
_LEARNING_RATE = 0.01


@dataclass(frozen=True)
class PrecisionOptions:
    """Precision of an export, with its calibration and training.

    Attributes:
        precision: Precision of the file.
        method: Method that finds the ranges of activations for int8.
        calibration: File or folder of the calibration frames; None for frames of the train split.
        max_drop: Maximum loss of top-1 to the precision on the validation split, 0..1, or None.
        keep: Operators kept out of int8 without a search.
        qat_epochs: Epochs of quantization-aware training before the export, or None.
    """

    precision: Precision = "fp32"
    method: Method = "percentile"
    calibration: Path | None = None
    max_drop: float | None = None
    keep: tuple[str, ...] = ()
    qat_epochs: int | None = None

    def of(self, precision: Precision) -> "PrecisionOptions":
        """Return the same options for another precision, without those for int8 only."""
        return replace(self, precision=precision, calibration=self.calibration if precision == "int8" else None)

    def check(self) -> None:
        """Check the options before any work.

        Raises:
            ConfigError: A calibration set or training is given for another precision than int8, or the set is missing.
        """
        for option, given in (("`calib_data`", self.calibration), ("`qat`", self.qat_epochs)):
            if given is not None and self.precision != "int8":
                raise ConfigError(
                    f"{option} is for int8, and the precision is {self.precision}", "Use `precision='int8'`"
                )
        if self.calibration is not None and not self.calibration.exists():
            raise ConfigError(f"no such calibration set: {self.calibration}", "Make one with: edgeprune data calib")


def calibration(options: PrecisionOptions, model: Checkpoint, parts: dict[Split, Frames]) -> Calibration | None:
    """Choose the calibration frames for the scales of int8; None for another precision.

    Raises:
        DataError: The calibration set does not fit the model, lacks a class, or holds frames of the test split.
    """
    if options.precision != "int8":
        return None
    if options.calibration is None:
        train = parts["train"]
        size = min(CALIBRATION_FRAMES, len(train))
        chosen = choice.stratified(table_of(train), np.arange(len(train)), size, SPLIT_SEED)
        choice.refuse_gaps(table_of(train), chosen, size, "stratified")
        iq = take(train, chosen).iq[:]
        sha256 = hashlib.sha256(iq.tobytes()).hexdigest()
        return Calibration(iq, options.method, "stratified frames of the train split", sha256, options.keep)
    path = options.calibration
    stored = path / CALIBRATION_FILE
    frames = fit_to(datasets.read(stored if stored.is_file() else path), model.classes, model.input)
    lacking = [name for label, name in enumerate(frames.classes) if not (frames.labels == label).any()]
    if lacking:
        raise DataError(
            f"the calibration set {path} holds no frames of {', '.join(lacking)}",
            "Make one with: edgeprune data calib --strategy stratified",
        )
    shared = np.isin(fingerprints(frames.iq), prints_of(parts["test"]))
    if shared.any():
        raise DataError(
            f"the calibration set {path} holds {shared.sum()} frames of the test split, "
            f"the first is frame {int(np.argmax(shared))}",
            "Make one with: edgeprune data calib, which takes frames of the train split",
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(frames))
    return Calibration(frames.iq[order], options.method, str(path), frames.sha256, options.keep)


def bound(options: PrecisionOptions, parts: dict[Split, Frames]) -> Bound | None:
    """Make the bound on the loss to the precision, with frames of the validation split; None without a bound."""
    if options.max_drop is None or options.precision == "fp32":
        return None
    frames = spread(parts["validation"], BOUND_FRAMES, SPLIT_SEED)
    return Bound(frames.iq, frames.labels, options.max_drop)


def train_for_int8(
    model: Checkpoint,
    parts: dict[Split, Frames],
    epochs: int,
    seed: int,
    state: Path | None,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Checkpoint, TrainingResult]:
    """Fine-tune a model with simulated int8, with its float32 self as the teacher.

    Args:
        model: The model; not changed.
        parts: The frames of each split.
        epochs: Number of epochs.
        seed: Seed of the order of the frames.
        state: File that keeps the training after each epoch, to continue from; None to keep nothing.
        progress: Reporter of every epoch.
        compute: Device on which networks run.

    Returns:
        The trained model in float32, and the result of the training.
    """
    recipe = Recipe(epochs=epochs, learning_rate=_LEARNING_RATE, seed=seed)
    learner = replace(model, model=copied(model.model))
    key = f"int8 {model.sha256} {parts['train'].sha256}"
    with fake_quantised(learner.model):
        return training.fit(learner, parts, recipe, model, state, key, progress, compute)
