"""A whole run made up for the tests of the report: 29 units, 11 classes, five SNRs, 16 rounds in turns."""

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.bench import samples
from edgeprune.records.frames import DataRef
from edgeprune.records.pruning import Decision, LayerChain, OnnxModel, PrunePlan, Segmentation, Similarity, Unit
from edgeprune.records.results import (
    Accuracy,
    AccuracyComparison,
    BenchReport,
    EpochMetrics,
    LatencySummary,
    Rate,
    TrainingResult,
)
from edgeprune.report.document import Origin, RunRecords, build

CLASSES = ("8PSK", "AM-DSB", "AM-SSB", "BPSK", "CPFSK", "GFSK", "PAM4", "QAM16", "QAM64", "QPSK", "WBFM")
SEGMENTS = ((0, 10), (11, 16), (17, 21), (22, 28))
KEPT = (0, 5, 10, 12, 19, 20, 27, 28)
ROUNDS = 16


def sha(letter: str) -> str:
    return letter * 64


@cache
def chain(kept: tuple[int, ...] = tuple(range(29))) -> LayerChain:
    units = []
    for place, index in enumerate(kept):
        stage = min(2, max(0, (index - 1) // 9))
        channels, length = (16, 32, 64)[stage], (128, 64, 32)[stage]
        path = "stem" if index == 0 else "head" if index == 28 else f"stages.{stage}.{(index - 1) % 9}"
        kind = {0: "conv", 28: "linear"}.get(index, "residual")
        transition = index in (10, 19)
        drop = None if index in (0, 28) else "shortcut" if transition else "identity"
        units.append(
            Unit(
                index=place,
                path=path,
                kind=kind,
                in_shape=(channels // 2 if transition else channels, length * (2 if transition else 1)),
                out_shape=(11,) if index == 28 else (channels, length),
                params=6 * channels * channels,
                macs=6 * channels * channels * length,
                drop=drop,
                reason="the first and last units read the frame and name the class" if drop is None else "same shape",
            )
        )
    return LayerChain(sha("a"), tuple(units), sum(u.params for u in units), sum(u.macs for u in units))


@cache
def similarity() -> Similarity:
    place = np.arange(29)
    segment = np.searchsorted([last for _, last in SEGMENTS], place)
    far = np.abs(place[:, None] - place[None, :])
    apart = np.abs(segment[:, None] - segment[None, :])
    matrix = np.exp(-0.022 * far) * np.array([1.0, 0.83, 0.66, 0.5])[apart]
    np.fill_diagonal(matrix, 1.0)
    return Similarity(sha("b"), sha("d"), "cka-unbiased", 640, tuple(tuple(map(float, row)) for row in matrix))


@cache
def plan() -> PrunePlan:
    decisions = []
    for unit in chain().units:
        segment = next(number for number, (first, last) in enumerate(SEGMENTS) if first <= unit.index <= last)
        score = None if unit.drop is None else float(np.exp(8 - 0.21 * unit.index + 3 * (unit.index in KEPT)))
        kept = unit.index in KEPT
        why = "has to stay: it has no skip branch" if unit.drop is None else ""
        why = why or (
            f"among the best of segment {segment + 1}" if kept else f"below the kept units of segment {segment + 1}"
        )
        decisions.append(
            Decision(index=unit.index, path=unit.path, kept=kept, segment=segment, score=score, reason=why)
        )
    dropped = tuple(index for index in range(29) if index not in KEPT)
    return PrunePlan(sha("a"), "cka-unbiased", "synflow", SEGMENTS, KEPT, dropped, tuple(decisions), ())


def wilson(hits: int, frames: int) -> tuple[float, float]:
    z, share = 1.959964, hits / frames
    middle = (share + z * z / (2 * frames)) / (1 + z * z / frames)
    reach = z / (1 + z * z / frames) * np.sqrt(share * (1 - share) / frames + z * z / (4 * frames * frames))
    return float(max(0, middle - reach)), float(min(1, middle + reach))


def rate(share: float, frames: int) -> Rate:
    hits = round(share * frames)
    return Rate(hits / frames, wilson(hits, frames), frames)


@cache
def accuracy(loss: float, classes: tuple[str, ...] = CLASSES) -> Accuracy:
    size, each = len(classes), 200
    confusion = np.zeros((size, size), dtype=int)
    for row in range(size):
        wrong = {7: 0.21, 8: 0.18, 10: 0.33}.get(row, 0.02 + 0.003 * row) + loss
        toward = {7: 8, 8: 7, 10: 1}.get(row, (row + 3) % size) % size
        confusion[row, toward] += round(0.8 * wrong * each)
        confusion[row, (row + 1) % size] += round(0.2 * wrong * each)
        confusion[row, row] += each - confusion[row].sum()
    right, frames = int(np.trace(confusion)), size * each
    snrs = {
        str(snr): rate(right / frames - 0.03 * np.exp(-(snr - 10) / 2) + 0.01, frames // 5) for snr in range(10, 19, 2)
    }
    by_class = {name: rate(confusion[row, row] / each, each) for row, name in enumerate(classes)}
    table = tuple(tuple(int(count) for count in row) for row in confusion)
    return Accuracy("test", frames, right / frames, wilson(right, frames), snrs, by_class, table)


@cache
def comparison(classes: tuple[str, ...] = CLASSES) -> AccuracyComparison:
    before, after = accuracy(0.0, classes), accuracy(0.008, classes)
    return AccuracyComparison(before, after, before.top1 - after.top1, (-0.001, 0.014), 0.21)


@cache
def times(median_ms: float, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    drift = 1 + 0.01 * np.sin(np.arange(ROUNDS) / 2)
    return [median_ms * level * (1 + random.gamma(1.2, 0.02, 300)) for level in drift]


def summary(rounds: list[np.ndarray], path: str) -> LatencySummary:
    joined = np.concatenate(rounds)
    p50, p90, p99 = (float(value) for value in np.percentile(joined, [50, 90, 99]))
    medians = tuple(float(np.median(one)) for one in rounds)
    return LatencySummary(
        median_ms=p50,
        mean_ms=float(joined.mean()),
        samples=len(joined),
        samples_path=path,
        round_medians_ms=medians,
        p90_ms=p90,
        p99_ms=p99,
    )


@cache
def bench() -> BenchReport:
    before, after = times(1.42, 1), times(0.505, 2)
    device = {
        "cpu": "ARM Cortex-A78AE",
        "architecture": "aarch64",
        "cores": 6,
        "ram_bytes": 8_000_000_000,
        "load_average": [0.11, 0.2, 0.3],
        "runtime": {"name": "onnxruntime", "version": "1.20.1", "providers": ["CPUExecutionProvider"]},
    }
    return BenchReport(
        runtime="onnxruntime",
        precision="fp32",
        batch=1,
        threads=1,
        mode="one inference at a time, input in memory",
        rounds=ROUNDS,
        device=device,
        baseline=summary(before, "samples-baseline.npz"),
        warnings=("the CPU governor is 'ondemand': clocks moved while measuring",),
        pruned=summary(after, "samples-pruned.npz"),
        speedup=2.81,
        speedup_ci95=(2.74, 2.9),
    )


def onnx(name: str, letter: str, size_bytes: int, nodes: int) -> OnnxModel:
    return OnnxModel(
        path=f"{name}.onnx",
        sha256=sha(letter),
        size_bytes=size_bytes,
        opset=18,
        nodes=nodes,
        simplifier="onnxsim",
        simplifier_notes=(),
        max_abs_logit_difference=2.4e-6,
        checked_frames=256,
        tied_frames=0,
        exporter="torch.export, opset 18",
    )


@cache
def training() -> TrainingResult:
    epochs = tuple(
        EpochMetrics(
            epoch,
            float(1.1 * np.exp(-epoch / 6) + 0.24),
            float(0.95 * np.exp(-epoch / 5) + 0.3 + 0.0022 * epoch + 0.012 * np.sin(2 * epoch)),
            float(0.905 - 0.4 * np.exp(-epoch / 4) + 0.004 * np.sin(3 * epoch)),
            14.2,
        )
        for epoch in range(1, 31)
    )
    best = max(epochs, key=lambda one: one.validation_top1)
    return TrainingResult(best.epoch, best.validation_top1, epochs, "bf16", distilled=True)


def evidence(**changes: Any) -> RunRecords:
    losses = (41.2, 17.9, 8.1, 3.9, 3.4, 3.0, 2.7, 2.5)
    whole = RunRecords(
        before=chain(),
        after=chain(KEPT),
        similarity=similarity(),
        segmentation=Segmentation(sha("c"), SEGMENTS, losses, "rows", "auto"),
        plan=plan(),
        baseline_onnx=onnx("baseline", "1", 3_467_221, 121),
        pruned_onnx=onnx("pruned", "2", 1_021_400, 37),
        training=training(),
        accuracy=comparison(),
        bench=bench(),
    )
    return dataclasses.replace(whole, **changes)


def origin(**changes: Any) -> Origin:
    whole = Origin(
        model="resnet56-1d",
        target="host-cpu",
        seed=7,
        classes=CLASSES,
        baseline_sha256=sha("a"),
        pruned_sha256=sha("e"),
        pruned_path="pruned.pt",
        created="2026-03-14T09:26:53+00:00",
        edgeprune_version="0.1.0",
        commands=("edgeprune prune-and-export resnet56-1d.pt --target host-cpu --seed 7 --out demo-run",),
        packages={"python": "3.11.7", "torch": "2.6.0", "onnxruntime": "1.20.1"},
        git_commit="9f2c1e7a4b5d6c7e8f90112233445566778899aa",
        data=DataRef("RML2016.10a_dict.pkl", sha("d"), 2016, "authors-800-200", sha("b")),
        warnings=("the class AM-SSB of this data set holds only noise",),
    )
    return dataclasses.replace(whole, **changes)


def document(**changes: Any) -> dict[str, Any]:
    return build(evidence(**changes), origin())


def write_samples(folder: Path) -> None:
    samples.write(folder / "samples-baseline.npz", times(1.42, 1), {"model": "baseline"})
    samples.write(folder / "samples-pruned.npz", times(0.505, 2), {"model": "pruned"})
