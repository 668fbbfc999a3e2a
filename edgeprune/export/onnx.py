"""Network as an ONNX file, its normalization included, at exactly the requested opset.

torch has two exporters, and neither supports every opset. The one based on torch.export writes opsets from 18 and
leaves older ones to a version converter that lacks most of the way down. The one based on TorchScript is deprecated,
but writes every opset up to 20 itself. So the native exporter of an opset is tried first, then the other with a
conversion. The result is accepted only after checks: its operators, opset and shapes, and its logits for a batch size
it was not traced with.
"""

import contextlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx
import onnx.version_converter
import torch
from onnx import ModelProto
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.attention import decomposed_attention
from edgeprune.export.check import compare, onnx_logits
from edgeprune.export.network import RawSampleNetwork, first_cause, on_raw_samples, quietly, torch_logits
from edgeprune.files.whole import blame_disk
from edgeprune.network.running import copies_traced
from edgeprune.network.user_code import bound_to_batch, place_of_export
from edgeprune.records.pruning import InputSpec

_OLDEST_OF_TORCH_EXPORT = 18
_NEWEST_OF_TORCHSCRIPT = 20
_OLDEST_WITH_ATTENTION = 14


@dataclass(frozen=True)
class Route:
    """Way to export a file: which of torch's exporters writes it, at which opset, before any conversion."""

    exporter: Literal["torch.export", "TorchScript"]
    opset: int

    def describe(self, opset: int) -> str:
        """Describe the route to a file of `opset` in words."""
        converted = "" if self.opset == opset else f", converted to {opset}"
        return f"{self.exporter} at opset {self.opset}{converted}"


@dataclass(frozen=True)
class OnnxRequest:
    """Required properties of the file.

    Attributes:
        opset: Opset of the default ONNX domain.
        batch_size: Fixed number of frames N, or None for any number.
        frame: Channels and length of a frame.
        classes: Number of logits a frame.
    """

    opset: int
    batch_size: int | None
    frame: tuple[int, int]
    classes: int

    @property
    def ports(self) -> tuple[graph.Port, ...]:
        """Input and output that the graph must declare."""
        floats = onnx.TensorProto.FLOAT
        return (
            (graph.INPUT, floats, (self.batch_size, *self.frame)),
            (graph.OUTPUT, floats, (self.batch_size, self.classes)),
        )


def routes(opset: int, network: nn.Module) -> tuple[Route, ...]:
    """List the routes to a file of `opset`, the best first.

    They depend on the opset alone, so that networks are comparable, except for recurrent layers: torch.export follows
    these sample by sample, which takes minutes, and comes to the same operators.
    """
    by_export = Route("torch.export", max(opset, _OLDEST_OF_TORCH_EXPORT))
    by_script = Route("TorchScript", min(opset, _NEWEST_OF_TORCHSCRIPT))
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    scripted = opset < _OLDEST_OF_TORCH_EXPORT or (recurrent and opset <= _NEWEST_OF_TORCHSCRIPT)
    return (by_script, by_export) if scripted else (by_export, by_script)


