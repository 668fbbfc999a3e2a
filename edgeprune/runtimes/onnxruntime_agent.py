"""ONNX Runtime on the CPU of a device: a single-file agent there, with the protocol of this machine's own benchmark."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeprune.errors import ConfigError, DeviceError
from edgeprune.measurement import (
    KNOWN_FRAMES,
    OUT,
    RESULT,
    STEPS,
    Assignment,
    DeviceMeasurement,
    Plan,
    Role,
    Step,
    TimedRound,
    answering_file,
    frames_file,
    model_file,
)

AGENT = Path(__file__).parents[1] / "device" / "bundle" / "agent.py"
LOWEST_PYTHON = 30800
_TIMES = f"{OUT}/times.json"
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
    """What `agent.py measure` writes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rounds: list[_Round]
    others_cores: float
    stolen_cores: float
    governors: list[str]
    onnxruntime: str
    usable_cores: int


@dataclass(frozen=True)
class OnnxRuntimeAgent:
    """Measures models with the ONNX Runtime that a device has."""

    name: str = "onnxruntime"

    def facts(self) -> dict[str, Any]:
        """The version that is used is a fact of the device."""
        return {"name": self.name, "version": "that of the device"}

    def files(self) -> dict[str, str]:
        """The agent."""
        return {"agent.py": AGENT.read_text(encoding="utf-8")}

    def plans(self, work: Assignment) -> tuple[Plan, ...]:
        """Answers to the known frames first, which fail soon if at all; then the rounds; then accuracy.

        Raises:
            ConfigError: The assignment asks for what a CPU has not.
        """
        if work.dla_core is not None:
            raise ConfigError(f"{work.target} has no deep-learning accelerator")
        steps = [
            *(_answer(work, f"known-{role}", model_file(role), work.batch, (KNOWN_FRAMES,)) for role in work.roles),
            _measure(work),
        ]
        if work.answer_chunks:
            frames = tuple(frames_file(chunk) for chunk in range(work.answer_chunks))
            steps += [
                _answer(work, f"answer-{role}", answering_file(role), work.answer_batch, frames) for role in work.roles
            ]
        return (Plan("python3", LOWEST_PYTHON, tuple(steps)),)

    def read(self, work: Assignment, bundle: Path, version: int) -> DeviceMeasurement:
        """Read what the agent left.

        Raises:
            DeviceError: A step failed, or what it left is not what was asked for.
        """
        del version  # the agent is the same for all
        for step in self.plans(work)[0].steps:
            _check(bundle, step)
        times = _times(bundle / _TIMES)
        roles = [measured.role for measured in times.rounds]
        for role in work.roles:
            if roles.count(role) != work.rounds or len(roles) != work.rounds * len(work.roles):
                raise DeviceError(f"{_TIMES} holds {roles.count(role)} rounds of {role}; {work.rounds} were asked for")
        logits = partial(_logits, bundle, work.classes)
        count = work.answer_chunks * work.answer_batch
        return DeviceMeasurement(
            mode="sync, session.run, host memory",
            rounds=tuple(_round(measured) for measured in times.rounds),
            known={role: logits(f"known-{role}", work.batch) for role in work.roles},
            answers={role: logits(f"answer-{role}", count) for role in work.roles} if count else {},
            warnings=tuple(_warnings(work, times)),
        )


def _measure(work: Assignment) -> Step:
    models = [word for role in work.roles for word in ("--model", f"{role}={model_file(role)}")]
    wanted_s = len(work.roles) * (work.rounds * work.round_ms + work.warmup_ms) / 1000
    return Step(
        "measure",
        "python3",
        (
            *("agent.py", "measure", *models, "--frames", KNOWN_FRAMES, *_common(work, work.batch)),
            *("--rounds", str(work.rounds), "--round-ms", f"{work.round_ms:g}", "--warmup-ms", f"{work.warmup_ms:g}"),
            *("--out", _TIMES),
        ),
        limit_s=_SLACK_S + round(_SLOWEST * wanted_s),
        makes=(_TIMES,),
        telemetry=True,
    )


def _answer(work: Assignment, name: str, model: str, batch: int, frames: tuple[str, ...]) -> Step:
    out = f"{OUT}/{name}.bin"
    options = ("--model", model, *_common(work, batch), "--classes", str(work.classes), "--out", out)
    return Step(name, "python3", ("agent.py", "answer", *options, *frames), _ANSWER_S * len(frames), makes=(out,))


def _common(work: Assignment, batch: int) -> tuple[str, ...]:
    return ("--shape", f"{batch},{work.channels},{work.length}", "--threads", str(work.threads))


def _check(bundle: Path, step: Step) -> None:
    """Raises DeviceError where a step did not end well."""
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


def _times(path: Path) -> _Times:
    try:
        plain: Any = json.loads(path.read_text(encoding="utf-8"))
        return _Times.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DeviceError(f"{_TIMES} is not what the agent writes: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DeviceError(f"{_TIMES} cannot be read: {error}") from error


def _round(measured: _Round) -> TimedRound:
    ms = np.array(measured.ms, np.float64)
    if not (np.isfinite(ms).all() and (ms > 0).all()):
        raise DeviceError(f"{_TIMES} holds a time of {ms[~((ms > 0) & np.isfinite(ms))][0]} ms; a time is positive")
    return TimedRound(measured.role, 1, "measure", ms)


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


def _warnings(work: Assignment, times: _Times) -> list[str]:
    """What may have disturbed the rounds, in the words of a measurement on this machine."""
    warnings = []
    if work.threads > times.usable_cores:
        warnings.append(f"{work.threads} threads shared {times.usable_cores} usable cores: fewer may be faster")
    if times.others_cores > _MAX_OTHERS_CORES:
        warnings.append(f"the device was not quiet: other processes kept {times.others_cores:.1f} cores busy meanwhile")
    if times.stolen_cores > _MAX_STOLEN_CORES:
        warnings.append(f"the hypervisor took {times.stolen_cores:.2f} cores away meanwhile")
    if any(governor != "performance" for governor in times.governors):
        names = ", ".join(times.governors)
        warnings.append(f"the CPU frequency governor is {names!r}, not 'performance': the clock may have changed")
    return warnings


runtime = OnnxRuntimeAgent()
