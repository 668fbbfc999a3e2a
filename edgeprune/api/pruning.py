"""Which units a network has, which of them stay, and the network without the others."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeprune.api.model import Data, Model, in_memory, parts_of
from edgeprune.api.running import Progress, computed_on, target_of, told
from edgeprune.api.tables import Table, of_plan, of_units
from edgeprune.errors import ConfigError
from edgeprune.prune import surgery
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.constraints import LatencyPlan
from edgeprune.records.names import CRITERION, Bridge
from edgeprune.records.pruning import LayerChain, PrunePlan, Unit
from edgeprune.report import sections
from edgeprune.report.plots import chain as chain_plots
from edgeprune.report.schema.schema import PlanSection
from edgeprune.targets import Precision, Target
from edgeprune.tasks import plan as planning
from edgeprune.tasks.export import precision_of
from edgeprune.tasks.latency import budget as latency
from edgeprune.tasks.plan import Planned, PlanSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class UnitTable(LayerChain):
    """The units of a network in order, a sequence of `Unit`: each could be dropped, or says why not."""

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[Unit]:
        return iter(self.units)

    def __getitem__(self, index: int) -> Unit:
        return self.units[index]

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """The units as a table."""
        return of_units(self)


@dataclass(frozen=True, repr=False)
class UnitPlan(Planned):
    """Which units stay, why, and all that was found out to choose them.

    Attributes:
        latency: How they were chosen under a latency budget, or None.
    """

    latency: LatencyPlan | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the units that stay."""
        return self.plan.kept

    @property
    def dropped(self) -> tuple[int, ...]:
        """Indices of the units that go."""
        return self.plan.dropped

    def save(self, path: str | Path) -> None:
        """Write plan.json, which `edgeprune prune --plan` takes for the same model file.

        Raises:
            ConfigError: It cannot be written.
        """
        planning.save_plan(Path(path), self, self.latency)

    def plot(self) -> "Figure":
        """Draw which units stay, how alike they are, and how the segments were found; a Matplotlib figure.

        Example:
            >>> plan.plot().savefig("plan.pdf")
        """
        from edgeprune.api.figures import figure

        plain = sections.plan(self.plan, self.similarity, self.segmentation, self.chain)
        section = PlanSection.model_validate_json(json.dumps(plain))
        drawn = (chain_plots.strip(section), chain_plots.similarity(section), chain_plots.segment_losses(section))

        def paint(whole: "Figure") -> None:
            above, below = whole.subfigures(2, 1, squeeze=False, height_ratios=(2.5, 5.4)).flat
            for part, plot in zip((above, *below.subfigures(1, 2, squeeze=False).flat), drawn, strict=True):
                part.suptitle(plot.title, x=0.02, ha="left", fontsize=11, fontweight="bold")
                plot.drawing.paint(part)

        return figure((12.8, 8.2), paint)

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Each unit with what was decided of it, and why."""
        return of_plan(self.plan)


def units(model: Model) -> UnitTable:
    """Find the units a network is made of, and how each could be dropped or why not.

    Args:
        model: The network; it stays as it is.

    Returns:
        A sequence of units: `path`, `kind`, `in_shape` and `out_shape` without the batch, `params`, `macs` of one
        frame, `drop` ('identity', 'shortcut', 'adapter' or None), `reason`.

    Raises:
        ModelError: The network cannot be traced, or is no chain of units.

    Example:
        >>> [unit.path for unit in ep.units(model) if unit.droppable]
    """
    record = model.checkpoint
    return UnitTable(**vars(layers_of(record.model, record.input, record.sha256)))


def plan(
    model: Model,
    data: Data | None = None,
    *,
    keep_ratio: float | None = None,
    keep: int | None = None,
    latency_budget: float | None = None,
    target: str | Target | None = None,
    precision: Precision | None = None,
    segments: int | Literal["auto"] = "auto",
    metric: str = PlanSettings.metric,
    criterion: str = CRITERION,
    profile: Literal["rows", "column-sums"] = "rows",
    seed: int = 0,
    compute: str | None = None,
    progress: Progress | None = None,
) -> UnitPlan:
    """Choose the units that stay: layers with similar outputs form segments, and in each the best ones are kept.

    Args:
        model: The unpruned network; it stays as it is.
        data: Labelled frames, as `read_frames` returns them, or their file; by default what the model was trained on,
            or the shipped set that fits. Units are compared and scored on the train split, searched on validation.
        keep_ratio: Share of the droppable units to keep, 0 to 1; 0.33 where nothing else is said.
        keep: Instead, units to keep in all, those that must stay included.
        latency_budget: Instead, the median latency in ms that the network may take on `target`, which must run on this
            machine; networks are timed to find the units.
        target: Name, file or `Target` that the budget is for.
        precision: One of the target's, for the budget; by default its first.
        segments: How many; 'auto' is seven, or as many as units are kept if those are fewer.
        metric: Compares units: a name in docs/similarity.md, or one of your own (`register`).
        criterion: Scores units: a name in docs/criteria.md, or one of your own.
        profile: What is segmented: 'rows' of the similarity matrix, or its 'column-sums' (the paper).
        seed: Random seed of a criterion.
        compute: Where networks run: 'auto', 'cpu', 'cuda' or 'cuda:N'; by default EDGEPRUNE_COMPUTE, else 'auto'.
        progress: Told of long work; by default the logger `edgeprune`.

    Raises:
        ConfigError: A name is unknown, a number impossible, or no set of units meets the budget.
        DataError: The frames do not fit the model.
        ModelError: The network is no chain of units.

    Example:
        >>> plan = ep.plan(model, data, keep_ratio=0.33)
        >>> plan.kept, plan.plot()
    """
    amounts = {"keep": keep, "keep_ratio": keep_ratio, "latency_budget": latency_budget}
    planning.require_one(amounts)
    if (latency_budget is None) != (target is None):
        raise ConfigError("`latency_budget` and `target` go together", "Give both, or neither")
    settings = PlanSettings(keep, keep_ratio, segments, metric, criterion, profile, seed=seed)
    settings.check()
    record, where = model.checkpoint, computed_on(compute)
    parts, _ = parts_of(model, data)
    if latency_budget is None or target is None:
        return UnitPlan(**vars(planning.decide(record, parts, settings, told(progress), compute=where)))
    goal = target_of(target)
    budget = latency.LatencyBudget(latency_budget, goal, precision_of(goal, precision))
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as folder:
        planned, chosen = latency.decide_within(record, parts, settings, budget, Path(folder), told(progress), where)
    return UnitPlan(**vars(planned), latency=chosen)


def prune(
    model: Model,
    plan: UnitPlan | PrunePlan | str | Path,
    data: Data | None = None,
    *,
    bridge: Bridge = "least-squares",
    seed: int = 0,
    compute: str | None = None,
) -> Model:
    """Drop the units of a plan; all other weights stay.

    Args:
        model: The network that the plan is for; it stays as it is.
        plan: What `plan` returned, or the path of a plan.json.
        data: Frames to start from: layers rebuilt for another width are fitted, and statistics of batch norm estimated
            again, on the train split. By default as for `plan`.
        bridge: What layers rebuilt for another width start from: 'least-squares', 'leading' or 'random'.
        seed: Random seed of the bridge.
        compute: Where networks run; as for `plan`.

    Returns:
        The pruned network; its `module` is in evaluation mode and takes the same frames as the unpruned one.

    Raises:
        ConfigError: The plan is of another model.
        ModelError: The network cannot run without those units together.

    Example:
        >>> small = ep.prune(model, plan, data)
        >>> torch.save(small.module.state_dict(), "small-weights.pt")
    """
    decided = plan.plan if isinstance(plan, UnitPlan) else plan
    decided = decided if isinstance(decided, PrunePlan) else planning.read_plan(Path(decided))
    record = model.checkpoint
    surgery.require_own(record, decided)
    parts, source = parts_of(model, data)
    settings = PlanSettings(bridge=bridge, seed=seed)
    pruned = planning.reassemble(record, decided, parts, settings, computed_on(compute))
    return in_memory(replace(pruned, name=f"{record.name}-pruned"), model.unpruned, source)
