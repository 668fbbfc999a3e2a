"""ONNX Runtime on the CPU of a device: a single-file agent there, with the protocol of the local benchmark."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeprune.errors import ConfigError, DeviceError
from edgeprune.records.device_run import (
    KNOWN_FRAMES,
    OUT,
    RESULT,
    STEPS,
    Assignment,
    DeviceMeasurement,
    Plan,
    Step,
    TimedRound,
    answering_file,
    frames_file,
    model_file,
)
from edgeprune.records.names import Role

AGENT = Path(__file__).parents[1] / "device" / "bundle" / "agent.py"
LOWEST_PYTHON = 30800
_SLACK_S = 600
_SLOWEST = 20  # an emulated or busy device may take so many times as long as was asked for
_ANSWER_S = 600  # for one chunk
_MAX_OTHERS_CORES = 0.2
_MAX_STOLEN_CORES = 0.02


class _Round(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Role
    ms: list[float] = Field(min_length=1)


class _Times(BaseModel):
    """Output of `agent.py measure`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rounds: list[_Round]
    others_cores: float
    stolen_cores: float
    governors: list[str]
    onnxruntime: str
    usable_cores: int


@dataclass(frozen=True)
class OnnxRuntimeAgent:
    """Measures models with the device's own ONNX Runtime."""

    name: str = "onnxruntime"

    def facts(self) -> dict[str, Any]:
        """Return nothing specific: the version in use is a fact of the device."""
        return {"name": self.name, "version": "that of the device"}

    def files(self) -> dict[str, str]:
        """Return the agent."""
        return {"agent.py": AGENT.read_text(encoding="utf-8")}

    def plans(self, work: Assignment) -> tuple[Plan, ...]:
        """Plan the outputs for the known frames first, which fail early if at all; then the rounds; then accuracy.

        Raises:
            ConfigError: The assignment requires something that a CPU does not have.
        """
        if work.dla_core is not None:
            raise ConfigError(f"{work.target} has no deep-learning accelerator")
        steps = [
            *(_answer(work, f"known-{role}", model_file(role), work.batch, (KNOWN_FRAMES,)) for role in work.roles),
            *_measure(work),
        ]
        if work.answer_chunks:
            frames = tuple(frames_file(chunk) for chunk in range(work.answer_chunks))
            steps += [
                _answer(work, f"answer-{role}", answering_file(role), work.answer_batch, frames) for role in work.roles
            ]
        return (Plan("python3", LOWEST_PYTHON, tuple(steps)),)

    def read(self, work: Assignment, bundle: Path, version: int) -> DeviceMeasurement:
        """Read the results of the agent.

        Raises:
            DeviceError: A step failed, or its results are not as requested.
        """
        del version  # the agent is the same for all
        for step in self.plans(work)[0].steps:
            _check(bundle, step)
        parts = [(step.name, step.makes[0], _times(bundle, step.makes[0])) for step in _measure(work)]
        for (_, path, times), wanted in zip(parts, _shares(work), strict=True):
            roles = [measured.role for measured in times.rounds]
            for role in work.roles:
                if roles.count(role) != wanted or len(roles) != wanted * len(work.roles):
                    raise DeviceError(f"{path} holds {roles.count(role)} rounds of {role}; {wanted} were asked for")
        logits = partial(_logits, bundle, work.classes)
        count = work.answer_chunks * work.answer_batch
        return DeviceMeasurement(
            mode="sync, session.run, host memory",
            rounds=tuple(_round(measured, step, path) for step, path, times in parts for measured in times.rounds),
            known={role: logits(f"known-{role}", work.batch) for role in work.roles},
            answers={role: logits(f"answer-{role}", count) for role in work.roles} if count else {},
            warnings=tuple(_warnings(work, [times for _, _, times in parts])),
        )


