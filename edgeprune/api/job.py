"""The whole job, and the gate that its report is held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeprune.api.model import Data, Model, embedding, parts_of
from edgeprune.api.running import Progress, RecordedProgress, computed_on, host_of, target_of, told
from edgeprune.api.tables import Table
from edgeprune.export import Method
from edgeprune.gate import budget as budgets
from edgeprune.gate import check as gate
from edgeprune.gate import evidence, verdict
from edgeprune.gate import noise as noises
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.checkpoint import weights_sha256
from edgeprune.pipeline import Settings, run_in
from edgeprune.records.names import CRITERION, Bridge
from edgeprune.report.folder import JSON_NAME
from edgeprune.report.pages.requirements import sentence, unmet
from edgeprune.report.pages.tables import comparison
from edgeprune.report.schema.json import parse
from edgeprune.report.schema.schema import Report
from edgeprune.targets import Precision, Target
from edgeprune.tasks import plan as planning
from edgeprune.tasks.plan import PlanSettings
from edgeprune.train.finetune import Recipe


@dataclass(frozen=True, repr=False)
class RunReport:
    """Result of a run.

    Attributes:
        report: Content of report.json, field by field: see docs/report.md.
        folder: The run folder, with report.html, the models and the raw samples.
    """

    report: Report
    folder: Path

    @property
    def verdict(self) -> str:
        """Speed-up and loss of accuracy in one sentence that claims no more than was measured."""
        return sentence(self.report)

    @property
    def broken(self) -> tuple[str, ...]:
        """Requirements that do not hold, one sentence each."""
        return tuple(unmet(self.report))

    @property
    def model(self) -> Model:
        """The pruned network, read from the run folder.

        Raises:
            ConfigError: The file is gone, or is a pickle, which needs `ep.load(..., trust_pickle=True)`.
        """
        record = checkpoints.load(self.folder / self.report.artifacts.pruned_checkpoint.path)
        return Model(record, weights=weights_sha256(record.model))

    def __repr__(self) -> str:
        return f"{self.table().text()}\n{self.folder / 'report.html'}"

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Make the table of before and after, under the verdict."""
        rows = [(row.label, row.before, row.after, row.change) for row in comparison(self.report)]
        return Table(self.verdict, ("", "unpruned", "pruned", "change"), rows, ("unpruned", "pruned", "change"))


