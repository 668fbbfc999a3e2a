"""Reads what trtexec exports: the time of each inference, and the outputs of the last."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune.errors import DeviceError
from edgeprune.records.results import LayerTime

LEAST_TIMES = 10
"""trtexec runs at least as many inferences unless told otherwise; fewer mean that it was cut short."""

_NO_NUMBER = re.compile(r":\s*-?(?:nan|inf)", re.IGNORECASE)


def read_times(path: Path, transfers: bool, warmup_ms: float | None) -> tuple[npt.NDArray[np.float64], float]:
    """Read the file of --exportTimes.

    Only differences that trtexec took itself are used: it writes points in time with six digits.

    Args:
        path: The file.
        transfers: Whether copies to and from the GPU count.
        warmup_ms: Length of the warm-up where its rows are in the file too (before 8.5.1), else None.

    Returns:
        Milliseconds of each inference (n,), and from the start of the first to the end of the last.

    Raises:
        DeviceError: The file is missing or cut off, or a time is not a positive number.
    """
    rows = _rows(path)
    try:
        if warmup_ms is not None:
            rows = [row for row in rows if row["startComputeMs"] >= warmup_ms]
        kind, start, end = (
            ("latencyMs", "startH2dMs", "endD2hMs") if transfers else ("computeMs", "startComputeMs", "endComputeMs")
        )
        times = np.array([_number(row[kind]) for row in rows], np.float64)
        span_ms = _number(rows[-1][end]) - _number(rows[0][start]) if rows else 0.0
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"{path} is not a file of trtexec's times: {error!r}", "Measure again") from error
    if len(times) < LEAST_TIMES:
        raise DeviceError(f"{path} holds {len(times)} times; {LEAST_TIMES} or more are due", "Measure again")
    if not (np.all(np.isfinite(times)) and np.all(times > 0) and 0 < span_ms < math.inf):
        raise DeviceError(f"{path} holds times that are not positive numbers", "Measure again")
    return times, span_ms


def read_answers(path: Path, output: str, batch: int, classes: int) -> npt.NDArray[np.float32]:
    """Read the file of --exportOutput.

    Args:
        path: The file.
        output: Name of the model's output.
        batch: Frames in one run.
        classes: Numbers for each frame.

    Returns:
        Logits (batch, classes).

    Raises:
        DeviceError: The file is missing or cut off, of another shape, or a logit is not a number.
    """
    tensors = {str(row.get("name")): row for row in _rows(path)}
    if output not in tensors:
        raise DeviceError(f"{path} holds the outputs {', '.join(tensors) or 'none'}; {output!r} is due")
    values, shape = tensors[output].get("values"), tensors[output].get("dimensions")
    if shape != f"{batch}x{classes}" or not isinstance(values, list) or len(values) != batch * classes:
        count = len(values) if isinstance(values, list) else 0
        raise DeviceError(f"{path} holds {count} logits of shape {shape}; {batch}x{classes} is due")
    try:
        numbers = np.array([_number(value) for value in values], np.float64)
    except (TypeError, ValueError) as error:
        raise DeviceError(f"{path} holds a logit that is not a number: {error}") from error
    with np.errstate(over="ignore"):
        logits = numbers.astype(np.float32).reshape(batch, classes)
    if not np.all(np.isfinite(logits)):
        raise DeviceError(f"{path} holds logits that are not finite", "fp16 may be too narrow for this network")
    return logits


def _rows(path: Path) -> list[dict[str, Any]]:
    """The objects in one of trtexec's arrays, which C++ wrote, number by number."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        rows = json.loads(text)
    except FileNotFoundError as error:
        raise DeviceError(f"{path} is missing", "Measure again") from error
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        wrong = "holds values that are not numbers" if _NO_NUMBER.search(text) else "is cut off"
        raise DeviceError(f"{path} {wrong}: {error}", "Measure again") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DeviceError(f"{path} is not a list of objects")
    return rows


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r:.40} is not a number")
    return float(value)


_ROW = re.compile(r'"name"\s*:\s*"(.*?)"\s*,\s*"timeMs"\s*:\s*[^,}]*,\s*"averageMs"\s*:\s*([^,}\s]+)')


def read_profile(path: Path) -> tuple[LayerTime, ...]:
    """Read the file of --exportProfile.

    Returns:
        The layers, slowest first, with their share of the sum of all; nothing where the file does not tell every time.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    means = []
    for name, mean in _ROW.findall(text):
        try:
            means.append((name, float(mean)))
        except ValueError:
            return ()
    total = sum(mean for _, mean in means)
    if not 0 < total < math.inf or min(mean for _, mean in means) < 0:
        return ()
    layers = [LayerTime(name, mean, mean / total) for name, mean in means]
    return tuple(sorted(layers, key=lambda layer: -layer.mean_ms))
