"""Cut a small set of frames out of a large one, keeping the large one's split, with a manifest.

    python examples/make_subset.py gr2016a_high.pkl calib_data/gr2016a-high --per-cell 100 20 40

Every (modulation, SNR) cell gives the same number of train, validation and test frames. A frame keeps its split, so a
model trained on the whole set's train split has never seen the subset's test frames.
"""

import argparse
from pathlib import Path

import numpy as np

from edgeprune import datasets
from edgeprune.files.store import file_sha256, write_json
from edgeprune.files.whole import replacing
from edgeprune.frames.labelled import split_frames
from edgeprune.records.frames import Frames
from edgeprune.records.names import SPLITS
from edgeprune.tasks.data.reading import SPLIT_SEED


def chosen_frames(frames: Frames, per_cell: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the frames of the subset, and the split of each, evenly over the cells."""
    parts = split_frames(frames, SPLIT_SEED)
    indices, splits = [], []
    for code, (name, count) in enumerate(zip(SPLITS, per_cell, strict=True)):
        labels, snrs = frames.labels[parts[name]], frames.snrs[parts[name]]
        for label, snr in np.unique(np.stack([labels, snrs], axis=1), axis=0):
            cell = parts[name][(labels == label) & (snrs == snr)]
            generator = np.random.default_rng([SPLIT_SEED, code, int(label), int(snr) & 0xFFFFFFFF])
            indices.append(np.sort(generator.choice(cell, count, replace=False)))
            splits.append(np.full(count, code, dtype=np.int8))
    return np.concatenate(indices), np.concatenate(splits)


def main() -> None:
    """Write frames.npz and manifest.json into the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-cell", type=int, nargs=3, default=[100, 20, 40], metavar=SPLITS)
    arguments = parser.parse_args()
    frames = datasets.read(arguments.source)
    indices, split = chosen_frames(frames, arguments.per_cell)
    file = arguments.folder / "frames.npz"
    with replacing(file) as stream:
        np.savez_compressed(
            stream,
            iq=frames.iq[indices],
            labels=frames.labels[indices],
            classes=np.array(frames.classes),
            snrs=frames.snrs[indices].astype(np.int16),
            split=split,
        )
    manifest = {
        "name": arguments.folder.name,
        "file": file.name,
        "sha256": file_sha256(file),
        "size_bytes": file.stat().st_size,
        "source": {"file": frames.source, "sha256": frames.sha256, "frames": len(frames), "split_seed": SPLIT_SEED},
        "classes": list(frames.classes),
        "snrs_db": [int(snr) for snr in np.unique(frames.snrs)],
        "length": frames.iq.shape[2],
        "frames": {name: int((split == code).sum()) for code, name in enumerate(SPLITS)},
        "frames_per_cell": dict(zip(SPLITS, arguments.per_cell, strict=True)),
        "origin": "GNU Radio 3.10 modulators and channels.dynamic_channel_model in the layout of RadioML 2016.10A",
        "dependence": "The frames of a cell were cut one after another from one run; neighbours share its message and "
        "nearly one state of the channel. The split was drawn frame by frame, so test frames have neighbours in train.",
        "licence": "Apache-2.0",
    }
    write_json(arguments.folder / "manifest.json", manifest)


if __name__ == "__main__":
    main()
