"""A bundle laid out and its plan run step by step, without the script that does both on a device."""

import contextlib
import io
import os
import shlex
from pathlib import Path
from unittest import mock

import numpy as np
from onnx import parser, save

from edgeprune.device.replay import transport as replay
from edgeprune.device.replay.boards import _board
from edgeprune.device.replay.boards import trtexec as stand_in
from edgeprune.files.store import file_sha256
from edgeprune.records.device_run import (
    ENGINES,
    KNOWN_FRAMES,
    OUT,
    STEPS,
    Assignment,
    answering_file,
    frames_file,
    model_file,
)

CHANNELS, LENGTH, CLASSES = 2, 8, 3
FRAMES = np.random.default_rng(5).standard_normal((8, CHANNELS, LENGTH), dtype=np.float32)
TAPS = "{0.5, -1, 2, 1, 0.25, -0.5, 1, 2, -1, 0.5, 0.5, 1}"


def work(**changes):
    """A short assignment of two models, accuracy included."""
    said = {
        "target": "jetson-orin",
        "precision": "fp32",
        "batch": 1,
        "threads": 1,
        "roles": ("baseline", "pruned"),
        "channels": CHANNELS,
        "length": LENGTH,
        "classes": CLASSES,
        "rounds": 4,
        "round_ms": 20.0,
        "warmup_ms": 10.0,
        "builds": 2,
        "answer_batch": 4,
        "answer_chunks": 2,
    }
    return Assignment(**{**said, **changes})


def model(path, batch, layers):
    """A network of some convolutions for `batch` frames."""
    convolutions = "".join(f"c{i} = Conv <pads = [1, 1]> (c{i - 1}, w)  " for i in range(1, layers + 1))
    text = f"""<ir_version: 8, opset_import: ["": 13]> g (float[{batch}, 2, 8] iq) => (float[{batch}, 3] logits)
        <float[2, 2, 3] w = {TAPS}, float[16, 3] v = {{{", ".join(str((i * 7 % 11) / 11) for i in range(48))}}}>
        {{ c0 = Relu(iq)  {convolutions} f = Flatten(c{layers})  logits = MatMul(f, v) }}"""
    path.parent.mkdir(parents=True, exist_ok=True)
    save(parser.parse_model(text), path)
    return path


def lay_out(folder, asked):
    """Models and frames of an assignment."""
    for role, layers in zip(asked.roles, (6, 2), strict=False):
        model(folder / model_file(role), asked.batch, layers)
        model(folder / answering_file(role), asked.answer_batch, layers)
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    FRAMES[: asked.batch].astype("<f4").tofile(folder / KNOWN_FRAMES)
    for chunk in range(asked.answer_chunks):
        part = FRAMES[chunk * asked.answer_batch : (chunk + 1) * asked.answer_batch]
        part.astype("<f4").tofile(folder / frames_file(chunk))
    for each in (OUT, STEPS):
        (folder / each).mkdir(parents=True, exist_ok=True)
    return folder


def run(transport, folder, plan, program):
    """Run the steps of a plan up to the first that fails, and leave what the script on a device leaves."""
    engines = []
    for step in plan.steps:
        arguments = " ".join(map(shlex.quote, step.arguments))
        log = shlex.quote(f"{STEPS}/{step.name}.log")
        done = transport.run(f"cd {shlex.quote(str(folder))} && {shlex.quote(program)} {arguments} >{log} 2>&1")
        (folder / STEPS / f"{step.name}.rc").write_text(f"{done.code}\n")
        if done.code != 0:
            break
        if step.engine:
            file = folder / step.engine
            engines.append(f"{file_sha256(file)} {file.stat().st_size} {step.engine}\n")
    (folder / ENGINES).write_text("".join(engines))


def board(tmp_path, monkeypatch, name):
    """A replayed board in a folder of the test, and that folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    transport = replay.open_board(f"replay:{name}")
    return transport, tmp_path / "cache" / "edgeprune" / "replay" / "+".join(sorted(name.split("+"), key=name.find))


def trtexec(folder, *arguments):
    """What the stand-in of a board says in this process: its exit code and both outputs."""
    said = io.StringIO()
    environment = mock.patch.dict("os.environ", {_board.FOLDER: str(folder)})
    asked = mock.patch("sys.argv", ["trtexec", *arguments])
    haste = mock.patch.object(_board, "HASTE", 1e9)
    with environment, asked, haste, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = stand_in.main()
    return code, said.getvalue()


@contextlib.contextmanager
def _in(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def play(folder, bundle, plan):
    """Run the steps of a plan in this process, up to the first that fails."""
    engines = []
    with _in(bundle):
        for step in plan.steps:
            code, said = trtexec(folder, *step.arguments)
            (bundle / STEPS / f"{step.name}.log").write_text(said)
            (bundle / STEPS / f"{step.name}.rc").write_text(f"{code}\n")
            if code != 0:
                break
            if step.engine:
                file = bundle / step.engine
                engines.append(f"{file_sha256(file)} {file.stat().st_size} {step.engine}\n")
    (bundle / ENGINES).write_text("".join(engines))
