"""What can be told of an engine from its bytes, without a GPU."""

import struct

from edgeprune.errors import EdgepruneError

_START = struct.Struct("<4sIQQ4B")
_MAGIC = {"tensorrt": b"ftrt", "tensorrt-rtx": b"vtrt"}


def check_header(engine: bytes, runtime: str, version: str) -> None:
    """See that an engine begins as its library's engines do; of TensorRT-RTX also its length and version.

    Args:
        engine: The bytes that are to be written.
        runtime: 'tensorrt' or 'tensorrt-rtx'.
        version: Of the library that built it.

    Raises:
        EdgepruneError: It does not.
    """
    if len(engine) < _START.size:
        raise EdgepruneError(f"the engine has {len(engine)} bytes, fewer than its header", "Build it again")
    magic, _, _, length, *built_with = _START.unpack_from(engine)
    if magic != _MAGIC[runtime]:
        raise EdgepruneError(f"the engine begins with {magic!r}; {_MAGIC[runtime]!r} is due", "Build it again")
    if runtime == "tensorrt-rtx":
        numbers = [int(part) for part in version.split(".")]
        if length != len(engine) or built_with[: len(numbers)] != numbers:
            found = ".".join(map(str, built_with))
            raise EdgepruneError(
                f"the engine's header says {length} bytes by version {found}; it has {len(engine)} by {version}",
                "Build it again",
            )
