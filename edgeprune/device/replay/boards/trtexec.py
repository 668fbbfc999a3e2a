"""Stand-in for trtexec on a replayed board: options, messages, files and failures of its version; made-up times.

The outputs of an engine are computed by ONNX Runtime from the model in it, so accuracy on a replayed board is real.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeprune.device.replay.boards import _engines, _timing
from edgeprune.device.replay.boards._board import FOLDER, Board, here, say, wait
from edgeprune.device.replay.boards._engines import Header, TrtError
from edgeprune.device.replay.boards._options import Options, parse

_CONVOLUTIONS_S = 2.0
_REBOOT_AFTER = 3
_READINGS, _READINGS_WITHIN_S = 3, 20.0  # readings between the first and the last inference, and one at each edge


def main() -> int:
    """Run the command line; returns the exit code."""
    board = here()
    suffix = f" [b{board.said['build']}]" if board.said.get("build") else ""
    numbers = [int(part) for part in str(board.said["tensorrt"]).split(".")[:3]]
    major = 10000 if numbers[0] >= 10 else 1000
    version = numbers[0] * major + numbers[1] * 100 + numbers[2]
    line = " ".join(["trtexec", *sys.argv[1:]])
    told = f"TensorRT.trtexec [TensorRT v{version}]{suffix} # {line}"
    sys.stdout.write(f"&&&& RUNNING {told}\n")
    sys.stdout.flush()
    try:
        passed = _execute(board, parse(sys.argv[1:], board.version))
    except TrtError as error:
        for text in error.lines:
            say("E", text)
        passed = False
    except ValueError as error:
        say("E", f"{error}")
        passed = False
    except OSError as error:
        say("E", f"{error.filename}: {error.strerror}")
        passed = False
    sys.stdout.write(f"&&&& {'PASSED' if passed else 'FAILED'} {told}\n")
    return 0 if passed else 1


def _execute(board: Board, options: Options) -> bool:
    if "help" in options:
        sys.stdout.write("=== Model Options ===\n  --onnx=<file>  ONNX model\n")
        return True
    if options.unknown:
        sys.stdout.write("=== Model Options ===\n")
        raise TrtError(*(f"Unknown option: {option}" for option in options.unknown))
    say("I", "=== Device Information ===")
    said = board.said
    if board.version >= 100000:
        say("I", "Available Devices:")
        say("I", f'  Device 0: "{said["gpu"]}" UUID: GPU-00000000-0000-0000-0000-000000000000')
    say("I", f"Selected Device: {said['gpu']}")
    say("I", f"Compute Capability: {said['compute_capability']}")
    say("I", f"SMs: {said['sms']}")
    say("I", f"Device Global Memory: {said['memory_mib']} MiB")
    say("I", f"TensorRT version: {said['tensorrt']}")
    if "onnx" in options:
        _build(board, options)
        return True
    if "loadEngine" not in options:
        raise TrtError("Model missing or format not recognized")
    header, model = _engines.load(board, Path(options.given["loadEngine"]))
    say("I", f"[TRT] Loaded engine size: {len(model) / 2**20:.3g} MiB")
    say("I", "Engine deserialized in 0.0123 sec.")
    with _computing(board):
        _infer(board, options, header, model)
    return True


def _build(board: Board, options: Options) -> None:
    from edgeprune.device.replay.boards import _models  # slow to import, and not needed to time

    if "shapes" in options:
        raise TrtError(
            "Static model does not take explicit shapes since the shape of inference tensors will be determined by the "
            "model itself"
        )
    if "oom" in board.faults:
        raise TrtError("[TRT] 1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)")
    if "killed" in board.faults and board.times("killed") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if "full-disk" in board.faults:
        raise TrtError(f"Failed to write {options.given.get('saveEngine')}: No space left on device")
    model = Path(options.given["onnx"])
    header, content = _models.build(board, model, options.given.get("saveEngine", ""))
    old = board.version < 80600
    say("I", "Finish parsing network model" if old else "Finished parsing network model. Parse time: 0.0123")
    if "useDLACore" in options:
        _place(board, options, header, _models.off_dla(content))
    with _computing(board):
        wait(_CONVOLUTIONS_S)
    say("I", f"Engine built in {_CONVOLUTIONS_S + 0.05 * len(header.layers):.3f} sec.")
    if cache := options.given.get("timingCacheFile"):
        Path(cache).write_bytes(f"edgeprune replay timing cache {board.version}\n".encode())
    if saved := options.given.get("saveEngine"):
        size = _engines.write(Path(saved), header, content)
        if board.version >= 100000:
            say("I", f"Created engine with size: {size / 2**20:.4g} MiB")


def _place(board: Board, options: Options, header: Header, fallen: list[tuple[str, str]]) -> None:
    """Report which layers run on the accelerator, and the names and kinds of those that do not."""
    core = int(options.number("useDLACore", 0))
    if core >= int(board.said["dla_cores"]):
        raise TrtError(f"Cannot create DLA engine, {core} not available")
    for name, kind in fallen:
        if "allowGPUFallback" not in options:
            raise TrtError(
                f"[TRT] 2: [builder.cpp::buildSerializedNetwork] Default DLA is enabled but layer {name} is not "
                "supported on DLA and falling back to GPU is not enabled."
            )
        say("W", f"[TRT] Layer '{name}' ({kind}): Unsupported on DLA. Switching this layer's device type to GPU.")
    say("I", "[TRT] ---------- Layers Running on DLA ----------")
    say("I", f"[TRT] [DlaLayer] {{ForeignNode[{header.layers[0]}...{header.layers[-1]}]}}")
    say("I", "[TRT] ---------- Layers Running on GPU ----------")
    for name, kind in fallen:
        say("I", f"[TRT] [GpuLayer] {kind}: {name}")


def _infer(board: Board, options: Options, header: Header, model: bytes) -> None:
    given = options.given
    if "loadInputs" in options:
        _answer(board, options, header, model)
    if options.cuda_graph and header.graph:
        say("I", "Successfully captured CUDA graph for the current execution context")
    if "exportTimes" in options:
        count = board.times("timed")
        if "reboot" in board.faults and count == _REBOOT_AFTER:
            _reboot(board)
    trace = _timing.run(board, header, options)
    wait(trace.span_ms / 1000)
    _wait_for_readings(board)
    if "exportTimes" in options:
        _timing.export_times(Path(given["exportTimes"]), trace, board)
    if "exportProfile" in options:
        _timing.export_profile(Path(given["exportProfile"]), trace, header, board)
    _timing.summarise(trace, board, options, header)


def _answer(board: Board, options: Options, header: Header, model: bytes) -> None:
    """Feed a file to the engine, with each version's rule for its size."""
    from edgeprune.device.replay.boards import _models

    entry, _, name = options.given["loadInputs"].partition(":")
    if entry != header.entry:
        raise TrtError(
            f'Cannot find input tensor with name "{entry}" in the engine bindings! Please make sure the input tensor '
            "names are correct."
        )
    due = 4 * int(np.prod(header.shape))
    content = Path(name).read_bytes()
    exact = board.version >= 100000
    if len(content) < due or (exact and len(content) not in (due, 2 * due)):
        raise TrtError(
            f"Unexpected file size for input file: {name}. Note: Input binding size is: {due} bytes but the file size "
            f"is {len(content)} bytes. Double check the size and datatype of the provided data."
        )
    frames = np.frombuffer(content[:due], "<f4").reshape(header.shape)
    output, logits = _models.answers(model, frames)
    if "wrong-answers" in board.faults:
        logits = np.roll(logits, 1, axis=1)
    if "exportOutput" in options:
        dimensions = "x".join(map(str, logits.shape))
        values = ", ".join(f"{value:g}" for value in logits.ravel())
        Path(options.given["exportOutput"]).write_text(
            f'[\n  {{ "name" : "{output}"\n  , "dimensions" : "{dimensions}"\n  , "values" : [ {values} ]\n  }}\n]\n'
        )


