"""Settings of the job, and the stages that they require."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeprune.errors import ConfigError
from edgeprune.network.cards import cards
from edgeprune.network.compute import CPU, Compute
from edgeprune.records.frames import Frames
from edgeprune.targets import Precision, Target
from edgeprune.tasks.data.reading import ReadOverrides
from edgeprune.tasks.device.connect import Host
from edgeprune.tasks.device.pack import DeviceOptions, require_rounds
from edgeprune.tasks.export import precision_of
from edgeprune.tasks.latency.budget import LatencyBudget
from edgeprune.tasks.plan import PlanSettings
from edgeprune.tasks.precision import AUTO_DROP, PrecisionOptions
from edgeprune.tasks.train import require_teacher
from edgeprune.tasks.width import Width
from edgeprune.train.finetune import Recipe

TITLES = {
    "00-baseline": "measure the unpruned network on the validation split",
    "00-export": "export the unpruned network",
    "01-layers": "find the layers",
    "02-similarity": "compare the layers",
    "02-trials": "find the fewest units that are accurate enough",
    "03-segments": "cut the chain into segments",
    "04-scores": "score the layers",
    "05-latency": "choose units within the latency budget",
    "05-plan": "choose the layers to keep",
    "06-prune": "drop the others",
    "06-width": "remove channels",
    "07-finetune": "fine-tune",
    "08-accuracy": "measure accuracy on the test split",
    "08-bound": "check the bound on accuracy on the validation split",
    "09-qat": "fine-tune for int8",
    "09-precision": "choose the precision",
    "09-export": "export to ONNX",
    "10-engine": "build engines",
    "10-bench": "measure latency",
    "10-bundle": "pack a measurement for the device",
    "11-device": "measure on the device",
    "12-report": "write the report",
}
"""Titles of all stages, by the name of their record."""


@dataclass(frozen=True)
class Settings:
    """Settings of the job.

    Attributes:
        target: The target.
        data: The frames, or their file.
        planning: Settings for choosing units.
        recipe: Fine-tuning recipe.
        distill: Learn from the unpruned model too.
        precision_options: The precision, one of the target's, and its calibration and training.
        batch: Number of frames in one inference.
        command: The command line, for the report.
        latency_budget_ms: Latency to choose units within, in ms, or None to choose by their number.
        max_accuracy_drop: Maximum loss of top-1 on the validation split, 0..1, or None.
        fewest: Choose the fewest units that hold `max_accuracy_drop`, instead of a given number.
        width: Settings for removing channels after the layers, or None.
        host: The device to measure on, or None.
        device_options: Options for the measurement on a device.
        choose_precision: Measure the pruned network in each of the target's precisions and choose the fastest that is
            accurate enough, instead of the one in `precision_options`.
        frames: Maximum number of frames to fine-tune on, spread over the train split, or None for all of it.
        compute: Device on which networks run.
        overrides: Reading and splitting of the data where they differ from those of the model's training.
        accept_baseline: Continue with an unpruned network that is near chance.
    """

    target: Target
    data: Path | Frames
    planning: PlanSettings
    recipe: Recipe
    distill: bool
    precision_options: PrecisionOptions
    batch: int
    command: str
    latency_budget_ms: float | None = None
    max_accuracy_drop: float | None = None
    fewest: bool = False
    width: Width | None = None
    host: Host | None = None
    device_options: DeviceOptions = field(default_factory=DeviceOptions)
    choose_precision: bool = False
    frames: int | None = None
    compute: Compute = CPU
    overrides: ReadOverrides = field(default_factory=ReadOverrides)
    accept_baseline: bool = False

    def check(self) -> None:
        """Check the settings before any work.

        Raises:
            ConfigError: Settings contradict each other, or something is not installed.
        """
        require_teacher(self.recipe.mix, self.distill)
        if self.choose_precision:
            self._check_choice()
        else:
            self.precision_options.check()
        if self.width is not None:
            self.width.check()
        if self.host is not None and not self.target.on_device:
            raise ConfigError(
                f"{self.target.name} is measured on this machine, and `device` names {self.host.name}",
                "Give a `target` whose models run on a device: edgeprune targets list",
            )
        if self.target.on_device:
            require_rounds(self.target, self.device_options)
        if self.latency_budget_ms is not None and self.target.on_device:
            raise ConfigError(
                f"`latency_budget` plans with timings on this machine; {self.target.name} is a device",
                "Choose units with `keep` or `keep_ratio`, and hold the latency with edgeprune check",
            )

    def _check_choice(self) -> None:
        instead = f"one `precision` of {', '.join(self.target.precisions)}"
        if self.precision_options.qat_epochs is not None:
            raise ConfigError(
                "`qat` trains for int8, and `precision='auto'` may take another", "Give `precision='int8'`"
            )
        if self.target.on_device and self.host is None:
            raise ConfigError(
                f"`precision='auto'` measures on the device, and no device is given for {self.target.name}",
                f"Give `device`, or {instead}",
            )
        if self.builds_here and not cards():
            raise ConfigError(
                f"`precision='auto'` measures, and this machine has no GPU for {self.target.name}", f"Give {instead}"
            )

    @classmethod
    def of(
        cls,
        target: Target,
        data: Path | Frames,
        planning: PlanSettings,
        *,
        recipe: Recipe,
        distill: bool,
        precision: Precision | Literal["auto"] | None,
        calibration: Mapping[str, Any],
        qat: int | None,
        batch: int,
        command: str,
        latency_budget: float | None,
        max_accuracy_drop: float | None,
        then_width: float | None,
        width_method: str,
        host: Host | None,
        frames: int | None,
        compute: Compute,
        power: Mapping[str, Any] | None = None,
        overrides: ReadOverrides | None = None,
        accept_baseline: bool = False,
    ) -> "Settings":
        """Make the settings of a job from the arguments of `prune_and_export`, in Python or on the command line.

        `calibration` holds fields of `PrecisionOptions`, `power` fields of `DeviceOptions`. All other arguments are as
        in `api.job.prune_and_export`.

        Raises:
            ConfigError: A metric or criterion is unknown, or the target does not run the precision.
        """
        planning.check()
        auto = precision == "auto"
        bound = AUTO_DROP if auto and max_accuracy_drop is None else max_accuracy_drop
        wanted = precision_of(target, None if auto else precision)
        return cls(
            target=target,
            data=data,
            planning=planning,
            recipe=recipe,
            distill=distill,
            precision_options=PrecisionOptions(wanted, max_drop=bound, qat_epochs=qat, **calibration),
            batch=batch,
            command=command,
            latency_budget_ms=latency_budget,
            max_accuracy_drop=max_accuracy_drop,
            fewest=max_accuracy_drop is not None and latency_budget is None and not planning.says_how_many,
            width=None if then_width is None else Width(then_width, width_method),
            host=host,
            device_options=DeviceOptions(batch, **(power or {})),
            choose_precision=auto,
            frames=frames,
            compute=compute,
            overrides=overrides or ReadOverrides(),
            accept_baseline=accept_baseline,
        )

    @property
    def precision(self) -> Precision:
        """Precision of the exported files."""
        return self.precision_options.precision

    @property
    def builds_here(self) -> bool:
        """Return whether engines for the target are built on this machine."""
        return self.target.runtime in ("tensorrt", "tensorrt-rtx")

    @property
    def budget(self) -> LatencyBudget | None:
        """The bound on latency, if there is one."""
        if self.latency_budget_ms is None:
            return None
        return LatencyBudget(self.latency_budget_ms, self.target, self.precision, self.batch)

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Names and titles of the stages that these settings require, in order."""
        left_out = {
            "02-trials": not self.fewest,
            "05-latency": self.latency_budget_ms is None,
            "06-width": self.width is None,
            "08-bound": self.max_accuracy_drop is None,
            "09-qat": self.precision_options.qat_epochs is None,
            "09-precision": not self.choose_precision,
            "10-engine": not self.builds_here,
            "10-bench": self.target.on_device,
            "10-bundle": not self.target.on_device,
            "11-device": self.host is None,
        }
        return tuple((name, title) for name, title in TITLES.items() if not left_out.get(name, False))