def _shares(work: Assignment) -> list[int]:
    """Number of rounds of each model in each process; the first processes take any remainder."""
    processes = min(work.processes, work.rounds)
    return [work.rounds // processes + (number < work.rounds % processes) for number in range(processes)]


def _measure(work: Assignment) -> list[Step]:
    """Build a step for each process, since each starts the agent anew; a single one has no number."""
    models = [word for role in work.roles for word in ("--model", f"{role}={model_file(role)}")]
    shares, steps = _shares(work), []
    for number, rounds in enumerate(shares):
        suffix = f"-{number + 1}" if len(shares) > 1 else ""
        wanted_s = len(work.roles) * (rounds * work.round_ms + work.warmup_ms) / 1000
        times = f"{OUT}/times{suffix}.json"
        lengths = ("--round-ms", f"{work.round_ms:g}", "--warmup-ms", f"{work.warmup_ms:g}")
        numbers = ("--rounds", str(work.rounds), "--first", str(sum(shares[:number])), "--count", str(rounds))
        arguments = (
            *("agent.py", "measure", *models, "--frames", KNOWN_FRAMES, *_common(work, work.batch)),
            *(*numbers, *lengths, "--out", times),
        )
        limit_s = _SLACK_S + round(_SLOWEST * wanted_s)
        steps.append(Step(f"measure{suffix}", "python3", arguments, limit_s, makes=(times,), telemetry=True))
    return steps


def _answer(work: Assignment, name: str, model: str, batch: int, frames: tuple[str, ...]) -> Step:
    out = f"{OUT}/{name}.bin"
    options = ("--model", model, *_common(work, batch), "--classes", str(work.classes), "--out", out)
    return Step(name, "python3", ("agent.py", "answer", *options, *frames), _ANSWER_S * len(frames), makes=(out,))


def _common(work: Assignment, batch: int) -> tuple[str, ...]:
    return ("--shape", f"{batch},{work.channels},{work.length}", "--threads", str(work.threads))


def _check(bundle: Path, step: Step) -> None:
    """Raise a DeviceError if a step did not succeed."""
    try:
        code = (bundle / STEPS / f"{step.name}.rc").read_text(encoding="utf-8").strip()
    except OSError as error:
        said = _text(bundle / RESULT / "status").strip()
        raise DeviceError(f"the step {step.name} was not run: {said or 'nothing says why'}") from error
    if code != "0":
        lines = [line.strip() for line in _text(bundle / STEPS / f"{step.name}.log").splitlines() if line.strip()]
        status = _text(bundle / RESULT / "status").strip()
        why = lines[-1] if lines else status.partition(f"failed {step.name} {code} ")[2] or "it said nothing"
        raise DeviceError(f"the step {step.name} ended with {code}: {why[:300]}", f"See {STEPS}/{step.name}.log")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _times(bundle: Path, path: str) -> _Times:
    try:
        plain: Any = json.loads((bundle / path).read_text(encoding="utf-8"))
        return _Times.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DeviceError(f"{path} is not what the agent writes: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DeviceError(f"{path} cannot be read: {error}") from error


def _round(measured: _Round, step: str, path: str) -> TimedRound:
    ms = np.array(measured.ms, np.float64)
    if not (np.isfinite(ms).all() and (ms > 0).all()):
        raise DeviceError(f"{path} holds a time of {ms[~((ms > 0) & np.isfinite(ms))][0]} ms; a time is positive")
    return TimedRound(measured.role, 1, step, ms)


def _logits(bundle: Path, classes: int, name: str, count: int) -> npt.NDArray[np.float32]:
    path = f"{OUT}/{name}.bin"
    try:
        logits = np.fromfile(bundle / path, "<f4").astype(np.float32)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}") from error
    if logits.size != count * classes:
        raise DeviceError(f"{path} holds {logits.size} numbers; {count} x {classes} were asked for")
    if not np.isfinite(logits).all():
        raise DeviceError(f"{path} holds {np.count_nonzero(~np.isfinite(logits))} numbers that are not finite")
    return logits.reshape(count, classes)


def _warnings(work: Assignment, parts: list[_Times]) -> list[str]:
    """Warn of possible disturbances of the rounds, in the words of a local measurement."""
    warnings = []
    usable = min(times.usable_cores for times in parts)
    others_cores, stolen_cores = (
        float(np.mean([getattr(times, name) for times in parts])) for name in ("others_cores", "stolen_cores")
    )
    governors = sorted({governor for times in parts for governor in times.governors})
    if work.threads > usable:
        warnings.append(f"{work.threads} threads shared {usable} usable cores: fewer may be faster")
    if others_cores > _MAX_OTHERS_CORES:
        warnings.append(f"the device was not quiet: other processes kept {others_cores:.1f} cores busy meanwhile")
    if stolen_cores > _MAX_STOLEN_CORES:
        warnings.append(f"the hypervisor took {stolen_cores:.2f} cores away meanwhile")
    if any(governor != "performance" for governor in governors):
        names = ", ".join(governors)
        warnings.append(f"the CPU frequency governor is {names!r}, not 'performance': the clock may have changed")
    return warnings


runtime = OnnxRuntimeAgent()
