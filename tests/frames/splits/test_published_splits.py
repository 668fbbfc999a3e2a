"""Each published split against the published procedure, written down as its authors run it on the whole file."""

import hashlib

import numpy as np
import pytest

from edgeprune.errors import ConfigError, DataError
from edgeprune.frames.splits import METHODS, split_sha256, split_table
from edgeprune.records.frames import FrameTable

DEFAULT_2016 = "7d6b9bc1f9de1945995b7b219c96af579d759169e837f531b5a0c58c6f5244ce"


def sorted_file(classes, snrs, per_cell, source="file"):
    """A table in the order of sorted class names and SNRs, as RadioML 2016 pickles are read."""
    labels = np.repeat(np.arange(classes), snrs * per_cell)
    snr = np.tile(np.repeat(np.arange(snrs) * 2 - 20, per_cell), classes)
    names = tuple(f"class {number:02}" for number in range(classes))
    return FrameTable(labels, snr, names, None, source, (2, 4))


@pytest.mark.parametrize(("size", "train", "val"), [(1000, 600, 200), (6000, 3600, 1200)])
def test_amr_benchmark_is_that_of_dataset2016_py(size, train, val):
    np.random.seed(2016)
    train_idx, val_idx = [], []
    for a in range(6):
        train_idx += list(np.random.choice(range(a * size, (a + 1) * size), size=train, replace=False))
        left = list(set(range(a * size, (a + 1) * size)) - set(train_idx))
        val_idx += list(np.random.choice(left, size=val, replace=False))
    parts = split_table(sorted_file(2, 3, size), seed=5, method="amr-benchmark-2016")
    assert parts["train"].tolist() == sorted(train_idx)
    assert parts["validation"].tolist() == sorted(val_idx)
    assert parts["test"].tolist() == sorted(set(range(6 * size)) - set(train_idx) - set(val_idx))


def test_itu_2018_is_that_of_the_challenge():
    classes, snrs, size = 3, 2, 4096
    np.random.seed(2018)
    test = []
    for mod in range(classes):
        for snr in range(snrs):
            start = snrs * size * mod + size * snr
            indices = list(range(start, start + size))
            np.random.shuffle(indices)
            test += indices[: int(np.ceil(0.1 * size))]
    table = sorted_file(classes, snrs, size)
    parts = split_table(table, seed=5, method="itu-2018")
    assert parts["test"].tolist() == sorted(test)
    # names sort otherwise than the file does: 16APSK is before OOK
    renamed = FrameTable((2 - table.labels), table.snrs, table.classes, None, "file", (2, 4))
    assert split_table(renamed, 5, "itu-2018")["test"].tolist() == sorted(test)
    assert len(parts["train"]) + len(parts["validation"]) == 6 * 3686
    assert len(parts["validation"]) == 6 * 368


@pytest.mark.parametrize(("size", "train", "test"), [(1000, 800, (800, 1000)), (4096, 3200, (3200, 4000))])
def test_the_authors_take_the_first_and_the_next_frames_of_each_cell(size, train, test):
    parts = split_table(sorted_file(2, 2, size), seed=5, method="authors-800-200")
    for cell in range(4):
        inside = {
            name: part[(part >= cell * size) & (part < (cell + 1) * size)] - cell * size for name, part in parts.items()
        }
        assert inside["test"].tolist() == list(range(*test))
        assert sorted([*inside["train"], *inside["validation"]]) == list(range(train))
        assert len(inside["validation"]) == train // 10


@pytest.mark.parametrize("method", ["amr-benchmark-2016", "itu-2018"])
def test_cells_of_different_sizes_are_named(method):
    table = sorted_file(2, 2, 20)
    short = FrameTable(table.labels[:-5], table.snrs[:-5], table.classes, None, "file.pkl", (2, 4))
    with pytest.raises(
        DataError, match=r"file\.pkl holds 15 frames of class 01 at -18 dB; this split takes equally many"
    ):
        split_table(short, 0, method)


def test_an_unknown_split_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"no split is named 'itu2018'\. Did you mean 'itu-2018'"):
        split_table(sorted_file(2, 2, 20), 0, "itu2018")


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"contiguous", "groups", "recordings", "spans"}))
def test_every_split_is_disjoint(method):
    parts = split_table(sorted_file(2, 2, 20), 0, method)
    everything = np.concatenate(list(parts.values()))
    assert len(set(everything)) == len(everything) == 80
    assert all(part.tolist() == sorted(part) for part in parts.values())


def test_the_hash_is_of_names_and_sorted_indices():
    parts = {"train": np.array([3, 0]), "validation": np.array([1]), "test": np.array([2])}
    by_hand = hashlib.sha256()
    for name, indices in (("train", (0, 3)), ("validation", (1,)), ("test", (2,))):
        by_hand.update(f"{name} {len(indices)} ".encode())
        by_hand.update(b"".join(index.to_bytes(8, "little") for index in indices))
    assert split_sha256(parts) == by_hand.hexdigest()
    moved = {"train": np.array([0, 1]), "validation": np.array([3]), "test": np.array([2])}
    assert split_sha256(moved) != split_sha256(parts)


def test_the_default_is_what_it_was(frames):
    """The seeded split that released models were trained on, of the fixture, from before there were others."""
    from edgeprune.frames.labelled import split_frames

    assert split_sha256(split_frames(frames, 2016)) == DEFAULT_2016
