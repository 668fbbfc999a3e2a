"""Engine files of a replayed board."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeprune.device.replay.boards._board import Board

_MAGIC = b"edgeprune replay engine\n"


class TrtError(Exception):
    """Error of TensorRT, with the lines it prints."""

    def __init__(self, *lines: str) -> None:
        super().__init__(lines[0])
        self.lines = lines


@dataclass(frozen=True)
class Header:
    """Header of an engine.

    Attributes:
        version: TensorRT version.
        compute_capability: Compute capability of the GPU that the engine was built on.
        entry: Name of the input.
        shape: Shape of the input.
        layers: Names of the layers.
        factor: Slow-down relative to the sum of its layers: builds differ.
        precision: Precision of the weights.
        graph: Whether it can be launched as a CUDA graph.
    """

    version: int
    compute_capability: str
    entry: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    factor: float
    precision: str
    graph: bool = True


def write(path: Path, header: Header, model: bytes) -> int:
    """Save an engine; returns its size in bytes.

    Raises:
        OSError: It cannot be written.
    """
    content = _MAGIC + json.dumps(asdict(header)).encode() + b"\n" + model
    path.write_bytes(content)
    return len(content)


def load(board: Board, path: Path) -> tuple[Header, bytes]:
    """Load an engine.

    Raises:
        TrtError: It is not an engine, or was built by another TensorRT or for another GPU.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrtError(f"Error opening engine file: {path}") from error
    broken = ("Error Code 4: Internal Error (Engine deserialization failed.)", "Engine could not be created")
    if not content.startswith(_MAGIC):
        raise TrtError(*broken)
    line, _, model = content.removeprefix(_MAGIC).partition(b"\n")
    plain = json.loads(line)
    header = Header(**{**plain, "shape": tuple(plain["shape"]), "layers": tuple(plain["layers"])})
    if header.version != board.version:
        raise TrtError(
            "1: [stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization (Serialization assertion "
            "stdVersionRead == serializationVersion failed.Version tag does not match. Note: Current Version: "
            f"{board.version // 100}, Serialized Engine Version: {header.version // 100})",
            *broken,
        )
    capability = str(board.said["compute_capability"])
    if header.compute_capability != capability:
        raise TrtError(
            "6: The engine plan file is generated on an incompatible device, expecting compute "
            f"{capability} got compute {header.compute_capability}, please rebuild.",
            *broken,
        )
    return header, model
