"""Export of a network to an ONNX file that is verified to compute the same: export, simplify, check."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from onnx import load
from torch import nn

import edgeprune
from edgeprune.errors import EdgepruneError, ModelError
from edgeprune.export import graph
from edgeprune.export.check import TorchAgreement, check_against_torch, onnx_logits
from edgeprune.export.gain import check_gains
from edgeprune.export.network import fitting, on_raw_samples, torch_logits
from edgeprune.export.onnx import export_onnx
from edgeprune.export.precision import Calibration, LowerPrecision, lower
from edgeprune.export.quantise import METHODS, Bound, Method
from edgeprune.export.simplify import SIMPLIFIERS, Simplification, Simplifier, simplify
from edgeprune.files.run_folder import unwritable
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import begun_folder, blame_disk, replacing, require_room
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.pruning import InputSpec, OnnxModel
from edgeprune.targets import Precision, Target

__all__ = ["METHODS", "Bound", "Calibration", "Method", "Simplifier", "export", "onnx_logits"]

_LEAST_ROOM_BYTES = 1 << 16


def export(
    model: nn.Module,
    spec: InputSpec,
    iq: npt.NDArray[np.float32],
    target: Target,
    path: Path,
    metadata: Mapping[str, str],
    progress: Progress | None = None,
    *,
    batch_size: int = 1,
    precision: Precision = "fp32",
    calibration: Calibration | None = None,
    bound: Bound | None = None,
    time_limit_s: float = 120.0,
    simplifiers: tuple[Simplifier, ...] = SIMPLIFIERS,
) -> OnnxModel:
    """Write a network as an ONNX file for a target: exported, simplified, and checked against torch on real frames.

    In float32 the file must give every frame the class that torch gives it. In a lower precision its outputs must be
    finite, and the record has the share of equal classes. A network whose outputs do not depend on the gain of
    the receiver must keep that property, from a millionth to a million times the gain of the frames.

    The file appears whole and checked, or not at all; an earlier file remains until then. `nodes` of the record counts
    the operators of the finished graph, in which batch norms have been merged into the convolutions before them.

    Args:
        model: Network that takes normalized frames (N, C, L); left unchanged.
        spec: Input of the network; the normalization becomes part of the graph.
        iq: Raw frames (N, C, L) to check the file on, N > 0.
        target: Target that sets the opset, and whether the batch is dynamic or static.
        path: The file to write.
        metadata: Entries for the file's `metadata_props`, beside `edgeprune_version`, `normalisation` and `exporter`.
        progress: Notified of each step, of simplifiers that failed and of ties.
        batch_size: The fixed number of frames in a batch, for a target whose batch is static.
        precision: Precision of weights and arithmetic; input and output are always float32.
        calibration: Frames and method for the scales of int8; required only for int8.
        bound: Largest accuracy that a lower precision may cost. To meet it, int8 keeps its most sensitive operators in
            fp16 where the target supports it, otherwise in float32. The record says whether it is met.
        time_limit_s: Time limit of each simplifier.
        simplifiers: Simplifiers to try, in order; if none succeeds the graph stays as exported.

    Returns:
        The record of the file, its path relative to its folder.

    Raises:
        ModelError: The network cannot be run or exported, or the file does not compute the same as torch.
        DataError: The frames do not fit the network.
        ConfigError: The file cannot be written.
    """
    iq = fitting(iq, spec)
    watched = progress or NullProgress()
    own_metadata = {"edgeprune_version": edgeprune.__version__, "normalisation": spec.normalisation}
    with _workbench(path) as folder, watched.track(f"export {path.name}", 3 + (precision != "fp32")) as advance:
        raw, finished, typed = (folder / f"{name}.onnx" for name in ("raw", "finished", "typed"))
        fixed = batch_size if target.batch == "static" else None
        exporter = export_onnx(
            model, spec, raw, opset=target.opset, batch_size=fixed, metadata={**metadata, **own_metadata}
        )
        advance(1, exporter)
        simplified = simplify(raw, finished, iq, time_limit_s=time_limit_s, simplifiers=simplifiers)
        advance(1, f"simplified by {simplified.simplifier}")
        agreement = check_against_torch(model, spec, finished, iq)
        gains = check_gains(partial(torch_logits, on_raw_samples(model, spec)), finished, iq)
        advance(1, f"largest logit difference to torch {agreement.max_abs_difference:.2g}")
        record = replace(_record(finished, exporter, simplified, agreement), gains=gains)
        if precision != "fp32":
            kept_in: Literal["fp16", "fp32"] = "fp16" if "fp16" in target.precisions else "fp32"
            record = lower(finished, typed, iq, LowerPrecision(precision, calibration, bound, kept_in), record)
            finished = typed
            advance(1, f"{precision}: the same class for {record.same_top1:.1%} of {len(iq)} frames")
        with replacing(path) as file:
            file.write(finished.read_bytes())
    for note in (*simplified.notes, *agreement.notes):
        watched.note(f"{path.name}: {note}")
    return replace(record, path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)


def _record(path: Path, exporter: str, simplified: Simplification, agreement: TorchAgreement) -> OnnxModel:
    finished = load(path)
    return OnnxModel(
        path=path.name,
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        opset=graph.opsets(finished)[""],
        nodes=graph.operators(finished),
        simplifier=simplified.simplifier,
        simplifier_notes=simplified.notes,
        max_abs_logit_difference=agreement.max_abs_difference,
        checked_frames=agreement.frames,
        tied_frames=len(agreement.tied),
        exporter=exporter,
    )


@contextlib.contextmanager
def _workbench(path: Path) -> Iterator[Path]:
    """Folder beside `path` for unfinished files, removed afterwards.

    Raises:
        ConfigError: It cannot be created or written, for any error that a library raises.
    """
    with begun_folder(path.parent) as folder:
        try:
            yield folder
        except OSError as error:
            raise unwritable(path, error) from error
        except EdgepruneError as error:
            blame_disk(error, path)
            if isinstance(error, ModelError):
                written = [file.stat().st_size for file in folder.iterdir() if file.is_file()]
                require_room(folder, max(written, default=0) + _LEAST_ROOM_BYTES, path)
            raise
