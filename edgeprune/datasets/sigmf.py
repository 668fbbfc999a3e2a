"""SigMF recordings, whose annotations name the modulation: one `.sigmf-meta` with its data, an archive, or a folder.

Frames are cut from annotations with a `core:label`; a key that ends in `snr` or `snr_db` holds their SNR. All data
types of the specification are supported: fixed-point samples are scaled to -1..1, real ones have Q = 0. Indices of
samples count from `core:offset`, the number of the first sample in the file (specification 1.0, section on the global
object). The zero of unsigned bytes is 127.5, the middle of 0 to 255, as in `complex_files`.
"""

import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.datasets._source import Streamed
from edgeprune.datasets._windows import Complex, Segment, cut
from edgeprune.errors import ConfigError, DataError, reason_of
from edgeprune.files import tars
from edgeprune.files.bounds import MalformedError, claimed, parse_json, refuse_special
from edgeprune.protocols import FrameSource
from edgeprune.records.frames import Reading

_META = ".sigmf-meta"
_SNR_KEYS = ("snr", "snr_db")
_MOST_CHANNELS = 1024
_MOST_HZ = 1e12
_MOST_DB = 2**15
_MOST_INDEX = 2**63  # of a sample, by the specification
_HALF_STEP = 0.5 / 2**7  # the package subtracts 128 from unsigned bytes


class SigMF(Streamed):
    """Reads recordings with the package `sigmf`, which checks the metadata and the hash of the samples."""

    suffixes = (_META, ".sigmf-data", ".sigmf", "/")

    def recognises(self, path: Path) -> bool:
        """Whether a folder holds recordings."""
        return not path.is_dir() or next(path.rglob(f"*{_META}"), None) is not None

    @contextmanager
    def open(self, path: Path, reading: Reading) -> Iterator[FrameSource]:
        """Open the frames of all annotations, recording by recording in the order of their names.

        Raises:
            ConfigError: The package `sigmf` is not installed.
            DataError: A recording is damaged, too short, has a wrong hash, or has no labels.
        """
        found = sorted(path.rglob(f"*{_META}")) if path.is_dir() else [path]
        segments: list[Segment] = []
        files: list[Path] = []
        notes: list[str] = []
        skipped: list[str] = []
        for file in found:
            try:
                recording = _Recording(file, len(files))
                segments += recording.segments()
            except DataError as error:
                if not reading.skip_bad_files:
                    raise
                skipped.append(str(error))
                continue
            files += recording.files
            notes += recording.notes
        if not segments:
            raise DataError(f"{path} holds no recording that can be read", skipped[0] if skipped else "")
        yield cut(segments, reading, path.name, tuple(files), notes, skipped)