@contextlib.contextmanager
def _computing(board: Board) -> Iterator[None]:
    """Tell the power meters of the board that its GPU computes."""
    mark = board.folder / "busy"
    mark.write_text(str(os.getpid()))
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _wait_for_readings(board: Board) -> None:
    """Compute on until tegrastats, where it runs beside this process, has read the meters often enough.

    A process of the machine that plays the board may start late; the meters of a board do not.
    """
    end = time.monotonic() + _READINGS_WITHIN_S
    while _tegrastats_beside() and board.readings_of(os.getpid()) < _READINGS and time.monotonic() < end:
        time.sleep(0.005)


def _tegrastats_beside() -> bool:
    """Whether tegrastats of this board is in the process group of this process, or is about to be."""
    group = str(os.getpgrp())
    for process in _others():
        with contextlib.suppress(OSError, IndexError):
            same_group = (process / "stat").read_text().rpartition(")")[2].split()[2] == group
            if same_group and b"tegrastats" in (process / "cmdline").read_bytes():
                return True
    return False


def _others() -> Iterator[Path]:
    """The folders in /proc of all other processes that run on this board."""
    own = f"{FOLDER}={os.environ[FOLDER]}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(process.name) != os.getpid() and own in (process / "environ").read_bytes().split(b"\0"):
                yield process


def _reboot(board: Board) -> None:
    """End everything that runs on this board at once, this process too."""
    (board.folder / "rebooted").write_text(str(time.monotonic()))
    for process in [*(int(other.name) for other in _others()), os.getpid()]:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
