"""TensorRT on a device, by the device's own trtexec: nothing is installed."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgeprune.errors import ConfigError, DeviceError
from edgeprune.records.device_run import (
    ENGINES,
    STEPS,
    Assignment,
    DeviceMeasurement,
    EngineFile,
    Plan,
    Step,
    TimedRound,
    model_file,
)
from edgeprune.records.names import Role
from edgeprune.runtimes._trtexec import logs, steps
from edgeprune.runtimes._trtexec.flags import FLAGS, flags_of
from edgeprune.runtimes._trtexec.outputs import read_answers, read_profile, read_times
from edgeprune.targets import CLOCK_MS

_WARMUP_ROWS_BELOW = 80501
_APART = 0.05  # of the greatest logit: far above what tactics of one precision differ by


class Trtexec:
    """Builds, runs and times engines with trtexec; its version decides the options."""

    name = "trtexec"

    def facts(self) -> dict[str, Any]:
        """Supported versions; the one in use is a fact of the device."""
        return {"name": self.name, "version": f"from {FLAGS[0].since // 10000}.{FLAGS[0].since // 100 % 100} on"}

    def files(self) -> dict[str, str]:
        """Return nothing: trtexec needs only models and frames."""
        return {}

    def plans(self, work: Assignment) -> tuple[Plan, ...]:
        """Plan what to run, for each set of options that versions of trtexec have.

        Raises:
            ConfigError: A round is too long for trtexec's clock, or the DLA does not compute in the precision.
        """
        if work.warmup_ms + work.round_ms > CLOCK_MS:
            raise ConfigError(
                f"{work.round_ms:g} ms after {work.warmup_ms:g} ms of warm-up are too long for trtexec's clock",
                f"Together up to {CLOCK_MS:g} ms; take more rounds instead",
            )
        if work.dla_core is not None and work.precision == "fp32":
            raise ConfigError("the DLA does not compute in fp32", "Use `precision='fp16'` or `precision='int8'`")
        return tuple(Plan("trtexec", flags.since, steps.steps_of(work, flags)) for flags in FLAGS)

    def read(self, work: Assignment, bundle: Path, version: int) -> DeviceMeasurement:
        """Read the outputs of trtexec.

        Args:
            work: Assignment of the run.
            bundle: Folder with the result, and with the models if they are for a DLA.
            version: Version of trtexec: major * 10000 + minor * 100 + patch.

        Raises:
            DeviceError: A step failed or was not run, or its outputs are not as expected.
        """
        flags = flags_of(version)
        if flags is None:
            raise DeviceError(f"trtexec {version} is older than any that is known", "Update JetPack to 4.6.1 or newer")
        for step in steps.steps_of(work, flags):
            _check(step, bundle)
        known = {
            (role, build): read_answers(bundle / steps.known_file(role, build), steps.OUTPUT, work.batch, work.classes)
            for role in work.roles
            for build in range(1, work.builds + 1)
        }
        layers = {role: read_profile(bundle / steps.profile_file(role)) for role in work.roles}
        dark = [f"{role}: the times of its layers cannot be read" for role, found in layers.items() if not found]
        warnings = (*_build_doubts(work, bundle), *_apart(work, known), *_round_doubts(work, bundle), *dark)
        return DeviceMeasurement(
            mode=_mode(work, refused=_graph_refused(work, bundle)),
            rounds=_rounds(work, bundle, version),
            known={role: known[role, 1] for role in work.roles},
            answers={role: _answers(work, bundle, role) for role in work.roles if work.answer_chunks},
            engines=_engines(work, bundle),
            warnings=warnings,
            layers={role: found for role, found in layers.items() if found},
        )

    def built(self, work: Assignment, bundle: Path, version: int) -> EngineFile:
        """Describe the engine of a run that only built.

        Args:
            work: Assignment of the run, with one model.
            bundle: Folder with the result.
            version: Version of trtexec: major * 10000 + minor * 100 + patch.

        Raises:
            DeviceError: It was not built; the message says why.
        """
        flags = flags_of(version)
        assert flags is not None  # the device was not refused
        for step in steps.steps_of(work, flags):
            if step.engine is not None:
                _check(step, bundle)
        return _engines(work, bundle)[0]


def _check(step: Step, bundle: Path) -> None:
    folder = bundle / STEPS
    log = folder / f"{step.name}.log"
    try:
        code = int((folder / f"{step.name}.rc").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise DeviceError(f"the step {step.name} was not run to its end", "Run the measurement again") from error
    if code != 0:
        failure = logs.failure_of(code, _text(log))
        raise DeviceError(f"the step {step.name} failed: {failure.words} (log: {log})", failure.hint)
    for name in step.makes:
        if not (bundle / name).is_file() or (bundle / name).stat().st_size == 0:
            raise DeviceError(f"the step {step.name} left no {name} (log: {log})", "Run the measurement again")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _log(bundle: Path, step: str) -> str:
    return _text(bundle / STEPS / f"{step}.log")


def _rounds(work: Assignment, bundle: Path, version: int) -> tuple[TimedRound, ...]:
    warmup_ms = work.warmup_ms if version < _WARMUP_ROWS_BELOW else None
    rounds = []
    for number, role, build in steps.timed_rounds(work):
        ms, span_ms = read_times(bundle / steps.times_file(number, role), work.transfers, warmup_ms)
        rounds.append(TimedRound(role, build, steps.time_name(number, role), ms, span_ms))
    return tuple(rounds)


def _answers(work: Assignment, bundle: Path, role: Role) -> npt.NDArray[np.float32]:
    files = (bundle / steps.answers_file(role, chunk) for chunk in range(work.answer_chunks))
    return np.concatenate([read_answers(file, steps.OUTPUT, work.answer_batch, work.classes) for file in files])


def _engines(work: Assignment, bundle: Path) -> tuple[EngineFile, ...]:
    """Read the list of engines, which themselves stay on the device."""
    listed = {line.split()[-1]: line.split() for line in _text(bundle / ENGINES).splitlines() if line.strip()}
    engines = []
    for role in work.roles:
        for build in range(1, work.builds + 1):
            try:
                sha256, size, _ = listed[steps.engine_file(role, build)]
                size_bytes = int(size)
            except (KeyError, ValueError) as error:
                raise DeviceError(
                    f"{bundle / ENGINES} lacks {steps.engine_file(role, build)}", "Measure again"
                ) from error
            name = steps.build_name(role, build)
            log, reused = _log(bundle, name), (bundle / STEPS / f"{name}.cached").exists()
            share = None if work.dla_core is None else logs.dla_share(log, _operators(bundle / model_file(role)))
            seconds = None if reused else logs.build_seconds(log)
            engines.append(EngineFile(role, build, sha256, size_bytes, seconds, share))
    return tuple(engines)


def _operators(model: Path) -> int:
    return sum(node.op_type != "Constant" for node in onnx.load(model, load_external_data=False).graph.node)


def _mode(work: Assignment, refused: bool) -> str:
    """Describe the measured quantity, in the same words for all options."""
    copies = "copies to and from the GPU included" if work.transfers else "GPU time without copies"
    graph = "one CUDA graph" if work.cuda_graph and not refused else "launched layer by layer"
    waiting = "spin-wait" if work.spin_wait else "blocking wait"
    place = "" if work.dla_core is None else f", DLA {work.dla_core}"
    return f"trtexec, {copies}, {graph}, {waiting}{place}"


def _graph_refused(work: Assignment, bundle: Path) -> bool:
    names = (steps.time_name(number, role) for number, role, _ in steps.timed_rounds(work))
    return work.cuda_graph and any(logs.graph_refused(_log(bundle, name)) for name in names)


def _round_doubts(work: Assignment, bundle: Path) -> list[str]:
    """Warnings of trtexec, each once a model, with the number of rounds in which it occurred."""
    seen: dict[tuple[Role, str], int] = {}
    for number, role, _ in steps.timed_rounds(work):
        log = _log(bundle, steps.time_name(number, role))
        refused = ("the engine cannot be a CUDA graph and was launched layer by layer",)
        for doubt in (*(refused if work.cuda_graph and logs.graph_refused(log) else ()), *logs.doubts_of(log)):
            seen[role, doubt] = seen.get((role, doubt), 0) + 1
    return [f"{role}: {doubt} ({count} of {work.rounds} rounds)" for (role, doubt), count in seen.items()]


def _build_doubts(work: Assignment, bundle: Path) -> list[str]:
    doubts = []
    for role in work.roles:
        if fallen := logs.off_dla(_log(bundle, steps.build_name(role, 1))):
            count = len(fallen)
            doubts.append(f"{role}: {count} of its layers run on the GPU because the DLA cannot, the first {fallen[0]}")
    return doubts


def _apart(work: Assignment, known: dict[tuple[Role, int], npt.NDArray[np.float32]]) -> list[str]:
    """Warn if two builds of one model give different outputs."""
    doubts = []
    for role in work.roles:
        first = known[role, 1]
        furthest = max(float(np.abs(known[role, build] - first).max()) for build in range(1, work.builds + 1))
        if furthest > _APART * float(np.abs(first).max()):
            doubts.append(f"{role}: outputs of builds of one model differ by up to {furthest:.2g}")
    return doubts


runtime = Trtexec()
