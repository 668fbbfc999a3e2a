"""What the job is asked to do, and which stages that takes."""

from dataclasses import dataclass
from pathlib import Path

from edgeprune.targets import Precision, Target
from edgeprune.tasks.latency import Budget
from edgeprune.tasks.narrowing import Width
from edgeprune.tasks.planning import PlanSettings
from edgeprune.train.finetune import Recipe

TITLES = {
    "01-layers": "find the layers",
    "02-similarity": "compare the layers",
    "02-trials": "find the fewest units that are accurate enough",
    "03-segments": "cut the chain into segments",
    "04-scores": "score the layers",
    "05-latency": "choose units within the latency budget",
    "05-plan": "choose the layers that stay",
    "06-prune": "drop the others",
    "06-width": "remove channels",
    "07-finetune": "fine-tune",
    "08-accuracy": "measure accuracy on the test split",
    "08-bound": "check the bound on accuracy on the validation split",
    "09-export": "export to ONNX",
    "10-bench": "measure latency",
    "11-report": "write the report",
}
"""Every stage that there is, by the name of its record."""


@dataclass(frozen=True)
class Settings:
    """What the job is asked to do.

    Attributes:
        target: The kind of device.
        data: The file of frames.
        planning: How to choose units.
        recipe: How to fine-tune.
        distill: From the unpruned model.
        precision: One of the target's.
        batch: Frames in one inference.
        command: What was typed, for the report.
        latency_budget_ms: Choose units within it instead of by their number, or None.
        max_accuracy_drop: Most top-1 that may be lost on the validation split, 0..1, or None.
        fewest: Choose the fewest units that hold `max_accuracy_drop`, instead of by their number.
        width: Remove channels after the layers, or None.
    """

    target: Target
    data: Path
    planning: PlanSettings
    recipe: Recipe
    distill: bool
    precision: Precision
    batch: int
    command: str
    latency_budget_ms: float | None = None
    max_accuracy_drop: float | None = None
    fewest: bool = False
    width: Width | None = None

    @property
    def budget(self) -> Budget | None:
        """The bound on latency, if there is one."""
        if self.latency_budget_ms is None:
            return None
        return Budget(self.latency_budget_ms, self.target, self.precision, self.batch)

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """The stages that this takes and what they do, in their order."""
        left_out = {
            "02-trials": not self.fewest,
            "05-latency": self.latency_budget_ms is None,
            "06-width": self.width is None,
            "08-bound": self.max_accuracy_drop is None,
        }
        return tuple((name, title) for name, title in TITLES.items() if not left_out.get(name, False))
