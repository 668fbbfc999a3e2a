"""Commands that measure models with one version of trtexec, in order."""

from edgeprune.records.device_run import KNOWN_FRAMES, OUT, Assignment, Step, answering_file, frames_file, model_file
from edgeprune.records.names import Role
from edgeprune.runtimes._trtexec.flags import WORKSPACE_MIB, Flags

INPUT, OUTPUT = "iq", "logits"

_BUILD_LIMIT_S = 3600
_LOAD_LIMIT_S = 600
_ONCE = ("--iterations=1", "--duration=0", "--warmUp=0", "--avgRuns=1")


def engine_file(role: Role, build: int) -> str:
    """Path of a timed engine."""
    return f"{OUT}/{role}-{build}.engine"


def known_file(role: Role, build: int) -> str:
    """Path of its outputs for the known frames."""
    return f"{OUT}/{role}-{build}-known.json"


def answers_file(role: Role, chunk: int) -> str:
    """Path of a model's outputs for a chunk of frames."""
    return f"{OUT}/{role}-answers-{chunk:04d}.json"


def times_file(round_number: int, role: Role) -> str:
    """Path of the times of one round of one model."""
    return f"{OUT}/{role}-times-{round_number:03d}.json"


def profile_file(role: Role) -> str:
    """Path of the layer times of a model's first engine."""
    return f"{OUT}/{role}-profile.json"


def build_name(role: Role, build: int) -> str:
    """Name of the step that builds an engine."""
    return f"build-{role}-{build}"


def time_name(round_number: int, role: Role) -> str:
    """Name of the step that times one round of one model."""
    return f"time-{round_number:03d}-{role}"


def timed_rounds(work: Assignment) -> list[tuple[int, Role, int]]:
    """Number, model and build of every timed round, from 1, in order.

    Builds take turns. The order of the models is reversed with every round of a build, and starts reversed for the next
    build: with two builds AB, BA, BA, AB, so that drift is balanced over all rounds and within each build.
    """
    rounds = []
    for index in range(work.rounds):
        turn, build = divmod(index, work.builds)
        order = work.roles[::-1] if (turn + build) % 2 else work.roles
        rounds += [(index + 1, role, build + 1) for role in order]
    return rounds


def steps_of(work: Assignment, flags: Flags) -> tuple[Step, ...]:
    """List all steps: engines, known frames, accuracy, rounds, profiles."""
    builds = range(1, work.builds + 1)
    answered = work.roles if work.answer_chunks else ()
    return (
        *(_build(work, flags, role, build) for build in builds for role in work.roles),
        *(_known(work, flags, role, build) for role in work.roles for build in builds),
        *(_build_answering(work, flags, role) for role in answered),
        *(_answer(work, flags, role, chunk) for role in answered for chunk in range(work.answer_chunks)),
        *(_time(work, flags, *timed) for timed in timed_rounds(work)),
        *(_profile(work, flags, role) for role in work.roles),
    )


def _build(work: Assignment, flags: Flags, role: Role, build: int) -> Step:
    arguments = _building(work, flags, model_file(role), engine_file(role, build), f"{OUT}/timing-{build}.cache")
    return _building_step(build_name(role, build), engine_file(role, build), arguments)


def _build_answering(work: Assignment, flags: Flags, role: Role) -> Step:
    engine = _answering_engine(role)
    arguments = _building(work, flags, answering_file(role), engine, f"{OUT}/timing-answers.cache")
    return _building_step(f"build-{role}-answers", engine, arguments)


def _building_step(name: str, engine: str, arguments: tuple[str, ...]) -> Step:
    return Step(name, "trtexec", arguments, _BUILD_LIMIT_S, engine=engine)


def _building(work: Assignment, flags: Flags, model: str, engine: str, timing_cache: str) -> tuple[str, ...]:
    """Options to build an engine; fp32 means full float32 precision, which is not the default on every GPU."""
    on_dla = work.dla_core is not None
    precision = (flags.dla_precision if on_dla else flags.precision)[work.precision]
    dla = (f"--useDLACore={work.dla_core}", "--allowGPUFallback") if on_dla else ()
    return (
        f"--onnx={model}",
        f"--saveEngine={engine}",
        flags.build_only,
        *precision,
        "--noTF32",
        *dla,
        f"{flags.workspace}{WORKSPACE_MIB}",
        f"--timingCacheFile={timing_cache}",
        "--profilingVerbosity=detailed",
        "--verbose",
    )


def _running(work: Assignment, flags: Flags, engine: str, *, transfers: bool, graph: bool) -> tuple[str, ...]:
    """Options to load an engine and run it in a mode."""
    dla = () if work.dla_core is None else (f"--useDLACore={work.dla_core}",)
    return (
        f"--loadEngine={engine}",
        *flags.transfers.set(transfers),
        *flags.cuda_graph.set(graph),
        *flags.spin_wait.set(work.spin_wait),
        *dla,
    )


def _known(work: Assignment, flags: Flags, role: Role, build: int) -> Step:
    """Run as it is timed, except for the copies, without which old versions may not fetch the outputs."""
    running = _running(work, flags, engine_file(role, build), transfers=True, graph=work.cuda_graph)
    out = known_file(role, build)
    return _answering_step(f"known-{role}-{build}", running, KNOWN_FRAMES, out)


def _answer(work: Assignment, flags: Flags, role: Role, chunk: int) -> Step:
    running = _running(work, flags, _answering_engine(role), transfers=True, graph=False)
    return _answering_step(f"answer-{role}-{chunk:04d}", running, frames_file(chunk), answers_file(role, chunk))


def _answering_step(name: str, running: tuple[str, ...], frames: str, out: str) -> Step:
    arguments = (*running, f"--loadInputs={INPUT}:{frames}", f"--exportOutput={out}", *_ONCE)
    return Step(name, "trtexec", arguments, _LOAD_LIMIT_S, makes=(out,))


def _time(work: Assignment, flags: Flags, number: int, role: Role, build: int) -> Step:
    out = times_file(number, role)
    arguments = (
        *_running(work, flags, engine_file(role, build), transfers=work.transfers, graph=work.cuda_graph),
        f"--warmUp={work.warmup_ms:g}",
        f"--duration={work.round_ms / 1000:g}",
        f"--exportTimes={out}",
    )
    return Step(time_name(number, role), "trtexec", arguments, _LOAD_LIMIT_S, makes=(out,), telemetry=True)


def _profile(work: Assignment, flags: Flags, role: Role) -> Step:
    """Time each layer, apart from the rounds because it slows them down, and without the graph, which hides layers."""
    out = profile_file(role)
    arguments = (
        *_running(work, flags, engine_file(role, 1), transfers=work.transfers, graph=False),
        "--dumpProfile",
        f"--exportProfile={out}",
        f"--warmUp={work.warmup_ms:g}",
        f"--duration={work.round_ms / 1000:g}",
    )
    return Step(f"profile-{role}", "trtexec", arguments, _LOAD_LIMIT_S, makes=(out,))


def _answering_engine(role: Role) -> str:
    return f"{OUT}/{role}-answers.engine"
