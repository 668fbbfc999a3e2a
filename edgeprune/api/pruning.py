"""Units of a network, the plan that keeps some of them, and the pruned network."""

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
    """The units of a network in order, a sequence of `Unit`; a unit that cannot be dropped has the reason."""

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
        """Make the table of the units."""
        return of_units(self)


@dataclass(frozen=True, repr=False)
class UnitPlan(Planned):
    """A plan: the decision on every unit, with the analysis that it was made from.

    Attributes:
        latency: Choice of the units under a latency budget, or None.
    """

    latency: LatencyPlan | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the kept units."""
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
        """Draw the kept units, their similarity, and the search for segments, as a Matplotlib figure.

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
        """Make the table of all units with their decisions and reasons."""
        return of_plan(self.plan)


def units(model: Model) -> UnitTable:
    """Find the units of a network, and how each can be dropped, or why it cannot.

    Args:
        model: The network; not changed.

    Returns:
        A sequence of units: `path`, `kind`, `in_shape` and `out_shape` without the batch, `params`, `macs` of one
        frame, `drop` ('identity', 'shortcut', 'adapter' or None), `reason`.

    Raises:
        ModelError: The network cannot be traced, or is not a chain of units.

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
    """Choose the units to keep: layers with similar outputs form segments, and in each the best ones are kept.

    Args:
        model: The unpruned network; not changed.
        data: Labeled frames from `read_frames`, or their file; by default the data of the model's training, or the
            shipped set that fits. Units are compared and scored on the train split, searched on validation.
        keep_ratio: Share of the droppable units to keep, 0 to 1; by default 0.33.
        keep: Total number of units to keep, including those that cannot be dropped, instead.
        latency_budget: Maximum median latency on `target` in ms, instead. The target must run on this machine; networks
            are timed to find the units.
        target: Name, file or `Target` of the budget.
        precision: One of the target's precisions, for the budget; by default its first.
        segments: Number of segments; 'auto' is seven, or the number of kept units if that is smaller.
        metric: Similarity metric of the units: a name in docs/similarity.md, or your own (`register`).
        criterion: Criterion that scores the units: a name in docs/criteria.md, or your own.
        profile: Profile to segment: 'rows' of the similarity matrix, or its 'column-sums' (the paper).
        seed: Random seed of a criterion.
        compute: Device on which networks run: 'auto', 'cpu', 'cuda' or 'cuda:N'; by default EDGEPRUNE_COMPUTE, else
            'auto'.
        progress: Reporter of long work; by default the logger `edgeprune`.

    Raises:
        ConfigError: A name is unknown, a number is impossible, or no set of units meets the budget.
        DataError: The frames do not fit the model.
        ModelError: The network is not a chain of units.

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
    """Drop the units of a plan; all other weights are kept.

    Args:
        model: The network of the plan; not changed.
        plan: Result of `plan`, or the path of a plan.json.
        data: Frames whose train split is used to fit layers rebuilt for another width and to re-estimate the statistics
            of batch norm. By default as for `plan`.
        bridge: Start of layers rebuilt for another width: 'least-squares', 'leading' or 'random'.
        seed: Random seed of the bridge.
        compute: Device on which networks run, as for `plan`.

    Returns:
        The pruned network; its `module` is in evaluation mode and takes the same frames as the unpruned one.

    Raises:
        ConfigError: The plan was made for another model.
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
