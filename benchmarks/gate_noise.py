"""Simulated measurements for gate.py: how a target makes its rounds, and what noise is in them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal

from edgeprune.bench import samples

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RUN = 8  # neighbouring rounds that are drawn together
PIECE_MS, INFERENCES = 60.0, 60
LEVELS_MS = (0.4, 0.15)

Times = npt.NDArray[np.float64]  # (rounds, models, inferences): models are the unpruned and the pruned one


@dataclass(frozen=True)
class Way:
    """How rounds are made: shared by `processes`, or `builds` of engines in turns and each round in a process."""

    rounds: int
    round_ms: float = PIECE_MS
    builds: int = 0
    processes: int = 5

    @property
    def pieces(self) -> int:
        """Stretches of 60 ms in a round, with 60 inferences each."""
        return max(1, round(self.round_ms / PIECE_MS))

    @property
    def build_of(self) -> tuple[int, ...]:
        """Which build each round is of; empty where nothing is built."""
        return tuple(1 + number % self.builds for number in range(self.rounds)) if self.builds else ()

    @property
    def process_of(self) -> tuple[int, ...]:
        """In which process each round is."""
        if self.builds:
            return tuple(range(1, self.rounds + 1))
        return tuple(
            number for number, part in enumerate(np.array_split(range(self.rounds), self.processes), 1) for _ in part
        )


@dataclass(frozen=True)
class Machine:
    """Noise of a machine, in logarithms; a half is one round of one model.

    Attributes:
        between: Standard deviation of the whole machine from one measurement to the next.
        session: The same of each model alone, which no ratio cancels.
        placement: Standard deviation of each model alone from one process to the next.
        own: Standard deviation of each model alone from round to round, autocorrelated by `own_carry`.
        own_carry: First autocorrelation of that from round to round, across processes too.
        flip: How much slower the second model is in every other run of `FLIP_EVERY` rounds, which begin anywhere.
        wander: Standard deviation of the machine from half to half, autocorrelated by `carry`.
        carry: First autocorrelation of that from half to half.
        drift: Largest change of the clock from the first to the last round, in either direction.
        slow: How much slower the second of two speeds is; 0 when there is one.
        stay: Probability of staying at a speed from one inference to the next.
        jitter: Scale of the noise of single inferences, whose tail is that of Student's t with 3 degrees of freedom.
        bursts: Share of stretches of 60 ms that something else disturbs, by up to 40 %.
    """

    between: float = 0.03
    placement: float = 0.003
    wander: float = 0.01
    carry: float = 0.5
    drift: float = 0.0
    slow: float = 0.0
    stay: float = 0.97
    jitter: float = 0.02
    bursts: float = 0.0
    session: float = 0.0
    own: float = 0.0
    own_carry: float = 0.0
    flip: float = 0.0


FLIP_EVERY = 20
QUIET = Machine()
MACHINES = {
    "steady": QUIET,
    "autocorrelated": replace(QUIET, wander=0.08, carry=0.9),
    "drifting clock": replace(QUIET, between=0.08, drift=0.25),
    "two speeds": replace(QUIET, slow=0.28),
    "heavy tail": replace(QUIET, jitter=0.06, bursts=0.1),
    "all of it": Machine(0.08, 0.003, 0.015, 0.8, 0.1, 0.28, 0.97, 0.02, 0.03),
    "ratio carried by 0.3": replace(QUIET, own=0.01, own_carry=0.3),
    "ratio carried by 0.6": replace(QUIET, own=0.01, own_carry=0.6),
    "ratio carried by 0.9": replace(QUIET, own=0.01, own_carry=0.9),
    "processes differ by 0.7 %": replace(QUIET, placement=0.007 / np.sqrt(2)),
    "a speed that flips": replace(QUIET, flip=0.05),
}
SESSIONS = {
    "sessions, ratio 1 %": replace(QUIET, session=0.01 / np.sqrt(2)),
    "sessions, ratio 2 %": replace(QUIET, session=0.02 / np.sqrt(2)),
    "sessions, 3 % a model": replace(QUIET, session=0.03),
}
"""Kinds that differ from one session to the next, for the gate alone: an interval tells of its session."""
HARD = ("autocorrelated", "ratio carried by 0.9", "a speed that flips")
"""Kinds in which the gate need not find the slow-down, and may say that it cannot tell."""
MEASURED = ("resnet56-1d-third", "resnet56-1d-three-units", "resnet56-third")


def simulate(
    machine: Machine,
    way: Way,
    slower: float,
    random: np.random.Generator,
    levels_ms: tuple[float, float] = LEVELS_MS,
) -> Times:
    """Times in ms of one measurement: an unpruned model and a pruned one, in turns."""
    halves, pieces = 2 * way.rounds, way.pieces
    wander = autocorrelated(machine.carry, halves, random)
    log = machine.wander * wander + random.uniform(-1, 1) * machine.drift * np.linspace(0, 1, halves)
    log = np.repeat(log + machine.between * random.standard_normal(), pieces)
    log += (random.random(halves * pieces) < machine.bursts) * random.uniform(0, 0.4, halves * pieces)
    each = np.repeat(log, INFERENCES)
    if machine.slow:
        each += machine.slow * (np.cumsum(random.random(len(each)) > machine.stay) % 2)
    each += machine.jitter * np.abs(random.standard_t(3, len(each)))
    logs = _in_turns(each.reshape(way.rounds, 2, pieces * INFERENCES))
    slow = np.array([1.0, 1 + slower])
    differing = random.standard_normal(2 if levels_ms == LEVELS_MS else 1)  # an older and a newer one differ alike
    own = np.log(np.array(levels_ms) * slow) + machine.session * differing
    of_process = machine.placement * random.standard_normal((max(way.process_of), 2))
    own = own + of_process[np.array(way.process_of) - 1]
    if way.builds:
        built = machine.placement * random.standard_normal((way.builds, 2))
        own = own + built[np.array(way.build_of) - 1]
    if machine.own:
        carried = [autocorrelated(machine.own_carry, way.rounds, random) for _ in range(2)]
        own = own + machine.own / np.sqrt(2) * np.stack(carried, axis=1)
    if machine.flip:
        state = (np.arange(way.rounds) + random.integers(2 * FLIP_EVERY)) // FLIP_EVERY % 2
        own[:, 1] += machine.flip * state
    return np.exp(logs + own[:, :, None])


def autocorrelated(carry: float, count: int, random: np.random.Generator) -> Any:
    """Normal values of variance 1, each of which keeps `carry` of the one before."""
    steps = random.standard_normal(count)
    steps[1:] *= np.sqrt(1 - carry**2)
    return signal.lfilter([1.0], [1.0, -carry], steps)


def redrawn(rounds_of: tuple[list[Any], list[Any]], way: Way, slower: float, random: np.random.Generator) -> Times:
    """A measurement made of the rounds of one that was made here, in runs of neighbours; each is a piece."""
    count, needed = len(rounds_of[0]), way.rounds * way.pieces
    run = max(RUN, way.pieces)
    starts = random.integers(0, count, -(-needed // run))
    picks = ((starts[:, None] + np.arange(run)) % count).ravel()[:needed]
    least = min(len(times) for model in rounds_of for times in model)
    each = slice(0, least, max(1, least // INFERENCES) if way.pieces > 1 else 1)
    before, after = (
        np.stack([model[pick][:least][each] for pick in picks]).reshape(way.rounds, -1) for model in rounds_of
    )
    return np.stack([before, after * (1 + slower)], axis=1)


Draw = Callable[..., Times]


def kinds(random: np.random.Generator, way: Way) -> dict[str, Draw]:
    """How to draw a measurement, by the kind of noise."""
    drawn: dict[str, Draw] = {
        name: lambda slower, levels_ms=LEVELS_MS, machine=machine: simulate(machine, way, slower, random, levels_ms)
        for name, machine in {**MACHINES, **SESSIONS}.items()
    }
    for name in MEASURED:
        both = rounds_of(name)
        drawn[f"rounds of {name}"] = lambda slower, levels_ms=LEVELS_MS, pair=both: redrawn(
            pair if levels_ms == LEVELS_MS else (pair[1], pair[1]), way, slower, random
        )
    return drawn


def rounds_of(name: str) -> tuple[list[Any], list[Any]]:
    """The rounds of a report, of both models."""
    before, after = (list(samples.read(RESULTS / name / f"samples-{role}.npz")[0]) for role in ("baseline", "pruned"))
    return before, after


def _in_turns(pairs: Times) -> Times:
    """Halves in the order of time as (unpruned, pruned): every second round begins with the pruned model."""
    turned = pairs.copy()
    turned[1::2] = pairs[1::2, ::-1]
    return turned
