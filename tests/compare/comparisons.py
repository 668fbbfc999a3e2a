"""Cells and whole comparisons for the tests of tables, pages and plots; and files of frames."""

import numpy as np
import synthetic

from edgeprune.compare.document import (
    CellFigures,
    CellLatency,
    Comparison,
    Cost,
    DataFacts,
    FailedCell,
    Loss,
    Measurement,
    UnprunedFigures,
)
from edgeprune.compare.report.rows import rows_of
from edgeprune.records.results import EpochMetrics


def cell(
    method,
    *,
    kind="layers",
    subject="net",
    data="x",
    ratio=0.67,
    seed=0,
    top1=0.9,
    params=300,
    macs=30,
    flops=40,
    median_ms=0.2,
    speedup=2.0,
    kept=(0, 2, 5),
):
    """A finished cell; a reference network has neither ratio nor loss."""
    alone = kind == "network"
    ratio = None if alone or kind == "none" else ratio
    layers = kind == "layers"
    name = f"{subject}--{data}--{method}--r{ratio}--s{seed}"
    return CellFigures(
        id=name,
        subject=subject,
        data=data,
        kind=kind,
        method=method,
        ratio=ratio,
        seed=seed,
        cost=Cost(params, macs, flops),
        frames=100,
        top1=top1,
        ci95=(top1 - 0.02, top1 + 0.02),
        by_snr={"10": top1},
        curve=tuple(EpochMetrics(epoch, 1 / epoch, 1.1 / epoch, top1 - 0.1 / epoch, 1.0) for epoch in (1, 2, 3)),
        best_epoch=3,
        loss=None if alone else Loss(0.93 - top1, (0.92 - top1, 0.94 - top1), 0.04),
        latency=CellLatency(
            median_ms=median_ms,
            samples=900,
            samples_path=f"cells/{name}/samples-pruned.npz",
            against="net" if alone else subject,
            against_median_ms=median_ms * speedup,
            speedup=speedup,
            speedup_ci95=(speedup - 0.1, speedup + 0.1),
        ),
        units=6 if layers else None,
        kept=kept if layers else None,
        fixed=(0, 5) if layers else None,
        segments=((0, 2), (3, 5)) if layers else None,
    )


def unpruned(*, model="net", data="x", top1=0.93, params=1000, macs=100, flops=120):
    """The network before pruning."""
    return UnprunedFigures(f"{model}--{data}", model, data, "a" * 64, 100, Cost(params, macs, flops), top1, (0.9, 0.95))


def failed(method, *, seed=0, reason="training diverged in epoch 1: the loss is nan"):
    """A cell that has no figures."""
    return FailedCell(f"net--x--{method}--r0.67--s{seed}", "net", "x", method, seed, reason, 0.67)


def comparison(cells, lost=(), models=None, title="Tested", plots=("curves", "kept"), warnings=()):
    """A whole comparison of these cells."""
    models = [unpruned()] if models is None else models
    return Comparison(
        title=title,
        created="2030-01-02T03:04:05+00:00",
        edgeprune_version="9.9",
        commands=("edgeprune compare --grid g.toml",),
        packages={"torch": "1.2"},
        machine={"cpu": "Some CPU", "cores": 2},
        grid={"seeds": [0, 1]},
        data=(DataFacts("x", "frames/x.npz", "b" * 64, 2016),),
        measurement=Measurement("host-cpu", "onnxruntime", "fp32", 1, 1, "sync", 16, ("it was not quiet",)),
        unpruned=tuple(models),
        rows=rows_of(cells, list(lost), models),
        cells=tuple(cells),
        failed=tuple(lost),
        warnings=tuple(warnings),
        plots=plots,
    )


def usual():
    """Methods of every kind, two seeds each, one of them failed once."""
    cells = [
        cell(
            method, kind=kind, seed=seed, top1=top1 + 0.004 * seed, median_ms=ms, speedup=1 / ms, kept=(0, seed + 1, 5)
        )
        for method, kind, top1, ms in (
            ("train-on", "none", 0.935, 1.0),
            ("edgeprune", "layers", 0.92, 0.2),
            ("random", "layers", 0.90, 0.25),
            ("l1", "channels", 0.70, 0.6),
        )
        for seed in (0, 1)
    ]
    cells.append(cell("ulcnn", kind="network", subject="ulcnn", top1=0.88, median_ms=0.1, speedup=10.0))
    return comparison(cells, lost=[failed("random", seed=2)])


def save_frames(path, length=synthetic.LENGTH, seed=0):
    """Write 150 frames of three classes at two SNRs."""
    frames = synthetic.frames_of(synthetic.cells(length=length, seed=seed))
    np.savez(path, iq=frames.iq, labels=frames.labels, classes=np.array(frames.classes), snrs=frames.snrs)
    return frames
