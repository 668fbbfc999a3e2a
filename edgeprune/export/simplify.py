"""Simplification of an ONNX graph: constants folded, batch norms merged into convolutions, shapes resolved.

Simplifiers are native code that has been known to crash, to hang and to be wrong. Each runs in a separate process
under a time limit, and its result is accepted only if it is the same network.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto

from edgeprune.errors import ModelError
from edgeprune.export import graph
from edgeprune.export.check import compare, onnx_logits
from edgeprune.export.network import first_cause
from edgeprune.files.whole import blame_disk, require_room

_COMPARED_FRAMES = 256
_LAST_WORDS = 200


@dataclass(frozen=True)
class Simplifier:
    """Tool that reads one ONNX file and writes another.

    Attributes:
        name: Name for the record.
        command: Program and its first arguments; the two file names follow.
    """

    name: str
    command: tuple[str, ...]


SIMPLIFIERS = (
    Simplifier(
        "onnxsim",
        (
            sys.executable,
            "-c",
            "import sys, onnx, onnxsim; onnx.save(onnxsim.simplify(onnx.load(sys.argv[1]))[0], sys.argv[2])",
        ),
    ),
    Simplifier(
        "onnxslim",
        (
            sys.executable,
            "-c",
            "import sys, onnx, onnxslim; onnx.save(onnxslim.slim(onnx.load(sys.argv[1])), sys.argv[2])",
        ),
    ),
)


@dataclass(frozen=True)
class Simplification:
    """Simplifier whose graph was accepted ('none' for the original graph), and why those before it were not."""

    simplifier: str
    notes: tuple[str, ...]


def simplify(
    source: Path,
    destination: Path,
    iq: npt.NDArray[np.float32],
    *,
    time_limit_s: float = 120.0,
    simplifiers: tuple[Simplifier, ...] = SIMPLIFIERS,
) -> Simplification:
    """Write the graph of the first simplifier that preserves the network, or the original graph.

    A simplified graph must be valid ONNX, have the inputs, outputs and opset of the source, and give the same logits
    on the frames (see `check.compare`). The source's metadata are kept.

    Args:
        source: The graph to simplify; its folder is used for intermediate files.
        destination: The file to write.
        iq: Raw frames (N, C, L), N > 0; at most 256 of them, evenly spread, are compared.
        time_limit_s: Time limit of each simplifier.
        simplifiers: Simplifiers in order of preference.

    Raises:
        ModelError: The source itself cannot be run.
        ConfigError: The disk is full.
    """
    original = onnx.load(source)
    sample = iq[:: -(-len(iq) // _COMPARED_FRAMES)]
    expected = onnx_logits(source, sample)
    notes: list[str] = []
    for simplifier in simplifiers:
        candidate = source.with_name(f"{simplifier.name}.onnx")
        failure = _run(simplifier, source, candidate, time_limit_s)
        if failure is None:
            failure = _difference(original, candidate, expected, sample)
        else:
            require_room(source.parent, source.stat().st_size, destination)
        if failure is None:
            candidate.replace(destination)
            return Simplification(simplifier.name, tuple(notes))
        notes.append(f"{simplifier.name}: {failure}")
    shutil.copyfile(source, destination)
    return Simplification("none", tuple(notes))


def _run(simplifier: Simplifier, source: Path, candidate: Path, time_limit_s: float) -> str | None:
    """Run a simplifier; returns why it left no file, or None if it did.

    It runs in the folder of the files, where no stray module can shadow the ones it imports. Its output goes to a
    file, because a pipe could outlive it in a grandchild.
    """
    words = candidate.with_suffix(".log")
    try:
        with words.open("wb") as log:
            ended = subprocess.run(  # noqa: S603 - a fixed program and two of our own paths, no shell
                [*simplifier.command, str(source.resolve()), str(candidate.resolve())],
                cwd=source.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=time_limit_s,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"no answer within {time_limit_s:g} s"
    except OSError as error:
        return f"cannot be started: {error.strerror or error}"
    if ended.returncode < 0:
        return f"killed by signal {-ended.returncode}"
    if ended.returncode > 0:
        lines = words.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"ended with {ended.returncode}: {last[:_LAST_WORDS]}"
    return None if candidate.is_file() else "wrote no file"


def _difference(
    original: ModelProto, candidate: Path, expected: npt.NDArray[np.float32], iq: npt.NDArray[np.float32]
) -> str | None:
    """Describe how a candidate differs from the original network, or None; the original's metadata are copied to it."""
    try:
        simplified = onnx.load(candidate)
        graph.tidy(simplified)
        graph.set_metadata(simplified, graph.metadata(original))
        if graph.opsets(simplified) != graph.opsets(original):
            return f"changed the operator sets {graph.opsets(original)} to {graph.opsets(simplified)}"
        if graph.ports(simplified) != graph.ports(original):
            return f"changed the inputs and outputs {graph.ports(original)} to {graph.ports(simplified)}"
        graph.validate(simplified)
        onnx.save(simplified, candidate)
        compare(expected, onnx_logits(candidate, iq))
    except ModelError as error:
        return error.message
    except Exception as error:  # a damaged file fails in whatever reads it first
        blame_disk(error, candidate)
        return f"not a valid graph: {first_cause(error)}"
    return None
