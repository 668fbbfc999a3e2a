"""Accuracy, export and latency."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeprune.api.model import Data, Model, embedding, parts_of, require_one_of
from edgeprune.api.running import Progress, computed_on, host_of, target_of, told
from edgeprune.api.tables import Table, of_accuracy, of_latency
from edgeprune.bench import samples
from edgeprune.errors import ConfigError
from edgeprune.export import Method
from edgeprune.files.run_folder import working_in
from edgeprune.files.store import to_plain, write_json
from edgeprune.files.whole import writable
from edgeprune.records.names import SPLITS, Role, Split
from edgeprune.records.pruning import OnnxModel
from edgeprune.records.results import Accuracy, BenchReport
from edgeprune.targets import Precision, Target
from edgeprune.tasks import evaluate as evaluating
from edgeprune.tasks import export as exporting
from edgeprune.tasks.bench.files import BenchChoices, bench_files
from edgeprune.tasks.data.reading import ReadOverrides
from edgeprune.tasks.device.connect import Host
from edgeprune.tasks.device.pack import DeviceOptions
from edgeprune.tasks.device.run import bench_on_device
from edgeprune.tasks.export import precision_of
from edgeprune.tasks.precision import PrecisionOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROLES: tuple[Role, Role] = ("baseline", "pruned")


@dataclass(frozen=True, repr=False)
class Evaluation(Accuracy):
    """Accuracy of one network on one split: `top1` with its 95 % interval `ci95`, `by_snr`, `by_class`, `confusion`.

    Attributes:
        classes: Names of the classes, in the order of `confusion`.
    """

    classes: tuple[str, ...] = ()

    def plot(self) -> "Figure":
        """Draw accuracy against SNR with its intervals, beside the confusion matrix, as a Matplotlib figure."""
        from edgeprune.api.figures import figure
        from edgeprune.report.plots import accuracy as accuracy_plots
        from edgeprune.report.plots import canvas

        matrix = accuracy_plots.confusion(self.confusion, self.classes).drawing

        def paint(whole: "Figure") -> None:
            if not self.by_snr:
                matrix.paint(whole)
                return
            left, right = whole.subfigures(1, 2, squeeze=False).flat
            accuracy_plots.paint_by_snr(left.subplots(), [(self.by_snr, canvas.PRUNED, "o", "")])
            matrix.paint(right)

        return figure((12.8, 5.4) if self.by_snr else (6.4, 5.4), paint)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Make the table of accuracy at each SNR, or for each class if no SNR is known."""
        return of_accuracy(self, "SNR in dB" if self.by_snr else "class")


@dataclass(frozen=True, repr=False)
class OnnxFile(OnnxModel):
    """An exported network that was checked against torch; `file` is its path."""

    file: Path = Path()

    def __repr__(self) -> str:
        return (
            f"{self.file}: {self.precision}, opset {self.opset}, {self.nodes} operators, {self.size_bytes:,} bytes, "
            f"simplified by {self.simplifier}; the same class as PyTorch for {self.same_top1:.1%} of "
            f"{self.checked_frames} frames"
        )


