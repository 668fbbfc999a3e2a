"""Timing of networks that keep some of a model's units, in turns with the unpruned one, on this machine.

Networks of very different latency are compared by the fast end of each round and not by its median: on a busy machine,
a long inference is interrupted more often than a short one, which would bias the ratio of the medians. A network that
is loaded again lies elsewhere in memory, and may be a third slower or faster for as long as it is loaded. So each pair
is loaded several times, and the median timing is used.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgeprune import registry
from edgeprune.bench import machine, protocol, samples, stats
from edgeprune.export import export
from edgeprune.files.store import RunFolder, canonical_sha256, file_sha256
from edgeprune.files.whole import begun_folder
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.edits import apply_edits
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.constraints import Timing
from edgeprune.records.pruning import LayerChain
from edgeprune.targets import Precision, Target

_CHECKED_FRAMES = 16
# Short rounds: the load of the machine changes within a second, and must affect both networks of a pair alike.
_ROUNDS, _ROUND_MS, _WARMUP_MS = 12, 10.0, 100.0
_SESSIONS = 3
_PLACES = tuple(f"session-{number}" for number in range(1, _SESSIONS + 1))
_FAST = 0.1


class Stopwatch:
    """Timer of networks in the form in which they are delivered: exported, simplified, run by the target's runtime.

    Every timing is kept in a folder and reused. Use it in a `with` block.

    Args:
        model: The unpruned network.
        chain: Units of the network.
        frames: Raw frames (N, channels, length), at least one batch of them.
        target: Target to time for.
        precision: One of the target's precisions.
        batch: Frames in one inference.
        folder: Folder for records and raw samples.
    """

    def __init__(
        self,
        model: Checkpoint,
        chain: LayerChain,
        frames: npt.NDArray[np.float32],
        target: Target,
        precision: Precision,
        batch: int,
        folder: Path,
    ) -> None:
        self.model, self.chain, self.frames = model, chain, frames
        self.target, self.precision, self.batch, self.folder = target, precision, batch, folder

    def __enter__(self) -> "Stopwatch":
        self._opened = contextlib.ExitStack()
        self._exports = self._opened.enter_context(begun_folder(self.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def time(self, kept: frozenset[int], progress: Progress) -> Timing:
        """Time the network that keeps these of its droppable units.

        Raises:
            ModelError: The network cannot run without the others, or cannot be exported.
            DeviceError: The clock returned something that is not a time.
        """
        units = tuple(unit.index for unit in self.chain.units if not unit.droppable or unit.index in kept)
        name = f"kept-{canonical_sha256(units)[:12]}"
        inputs = {
            "model": self.model.sha256,
            "kept": canonical_sha256(units),
            "target": canonical_sha256(self.target.model_dump()),
            "how": canonical_sha256([self.precision, self.batch, _SESSIONS, _ROUNDS, _ROUND_MS]),
            "machine": canonical_sha256(machine.identity()),
        }
        left = tuple(f"{name}/{place}/samples-{role}.npz" for place in _PLACES for role in ("baseline", "pruned"))
        return RunFolder(self.folder).reuse_or_make(
            name, Timing, inputs, left, lambda: self._timed(units, self.folder / name, progress)
        )

    def _timed(self, units: tuple[int, ...], out_dir: Path, progress: Progress) -> Timing:
        with progress.track(f"timing {len(units)} of {len(self.chain.units)} units", 3) as advance:
            unpruned = self._exported(tuple(range(len(self.chain.units))))
            advance(1, "")
            pruned = self._exported(units)
            advance(1, "exported")
            bench = self.target.bench
            settings = protocol.BenchSettings(
                precision=self.precision,
                batch=self.batch,
                threads=self.target.threads,
                rounds=min(bench.rounds, _ROUNDS),
                round_ms=min(bench.round_ms, _ROUND_MS),
                warmup_ms=min(bench.warmup_ms, _WARMUP_MS),
            )
            timings = [self._session(units, unpruned, pruned, settings, out_dir / place) for place in _PLACES]
            if pruned != unpruned:  # a network may have a hundred megabytes, and there are many
                pruned.unlink()
            middle = sorted(timings, key=lambda timing: timing.ratio)[_SESSIONS // 2]
            advance(1, f"{middle.median_ms:.3f} ms")
        lows, highs = zip(*(timing.ratio_ci95 for timing in timings), strict=True)
        return replace(middle, ratio_ci95=(min(lows), max(highs)))

    def _session(
        self, units: tuple[int, ...], unpruned: Path, pruned: Path, settings: protocol.BenchSettings, place: Path
    ) -> Timing:
        """Load both networks anew and measure them in turns."""
        runtime = registry.get("runtimes", self.target.runtime)
        report = protocol.measure(unpruned, pruned, self.frames, runtime, settings, place, NullProgress())
        assert report.pruned is not None
        found = _ratio(place / report.pruned.samples_path, place / report.baseline.samples_path)
        return Timing(
            kept=units,
            onnx_sha256=file_sha256(pruned),
            median_ms=report.pruned.median_ms,
            baseline_ms=report.baseline.median_ms,
            ratio=found.ratio,
            ratio_ci95=found.ci95,
            samples_path=(place / report.pruned.samples_path).relative_to(self.folder.parent).as_posix(),
        )

    def _exported(self, units: tuple[int, ...]) -> Path:
        """Export the network that keeps these units, without training, as ONNX."""
        shape = self.model.input
        edits = [unit.edit for unit in self.chain.units if unit.index not in units and unit.edit is not None]
        path = self._exports / f"{canonical_sha256(units)[:12]}.onnx"
        if not path.exists():
            network = apply_edits(self.model.model, edits, (shape.channels, shape.length)).eval()
            few = self.frames[:_CHECKED_FRAMES]
            export(network, shape, few, self.target, path, {}, NullProgress(), batch_size=self.batch)
        return path


def _ratio(pruned: Path, unpruned: Path) -> stats.Speedup:
    """Compute the ratio of two networks' latencies, by the fast end of each round, with its interval."""
    ends = [[float(np.quantile(times, _FAST)) for times in samples.read(path)[0]] for path in (pruned, unpruned)]
    return stats.compare(*ends)
