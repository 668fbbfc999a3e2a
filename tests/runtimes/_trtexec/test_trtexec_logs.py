import re

import pytest

from edgeprune.runtimes._trtexec import logs

STAMP = "[11/22/2026-10:00:00]"


def lines(*texts):
    return "".join(f"{STAMP} {text}\n" for text in texts)


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (1, lines("[E] Unknown option: --workspace 256"), "does not know the option --workspace"),
        (1, lines("[E] Unknown option: --fp16 "), "does not know the option --fp16"),
        (
            1,
            lines(
                "[E] [TRT] 6: The engine plan file is generated on an incompatible device, expecting compute 8.7 got "
                "compute 7.2, please rebuild.",
                "[E] Error Code 4: Internal Error (Engine deserialization failed.)",
            ),
            "built for another GPU: compute capability 8.7 is expected, 7.2 was found",
        ),
        (
            1,
            lines(
                "[E] [TRT] 1: Serialization (Serialization assertion stdVersionRead == serializationVersion failed."
                "Version tag does not match. Note: Current Version: 213, Serialized Engine Version: 232)"
            ),
            r"another version of TensorRT \(format 232, this one reads 213\)",
        ),
        (1, lines("[E] Error Code 1: Cuda Runtime (out of memory)"), "the device ran out of memory"),
        (137, lines("[I] Building"), "was killed, most likely because the device ran out of memory"),
        (137, lines("[W] out of memory while trying a tactic"), "the device ran out of memory"),
        (141, "", "SIGPIPE"),
        (139, lines("[I] Building"), "segmentation fault"),
        (127, "sh: 1: /usr/src/tensorrt/bin/trtexec: not found\n", "trtexec is not there"),
        (126, "sh: trtexec: Exec format error\n", "cannot be executed"),
        (124, lines("[I] Building"), "did not end within its time limit"),
        (1, lines("[E] Failed to write a.engine: No space left on device"), "disk is full"),
        (
            1,
            lines(
                "[E] ModelImporter.cpp:779: ERROR: [6] No importer registered for op: GridSample",
                "[E] Failed to parse onnx file",
            ),
            "no layer for the operator GridSample",
        ),
        (
            1,
            lines("[E] Error Code 10: Could not find any implementation for node {ForeignNode[/a/Conv.../b/Add]}."),
            r"no way to compute \{ForeignNode\[/a/Conv.../b/Add\]\} on this GPU",
        ),
        (
            1,
            lines(
                "[E] Unexpected file size for input file: frames/known.bin. Note: Input binding size is: 1024 bytes "
                "but the file size is 512 bytes. Double check the size and datatype of the provided data."
            ),
            "the input frames/known.bin has 512 bytes, and the engine takes 1024",
        ),
        (1, lines('[E] Cannot find input tensor with name "iq" in the engine bindings!'), "has no input named iq"),
        (1, lines("[E] Static model does not take explicit shapes since the shape"), "fixed shapes"),
        (1, lines("[E] Cannot create DLA engine, 0 not available"), "no such deep-learning accelerator"),
        (
            1,
            lines(
                "[E] [TRT] Default DLA is enabled but layer /pool is not supported on DLA and falling back to GPU "
                "is not enabled."
            ),
            "the layer /pool cannot run on the DLA",
        ),
        (1, lines("[E] Cuda failure: no CUDA-capable device is detected"), "cannot use the GPU"),
        (1, lines("[I] one", "[E] Something new went wrong", "[E] and its consequence"), "Something new went wrong"),
        (3, "", "trtexec ended with exit code 3"),
    ],
)
def test_a_failure_is_told_in_words(code, log, words):
    assert re.search(words, logs.failure_of(code, log).words)


def test_every_failure_says_what_to_do_or_all_there_is():
    assert "`batch`" in logs.failure_of(137, "").hint
    assert "libnvinfer-bin" in logs.failure_of(127, "").hint
    assert "log" in logs.failure_of(9, "").hint


def test_what_is_doubtful_is_told_once_each():
    log = lines(
        "[W] * Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized.",
        "[W] * GPU compute time is unstable, with coefficient of variance = 4.1%.",
        "[W] * GPU compute time is unstable, with coefficient of variance = 4.1%.",
    )
    launching, unstable = logs.doubts_of(log)
    assert "launching takes longer" in launching
    assert "unstable" in unstable
    assert logs.doubts_of(lines("[I] Throughput: 12 qps")) == ()


def test_a_graph_that_was_not_captured_is_noticed():
    refused = "[W] The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode."
    assert logs.graph_refused(lines(refused))
    assert not logs.graph_refused(lines("[I] Successfully captured CUDA graph for the current execution context"))


def test_seconds_of_a_build_are_read_where_they_are():
    assert logs.build_seconds(lines("[I] Engine built in 184.708 sec.")) == 184.708
    assert logs.build_seconds(lines("[I] Building")) is None


def test_the_share_on_the_dla_counts_the_layers_that_left_it():
    log = lines(
        "[W] [TRT] Layer 'Constant_3' (CONSTANT): Unsupported on DLA. Switching this layer's device type to GPU.",
        "[W] [TRT] Layer 'Constant_3' (CONSTANT): Unsupported on DLA. Switching this layer's device type to GPU.",
        "[W] [TRT] Layer '/pool' (REDUCE): Unsupported on DLA. Switching this layer's device type to GPU.",
        "[I] [TRT] ---------- Layers Running on DLA ----------",
        "[I] [TRT] [DlaLayer] {ForeignNode[Conv_0...Gemm_15]}",
        "[I] [TRT] ---------- Layers Running on GPU ----------",
        "[I] [TRT] [GpuLayer] REDUCE: /pool",
    )
    assert logs.off_dla(log) == ("Constant_3", "/pool")
    assert logs.dla_share(log, 8) == 0.75
    assert logs.dla_share(lines("[I] [TRT] [GpuLayer] CONVOLUTION: a"), 8) == 0.0
    assert logs.dla_share(log, 0) == 0.0
