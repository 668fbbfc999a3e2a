"""Conversion of a checked float32 file to a lower precision, and its cost."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx

from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import graph, half, quantise
from edgeprune.export.check import onnx_logits
from edgeprune.export.gain import check_lower
from edgeprune.export.quantise import Bound, FallbackSearch, Kept
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import Quantisation


@dataclass(frozen=True)
class Calibration:
    """Calibration data and method for the scales of int8.

    Attributes:
        iq: Raw frames (N, C, L), never of the test split.
        method: Method that sets the range of an activation.
        source: Origin of the frames, for the record.
        sha256: SHA-256 of the frames or their file, for the record.
        keep: Operators that stay out of eight bits without a search, such as those found for another batch.
    """

    iq: npt.NDArray[np.float32]
    method: quantise.Method = "percentile"
    source: str = "frames"
    sha256: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class LowerPrecision:
    """A precision to write, and the bound on its loss of accuracy.

    Attributes:
        precision: Precision to write.
        calibration: Calibration for int8.
        bound: Bound on the accuracy that it costs, or None.
        kept_in: Precision of operators that cost too much in int8.
    """

    precision: Literal["fp16", "int8"]
    calibration: Calibration | None = None
    bound: Bound | None = None
    kept_in: Literal["fp16", "fp32"] = "fp32"


def lower(
    source: Path, target: Path, iq: npt.NDArray[np.float32], lowering: LowerPrecision, record: OnnxModel
) -> OnnxModel:
    """Write a float32 file in a lower precision.

    Args:
        source: The float32 file.
        target: The file to write.
        iq: Raw frames (N, C, L) to check it on.
        lowering: Precision and its bound; where the bound cannot be met, the file is the one that comes nearest, and
            its record says so.
        record: Record of the float32 file.

    Returns:
        The record of the new file, without its path, hash and size.

    Raises:
        ConfigError: int8 without calibration, or for an opset that is too old.
        ModelError: It cannot be written, its outputs are not finite, or they depend on the gain while those in float32
            do not.
    """
    quantisation, drop, bound = None, None, lowering.bound
    if lowering.precision == "fp16":
        in_float32 = len(half.convert(source, target, iq))
        if bound is not None:
            drop = bound.drop(onnx_logits(source, bound.iq), onnx_logits(target, bound.iq))
    else:
        quantisation, drop = _int8(source, target, iq, lowering)
        halved = len(quantisation.kept) if quantisation.kept_in == "fp16" else 0
        in_float32 = graph.operators(onnx.load(source)) - quantisation.quantised - halved
    expected, outputs = onnx_logits(source, iq), onnx_logits(target, iq)
    if not np.isfinite(outputs).all():
        raise ModelError(f"in {lowering.precision} the network outputs NaN or infinity", "Use `precision='fp32'`")
    return replace(
        record,
        nodes=graph.operators(onnx.load(target)),
        precision=lowering.precision,
        float32_operators=in_float32,
        max_abs_logit_difference=float(np.abs(outputs - expected).max()),
        same_top1=float((outputs.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        validation_drop=drop,
        quantisation=quantisation,
        gains=check_lower(source, target, iq, lowering.precision),
    )


def _int8(
    source: Path, target: Path, iq: npt.NDArray[np.float32], lowering: LowerPrecision
) -> tuple[Quantisation, float | None]:
    """Write the int8 file; returns its quantization, and the top-1 it loses if a bound was set."""
    calibration = lowering.calibration
    if calibration is None:
        raise ConfigError("int8 takes frames to calibrate it on")
    ranges = quantise.calibrate(source, calibration.iq, calibration.method)
    unknown = [name for name in calibration.keep if name not in ranges.operators]
    if unknown:
        raise ModelError(f"the network has no operator {unknown[0]} that could be kept out of int8")

    def write(kept: tuple[str, ...]) -> Path:
        quantise.quantise(ranges, target, set(ranges.operators) - set(kept))
        if kept and lowering.kept_in == "fp16":
            half.convert(target, target, iq, only=kept)
        return target

    found, drop = Kept(calibration.keep, 0.0), None
    if lowering.bound is not None and not calibration.keep:
        found = FallbackSearch(source, ranges, lowering.bound, write).run()
        drop = found.drop
    write(found.operators)
    return Quantisation(
        method=calibration.method,
        calibration=calibration.source,
        calibration_sha256=calibration.sha256,
        calibration_frames=len(calibration.iq),
        quantised=len(ranges.operators) - len(found.operators),
        kept=found.operators,
        kept_in=lowering.kept_in,
        sensitivity=found.ranking,
    ), drop