@dataclass(frozen=True, repr=False)
class Latency(BenchReport):
    """Latency of one or two networks: `baseline` and `pruned`, `speedup` with `speedup_ci95`, `warnings`.

    Attributes:
        names: Names of the networks.
        times_ms: Every single time of each network, in milliseconds.
    """

    names: tuple[str, ...] = ()
    times_ms: tuple[npt.NDArray[np.float64], ...] = ()

    def plot(self) -> "Figure":
        """Draw every single time and the medians; a Matplotlib figure."""
        from edgeprune.api.figures import figure
        from edgeprune.report.plots import latency as latency_plots

        second = self.times_ms[1] if len(self.times_ms) > 1 else None
        names = (self.names[0], self.names[-1])
        drawing = latency_plots.distribution(self, self.times_ms[0], second, names).drawing
        return figure(drawing.size, drawing.paint)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Latencies, under a sentence on the speed-up that claims no more than was measured."""
        return of_latency(self, self.names)


def evaluate(
    model: Model | OnnxFile | str | Path,
    data: Data | None = None,
    *,
    split: Split = "test",
    compute: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure the accuracy of a network, overall and at each SNR, with 95 % intervals.

    Args:
        model: A model, or an exported file (by ONNX Runtime).
        data: Labeled frames or their file; by default those the model was pruned or trained with. They are split as in
            the model's training, the same way each time.
        split: 'test', 'validation' or 'train'.
        compute: Device on which networks run: 'auto', 'cpu', 'cuda' or 'cuda:N'; by default EDGEPRUNE_COMPUTE, else
            'auto'.
        progress: Reporter of long work; by default the logger `edgeprune`.

    Raises:
        ConfigError: The file does not exist, or no data are known for the model.
        DataError: The frames do not fit the model.

    Example:
        >>> ep.evaluate(model, data).by_snr["10"].ci95
    """
    require_one_of("split", split, SPLITS)
    if isinstance(model, Model):
        parts, _ = parts_of(model, data)
        found = evaluating.measured(model.checkpoint, parts[split], split, told(progress), computed_on(compute))
        return Evaluation(**vars(found), classes=model.classes)
    path = _path(model)
    if path.suffix != ".onnx":
        raise ConfigError(f"`model` is {path}, not a model or an .onnx file", "Read a model file with ep.load")
    if data is None:
        raise ConfigError(f"{path} does not say what it was trained on", "Give `data`")
    source = Path(data) if isinstance(data, str) else data
    found, _ = evaluating.evaluate_onnx(path, source, ReadOverrides(), split, told(progress))
    return Evaluation(**vars(found), classes=tuple(found.by_class))


def export(
    model: Model,
    *,
    target: str | Path | Target,
    data: Data | None = None,
    out: str | Path | None = None,
    precision: Precision | None = None,
    batch: int = 1,
    calib_method: Method = "percentile",
    calib_data: str | Path | None = None,
    max_accuracy_drop: float | None = None,
    qat: int | None = None,
    compute: str | None = None,
    progress: Progress | None = None,
) -> OnnxFile:
    """Write a network as ONNX for a target, simplified and checked against PyTorch on real frames.

    The file takes raw frames (N, channels, length) float32 as `iq`; the normalization is in it.

    Args:
        model: The network; not changed.
        target: A target's name ('host-cpu', 'jetson-orin', …), its `.toml` file, or a `Target`.
        data: Frames to check the export on (validation) and to calibrate int8 on (train); by default those the model
            was pruned or trained with.
        out: The file to write; by default NAME-TARGET.onnx in the current folder.
        precision: 'fp32', 'fp16' or 'int8'; by default the target's first.
        batch: Frames in one inference, for targets of static batch.
        calib_method: Method that finds the range of an activation for int8: 'minmax', 'percentile' or 'entropy'.
        calib_data: File or folder of calibration frames for int8; by default frames of the train split.
        max_accuracy_drop: Maximum loss of top-1 to the precision on the validation split, 0 to 1; int8 leaves its most
            sensitive layers out to hold it. The actual loss is in `validation_drop`.
        qat: Epochs of quantization-aware training.
        compute: Device on which that training runs, as for `finetune`.
        progress: Reporter of long work; by default the logger `edgeprune`.

    Raises:
        ConfigError: The target does not run the precision, or `out` cannot be written.
        DataError: The frames do not fit the model.
        ModelError: The network cannot be exported, or the outputs of the export differ from torch's.

    Example:
        >>> onnx = ep.export(small, target="host-cpu", out="small.onnx")
    """
    goal = target_of(target)
    calibration = None if calib_data is None else Path(calib_data)
    options = PrecisionOptions(
        precision_of(goal, precision), calib_method, calibration, max_accuracy_drop, qat_epochs=qat
    )
    options.check()
    file = Path(out) if out is not None else Path(f"{model.name}-{goal.name}.onnx")
    writable(file)
    parts, _ = parts_of(model, data)
    record = model.checkpoint if qat is None else embedding(model)  # training for int8 leaves a model file
    written = exporting.export_lowered(record, parts, goal, file, options, batch, told(progress), computed_on(compute))
    return OnnxFile(**vars(written), file=file)


