"""Published splits, for comparison with published results.

Except for AMR-Benchmark's they have no validation frames of their own: the last tenth of each cell's train frames is
used for validation. Their test frames are as published.
"""

import numpy as np

from edgeprune.errors import DataError
from edgeprune.frames.splits.cells import Indices, Parts, cells, joined
from edgeprune.records.frames import FrameTable
from edgeprune.records.names import SPLITS, Split


def authors(table: FrameTable, _seed: int) -> Parts:
    """Take the first 800 of 1000 frames of each cell for training, the next 200 for the test, in the order of the file.

    The authors of the method split RadioML 2016.10A this way; of 2018.01A they use 3200 and 800 of 4096 frames. Cells
    of another size are cut at four fifths.

    Raises:
        DataError: A cell has fewer than 10 frames.
    """
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for name, snr, cell in cells(table):
        if len(cell) < 10:
            raise DataError(
                f"{table.source} holds {len(cell)} frames of {name} at {snr} dB; this split takes 10 or more"
            )
        used = 4000 if len(cell) == 4096 else len(cell)
        train, validation = _held_out(cell[: used * 4 // 5])
        for split_name, part in zip(SPLITS, (train, validation, cell[used * 4 // 5 : used]), strict=True):
            parts[split_name].append(part)
    return joined(parts)


def amr_benchmark(table: FrameTable, _seed: int) -> Parts:
    """Draw 60, 20 and 20 % of each cell as AMR-Benchmark's dataset2016.py does: NumPy's legacy generator, seed 2016.

    The generator continues from cell to cell, so the split is theirs only for the whole of RadioML 2016.10A or B.

    Raises:
        DataError: Cells differ in size, or their size is not a multiple of 5.
    """
    generator = np.random.RandomState(2016)
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for number, cell in enumerate(_equal_cells(table, 5)):
        here = range(number * len(cell), (number + 1) * len(cell))  # their places, cells laid end to end
        train = generator.choice(here, size=len(cell) * 3 // 5, replace=False)
        rest = list(set(here) - set(train.tolist()))  # in CPython's order of a set, which theirs is too
        validation = generator.choice(rest, size=len(cell) // 5, replace=False)
        test = np.array(sorted(set(rest) - set(validation.tolist())))
        for split_name, part in zip(SPLITS, (train, validation, test), strict=True):
            parts[split_name].append(cell[part - here.start])
    return joined(parts)


def itu_2018(table: FrameTable, _seed: int) -> Parts:
    """Draw a tenth of each cell, rounded up, for the test, by NumPy's legacy generator at seed 2018.

    The ITU challenge of 2021 split RadioML 2018.01A this way, in the order of its true class list. The generator
    continues from cell to cell, so the split is theirs only for the whole of it.

    Raises:
        DataError: Cells differ in size, or have fewer than 10 frames.
    """
    generator = np.random.RandomState(2018)
    parts: dict[Split, list[Indices]] = {name: [] for name in SPLITS}
    for cell in sorted(_equal_cells(table, 1), key=lambda cell: int(cell[0])):  # in the order of the file
        if len(cell) < 10:
            raise DataError(f"{table.source} holds {len(cell)} frames a class and SNR; this split takes 10 or more")
        shuffled = cell.copy()
        generator.shuffle(shuffled)
        test = -(-len(cell) // 10)
        for split_name, part in zip(SPLITS, (*_held_out(shuffled[test:]), shuffled[:test]), strict=True):
            parts[split_name].append(part)
    return joined(parts)


def _held_out(train: Indices) -> tuple[Indices, Indices]:
    """Cut off the last tenth of the train frames, in their order; returns the rest and that tenth."""
    keep = len(train) - max(1, len(train) // 10)
    return train[:keep], train[keep:]


def _equal_cells(table: FrameTable, divisor: int) -> list[Indices]:
    """Frames of each cell, if all cells have the same number and the divisor divides it."""
    found = [(name, snr, cell) for name, snr, cell in cells(table)]
    first = len(found[0][2])
    for name, snr, cell in found:
        if len(cell) != first or len(cell) % divisor:
            raise DataError(
                f"{table.source} holds {len(cell)} frames of {name} at {snr} dB; this split takes equally many of "
                f"each class and SNR{f', a multiple of {divisor}' if divisor > 1 else ''}",
                "Split it with 'stratified'",
            )
    return [cell for _, _, cell in found]
