"""How often does the gate cry wolf, and how often does it see a wolf? Seeded simulations of noise like that of boards.

    python benchmarks/gate.py [--repetitions N] [--rounds N,N,...] [--out FILE.json]

Two measurements of a pruned model, each in turns with the same unpruned one, are simulated again and again: with
nothing changed, and with the pruned model 5 % slower. Three rules see the same times: the gate, the rule of asv (Mann
and Whitney's test with p < 0.002 on the medians of rounds, and their ratio above the threshold), and a plain threshold
on the mean. The noise is made up of what the reports in docs/results show; the last three kinds are their own rounds,
drawn again in runs of neighbours.

First come rounds of 60 ms of one process, 8 to 64 of them; then rounds as each target makes them by default. In a
longer round only what changes within one averages out: single inferences, switches of speed, and what disturbs 60 ms of
it. The machine's wandering from round to round and the drift of its clock are as large as ever. What trtexec times is a
process a round, each with a placement of its own, of engines built anew for each measurement, whose builds differ as
placements do.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from edgeprune import targets
from edgeprune.bench import samples
from edgeprune.gate import regression
from edgeprune.gate.session import FAST_END, Session, Timing
from edgeprune.store import write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SLOWER = 0.05
THRESHOLD = 0.025  # half of what is to be found: a slow-down as large as the threshold is above it every second time
ALPHA = 0.01
MOST_FALSE_ALARMS, LEAST_FOUND = 0.01, 0.95
ASV_P = 0.002
RUN = 8  # neighbouring rounds that are drawn together
PIECE_MS, INFERENCES = 60.0, 60

Times = npt.NDArray[np.float64]  # (rounds, models, inferences): models are the unpruned and the pruned one


@dataclass(frozen=True)
class Way:
    """How rounds are made: `builds` of each engine in turns, each round in a process of its own; 0 for one process."""

    rounds: int
    round_ms: float = PIECE_MS
    builds: int = 0

    @property
    def pieces(self) -> int:
        """Stretches of 60 ms in a round, with 60 inferences each."""
        return max(1, round(self.round_ms / PIECE_MS))

    @property
    def build_of(self) -> tuple[int, ...]:
        """Which build each round is of; empty where nothing is built."""
        return tuple(1 + number % self.builds for number in range(self.rounds)) if self.builds else ()


@dataclass(frozen=True)
class Machine:
    """Noise of a machine, in logarithms; a half is one round of one model.

    Attributes:
        between: Standard deviation of the whole machine from one measurement to the next.
        placement: The same of each model alone, which no ratio cancels.
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


QUIET = Machine()
MACHINES = {
    "steady": QUIET,
    "autocorrelated": replace(QUIET, wander=0.08, carry=0.9),
    "drifting clock": replace(QUIET, between=0.08, drift=0.25),
    "two speeds": replace(QUIET, slow=0.28),
    "heavy tail": replace(QUIET, jitter=0.06, bursts=0.1),
    "all of it": Machine(0.08, 0.003, 0.015, 0.8, 0.1, 0.28, 0.97, 0.02, 0.03),
}
MEASURED = ("resnet56-1d-third", "resnet56-1d-three-units", "resnet56-third")


def simulate(machine: Machine, way: Way, slower: float, random: np.random.Generator) -> Times:
    """Times in ms of one measurement: an unpruned model of 0.4 ms and a pruned one of 0.15 ms, in turns."""
    halves, pieces = 2 * way.rounds, way.pieces
    steps = random.standard_normal(halves) * np.sqrt(1 - machine.carry**2)
    wander = np.empty(halves)
    level = random.standard_normal()
    for half, step in enumerate(steps):
        level = machine.carry * level + step
        wander[half] = level
    log = machine.wander * wander + random.uniform(-1, 1) * machine.drift * np.linspace(0, 1, halves)
    log = np.repeat(log + machine.between * random.standard_normal(), pieces)
    log += (random.random(halves * pieces) < machine.bursts) * random.uniform(0, 0.4, halves * pieces)
    each = np.repeat(log, INFERENCES)
    if machine.slow:
        each += machine.slow * (np.cumsum(random.random(len(each)) > machine.stay) % 2)
    each += machine.jitter * np.abs(random.standard_t(3, len(each)))
    logs = _in_turns(each.reshape(way.rounds, 2, pieces * INFERENCES))
    own = np.log([0.4, 0.15 * (1 + slower)]) + machine.placement * random.standard_normal((max(1, way.builds), 2))
    own = own[np.arange(way.rounds) % len(own)]
    if way.builds:
        own = own + machine.placement * random.standard_normal((way.rounds, 2))
    return np.exp(logs + own[:, :, None])


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


def gate(before: Times, after: Times, way: Way) -> str:
    """What the gate says."""
    found = regression.compare_sessions(session(before, way), session(after, way), ALPHA, None)
    assert isinstance(found, regression.Comparison)
    return regression.against_limit(found, THRESHOLD, ALPHA).outcome


def asv(before: Times, after: Times, _way: Way) -> str:
    """The rule of asv with its default significance, on the medians of rounds."""
    was, now = np.median(before[:, 1], axis=1), np.median(after[:, 1], axis=1)
    significant = stats.mannwhitneyu(was, now).pvalue < ASV_P
    return "fail" if significant and np.median(now) / np.median(was) > 1 + THRESHOLD else "pass"


