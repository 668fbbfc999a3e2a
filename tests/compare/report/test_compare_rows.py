"""Means over seeds, and the Pareto front."""

import itertools
import statistics

import comparisons
import numpy as np
import pytest

from edgeprune.compare.document import Stat
from edgeprune.compare.report.rows import rows_of, stat


def test_mean_and_deviation_are_those_of_numpy():
    values = [0.91, 0.93, 0.935]
    found = stat(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert found.n == 3
    assert stat([0.5]) == Stat(0.5, 1, None)


def test_a_row_is_the_mean_of_its_seeds_and_changes_are_against_the_unpruned():
    model = comparisons.unpruned(top1=0.93, params=1000, macs=100, flops=200)
    cells = [
        comparisons.cell("edgeprune", seed=seed, top1=top1, params=250, macs=20, flops=50, speedup=speedup)
        for seed, top1, speedup in ((0, 0.92, 3.0), (1, 0.90, 3.4))
    ]
    first, row = rows_of(cells, [], [model])
    assert (first.kind, first.top1.mean, first.number, row.number) == ("unpruned", 0.93, 1, 2)
    assert row.top1.mean == pytest.approx(0.91)
    assert row.top1.sd == pytest.approx(statistics.stdev([0.92, 0.90]))
    assert row.change.mean == pytest.approx(-0.02)
    assert (row.params_change.mean, row.flops_change.mean) == (-750, -150)
    assert (row.params_removed.mean, row.flops_removed.mean, row.macs_removed.mean) == (0.75, 0.75, 0.8)
    assert row.speedup.mean == pytest.approx(3.2)
    assert row.before == 0.93


def test_a_machine_that_drifts_between_cells_does_not_count():
    cells = [
        comparisons.cell("edgeprune", seed=0, median_ms=0.2, speedup=5.0),
        comparisons.cell("edgeprune", seed=1, median_ms=0.4, speedup=5.0),
        comparisons.cell("random", seed=0, median_ms=0.5, speedup=2.0),
        comparisons.cell("ulcnn", kind="network", subject="ulcnn", median_ms=0.4, speedup=5.0),
    ]
    first, *rows = rows_of(cells, [], [comparisons.unpruned()])
    assert first.latency_ms == Stat(1.5, 1)
    assert [(row.method, row.latency_ms.mean, row.latency_ms.sd) for row in rows] == [
        ("edgeprune", pytest.approx(0.3), 0.0),
        ("random", pytest.approx(0.75), None),
        ("ulcnn", pytest.approx(0.3), None),
    ]


def test_a_failed_cell_is_counted_and_in_no_mean():
    cells = [comparisons.cell("edgeprune", seed=0, top1=0.9)]
    row = rows_of(cells, [comparisons.failed("edgeprune", seed=1)], [comparisons.unpruned()])[1]
    assert (row.failed, row.top1) == (1, Stat(0.9, 1))


def test_ratios_methods_and_data_sets_are_not_mixed():
    cells = [
        comparisons.cell(method, ratio=ratio, data=data)
        for data, ratio, method in itertools.product(("x", "y"), (0.5, 0.9), ("edgeprune", "random"))
    ]
    rows = rows_of(cells, [], [comparisons.unpruned(data="x"), comparisons.unpruned(data="y")])
    assert [(row.data, row.ratio, row.method) for row in rows if row.kind != "unpruned"] == [
        (cell.data, cell.ratio, cell.method) for cell in cells
    ]


def test_a_reference_network_has_no_before():
    cells = [comparisons.cell("edgeprune"), comparisons.cell("ulcnn", kind="network", subject="ulcnn")]
    last = rows_of(cells, [], [comparisons.unpruned()])[-1]
    assert (last.method, last.before, last.change, last.params_removed) == ("ulcnn", None, None, None)


def test_the_front_is_what_no_other_row_beats():
    generator = np.random.default_rng(5)
    cells = [
        comparisons.cell(f"m{place}", top1=round(float(top1), 1), median_ms=1.0, speedup=1 / round(float(ms), 1))
        for place, (top1, ms) in enumerate(generator.random((40, 2)) + 0.05)
    ]
    rows = rows_of(cells, [], [comparisons.unpruned(top1=0.2)])
    points = np.array([[row.top1.mean, row.latency_ms.mean] for row in rows])
    for row, (top1, ms) in zip(rows, points, strict=True):
        as_good = points[(points[:, 0] >= top1) & (points[:, 1] <= ms)]
        assert row.on_front == bool((as_good == (top1, ms)).all())
    assert 1 < sum(row.on_front for row in rows) < len(rows)
