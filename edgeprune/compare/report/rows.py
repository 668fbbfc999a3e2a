"""From cells to rows: means over seeds, and the Pareto front. Pure.

The speed of a machine drifts between cells, on a shared one by half; ratios of networks measured in turns do not. So
the latency of a row is the unpruned network's, the median over all its measurements, divided by the speed-up.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from edgeprune.compare.document import CellFigures, FailedCell, Stat, TableRow, UnprunedFigures

Group = tuple[str, str, float | None, str]  # data, subject, ratio, method
Beside = tuple[str, str | None]  # data, and the network that was measured in turns with a cell's


def stat(values: Iterable[float]) -> Stat:
    """Compute mean and sample standard deviation; a single value has no deviation."""
    given = list(values)
    return Stat(statistics.fmean(given), len(given), statistics.stdev(given) if len(given) > 1 else None)


def rows_of(
    cells: Sequence[CellFigures], failed: Sequence[FailedCell], unpruned: Sequence[UnprunedFigures]
) -> tuple[TableRow, ...]:
    """Make the table: for each data set the models in order, each unpruned first, then the reference networks.

    A failed cell is counted, never averaged. A method whose cells all failed has no row.
    """
    rows: list[TableRow] = []
    usual_ms = _usual_ms(cells)
    for data in dict.fromkeys([*(each.data for each in unpruned), *(cell.data for cell in cells)]):
        of_data = [cell for cell in cells if cell.data == data]
        for model in [each for each in unpruned if each.data == data]:
            of_model = [cell for cell in of_data if cell.subject == model.model and cell.kind != "network"]
            if of_model:
                rows += [_unpruned(model, usual_ms), *_rows(of_model, failed, model, usual_ms)]
        rows += _rows([cell for cell in of_data if cell.kind == "network"], failed, None, usual_ms)
    return with_front(tuple(replace(row, number=number) for number, row in enumerate(rows, start=1)))


def with_front(rows: Sequence[TableRow]) -> tuple[TableRow, ...]:
    """Mark the rows that are Pareto-optimal in their data set, by accuracy and speed."""
    return tuple(replace(row, on_front=not any(_beats(other, row) for other in rows)) for row in rows)


def _beats(other: TableRow, row: TableRow) -> bool:
    mine, theirs = (row.top1.mean, -row.latency_ms.mean), (other.top1.mean, -other.latency_ms.mean)
    return other.data == row.data and all(a >= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine


def _rows(
    cells: Sequence[CellFigures],
    failed: Sequence[FailedCell],
    model: UnprunedFigures | None,
    usual_ms: Mapping[Beside, float],
) -> list[TableRow]:
    groups: dict[Group, list[CellFigures]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.subject, cell.ratio, cell.method), []).append(cell)
    ratios = list(dict.fromkeys(cell.ratio for cell in cells))
    ratios.sort(key=lambda ratio: ratio is not None)  # methods that drop nothing first, the others in their order
    lost = [(cell.data, cell.subject, cell.ratio, cell.method) for cell in failed]
    ordered = sorted(groups.items(), key=lambda item: ratios.index(item[0][2]))
    return [_row(of_group, lost.count(group), model, usual_ms) for group, of_group in ordered]


def _row(
    cells: Sequence[CellFigures], failed: int, model: UnprunedFigures | None, usual_ms: Mapping[Beside, float]
) -> TableRow:
    first = cells[0]

    def over(figure: Callable[[CellFigures], float]) -> Stat:
        return stat(figure(cell) for cell in cells)

    speedups = [cell.latency.speedup for cell in cells if cell.latency.speedup is not None]
    row = TableRow(
        number=0,
        data=first.data,
        subject=first.subject,
        kind=first.kind,
        method=first.method,
        ratio=first.ratio,
        failed=failed,
        top1=over(lambda cell: cell.top1),
        params=over(lambda cell: cell.cost.params),
        macs=over(lambda cell: cell.cost.macs),
        flops=over(lambda cell: cell.cost.flops),
        latency_ms=over(lambda cell: _latency_ms(cell, usual_ms)),
        speedup=stat(speedups) if speedups else None,
        cells=tuple(cell.id for cell in cells),
    )
    if model is None:
        return row
    full, before = model.cost, model.top1
    return replace(
        row,
        before=before,
        change=over(lambda cell: cell.top1 - before),
        params_change=over(lambda cell: cell.cost.params - full.params),
        flops_change=over(lambda cell: cell.cost.flops - full.flops),
        params_removed=over(lambda cell: 1 - cell.cost.params / full.params),
        macs_removed=over(lambda cell: 1 - cell.cost.macs / full.macs),
        flops_removed=over(lambda cell: 1 - cell.cost.flops / full.flops),
    )


def _unpruned(model: UnprunedFigures, usual_ms: Mapping[Beside, float]) -> TableRow:
    """Make the row of an unpruned model."""
    return TableRow(
        number=0,
        data=model.data,
        subject=model.model,
        kind="unpruned",
        method="unpruned",
        failed=0,
        before=model.top1,
        top1=Stat(model.top1, 1),
        params=Stat(model.cost.params, 1),
        macs=Stat(model.cost.macs, 1),
        flops=Stat(model.cost.flops, 1),
        latency_ms=Stat(usual_ms[model.data, model.model], 1),
        cells=(),
    )


def _usual_ms(cells: Sequence[CellFigures]) -> dict[Beside, float]:
    """Latency in ms of each unpruned network: the median over all the cells it was measured with."""
    found: dict[Beside, list[float]] = {}
    for cell in cells:
        if cell.latency.against_median_ms is not None:
            found.setdefault((cell.data, cell.latency.against), []).append(cell.latency.against_median_ms)
    return {beside: statistics.median(medians_ms) for beside, medians_ms in found.items()}


def _latency_ms(cell: CellFigures, usual_ms: Mapping[Beside, float]) -> float:
    if cell.latency.speedup is None:
        return cell.latency.median_ms
    return usual_ms[cell.data, cell.latency.against] / cell.latency.speedup
