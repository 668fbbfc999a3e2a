"""`data info`: describes a data set."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeprune import datasets
from edgeprune.datasets.frames_hdf5 import provenance
from edgeprune.files.store import to_plain
from edgeprune.frames.duplicates import refuse_shared_prints
from edgeprune.frames.splits import AUTO, split_table
from edgeprune.protocols import Progress
from edgeprune.records.frames import FrameTable, Reading
from edgeprune.records.names import SPLITS
from edgeprune.tasks.data.known import known_set
from edgeprune.tasks.data.survey import faults, survey


def describe(path: Path, reading: Reading, progress: Progress) -> dict[str, Any]:
    """Describe a data set in plain values: classes, SNRs, counts, shape, scale and faults, where they apply.

    Raises:
        ConfigError: The file does not exist.
        DataError: The file cannot be read, a class is silent, or its own split has a frame in two parts.
    """
    form = datasets.format_of(path)
    with datasets.opened(path, reading) as source:
        table = source.table
        found = survey(source, progress)
        if table.split is not None:
            refuse_shared_prints(found.fingerprints, split_table(table, 0, AUTO), table.source)
        known = known_set(table, form)
        about: dict[str, Any] = {
            "path": str(path),
            "format": form,
            "sha256": source.sha256(),
            "frames": len(table),
            "shape": list(table.shape),
            "classes": list(table.classes),
            "counts": _counts(table),
            "scale": to_plain(found.scale),
            "rms_by_class": found.rms_by_class,
            "known_faults": list(known.faults) if known else [],
            "found_faults": faults(table, found),
            "notes": list(source.notes),
            "skipped": list(source.skipped),
        }
        if known:
            about |= {"set": known.name, "licence": known.licence}
        if table.snrs is not None:
            about["snrs_db"] = [int(snr) for snr in np.unique(table.snrs)]
        if table.split is not None:
            about["split"] = {name: int((table.split == index).sum()) for index, name in enumerate(SPLITS)}
        if found.order is not None:
            about["order"] = to_plain(found.order)
        if table.groups is not None:
            about["groups"] = len(np.unique(table.groups))
        if table.recordings is not None:
            about["recordings"] = len(np.unique(table.recordings))
        if form == "frames-hdf5" and (origin := provenance(path)):
            about["provenance"] = origin
        return about


def _counts(table: FrameTable) -> dict[str, dict[str, int]]:
    """Count the frames of each class, in total and at each SNR."""
    counts: dict[str, dict[str, int]] = {}
    for label, name in enumerate(table.classes):
        of_class = table.labels == label
        counts[name] = {"all": int(of_class.sum())}
        if table.snrs is not None:
            snrs, numbers = np.unique(table.snrs[of_class], return_counts=True)
            counts[name] |= {str(snr): int(number) for snr, number in zip(snrs, numbers, strict=True)}
    return counts
