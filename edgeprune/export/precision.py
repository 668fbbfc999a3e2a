"""A checked float32 file in a lower precision, and what that costs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import graph, half, quantise
from edgeprune.export.check import onnx_logits
from edgeprune.records import OnnxModel


@dataclass(frozen=True)
class Calibration:
    """What the scales of int8 are found with.

    Attributes:
        iq: Raw frames (N, C, L), never of the test split.
        method: How the range of an activation is chosen.
    """

    iq: npt.NDArray[np.float32]
    method: quantise.Method = "percentile"


def lower(
    source: Path,
    target: Path,
    iq: npt.NDArray[np.float32],
    precision: Literal["fp16", "int8"],
    calibration: Calibration | None,
    record: OnnxModel,
) -> OnnxModel:
    """Write a float32 file in a lower precision.

    Args:
        source: The float32 file.
        target: The file to write.
        iq: Raw frames (N, C, L) to check it on.
        precision: The one to write.
        calibration: For int8.
        record: Of the float32 file.

    Returns:
        The record of the new file, but for its path, hash and size.

    Raises:
        ConfigError: int8 without calibration, or for an opset that is too old.
        ModelError: It cannot be written, or its answers are not finite.
    """
    if precision == "fp16":
        kept = len(half.convert(source, target, iq))
    elif calibration is None:
        raise ConfigError("int8 takes frames to calibrate it on")
    else:
        quantised = quantise.quantise(source, target, calibration.iq, calibration.method)
        kept = graph.operators(onnx.load(source)) - quantised
    expected, answers = onnx_logits(source, iq), onnx_logits(target, iq)
    if not np.isfinite(answers).all():
        raise ModelError(f"in {precision} the network answers NaN or infinity", "Use --precision fp32")
    return replace(
        record,
        nodes=graph.operators(onnx.load(target)),
        precision=precision,
        float32_operators=kept,
        max_abs_logit_difference=float(np.abs(answers - expected).max()),
        same_top1=float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )
