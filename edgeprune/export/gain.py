"""Receiver gain, which is unknown beforehand: the operators of the normalization, and whether a file preserves it.

The outputs of a normalized network do not depend on the gain. The same must hold for its file in any precision. All
tensors that still grow with the gain therefore stay in float32, where the squares of the faintest samples do not
underflow and those of the loudest do not overflow.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.check import compare, onnx_logits
from edgeprune.export.graph import Tensors
from edgeprune.records.results import GainCheck

Floats = npt.NDArray[np.float32]

GAINS = (1e-6, 1e-3, 1e3, 1e6)
FRAMES = 256
_TRIED_FRAMES = 16
_ALIKE = 0.01  # of the largest magnitude
_MOST_LOST = 0.02  # of the frames: those whose class rounding decides


def before_weights(inner: GraphProto) -> tuple[str, ...]:
    """Operators between the input and the first operator with weights on each path.

    Weights are floating-point tensors of several numbers; the axes of a reduction are integers.
    """
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    weights = {
        tensor.name
        for tensor in inner.initializer
        if tensor.data_type in floats and np.prod(tensor.dims, dtype=int) > 1
    }
    reached, found = {graph.INPUT}, []
    for node in inner.node:
        if reached & set(node.input) and not weights & set(node.input):
            reached |= set(node.output)
            found.append(node.name)
    return tuple(found)


def normalising(model: ModelProto, iq: Floats) -> frozenset[str]:
    """Operators that make up the normalization, by name.

    They are those before the first weights, and those that read or make a tensor that grows with the gain while the
    outputs do not: a network may normalize after its first layers. Only larger gains are conclusive; at smaller ones
    the outputs of a network without normalization may not change either, because only its biases remain.

    Args:
        model: A graph in float32 whose operators have names.
        iq: Raw frames (N, C, L).

    Raises:
        ModelError: ONNX Runtime cannot run it.
    """
    tensors = Tensors(model)

    def at(gain: float) -> dict[str, Floats]:
        return next(tensors.of(scaled(iq, gain), _TRIED_FRAMES))

    usual = at(1.0)
    growing: set[str] = set()
    for gain in (gain for gain in GAINS if gain > 1):
        other = at(gain)
        if _alike(usual[graph.OUTPUT], other[graph.OUTPUT]):
            growing |= {name for name in usual if not _alike(usual[name], other[name])}
            growing.add(graph.INPUT)
    found = {node.name for node in model.graph.node if growing & {*node.input, *node.output}}
    return frozenset(found | set(before_weights(model.graph)))


def scaled(iq: Floats, gain: float) -> Floats:
    """Scale frames as a receiver with another gain would."""
    return iq * np.float32(gain)


def check_gains(reference: Callable[[Floats], Floats], path: Path, iq: Floats) -> tuple[GainCheck, ...]:
    """Compare a float32 file with the network at every gain of `GAINS`; gains at which the network fails are left out.

    Args:
        reference: Computes the network's own logits (N, classes) of raw frames.
        path: The exported file.
        iq: Raw frames (N, C, L), of which 256 are used.

    Raises:
        ModelError: They disagree at a gain at which the network's outputs equal those at the frames' own gain.
    """
    frames = _some(iq)
    usual, found = reference(frames), []
    for gain in GAINS:
        expected = reference(scaled(frames, gain))
        if not np.isfinite(expected).all():
            continue
        outputs = onnx_logits(path, scaled(frames, gain))
        if _alike(usual, expected):
            try:
                compare(expected, outputs)
            except ModelError as error:
                raise ModelError(f"at {gain:g} times the gain {error.message}", error.hint) from error
        found.append(GainCheck(gain, _share(expected, outputs)))
    return tuple(found)


def check_lower(source: Path, target: Path, iq: Floats, precision: str) -> tuple[GainCheck, ...]:
    """Compare a file of lower precision with the float32 file at every gain of `GAINS`.

    Where float32 gives the same outputs as at the frames' own gain, the lower precision must also be as good as there.

    Args:
        source: The float32 file.
        target: The other file.
        iq: Raw frames (N, C, L), of which 256 are used.
        precision: Precision of the other file, for the message.

    Raises:
        ModelError: At some gain it is worse, or gives NaN or infinity.
    """
    frames = _some(iq)
    usual = onnx_logits(source, frames)
    least = _share(usual, onnx_logits(target, frames)) - max(_MOST_LOST, 1.5 / len(frames))
    found = []
    for gain in GAINS:
        expected, outputs = (onnx_logits(path, scaled(frames, gain)) for path in (source, target))
        same = _share(expected, outputs)
        if _alike(usual, expected) and (same < least or not np.isfinite(outputs).all()):
            raise ModelError(
                f"in {precision} the network gives {same:.1%} of the frames the class of float32 at {gain:g} times "
                f"their gain, at their own {least:.1%} or more",
                "Use `precision='fp32'`",
            )
        found.append(GainCheck(gain, same))
    return tuple(found)


def _some(iq: Floats) -> Floats:
    return iq[:: -(-len(iq) // FRAMES)]


def _share(expected: Floats, outputs: Floats) -> float:
    return float((expected.argmax(axis=1) == outputs.argmax(axis=1)).mean())


def _alike(first: Floats, second: Floats) -> bool:
    """Whether two computations of a tensor differ by no more than a share of its largest magnitude."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(first - second).max(initial=0.0)
        return bool(difference <= _ALIKE * np.abs(first).max(initial=0.0))
