"""Reading of a device's result. All of it is untrusted data that is checked before it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.bench import protocol, stats
from edgeprune.device import telemetry
from edgeprune.device.bundle import Manifest
from edgeprune.device.probe import parse, refuse, tool_version
from edgeprune.errors import DataError, DeviceError
from edgeprune.files.bounds import claimed
from edgeprune.files.npy import read_archive
from edgeprune.files.store import file_sha256
from edgeprune.records.device_outcome import DeviceAccuracy, DeviceOutcome
from edgeprune.records.device_run import RESULT, STEPS, DeviceFacts, DeviceMeasurement, TimedRound
from edgeprune.records.frames import Frames
from edgeprune.records.names import Role
from edgeprune.records.results import Agreement, Energy, Power
from edgeprune.targets import Target
from edgeprune.tasks.device.pack import HOST
from edgeprune.train.accuracy import compare

IDLE = "idle"
"""The step that the device records before the first one with telemetry."""
_TOLERANCE = {"fp32": 0.02, "fp16": 0.05, "int8": 0.25}
"""Maximum difference of a logit on the known frames, as a share of the largest logit; above it, the network differs."""


@dataclass(frozen=True)
class HostOutputs:
    """Outputs of the host for the frames of a bundle: see `pack.HOST`."""

    frames: Frames | None
    known: Mapping[Role, npt.NDArray[np.float32]]
    answers: Mapping[Role, npt.NDArray[np.float32]]


def host_outputs(path: Path, roles: Sequence[Role]) -> HostOutputs:
    """Read the host's outputs.

    Raises:
        DataError: The file is missing or damaged.
    """
    with claimed(path, "the host's outputs", DataError, "Make the bundle again"):
        arrays = read_archive(path)
        labels, classes = arrays["labels"], tuple(str(name) for name in arrays["classes"])
        snrs = arrays.get("snrs")
        known = {role: arrays[f"known_{role}"] for role in roles}
        answers = {role: arrays[f"answers_{role}"] for role in roles if f"answers_{role}" in arrays}
    empty = np.empty((len(labels), 0, 0), np.float32)
    frames = Frames(empty, labels, snrs, classes, None, path.name, file_sha256(path))
    return HostOutputs(frames if answers else None, known, answers)


def collect(folder: Path, manifest: Manifest, target: Target, out: Path, replay: str | None = None) -> DeviceOutcome:
    """Read a device's unpacked result, check it, and summarize it.

    Args:
        folder: The bundle's folder with the result in it.
        manifest: Manifest of the bundle.
        target: Target of the bundle.
        out: The run folder: it holds the host's outputs, and the samples are written to it.
        replay: Name of the recorded board that played the device.

    Raises:
        DeviceError: A step failed on the device, or a file of the result is wrong.
        DataError: The host's outputs are missing.
    """
    work = manifest.assignment
    facts = facts_of(folder, replay)
    refuse(facts, manifest.needs)
    version = tool_version(facts, manifest.needs.tool)
    assert version is not None  # a device without it was refused
    measured: DeviceMeasurement = registry.get("runtimes", manifest.runtime).read(work, folder, version)
    host = host_outputs(out / HOST, work.roles)
    for role in work.roles:
        _check_known_outputs(role, host.known[role], measured.known[role], work.precision)
    on_gpu = manifest.needs.tool == "trtexec" and work.dla_core is None
    meters = {each.step: _meters(folder, each.step, target, on_gpu=on_gpu) for each in measured.rounds}
    discarded = _discarded(measured.rounds, meters, target.hot_c)
    rounds = [each for each in measured.rounds if _number(each, measured.rounds) not in discarded]
    _require_enough(measured.rounds, rounds, discarded)
    setup = protocol.Setup(
        runtime=registry.get("runtimes", manifest.runtime).name,
        mode=measured.mode,
        precision=work.precision,
        batch=work.batch,
        threads=work.threads,
        device=plain_facts(facts, manifest),
    )
    idle = _meters(folder, IDLE, target)
    energy = _energy(rounds, meters, idle, work.roles)
    warnings = [
        *measured.warnings,
        *_replayed(facts),
        *discarded.values(),
        *_meter_warnings(energy, idle, work.round_ms),
    ]
    steps = [each.step for each in rounds if each.role == work.roles[0]]  # a step is a process
    bench = protocol.conclude(
        {role: [each.ms for each in rounds if each.role == role] for role in work.roles},
        {role: manifest.files[f"models/{role}.onnx"] for role in work.roles},
        setup,
        warnings,
        out,
        [list(dict.fromkeys(steps)).index(step) + 1 for step in steps],
        [each.build for each in rounds if each.role == work.roles[0]] if measured.engines else None,
    )
    return DeviceOutcome(
        bundle_id=manifest.id,
        facts=facts,
        bench=bench,
        engines=measured.engines,
        accuracy=_accuracy(host, measured) if len(work.roles) > 1 and host.frames is not None else None,
        energy=energy,
        discarded=tuple(discarded.values()),
        layers=measured.layers,
    )


def plain_facts(facts: DeviceFacts, manifest: Manifest) -> dict[str, Any]:
    """Write the facts of a device as in a report; unknown ones are absent."""
    found = {name: value for name, value in asdict(facts).items() if value not in (None, {}, ())}
    found["power_modes"] = {str(number): name for number, name in facts.power_modes.items()}
    found["runtime"] = {"name": manifest.runtime, "version": facts.tensorrt or facts.onnxruntime or "unknown"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value != {}}


def facts_of(folder: Path, replay: str | None) -> DeviceFacts:
    """Read the facts of the device of a result.

    Args:
        folder: The bundle's folder with the result.
        replay: Name of the recorded board that played the device.

    Raises:
        DeviceError: The result does not have them.
    """
    try:
        text = (folder / RESULT / "facts.txt").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DeviceError("the result has no facts of the device", "Run sh run.sh there again") from error
    return parse(text, replay=replay)


def _check_known_outputs(
    role: Role, expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32], precision: str
) -> None:
    """Compare the outputs of the timed engine with the host's, on the known frames.

    Raises:
        DeviceError: The outputs differ.
    """
    if found.shape != expected.shape:
        raise DeviceError(f"the {role} engine gives {found.shape} logits for the known frames, not {expected.shape}")
    scale = float(np.abs(expected).max()) or 1.0
    off = float(np.abs(found - expected).max()) / scale
    if not off <= _TOLERANCE[precision]:
        raise DeviceError(
            f"the {role} engine that was timed computes something else: its logits for the known frames are off "
            f"by {off:.0%} of the largest, {_TOLERANCE[precision]:.0%} is allowed in {precision}",
            "Look at its build log for a warning about precision or an unsupported operator",
        )


def _number(each: TimedRound, rounds: Sequence[TimedRound]) -> int:
    """Return the number of a round of its model, from 1."""
    return [other.step for other in rounds if other.role == each.role].index(each.step) + 1


def _meters(folder: Path, step: str, target: Target, *, on_gpu: bool = False) -> telemetry.Summary:
    """Summarize the readings of the board's meters during a step; empty for a board without meters."""
    try:
        text = (folder / STEPS / f"{step}.tegrastats").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return telemetry.summarise(text, target.rails, on_gpu=on_gpu)


