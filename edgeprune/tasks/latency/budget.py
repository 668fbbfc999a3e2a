"""Selection of units under a latency budget: time a few networks, fit the costs of units, choose, and measure.

The costs are fitted to networks that keep only one kind of unit each, and to those whose predicted latency is least
certain. The set with the greatest total value under the budget is chosen exactly and measured. Its latency is added to
the fit, and the choice is repeated until it meets the budget.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeprune.bench.cost_model import CostModel, Costs
from edgeprune.errors import ConfigError, ModelError
from edgeprune.files.whole import writable
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.protocols import Progress
from edgeprune.prune.planning import members_of, plan
from edgeprune.prune.selection import select_within, worth_of
from edgeprune.prune.shape_paths import Routes, routes_of
from edgeprune.records.constraints import LatencyPlan, Timing
from edgeprune.records.frames import Frames
from edgeprune.records.names import Split
from edgeprune.records.pruning import LayerChain, PrunePlan, Scores, Segmentation
from edgeprune.targets import Precision, Target
from edgeprune.tasks import plan as planning
from edgeprune.tasks.data.frames import frames_for, tell_frames
from edgeprune.tasks.identify import looked_at
from edgeprune.tasks.latency.timing import Stopwatch
from edgeprune.tasks.latency.unit_costs import Kept, fitted, kinds_of, probed, work_of
from edgeprune.tasks.plan import Planned, PlanSettings

MOST_CANDIDATES = 4
AIM = 0.98
"""Share of the budget that a choice may be predicted to take: two timings of one network differ by a few per cent."""

_QUIET = 0.25
_MOST_TURNS = 6


class Timer(Protocol):
    """Times the network that keeps some of the droppable units."""

    def time(self, kept: Kept, progress: Progress) -> Timing:
        """Time it in turns with the unpruned network."""
        ...


@dataclass(frozen=True)
class LatencyBudget:
    """A bound on the median latency of one inference, with its target, precision and batch."""

    latency_ms: float
    target: Target
    precision: Precision
    batch: int = 1


def every_unit(settings: PlanSettings) -> PlanSettings:
    """Settings whose segments do not depend on how many units are kept, which a budget decides."""
    return replace(settings, keep=None, keep_ratio=1.0)


def choose_within(
    model: Checkpoint,
    chain: LayerChain,
    segmentation: Segmentation,
    scores: Scores,
    frames: Frames,
    budget: LatencyBudget,
    folder: Path,
    progress: Progress,
) -> LatencyPlan:
    """Choose the units to keep, with timings of networks on this machine.

    Args:
        model: The unpruned network.
        chain: Units of the network.
        segmentation: Segments of the chain.
        scores: Scores of the droppable units.
        frames: Frames of the validation split, to check exports and to time on.
        budget: The latency budget.
        folder: Folder for timings and their raw samples.
        progress: Reporter of each network.

    Raises:
        ConfigError: No set of units meets the budget; the message names the nearest.
    """
    planning.kept_units(chain, PlanSettings())  # raises if no unit can be dropped
    routes = routes_of(model.model, chain, model.input)
    stopwatch = Stopwatch(model, chain, frames.iq, budget.target, budget.precision, budget.batch, folder)
    with stopwatch:
        return _Search(stopwatch, chain, segmentation, scores, routes, budget, progress).run()


def plan_within(
    chain: LayerChain, segmentation: Segmentation, scores: Scores, metric: str, chosen: LatencyPlan
) -> PrunePlan:
    """Make the plan that keeps the units chosen under a budget."""
    stay = frozenset(chosen.kept).intersection(chain.droppable)
    return plan(chain, segmentation, scores, metric, len(stay), stay)


def write_plan_within(
    model: Checkpoint,
    data: Path,
    settings: PlanSettings,
    budget: LatencyBudget,
    out: Path,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[LayerChain, PrunePlan]:
    """Plan under a budget, and write plan.json; timings and their raw samples go to a folder beside it.

    Raises:
        ConfigError: A name is unknown, no set of units meets the budget, or `out` cannot be written.
        DataError: The frames do not fit the model.
    """
    settings.check()
    writable(out)
    parts, folder = frames_for(model, data), out.with_suffix(".latency")
    tell_frames(parts, progress)
    model = looked_at(model, parts["validation"], progress, compute)
    planned, chosen = decide_within(model, parts, settings, budget, folder, progress, compute)
    planning.save_plan(out, planned, chosen)
    return planned.chain, planned.plan


def decide_within(
    model: Checkpoint,
    parts: dict[Split, Frames],
    settings: PlanSettings,
    budget: LatencyBudget,
    folder: Path,
    progress: Progress,
    compute: Compute = CPU,
) -> tuple[Planned, LatencyPlan]:
    """Choose the units of a model to keep under a budget: like `planning.decide`, with timings in a folder.

    Raises:
        ConfigError: A name is unknown, or no set of units meets the budget.
    """
    planned = planning.decide(model, parts, every_unit(settings), progress, compute=compute)
    progress.stage(f"choose units within {budget.latency_ms:g} ms on {budget.target.name}")
    chosen = choose_within(
        model,
        planned.chain,
        planned.segmentation,
        planned.scores,
        parts["validation"],
        budget,
        folder,
        progress,
    )
    decided = plan_within(planned.chain, planned.segmentation, planned.scores, settings.metric, chosen)
    return replace(planned, plan=decided), chosen


class _Search:
    """The rounds of fitting, choosing and measuring."""

    def __init__(
        self,
        timer: Timer,
        chain: LayerChain,
        segmentation: Segmentation,
        scores: Scores,
        routes: Routes,
        budget: LatencyBudget,
        progress: Progress,
    ) -> None:
        self.timer, self.chain, self.routes, self.budget, self.progress = timer, chain, routes, budget, progress
        self.segmentation, self.scores = segmentation, scores
        self.kinds = kinds_of(chain)
        self.everything = frozenset(chain.droppable)
        self.timed: dict[Kept, Timing] = {}
        self.candidates: dict[Kept, Timing] = {}

    def run(self) -> LatencyPlan:
        """Find the set to keep."""
        self._time(self.routes.fewest)
        self._require_possible()
        if self.baseline_ms <= self.budget.latency_ms:
            self.progress.note(
                f"the unpruned network takes {self.baseline_ms:.3g} ms, which is within the budget: nothing is dropped"
            )
            return self._plan(self.everything, self.baseline_ms, Costs(self.timed[self.routes.fewest].ratio, ()))
        probed(self._try_timing, self.kinds, self.routes)
        for _ in range(MOST_CANDIDATES):
            model = self._fitted()
            chosen = self._choice(model)
            if chosen is None or chosen in self.candidates or not self._better(chosen):
                break
            predicted_ms = self._predicted_ms(model, chosen)
            self.candidates[chosen] = replace(self._time(chosen), predicted_ms=predicted_ms)
            self.progress.note(
                f"{self._units(chosen)} units: predicted {predicted_ms:.3g} ms, "
                f"measured {self._measured_ms(chosen):.3g} ms"
            )
        best = max(filter(self._within, self.candidates), key=self._value, default=self.routes.fewest)
        model = self._fitted()
        predicted = self.candidates[best].predicted_ms if best in self.candidates else None
        return self._plan(best, predicted or self._predicted_ms(model, best), model.costs)

    @property
    def baseline_ms(self) -> float:
        """Median latency of the unpruned network, as it was in the quieter of all timings."""
        return float(np.quantile([timing.baseline_ms for timing in self.timed.values()], _QUIET))

    def _time(self, kept: Kept) -> Timing:
        self.timed[kept] = self.timer.time(kept, self.progress)
        return self.timed[kept]

    def _try_timing(self, kept: Kept) -> Timing | None:
        try:
            return self.timed.get(kept) or self._time(kept)
        except ModelError as error:
            self.progress.note(f"not timed: {error.message}")
            return None

    def _require_possible(self) -> None:
        fewest = self.routes.fewest
        if not self._within(fewest):
            raise ConfigError(
                f"no choice of units meets `latency_budget={self.budget.latency_ms:g}`: the nearest keeps "
                f"{self._units(fewest)} of {len(self.chain.units)} units and takes {self._measured_ms(fewest):.3g} ms "
                f"on {self.budget.target.name}",
                "Allow more time, or start from a smaller network",
            )

    def _fitted(self) -> CostModel:
        return fitted(self.timed, self.kinds, self.routes)

    def _choice(self, model: CostModel) -> Kept | None:
        """Choose the best set by the fitted model, corrected by its largest underestimate over the budget so far.

        The selection is exact for additive costs. The factor by which a sum of costs is off is looked up for the chosen
        set, and the selection is repeated with it.
        """
        over = [kept for kept in self.candidates if not self._within(kept)]
        shortfall = max([1.0, *(self._measured_ms(kept) / self._predicted_ms(model, kept) for kept in over)])
        allowed = AIM * self.budget.latency_ms / self.baseline_ms / shortfall
        costs = {unit: cost for kind, cost in zip(self.kinds, model.costs.each, strict=True) for unit in kind}
        best, factor = None, 1.0
        for _ in range(_MOST_TURNS):
            bound = allowed / factor - model.costs.fixed
            chosen = select_within(self.chain, self.segmentation, self.scores, self.routes, costs, bound)
            if chosen is None or chosen == best:
                break
            work = work_of(chosen, self.kinds, self.routes)
            if model.latency(work) <= allowed and (best is None or self._value(chosen) > self._value(best)):
                best = chosen
            factor = model.factor(work)
        return best

    def _better(self, kept: Kept) -> bool:
        """Return whether the value of a set exceeds that of all sets found within the budget."""
        return all(self._value(kept) > self._value(other) for other in self.candidates if self._within(other))

    def _value(self, kept: Kept) -> tuple[int, float]:
        return worth_of(kept, members_of(self.chain, self.segmentation), self.scores.values)

    def _within(self, kept: Kept) -> bool:
        return self._measured_ms(kept) <= self.budget.latency_ms

    def _measured_ms(self, kept: Kept) -> float:
        """Latency in ms of a timing, corrected for disturbances during that timing."""
        return self.timed[kept].ratio * self.baseline_ms

    def _predicted_ms(self, model: CostModel, kept: Kept) -> float:
        return model.latency(work_of(kept, self.kinds, self.routes)) * self.baseline_ms

    def _units(self, kept: Iterable[int]) -> int:
        return len(self.chain.units) - len(self.everything.difference(kept))

    def _plan(self, kept: Kept, predicted_ms: float, costs: Costs) -> LatencyPlan:
        scale = self.baseline_ms
        return LatencyPlan(
            target=self.budget.target.name,
            precision=self.budget.precision,
            batch=self.budget.batch,
            budget_ms=self.budget.latency_ms,
            baseline_ms=scale,
            fixed_ms=costs.fixed * scale,
            costs_ms={unit: cost * scale for kind, cost in zip(self.kinds, costs.each, strict=False) for unit in kind},
            probes=tuple(timing for each, timing in self.timed.items() if each not in self.candidates),
            candidates=tuple(self.candidates.values()),
            kept=tuple(unit.index for unit in self.chain.units if not unit.droppable or unit.index in kept),
            predicted_ms=predicted_ms,
        )
