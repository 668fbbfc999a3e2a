"""How often does the gate cry wolf, how often does it see a wolf, and do its intervals hold what they say?

    python benchmarks/gate.py [--repetitions N] [--ways N] [--out FILE.json]

Measurements are simulated again and again with seeded noise, as each target makes them by default: a pruned model in
turns with the unpruned one, the rounds shared by processes that load both anew. The noise is made up of what the
reports in docs/results show; three kinds are their own rounds, drawn again in runs of neighbours. In a longer round
only what changes within one averages out: single inferences, switches of speed, and what disturbs 60 ms of it. What
trtexec times is a process a round, of engines built anew for each measurement, whose builds differ as placements do.

Alarms: two measurements with nothing changed, or with the pruned model 5 % slower, are judged without calibration,
after a calibration of 20 measurements (with the limit raised to the noise floor where it is below), and by `--against`,
where the older and the newer pruned model take turns in one session. Two other rules see the same times: that of asv
(Mann and Whitney's test with p < 0.002 on the medians of rounds, and their ratio above the threshold) and a plain
threshold on the mean.

Coverage: how often the 95 % intervals hold the true speed-up, and the true median and 99th percentile of the machine as
it is in that session.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from gate_noise import FLIP_EVERY as FLIP_EVERY
from gate_noise import HARD, LEVELS_MS, MACHINES, Draw, Times, Way, kinds, simulate
from gate_noise import Machine as Machine
from scipy import stats

from edgeprune import targets
from edgeprune.bench import estimate
from edgeprune.files.store import write_json
from edgeprune.gate import noise, regression
from edgeprune.gate.session import FAST_END, SessionTiming, TimedSession
from edgeprune.gate.statistics import median_interval, quantile_interval

SLOWER = 0.05
THRESHOLD = 0.025  # half of what is to be found: a slow-down as large as the threshold is above it every second time
ALPHA = 0.01
MOST_FALSE_ALARMS, LEAST_FOUND, LEAST_COVERED = 0.01, 0.95, 0.93
FIGURES = ("speedup", "median", "p99_held_or_without")
CALIBRATION = 20  # measurements
PAIRS_A_CALIBRATION = 10
ASV_P = 0.002


def judged(found: regression.SessionComparison | regression.Incomparable, limit: float = THRESHOLD) -> str:
    """What the gate says."""
    assert isinstance(found, regression.SessionComparison)
    return regression.against_limit(found, limit, ALPHA).outcome


def uncalibrated(before: Times, after: Times, way: Way) -> str:
    """What the gate says of two reports when nobody calibrated."""
    return judged(regression.compare_sessions(session(before, way), session(after, way), ALPHA, None))


def asv(before: Times, after: Times, _way: Way) -> str:
    """The rule of asv with its default significance, on the medians of rounds."""
    was, now = np.median(before[:, 1], axis=1), np.median(after[:, 1], axis=1)
    significant = stats.mannwhitneyu(was, now).pvalue < ASV_P
    return "fail" if significant and np.median(now) / np.median(was) > 1 + THRESHOLD else "pass"


def mean_threshold(before: Times, after: Times, _way: Way) -> str:
    """One mean against another."""
    return "fail" if after[:, 1].mean() / before[:, 1].mean() > 1 + THRESHOLD else "pass"


RULES: dict[str, Callable[[Times, Times, Way], str]] = {
    "uncalibrated": uncalibrated,
    "asv": asv,
    "mean": mean_threshold,
}


def session(times: Times, way: Way) -> TimedSession:
    """A measurement as the gate takes it."""
    medians, fast = np.median(times, axis=2), np.percentile(times, FAST_END, axis=2)
    before, after = (SessionTiming(str(model), medians[:, model], fast[:, model]) for model in (0, 1))
    return TimedSession({}, before, after, way.build_of, way.process_of)


def shares(draw: Draw, way: Way, repetitions: int) -> dict[str, dict[str, float]]:
    """How often each rule fails and says nothing, by rule and case."""
    found: dict[str, dict[str, float]] = {}
    for case, slower in (("false_alarms", 0.0), ("found", SLOWER)):
        outcomes: dict[str, list[str]] = {}
        for number in range(repetitions):
            if number % PAIRS_A_CALIBRATION == 0:
                sessions = [session(draw(0.0), way) for _ in range(CALIBRATION)]
                known = noise.calibrate(sessions, "", "", "2026-01-01")
                limit = max(THRESHOLD, known.floor("ratio", "fast end").floor)
            before, after = draw(0.0), draw(slower)
            for rule, judge in RULES.items():
                outcomes.setdefault(rule, []).append(judge(before, after, way))
            compared = regression.compare_sessions(session(before, way), session(after, way), ALPHA, known)
            outcomes.setdefault("calibrated", []).append(judged(compared, limit))
            together = session(draw(slower, (LEVELS_MS[1], LEVELS_MS[1])), way)
            outcomes.setdefault("one session", []).append(judged(regression.compare_within(together, ALPHA)))
        for rule, said in outcomes.items():
            of_rule = found.setdefault(rule, {})
            of_rule[case] = said.count("fail") / repetitions
            of_rule[f"inconclusive_{case}"] = said.count("inconclusive") / repetitions
    return found


def coverage(draw: Draw, way: Way, repetitions: int, true: tuple[float, float, float]) -> dict[str, float]:
    """How often the intervals hold the true speed-up, median and 99th percentile, and how often there is none."""
    held, without = np.zeros(3), 0
    widths = []
    for _ in range(repetitions):
        times = draw(0.0)
        medians = np.median(times, axis=2)
        ratio = estimate.speedup(medians[:, 0], medians[:, 1], way.process_of, way.build_of or None)
        widths.append((ratio.ci95[1] - ratio.ci95[0]) / ratio.ratio)
        median = quantile_interval(list(times[:, 1]), 0.5, way.process_of)
        median = median or median_interval(medians[:, 1], way.process_of)
        p99 = quantile_interval(list(times[:, 1]), 0.99, way.process_of)
        without += p99 is None
        for place, interval in enumerate((ratio.ci95, median, p99)):
            held[place] += interval is not None and interval[0] <= true[place] <= interval[1]
    told = repetitions - without
    plain = {
        "speedup": held[0] / repetitions,
        "speedup_width": float(np.median(widths)),
        "median": held[1] / repetitions,
    }
    return {**plain, "p99_without": without / repetitions, **({"p99": held[2] / told} if told else {})}


def covered(random: np.random.Generator, way: Way) -> dict[str, tuple[Draw, tuple[float, float, float]]]:
    """How to draw a measurement and the true figures, by the kind of noise.

    The machine is as it is in that session, so that nothing differs between sessions and its clock does not drift
    otherwise than in all of them; the truth is that of very many rounds, each in a process of its own.
    """
    found: dict[str, tuple[Draw, tuple[float, float, float]]] = {}
    many = replace(way, rounds=20 * PIECE_ROUNDS // way.pieces, builds=0, processes=20 * PIECE_ROUNDS // way.pieces)
    for name, machine in MACHINES.items():
        here = replace(machine, between=0.0, drift=0.0)
        times = simulate(replace(here, wander=0.0, own=0.0, flip=0.0), many, 0.0, random)
        spread = np.hypot(here.wander, here.own / np.sqrt(2)) * random.standard_normal(many.rounds)
        flips = here.flip * random.integers(0, 2, many.rounds)
        pruned = (times[:, 1] * np.exp(spread + flips)[:, None]).ravel()
        ratio = LEVELS_MS[0] / LEVELS_MS[1] * np.exp(-here.flip / 2)
        true = (float(ratio), float(np.median(pruned)), float(np.quantile(pruned, 0.99)))
        drifting = replace(machine, between=0.0) if machine.drift else here
        found[name] = (lambda slower, drifting=drifting: simulate(drifting, way, slower, random)), true
    return found


PIECE_ROUNDS = 200


def defaults() -> dict[Way, list[str]]:
    """The ways in which targets make their rounds, and the targets."""
    found: dict[Way, list[str]] = {}
    for target in map(targets.get, targets.names()):
        builds = target.builds if target.runtime == "trtexec" else 0
        way = Way(target.bench.rounds, target.bench.round_ms, builds, target.bench.processes)
        found.setdefault(way, []).append(target.name)
    return found


def tried(way: Way, repetitions: int, seed: int) -> dict[str, Any]:
    """Shares of every rule under every kind of noise, printed line by line."""
    random = np.random.default_rng([seed, way.rounds, round(way.round_ms), way.builds])
    result = {}
    for name, draw in kinds(random, way).items():
        found = result[name] = shares(draw, way, repetitions)
        told = "   ".join(
            f"{each['false_alarms']:>6.1%} {each['inconclusive_false_alarms']:>6.1%} {each['found']:>6.1%}"
            for each in found.values()
        )
        print(f"{name:<34}   {told}", flush=True)
    return result


def held(way: Way, repetitions: int, seed: int) -> dict[str, Any]:
    """Coverage of every interval under every kind of noise, printed line by line."""
    random = np.random.default_rng([seed, way.rounds, round(way.round_ms), way.builds, 1])
    result = {}
    for name, (draw, true) in covered(random, way).items():
        found = result[name] = coverage(draw, way, repetitions, true)
        if MACHINES[name].drift:  # then the median and the percentile are of that drift alone
            found.pop("median")
            for figure in ("p99", "p99_held_or_without"):
                found.pop(figure, None)
        print(f"{name:<34}   " + "   ".join(f"{key} {value:.1%}" for key, value in found.items()), flush=True)
    return result


def met(result: dict[str, Any], coverages: dict[str, Any], repetitions: int) -> bool:
    """Whether the gate and the intervals keep to the demand under every kind of noise, but for the luck of the draw."""

    def luck(share: float) -> float:
        return 2 * float(np.sqrt(share * (1 - share) / repetitions))

    alarms = [
        result[kind][rule]["false_alarms"] for kind in result for rule in ("uncalibrated", "calibrated", "one session")
    ]
    found = [each["one session"]["found"] for kind, each in result.items() if kind not in HARD]
    shares_held = [value for each in coverages.values() for key, value in each.items() if key in FIGURES]
    return (
        max(alarms) <= MOST_FALSE_ALARMS + luck(MOST_FALSE_ALARMS)
        and min(found) >= LEAST_FOUND - luck(LEAST_FOUND)
        and min(shares_held) >= LEAST_COVERED - luck(LEAST_COVERED)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--ways", type=int, help="only the first so many ways in which targets measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    chosen = parser.parse_args()
    by_default = []
    for way, names in list(defaults().items())[: chosen.ways]:
        shared = f"{way.builds} builds" if way.builds else f"{way.processes} processes"
        print(f"{way.rounds} rounds of {way.round_ms:g} ms, {shared}: {', '.join(names)}")
        print("intervals that hold the truth")
        coverages = held(way, chosen.repetitions, chosen.seed)
        print(f"{'false alarms, inconclusive, found':<34}   uncalibrated, asv, mean, calibrated, one session")
        result = tried(way, chosen.repetitions, chosen.seed)
        good = met(result, coverages, chosen.repetitions)
        print(f"  kept to the demand: {good}")
        by_default.append(
            {"targets": names, **asdict(way), "target_met": good, "shares": result, "coverage": coverages}
        )
        if chosen.out:
            plain = {
                "benchmark": "gate",
                "repetitions": chosen.repetitions,
                "slower": SLOWER,
                "threshold": THRESHOLD,
                "significance": ALPHA,
                "target_met": all(each["target_met"] for each in by_default),
                "defaults": by_default,
            }
            write_json(chosen.out, plain)


if __name__ == "__main__":
    main()
