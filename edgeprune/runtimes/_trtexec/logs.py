"""Interpretation of trtexec's logs: failures, doubtful figures, and placement of layers."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Reason why a command failed, and advice."""

    words: str
    hint: str = ""


_REBUILD = "Engines are built on the device they run on; remove this one from the device's cache"
_MEMORY = "Close what else runs there, use a smaller `batch`, or add swap"
_BY_CODE = {
    124: Failure("it did not end within its time limit", "See what it was doing in the log"),
    126: Failure("trtexec cannot be executed there", "It may be of another architecture, or not executable"),
    127: Failure("trtexec is not there", "Install it on the device: sudo apt install libnvinfer-bin"),
    134: Failure("trtexec aborted"),
    137: Failure("it was killed, most likely because the device ran out of memory", _MEMORY),
    139: Failure("trtexec crashed with a segmentation fault"),
    141: Failure("its output was cut off (SIGPIPE)", "Let it write to a file"),
    143: Failure("it was told to end"),
}
_BY_TEXT = tuple(
    (re.compile(pattern), Failure(words, hint))
    for pattern, words, hint in (
        (r"Unknown option: (\S+)", "this trtexec does not know the option {0}", "Tell us its version"),
        (
            r"incompatible device, expecting compute (\S+) got compute (\S+?),",
            "the engine was built for another GPU: compute capability {0} is expected, {1} was found",
            _REBUILD,
        ),
        (
            r"Current Version: (\d+), Serialized Engine Version: (\d+)",
            "the engine was built by another version of TensorRT (format {1}, this one reads {0})",
            _REBUILD,
        ),
        (r"No space left on device", "the device's disk is full", "Make room there"),
        (
            r"(?i)out of memory|OutOfMemory|std::bad_alloc|NvMapMemAlloc\w* error 12",
            "the device ran out of memory",
            _MEMORY,
        ),
        (
            r"Unexpected file size for input file: (\S+?)\. .*?binding size is: (\d+) bytes but the file size is (\d+)",
            "the input {0} has {2} bytes, and the engine takes {1}",
            "The frames are not those of this model and batch",
        ),
        (
            r"Cannot find input tensor with name \"(.+?)\"",
            "the model has no input named {0}",
            "Export it with: edgeprune export",
        ),
        (
            r"(Static model does not take explicit shapes)",
            "the model has fixed shapes and was given others",
            "",
        ),
        (
            r"(?:No importer registered for op|Unsupported operator|Unsupported op)[: ]+(\w+)",
            "TensorRT has no layer for the operator {0}",
            "Export for an older opset (see `opset` of the target), or use a network without it",
        ),
        (
            r"layer (\S+) .*not supported on DLA and falling back to GPU is not enabled",
            "the layer {0} cannot run on the DLA",
            "Run it on the GPU",
        ),
        (r"Cannot create DLA engine", "the device has no such deep-learning accelerator", "Run it on the GPU"),
        (
            r"Could not find any implementation for node (.+?)\.?(?:\n|$)",
            "TensorRT found no way to compute {0} on this GPU",
            "Try another precision",
        ),
        (
            r"(?i)no CUDA-capable device|CUDA initialization failure|driver version is insufficient",
            "TensorRT cannot use the GPU",
            "Add the user to the group `video` there, and see that the driver is JetPack's",
        ),
        (
            r"(?i)(?:Failed to parse onnx file|parse_?onnx.*failed|Could not parse ONNX)",
            "TensorRT cannot read the model",
            "See the lines above in the log",
        ),
        (
            r"Engine deserialization failed|deserializ\w+ engine failed|Error deserializing",
            "the engine file cannot be read",
            _REBUILD,
        ),
    )
)
_ERROR_LINE = re.compile(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] \[E\] (.+)$", re.MULTILINE)


def failure_of(code: int, log: str) -> Failure:
    """Explain why trtexec failed.

    Args:
        code: Exit code, not 0.
        log: Output.
    """
    for pattern, failure in _BY_TEXT:
        if found := pattern.search(log):
            return Failure(failure.words.format(*found.groups()), failure.hint)
    if code in _BY_CODE:
        return _BY_CODE[code]
    errors = _ERROR_LINE.findall(log)
    return Failure(errors[0].strip() if errors else f"trtexec ended with exit code {code}", "See the log")


_DOUBTS = (
    (
        re.compile(r"Throughput may be bound by Enqueue Time"),
        "launching takes longer than computing, so that the host is in the figures",
    ),
    (
        re.compile(r"Throughput may be bound by host-to-device transfers"),
        "copying the frames takes longer than computing",
    ),
    (
        re.compile(r"GPU compute time is unstable, with coefficient of variance"),
        "trtexec calls the times unstable: clocks may not be locked",
    ),
)
_NO_GRAPH = re.compile(r"operations that are not permitted under CUDA graph capture")
_BUILT = re.compile(r"Engine built in ([\d.]+) sec")
_FELL_BACK = re.compile(r"Layer '([^']+)'[^\n]*: Unsupported on DLA\. Switching this layer's device type to GPU")
_DLA_LAYER = re.compile(r"\[DlaLayer\]")


def doubts_of(log: str) -> tuple[str, ...]:
    """Warnings of trtexec in a timed run, in words."""
    return tuple(words for pattern, words in _DOUBTS if pattern.search(log))


def graph_refused(log: str) -> bool:
    """Whether the engine was launched layer by layer although a CUDA graph was requested."""
    return _NO_GRAPH.search(log) is not None


def build_seconds(log: str) -> float | None:
    """Seconds taken by the build of the engine, or None if the log does not say."""
    found = _BUILT.search(log)
    return float(found.group(1)) if found else None


def off_dla(log: str) -> tuple[str, ...]:
    """Names of the layers that were intended for the DLA and run on the GPU."""
    return tuple(dict.fromkeys(_FELL_BACK.findall(log)))


def dla_share(log: str, layers: int) -> float:
    """Share of a network's layers that run on the DLA, 0..1.

    The log lists what runs on the DLA with neighbors joined, so those that went to the GPU are counted instead.

    Args:
        log: Log of the build.
        layers: Operators of the model.
    """
    if layers == 0 or not _DLA_LAYER.search(log):
        return 0.0
    return max(0.0, 1 - len(off_dla(log)) / layers)