@dataclass(frozen=True, repr=False)
class GateVerdict(verdict.Verdict):
    """Verdict of the latency gate: `outcome` is 'pass', 'fail' or 'inconclusive'. It is true only for 'pass'."""

    def __bool__(self) -> bool:
        return self.outcome == "pass"

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Make the table of all checks with their outcomes."""
        rows = [(check.outcome, label, check.name, check.text) for label, check in self.all_checks()]
        return Table(self.headline(), ("", "report", "check", "found"), rows)


def prune_and_export(
    model: Model,
    data: Data | None = None,
    *,
    target: str | Path | Target,
    out: str | Path | None = None,
    keep_ratio: float | None = None,
    keep: int | None = None,
    latency_budget: float | None = None,
    max_accuracy_drop: float | None = None,
    segments: int | Literal["auto"] = "auto",
    metric: str = PlanSettings.metric,
    criterion: str = CRITERION,
    bridge: Bridge = "least-squares",
    then_width: float | None = None,
    width_method: str = "l1",
    epochs: int = 20,
    learning_rate: float = 0.1,
    batch_size: int = 256,
    distill: bool = True,
    mix: float = 0.0,
    frames: int | None = None,
    precision: Precision | Literal["auto"] | None = None,
    calib_method: Method = "percentile",
    calib_data: str | Path | None = None,
    qat: int | None = None,
    batch: int = 1,
    device: str | None = None,
    ssh_config: str | Path | None = None,
    accept_baseline: bool = False,
    seed: int = 0,
    fresh: bool = False,
    compute: str | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Prune a network, fine-tune it, export it for a target, measure both, and write a report.

    Called again with the same `out`, it continues where it stopped.

    Args:
        model: The unpruned network; not changed.
        data: Labeled frames or their file; by default the data of the model's training, or the shipped set that fits.
        target: A target's name ('host-cpu', 'jetson-orin', …), its `.toml` file, or a `Target`.
        out: The run folder; by default runs/MODEL-TARGET.
        keep_ratio: Share of the droppable units to keep; by default 0.33.
        keep: Total number of units to keep, instead.
        latency_budget: Maximum median latency on the target in ms, instead.
        max_accuracy_drop: Maximum loss of top-1 on the validation split, 0 to 1. Alone, it finds the fewest units
            within it. With another of these four, it is only checked, and `broken` says if it does not hold.
        segments: Number of segments, as for `plan`.
        metric: Similarity metric of the units, as for `plan`.
        criterion: Criterion that scores the units, as for `plan`.
        bridge: Start of layers rebuilt for another width, as for `prune`.
        then_width: After the layers, remove channels until this share of their MACs is left.
        width_method: Method that chooses those channels.
        epochs: Epochs of fine-tuning; this and the next five are as for `finetune`.
        learning_rate: Peak of the schedule.
        batch_size: Frames a step.
        distill: Learn from the unpruned network too.
        mix: Fraction of each batch mixed with a second signal.
        frames: Maximum number of frames to train on.
        precision: As for `export`; 'auto' measures each of the target's and chooses the fastest accurate enough.
        calib_method: Method that finds ranges for int8; this and the next three are as for `export`.
        calib_data: Calibration frames for int8.
        qat: Epochs of quantization-aware training.
        batch: Frames in one inference.
        device: As for `bench`; without one, a target that is a device gets a bundle in the run folder.
        ssh_config: File for `ssh -F`.
        accept_baseline: Continue with an unpruned network that is near chance.
        seed: Random seed.
        fresh: Start over instead of reusing finished stages.
        compute: Device on which networks run, as for `plan`.
        progress: Reporter of every stage; by default the logger `edgeprune`.

    Raises:
        ConfigError: The settings cannot be met; the message names the nearest result.
        DataError: The frames do not fit the model.
        ModelError: The network cannot be pruned or exported.
        DeviceError: The device cannot be reached or fails.

    Example:
        >>> report = ep.prune_and_export(model, data, target="host-cpu", out="run")
        >>> report.report.latency.speedup_ci95
    """
    planning.require_one({"keep": keep, "keep_ratio": keep_ratio, "latency_budget": latency_budget})
    goal, record, (_, source) = target_of(target), embedding(model), parts_of(model, data)
    folder = Path("runs", f"{record.name}-{goal.name}") if out is None else Path(out)
    settings = Settings.of(
        goal,
        source,
        PlanSettings(keep, keep_ratio, segments, metric, criterion, bridge=bridge, seed=seed),
        recipe=Recipe(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, mix=mix, seed=seed),
        distill=distill,
        precision=precision,
        calibration={"method": calib_method, "calibration": None if calib_data is None else Path(calib_data)},
        qat=qat,
        batch=batch,
        command=f"edgeprune.prune_and_export({record.name}, target={goal.name!r}, out={str(folder)!r}, ...)",
        latency_budget=latency_budget,
        max_accuracy_drop=max_accuracy_drop,
        then_width=then_width,
        width_method=width_method,
        host=host_of(device, ssh_config),
        frames=frames,
        accept_baseline=accept_baseline,
        compute=computed_on(compute),
    )
    log = RecordedProgress(told(progress))
    return RunReport(parse(run_in(folder, record, settings, fresh, log, lambda: log.said), "the report"), folder)


def check(
    report: RunReport | str | Path | Sequence[RunReport | str | Path],
    budget: str | Path,
    *,
    baseline: RunReport | str | Path | None = None,
    noise: str | Path | None = None,
) -> GateVerdict:
    """Judge reports by a budget: is the network fast, small and accurate enough, and no slower than before?

    Args:
        report: Result of `prune_and_export`, a run folder, a report.json, or several of them.
        budget: The budget file, TOML: see docs/ci.md.
        baseline: Report to compare with.
        noise: File of `edgeprune check calibrate` for the device; by default the one beside the budget.

    Raises:
        ConfigError: The budget does not cover a report's target, or a file is missing.
        DataError: A report is damaged, or does not match its samples.

    Example:
        >>> assert ep.check(report, "edgeprune.toml")
    """
    several = [report] if isinstance(report, RunReport | str | Path) else list(report)
    judged = [evidence.read(_file(each)) for each in several]
    against = gate.Against(
        baselines=[] if baseline is None else [evidence.read(_file(baseline))],
        noise=noises.read(Path(noise) if noise is not None else Path(budget).parent / noises.NAME),
    )
    found = gate.check(judged, budgets.read(Path(budget)), against)
    return GateVerdict(**vars(found))


def _file(report: RunReport | str | Path) -> Path:
    """Find the report.json of a run, given that file, its folder or its report."""
    path = report.folder if isinstance(report, RunReport) else Path(report)
    return path / JSON_NAME if path.is_dir() else path
