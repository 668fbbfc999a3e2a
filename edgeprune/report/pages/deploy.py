"""Deployment of the pruned network: the file, its input and outputs, and a script that runs it. Pure."""

from dataclasses import dataclass

from edgeprune.report.schema.schema import Report
from edgeprune.text import numerals as n

_CLASSIFY = '''"""Name the class of each frame in a .npy file: python classify.py frames.npy"""
import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({path!r}, providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
frames = np.load(sys.argv[1], allow_pickle=False).astype(np.float32)
if frames.shape[1:] != ({channels}, {length}):
    sys.exit(f"frames are {{frames.shape[1:]}} each, not ({channels}, {length})")

for frame in frames:
    (logits,) = session.run(["logits"], {{"iq": {iq}}})
    print(classes[int(logits[0].argmax())])
'''


@dataclass(frozen=True)
class Deployment:
    """Instructions to run the pruned network elsewhere.

    Attributes:
        text: The file to copy, its input and its output, in sentences.
        script: Python program for ONNX Runtime; '' for targets that run something else, and before a measurement.
    """

    text: str
    script: str


def deployment(report: Report) -> Deployment | None:
    """Describe the deployment; None for a report of an earlier version, which does not say what the network takes."""
    if report.input is None:
        return None
    file, channels, length = report.artifacts.pruned_onnx.path, report.input.channels, report.input.length
    batch = 1 if report.latency is None else report.latency.batch
    frames = "one frame" if batch == 1 else f"{n.count(batch)} frames"
    taken, given = f"[{batch}, {channels}, {length}]", f"[{batch}, {len(report.classes)}]"
    text = (
        f"Copy {file}. Its input iq is float32 of shape {taken}: the samples of {frames} as they come from the "
        f"receiver, row 0 in phase and row 1 in quadrature; the normalization is part of the file. Its output logits "
        f"is float32 of shape {given}, one number for each class, in this order: {', '.join(report.classes)}. "
        "The file's metadata holds the names too."
    )
    if report.latency is None:
        return Deployment(text, "")
    if report.latency.runtime == "onnxruntime":
        iq = "frame[None]" if batch == 1 else f"np.repeat(frame[None], {batch}, axis=0)"
        script = _CLASSIFY.format(path=file, channels=channels, length=length, iq=iq)
        return Deployment(f"{text} With ONNX Runtime and NumPy on the device, this program classifies frames:", script)
    command = f"edgeprune build {file} --target {report.target} --out pruned.engine"
    if report.latency.runtime == "trtexec":
        command = f"edgeprune build {file} --target {report.target} --device HOST --out pruned.engine"
    return Deployment(f"{text} A TensorRT engine fits one version and one kind of GPU: build it with {command}.", "")
