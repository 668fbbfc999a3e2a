"""RadioML 2018.01A: an HDF5 file of X (N, 1024, 2), Y one-hot (N, 24) and Z (N, 1), the SNR in dB.

The order of the 24 columns is not that of the `classes.txt` beside the file, which is wrong
(github.com/radioML/dataset, issue 25), but the one below.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeprune.datasets import _hdf5
from edgeprune.datasets._source import Source, Streamed
from edgeprune.errors import DataError
from edgeprune.frames.labelled import checked_table
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Reading

CLASSES = (
    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
    *("16APSK", "32APSK", "64APSK", "128APSK", "16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
    *("AM-SSB-WC", "AM-SSB-SC", "AM-DSB-WC", "AM-DSB-SC", "FM", "GMSK", "OQPSK"),
)


class RadioML2018(Streamed):
    """Reads `GOLD_XYZ_OSC.0001_1024.hdf5` and files of the same layout, a few frames at a time."""

    suffixes = _hdf5.SUFFIXES

    def recognises(self, path: Path) -> bool:
        """Whether the file has any of X, Y and Z."""
        return bool(_hdf5.keys(path) & {"X", "Y", "Z"})

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:  # noqa: ARG002 (frames are cut already)
        """Open the frames in the order of the file, which is sorted by class and SNR.

        Raises:
            DataError: Truncated, a missing array, or a row of Y that is not one-hot.
        """
        with _hdf5.opened(path) as file:
            samples, classes, snrs = _hdf5.arrays(file, path, "X", "Y", "Z")
            _hdf5.same_length(path, samples, classes, snrs)
            if samples.ndim != 3 or samples.shape[2] != 2:
                raise DataError(f"{path}: X has shape {samples.shape}, not (N, L, 2)")
            labels = _hdf5.one_hot(classes, path, len(CLASSES))
            table = checked_table(
                len(samples),
                (2, samples.shape[1]),
                CLASSES,
                labels,
                _hdf5.rows(snrs, path).reshape(len(snrs), -1)[:, 0],
                source=path.name,
            )
            yield Source(table, (path,), _hdf5.block_of(samples, path, lambda block: block.swapaxes(1, 2)))


dataset = RadioML2018()