def bench(
    models: Sequence[Model | OnnxFile | str | Path] | Model | OnnxFile | str | Path,
    *,
    target: str | Path | Target,
    data: Data | None = None,
    batch: int = 1,
    precision: Precision | None = None,
    threads: int | None = None,
    rounds: int | None = None,
    round_ms: float | None = None,
    processes: int | None = None,
    device: str | None = None,
    ssh_config: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Latency:
    """Measure the latency of one network, or of two in interleaved rounds, and keep every sample.

    Args:
        models: One or two models, which are first exported for the target, or exported files.
        target: As for `export`.
        data: Frames to check the exports of models on; by default those that each, or the other, was pruned or trained
            with.
        batch: Frames in one inference.
        precision: Precision of the files; by default the target's first.
        threads: Threads of one inference; this and the next three are the target's by default.
        rounds: Rounds of each network, at least 6.
        round_ms: Length of a round.
        processes: Processes that share the rounds; each loads both networks anew.
        device: An ssh destination, only for targets that are devices; 'replay:BOARD' plays a recorded board.
        ssh_config: File for `ssh -F`.
        out: Folder for bench.json, the samples and the exports; by default they are only in the result.
        progress: Reporter of long work; by default the logger `edgeprune`.

    Raises:
        ConfigError: There are not one or two networks, there are too few rounds, or a device is missing.
        ModelError: A network cannot be exported or run.
        DeviceError: The device cannot be reached or fails.

    Example:
        >>> ep.bench([model, small], target="host-cpu").speedup_ci95
    """
    given = [models] if isinstance(models, Model | OnnxFile | str | Path) else list(models)
    if not 1 <= len(given) <= len(_ROLES):
        raise ConfigError(f"`models` are {len(given)}", "Give one, or two to compare")
    goal, choices = target_of(target), BenchChoices(batch, threads, rounds, round_ms, processes)
    wanted, host = precision_of(goal, precision), _host(goal, device, ssh_config)
    used = [each.data for each in given if isinstance(each, Model) and each.data is not None]
    known = data if data is not None else next(iter(used), None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeprune-")) if out is None else out)
        stack.enter_context(working_in(folder, known=("bench.json",)))
        files: dict[Role, Path] = {}
        for role, each in zip(_ROLES, given, strict=False):
            files[role] = folder / f"{role}.onnx"
            if isinstance(each, Model):
                frames = each.data if data is None and each.data is not None else known
                export(
                    each, target=goal, data=frames, out=files[role], precision=wanted, batch=batch, progress=progress
                )
            else:
                files[role] = _path(each)
        if host is None:
            found = bench_files(files["baseline"], files.get("pruned"), goal, choices, folder, told(progress), wanted)
        else:
            options = DeviceOptions(batch, threads, rounds, round_ms, processes)
            found = bench_on_device(host, files, goal, wanted, options, folder, told(progress)).bench
        write_json(folder / "bench.json", to_plain(found))
        summaries = [summary for summary in (found.baseline, found.pruned) if summary]
        times = tuple(np.concatenate(samples.read(folder / each.samples_path)[0]) for each in summaries)
    return Latency(**vars(found), names=_names(given), times_ms=times)


def _names(given: Sequence[Model | OnnxFile | str | Path]) -> tuple[str, ...]:
    """Name the networks, with different names for two that share one."""
    names = [each.name if isinstance(each, Model) else _path(each).stem for each in given]
    return tuple(f"{name} ({place})" if names.count(name) > 1 else name for place, name in enumerate(names, 1))


def _path(exported: OnnxFile | str | Path) -> Path:
    return exported.file if isinstance(exported, OnnxFile) else Path(exported)


def _host(target: Target, device: str | None, ssh_config: str | Path | None) -> Host | None:
    """Find the device to measure on; only targets that are devices need one."""
    if target.on_device != (device is not None):
        found = "is a device" if target.on_device else "is measured on this machine"
        raise ConfigError(f"{target.name} {found}", "Give `device` for devices, and for them alone")
    return host_of(device, ssh_config)
