"""Check that an exported network computes the same as torch, on real frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.export.network import BATCH_SIZE, first_cause, fitting, on_raw_samples, torch_logits
from edgeprune.records.pruning import InputSpec

LOGIT_TOLERANCE = 1e-3
TIE_TOLERANCE = 1e-5
_NAMED_FRAMES = 5


@dataclass(frozen=True)
class TorchAgreement:
    """Agreement of two sets of logits.

    Attributes:
        frames: Number of frames compared.
        max_abs_difference: Largest difference of one logit.
        tolerance: Largest difference allowed.
        tied: Frames whose classes differ only because the reference itself does not separate the two.
    """

    frames: int
    max_abs_difference: float
    tolerance: float
    tied: tuple[int, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks beside the figures: one line if there are ties, otherwise none."""
        if not self.tied:
            return ()
        what = "get another class, between two that torch itself does not tell apart"
        return (f"{_some(np.array(self.tied), self.frames)} {what}",)


def check_against_torch(model: nn.Module, spec: InputSpec, path: Path, iq: npt.NDArray[np.float32]) -> TorchAgreement:
    """Compare an ONNX file in ONNX Runtime with the network in torch, both on the CPU in float32.

    Args:
        model: Network that takes normalized frames; left unchanged.
        spec: Input of the network.
        path: The exported file.
        iq: Raw frames (N, C, L).

    Raises:
        ModelError: They disagree (see `compare`), or one of them cannot be run.
        DataError: The frames do not fit the network.
    """
    iq = fitting(iq, spec)
    expected = torch_logits(on_raw_samples(model, spec), iq)
    try:
        return compare(expected, onnx_logits(path, iq))
    except ModelError as error:
        raise ModelError(f"the exported file does not compute what torch does: {error.message}", error.hint) from error


def onnx_logits(path: Path, iq: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the logits (N, classes) of raw frames (N, C, L), by ONNX Runtime on the CPU.

    A file with a dynamic batch is run on the first frame alone and on the rest in large batches, which reveals a batch
    size that the exporter fixed. A file with a static batch is run on full batches, the last one padded with copies of
    its last frame.

    Raises:
        ModelError: ONNX Runtime cannot load or run the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (source,) = session.get_inputs()
        fixed = source.shape[0] if isinstance(source.shape[0], int) else None
        parts = [session.run(None, {source.name: batch})[0] for batch in _batches(iq, fixed)]
    except Exception as error:  # onnxruntime's errors share no base class
        raise ModelError(f"ONNX Runtime cannot run {path.name}: {first_cause(error)}") from error
    return np.concatenate(parts)[: len(iq)]


def compare(reference: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> TorchAgreement:
    """Compare two computations of the same logits, both (N, classes).

    They agree when no logit differs by more than `LOGIT_TOLERANCE` of the largest magnitude among the reference's
    logits, and every frame gets the same class. A frame that gets another class is accepted as a tie only if the
    reference's own logits of the two classes are within `TIE_TOLERANCE` of that magnitude, the size of float32 rounding
    over a hundred layers: the reference then has no preference to preserve. The tie tolerance must be far below the
    first. Two computations within a tolerance can disagree on any frame whose margin is below twice that tolerance, so
    a tie rule as wide as the tolerance would excuse every disagreement.

    Raises:
        ModelError: They do not agree, or are not finite; the message has the figures.
    """
    if reference.shape != other.shape:
        raise ModelError(f"the logits have shape {other.shape}, not {reference.shape}")
    for logits, owner in ((reference, "the network itself gives"), (other, "it gives")):
        broken = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(broken):
            raise ModelError(f"{owner} NaN or infinity on {_some(broken, len(logits))}", "Check its weights")
    difference = float(np.abs(other - reference).max())
    scale = float(np.abs(reference).max())
    rows, first, second = np.arange(len(reference)), reference.argmax(axis=1), other.argmax(axis=1)
    margin = reference[rows, first] - reference[rows, second]
    changed = np.flatnonzero((first != second) & (margin > TIE_TOLERANCE * scale))
    figures = f"the largest logit difference is {difference:.3g}, {LOGIT_TOLERANCE * scale:.3g} is allowed"
    hint = "Another opset in the target may export it right"
    if len(changed):
        raise ModelError(f"it gives another class to {_some(changed, len(reference))}; {figures}", hint)
    if difference > LOGIT_TOLERANCE * scale:
        worst = np.flatnonzero(np.abs(other - reference).max(axis=1) > LOGIT_TOLERANCE * scale)
        raise ModelError(f"it gives other logits to {_some(worst, len(reference))}; {figures}", hint)
    tied = tuple(int(frame) for frame in np.flatnonzero(first != second))
    return TorchAgreement(len(reference), difference, LOGIT_TOLERANCE * scale, tied)


def _batches(iq: npt.NDArray[np.float32], fixed: int | None) -> Iterator[npt.NDArray[np.float32]]:
    """Split the frames into batches, each read on demand where they are in a file."""
    first, size = (1, BATCH_SIZE) if fixed is None else (fixed, fixed)
    bounds = [0, *range(first, len(iq), size), len(iq)]
    for start, stop in pairwise(bounds):
        batch = iq[start:stop]
        missing = 0 if fixed is None else fixed - len(batch)
        yield np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch


def _some(frames: npt.NDArray[np.int64], total: int) -> str:
    """Describe how many frames, with the first of them: '7 of 100 frames (3, 5, 8, 13, 21, ...)'."""
    named = ", ".join(str(frame) for frame in frames[:_NAMED_FRAMES])
    return f"{len(frames)} of {total} frames ({named}{', ...' if len(frames) > _NAMED_FRAMES else ''})"