def mean_threshold(before: Times, after: Times, _way: Way) -> str:
    """One mean against another."""
    return "fail" if after[:, 1].mean() / before[:, 1].mean() > 1 + THRESHOLD else "pass"


RULES: dict[str, Callable[[Times, Times, Way], str]] = {"gate": gate, "asv": asv, "mean": mean_threshold}


def session(times: Times, way: Way) -> Session:
    """A measurement as the gate takes it."""
    medians, fast = np.median(times, axis=2), np.percentile(times, FAST_END, axis=2)
    before, after = (Timing("same", medians[:, model], fast[:, model]) for model in (0, 1))
    return Session({}, before, after, way.build_of)


def shares(draw: Callable[[float], Times], way: Way, repetitions: int) -> dict[str, dict[str, float]]:
    """How often each rule fails and, for the gate, says nothing, by rule and case."""
    found: dict[str, dict[str, float]] = {rule: {} for rule in RULES}
    for case, slower in (("false_alarms", 0.0), ("found", SLOWER)):
        outcomes: dict[str, list[str]] = {rule: [] for rule in RULES}
        for _ in range(repetitions):
            pair = draw(0.0), draw(slower)
            for rule, judge in RULES.items():
                outcomes[rule].append(judge(*pair, way))
        for rule, said in outcomes.items():
            found[rule][case] = said.count("fail") / repetitions
        found["gate"][f"inconclusive_{case}"] = outcomes["gate"].count("inconclusive") / repetitions
    return found


def kinds(random: np.random.Generator, way: Way) -> dict[str, Callable[[float], Times]]:
    """How to draw a measurement, by the kind of noise."""
    drawn: dict[str, Callable[[float], Times]] = {
        name: lambda slower, machine=machine: simulate(machine, way, slower, random)
        for name, machine in MACHINES.items()
    }
    for name in MEASURED:
        pair = tuple(list(samples.read(RESULTS / name / f"samples-{role}.npz")[0]) for role in ("baseline", "pruned"))
        drawn[f"rounds of {name}"] = lambda slower, pair=pair: redrawn(pair, way, slower, random)
    return drawn


def defaults() -> dict[Way, list[str]]:
    """The ways in which targets make their rounds, and the targets."""
    found: dict[Way, list[str]] = {}
    for target in map(targets.get, targets.names()):
        builds = target.builds if target.runtime == "trtexec" else 0
        way = Way(target.bench.rounds, target.bench.round_ms, builds)
        found.setdefault(way, []).append(target.name)
    return found


def _in_turns(pairs: Times) -> Times:
    """Halves in the order of time as (unpruned, pruned): every second round begins with the pruned model."""
    turned = pairs.copy()
    turned[1::2] = pairs[1::2, ::-1]
    return turned


def tried(way: Way, repetitions: int, seed: int) -> dict[str, Any]:
    """Shares of every rule under every kind of noise, printed line by line."""
    random = np.random.default_rng([seed, way.rounds, round(way.round_ms), way.builds])
    result = {}
    for name, draw in kinds(random, way).items():
        found = result[name] = shares(draw, way, repetitions)
        told = "   ".join(f"{each['false_alarms']:>14.1%} {each['found']:>6.1%}" for each in found.values())
        print(f"{name:<34}{way.rounds:>7}   {told}   {found['gate']['inconclusive_false_alarms']:.1%}", flush=True)
    return result


def holds(result: dict[str, Any]) -> bool:
    """Whether the gate keeps to the demand under every kind of noise."""
    own = [each["gate"] for each in result.values()]
    return all(each["false_alarms"] <= MOST_FALSE_ALARMS and each["found"] >= LEAST_FOUND for each in own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--rounds", default="8,16,32,64", help="of 60 ms; '' for none (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    by_rounds: dict[str, Any] = {}
    by_default = []
    print(f"{'noise':<34}{'rounds':>7}   " + "   ".join(f"{rule:>5}: alarms  found" for rule in RULES) + "   silent")
    for rounds in (int(text) for text in chosen.rounds.split(",") if text):
        for name, found in tried(Way(rounds), chosen.repetitions, chosen.seed).items():
            by_rounds.setdefault(name, {})[str(rounds)] = found
    for way, names in defaults().items():
        print(f"{way.rounds} rounds of {way.round_ms:g} ms, {way.builds or 'no'} builds: {', '.join(names)}")
        result = tried(way, chosen.repetitions, chosen.seed)
        met = holds(result)
        print(f"  at most {MOST_FALSE_ALARMS:.0%} false alarms and {LEAST_FOUND:.0%} found: {met}")
        by_default.append({"targets": names, **asdict(way), "target_met": met, "shares": result})
    if chosen.out:
        plain = {
            "benchmark": "gate",
            "repetitions": chosen.repetitions,
            "slower": SLOWER,
            "threshold": THRESHOLD,
            "significance": ALPHA,
            "target_met": all(each["target_met"] for each in by_default),
            "shares": by_rounds,
            "defaults": by_default,
        }
        write_json(chosen.out, plain)


if __name__ == "__main__":
    main()