def export_onnx(
    model: nn.Module,
    spec: InputSpec,
    path: Path,
    *,
    opset: int,
    batch_size: int | None,
    metadata: Mapping[str, str],
) -> str:
    """Write a network as ONNX: input `iq` float32 (N, C, L) of raw samples, output `logits` float32 (N, classes).

    Args:
        model: Network that takes normalized frames (N, C, L); left unchanged.
        spec: Input of the network; its normalization becomes part of the graph.
        path: The file to write.
        opset: Exact opset of the default ONNX domain.
        batch_size: Fixed N, or None for any number of frames.
        metadata: Entries for the file's `metadata_props`, beside `exporter`, the route by which it was made.

    Returns:
        The route by which it was made, in words.

    Raises:
        ModelError: The network cannot be run, or no exporter can write such a file.
    """
    network = on_raw_samples(model, spec)
    frame = (spec.channels, spec.length)
    generator = torch.Generator().manual_seed(0)
    traced = torch.randn((batch_size or 2, *frame), generator=generator)
    tried = torch.randn((batch_size or 3, *frame), generator=generator)
    classes = torch_logits(network, traced.numpy()).shape[1]
    wanted = OnnxRequest(opset, batch_size, frame, classes)
    failures = []
    for route in routes(opset, network):
        try:
            _export(network, traced, path, route, dynamic=batch_size is None)
            made = _finish(onnx.load(path), wanted)
            graph.set_metadata(made, {**metadata, "exporter": route.describe(opset)})
            onnx.save(made, path)
            compare(torch_logits(network, tried.numpy()), onnx_logits(path, tried.numpy()))
        except Exception as error:  # exporters run the network's own code, and raise whatever stops them
            blame_disk(error, path)
            failures.append((error, f"{route.describe(opset)}: {first_cause(error)}"))
            path.unlink(missing_ok=True)
        else:
            return route.describe(opset)
    (cause, first), *others = failures
    also = "".join(f"; {text}" for _, text in others)
    bound = bound_to_batch(model, frame) if batch_size is None else ""
    places = (place_of_export(error, network, traced) for error, _ in failures)
    where = f"{bound} takes the number of frames as a plain number" if bound else next(filter(None, places), "")
    how = " for any number of frames" if batch_size is None and _fixed(network, wanted, path) else ""
    raise ModelError(
        f"the network cannot be exported to ONNX opset {opset}{how}{f' ({where})' if where else ''}: {first}{also}",
        "Set another opset in the target, or rewrite the layer it names",
    ) from cause


def _fixed(network: RawSampleNetwork, wanted: OnnxRequest, path: Path) -> bool:
    """Whether the network could be exported for one frame at a time, where it cannot be for any number."""
    for route in routes(wanted.opset, network):
        with contextlib.suppress(Exception):  # it is tried for a message only
            _export(network, torch.zeros(1, *wanted.frame), path, route, dynamic=False)
            _finish(onnx.load(path), replace(wanted, batch_size=1))
            return True
    return False


def _export(network: RawSampleNetwork, example: torch.Tensor, path: Path, route: Route, *, dynamic: bool) -> None:
    """Export with one of torch's exporters."""
    old = route.opset < _OLDEST_WITH_ATTENTION
    with quietly(), copies_traced(), decomposed_attention() if old else nullcontext():
        if route.exporter == "torch.export":
            torch.onnx.export(
                network,
                (example,),
                path,
                input_names=[graph.INPUT],
                output_names=[graph.OUTPUT],
                opset_version=route.opset,
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim(graph.BATCH)},) if dynamic else None,
                verbose=False,
            )
        else:
            torch.onnx.export(
                network,
                (example,),
                str(path),
                input_names=[graph.INPUT],
                output_names=[graph.OUTPUT],
                opset_version=route.opset,
                dynamo=False,
                dynamic_axes={name: {0: graph.BATCH} for name in (graph.INPUT, graph.OUTPUT)} if dynamic else None,
            )


def _finish(model: ModelProto, wanted: OnnxRequest) -> ModelProto:
    """Bring an exported model to the required form, and check it.

    Raises:
        ModelError: It has another opset, foreign operators, or other inputs and outputs.
        Exception: The ONNX library cannot convert it or finds it invalid.
    """
    graph.tidy(model)
    if graph.opsets(model).get("") != wanted.opset:
        model = _converted(model, wanted.opset)
    if graph.opsets(model) != {"": wanted.opset}:
        raise ModelError(f"it came out with the operator sets {graph.opsets(model)}, not ONNX {wanted.opset} alone")
    if [port[:2] for port in graph.ports(model)] != [port[:2] for port in wanted.ports]:
        raise ModelError(f"it came out with inputs and outputs {graph.ports(model)}, not {wanted.ports}")
    graph.declare_ports(model, wanted.batch_size, wanted.frame, wanted.classes)
    graph.tidy(model)
    graph.validate(model)
    return model


def _converted(model: ModelProto, opset: int) -> ModelProto:
    """Convert the model to another opset.

    The converter carries `noop_with_empty_axes` down to opsets whose reductions do not have it; 0 is equivalent to
    its absence.
    """
    for node in model.graph.node:
        kept = [entry for entry in node.attribute if (entry.name, entry.i) != ("noop_with_empty_axes", 0)]
        del node.attribute[:]
        node.attribute.extend(kept)
    return onnx.version_converter.convert_version(model, opset)