def _discarded(rounds: Sequence[TimedRound], meters: Mapping[str, telemetry.Summary], hot_c: float) -> dict[int, str]:
    """Numbers of the rounds that were disturbed, with the reason; both models lose them."""
    reasons = telemetry.disturbed([meters[each.step] for each in rounds], hot_c)
    return {
        _number(rounds[index], rounds): f"round {_number(rounds[index], rounds)} does not count: {reason}"
        for index, reason in reasons.items()
    }


def _require_enough(all_rounds: Sequence[TimedRound], rounds: Sequence[TimedRound], lost: Mapping[int, str]) -> None:
    """Refuse a comparison of which a build lost more rounds than it had to spare.

    Raises:
        DeviceError: Fewer rounds of a build are left than a comparison takes.
    """
    roles = {each.role for each in all_rounds}
    builds = {each.build for each in all_rounds}
    left = min(sum(each.build == build for each in rounds) // len(roles) for build in builds)
    if lost and len(roles) > 1 and left < stats.MIN_ROUNDS:
        raise DeviceError(
            f"too few rounds are left to compare the models, {left} where {stats.MIN_ROUNDS} are needed: "
            f"{len(lost)} were lost, as {next(iter(lost.values()))}",
            "Measure more rounds, lock the clocks, or cool the board",
        )


def _replayed(facts: DeviceFacts) -> list[str]:
    if facts.replay is None:
        return []
    return [
        f"replay of a recorded board ({facts.replay}): no device was measured, and its times and power mean nothing"
    ]


def _meter_warnings(energy: Energy | None, idle: telemetry.Summary, round_ms: float) -> list[str]:
    """Say why a board whose meters can be read has no energy."""
    if energy is not None or not idle.rails:
        return []
    return [f"energy was not measured: no reading of the meters, one in 100 ms, fell within a round of {round_ms:g} ms"]


def _accuracy(host: HostOutputs, measured: DeviceMeasurement) -> DeviceAccuracy:
    frames = host.frames
    assert frames is not None
    answers = {role: logits[: len(frames.labels)] for role, logits in measured.answers.items()}
    agreement = {
        role: Agreement(
            top1=float((logits.argmax(axis=1) == host.answers[role].argmax(axis=1)).mean()),
            max_abs_logit_difference=float(np.abs(logits - host.answers[role]).max()),
        )
        for role, logits in answers.items()
    }
    comparison = compare(answers["baseline"], answers["pruned"], frames, "test")
    return DeviceAccuracy(comparison, agreement["baseline"], agreement["pruned"])


def _energy(
    rounds: Sequence[TimedRound],
    meters: Mapping[str, telemetry.Summary],
    idle: telemetry.Summary,
    roles: Sequence[Role],
) -> Energy | None:
    """Mean power of the board times the mean time of an inference, over all rounds; None without meters."""
    powers: dict[Role, Power] = {}
    for role in roles:
        own = [each for each in rounds if each.role == role]
        inference_ms = [
            float(np.mean(each.ms)) if each.span_ms is None else each.span_ms / len(each.ms) for each in own
        ]
        pairs = zip((meters[each.step].power_w for each in own), inference_ms, strict=True)
        metered = [(watts, ms) for watts, ms in pairs if watts is not None]
        if not metered:
            return None
        power_w, each_ms = float(np.mean([watts for watts, _ in metered])), float(np.mean(inference_ms))
        net_mj = None if idle.power_w is None else max(0.0, power_w - idle.power_w) * each_ms
        powers[role] = Power(power_w, power_w * each_ms, net_mj, tuple(watts * ms for watts, ms in metered))
    rails = next(found.rails for found in (meters[each.step] for each in rounds) if found.rails)
    return Energy(rails, powers["baseline"], powers.get("pruned"), idle.power_w)