class _Recording:
    """Recording with its annotations."""

    def __init__(self, path: Path, number: int) -> None:
        self._path, self._number = path, number
        self._meta = path.with_suffix(_META)
        archive = path.suffix == ".sigmf"
        self._check_metadata(_metadata_in(path) if archive else _content(self._meta))
        self._signal = _opened(path if archive else self._meta)
        data = self._signal.data_file
        if not archive and data is None:
            raise DataError(f"{self._meta} has no data file beside it", f"It should be {path.stem}.sigmf-data")
        self.files = [path] if archive else [self._meta, Path(data)]
        self._channels = int(self._signal.num_channels)
        if not 1 <= self._channels <= _MOST_CHANNELS:
            raise DataError(f"{self._meta}: core:num_channels is {self._channels}; allowed is 1 to {_MOST_CHANNELS}")
        datatype = str(self._signal.get_global_field("core:datatype"))
        self._complex = datatype.startswith("c")
        self._shift = complex(_HALF_STEP, _HALF_STEP * self._complex) if datatype in ("cu8", "ru8") else 0
        self._samples = int(self._signal.sample_count)
        if not archive:
            self._check_size(Path(data))
        self.notes = [] if self._complex else [f"{path.name} holds real samples; Q is 0"]

    def segments(self) -> list[Segment]:
        """Segments, one for each labeled annotation and channel."""
        rate, offset = self._rate(), self._offset()
        annotations = self._signal.get_annotations()
        found: list[Segment] = []
        for index, annotation in enumerate(annotations):
            if not annotation.get("core:label"):
                continue
            start = int(annotation["core:sample_start"]) - offset
            count = int(annotation.get("core:sample_count", self._samples - start))
            label = annotation["core:label"]
            if not isinstance(label, str):
                raise DataError(f"{self._meta}: annotation {index}: core:label {label!r:.40} is no text")
            if start < 0:
                raise DataError(
                    f"{self._meta}: annotation {index} begins at sample {start + offset}, "
                    f"the data at {offset}, their core:offset"
                )
            if start + count > self._samples or count < 0:
                raise DataError(
                    f"{self._meta}: annotation {index} ends at sample {start + offset + count}, "
                    f"the data end at {self._samples + offset}: they are short"
                )
            found += [
                Segment(
                    self._path.name,
                    self._number,
                    label,
                    _snr(annotation, f"{self._meta}: annotation {index}"),
                    start,
                    count,
                    rate,
                    lambda first, last, channel=channel: self._read(first, last, channel),  # type: ignore[misc]
                )
                for channel in range(self._channels)
            ]
        if not found:
            raise DataError(f"{self._meta}: none of {len(annotations)} annotations has a core:label")
        unnamed = len(annotations) - len(found) // self._channels
        if unnamed:
            self.notes.append(f"{self._path.name}: {unnamed} annotations without a core:label are left out")
        return found

    def _offset(self) -> int:
        """Index that the metadata give the first sample of the file."""
        offset = self._signal.get_global_field("core:offset", 0)
        if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < _MOST_INDEX:
            raise DataError(f"{self._meta}: core:offset is {offset!r:.40}; allowed is a number of samples from 0")
        return offset

    def _rate(self) -> float | None:
        rate = self._signal.get_global_field("core:sample_rate")
        if rate is None:
            return None
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= _MOST_HZ:
            raise DataError(f"{self._meta}: core:sample_rate is {rate!r:.40}; allowed is above 0 to {_MOST_HZ:g} Hz")
        return float(rate)

    def _read(self, first: int, last: int, channel: int) -> Complex:
        try:
            samples = self._signal.read_samples(first, last - first)
        except Exception as error:  # the package raises whatever numpy does
            raise DataError(f"{self._path}: samples {first} to {last} cannot be read: {reason_of(error)}") from error
        of_channel: Complex = np.asarray(samples if samples.ndim == 1 else samples[:, channel], dtype=np.complex64)
        return of_channel + np.complex64(self._shift) if self._shift else of_channel

    def _check_metadata(self, content: bytes) -> None:
        """Refuse metadata that are not a JSON object, or name a data file elsewhere."""
        with claimed(self._meta, "a SigMF metadata file", DataError):
            meta = parse_json(content)
        if not isinstance(meta, dict) or not isinstance(meta.get("global"), dict):
            raise DataError(f"{self._meta} is not a SigMF metadata file: it has no 'global' object")
        named = meta["global"].get("core:dataset")
        if named is not None and (not isinstance(named, str) or Path(named).name != named):
            raise DataError(f"{self._meta}: core:dataset {named!r:.60} is not the name of a file beside it")
        captures = meta.get("captures")
        if isinstance(captures, list) and any(
            isinstance(each, dict) and "core:header_bytes" in each for each in captures
        ):
            raise DataError(f"{self._meta}: captures with core:header_bytes are not read", "Write plain samples")

    def _check_size(self, data: Path) -> None:
        sample_bytes = self._signal.get_sample_size() * self._channels
        size = data.stat().st_size
        if size % sample_bytes:
            raise DataError(f"{data} is short: {size} bytes are not whole samples of {sample_bytes} bytes")


def _content(path: Path) -> bytes:
    with claimed(path, "a SigMF metadata file", DataError):
        refuse_special(path)
        return path.read_bytes()


def _metadata_in(archive: Path) -> bytes:
    """Read the metadata in an archive, which the package finds by the end of their name.

    Raises:
        DataError: The archive is compressed or damaged, contains anything but plain files, or has no metadata.
    """
    with claimed(archive, "a valid SigMF recording", DataError):
        tars.check(archive)
        with tarfile.open(archive, "r:") as members:
            found = [member for member in members if member.isfile() and member.name.endswith(_META)]
            if len(found) != 1:
                raise MalformedError(f"it holds {len(found)} metadata files; one is read")
            file = members.extractfile(found[0])
            assert file is not None  # it is a file
            return file.read()


def _opened(path: Path) -> Any:
    """Open a recording with the package, its metadata and hash checked."""
    try:
        import sigmf
    except ImportError as error:
        raise ConfigError("SigMF recordings need the package sigmf", "pip install 'edgeprune[sigmf]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is checked here
            signal = sigmf.fromfile(str(path))
            signal.validate()
    except Exception as error:  # a damaged file fails in whatever reads it first
        raise DataError(f"{path} is not a valid SigMF recording: {reason_of(error)}") from error
    return signal


def _snr(annotation: dict[str, Any], place: str) -> int | None:
    for key, value in annotation.items():
        if key.rsplit(":", 1)[-1].lower() in _SNR_KEYS:
            if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST_DB < value < _MOST_DB:
                raise DataError(f"{place}: {key} is {value!r:.40}, not a number of dB")
            return round(value)
    return None


dataset = SigMF()
