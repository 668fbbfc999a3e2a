"""Selection of arXiv 2406.07929: among all ways to keep m units of a segment, the one of least synaptic flow. Needs no
data.

For a set of units, the probe is a freshly initialized network of the same architecture into which the trained weights
of these units are copied, shortcuts and batch norm included. Every set starts from the same fresh probe. Its score is
Σ |∂R/∂w · w| over all its parameters; smaller is better. Where the network allows, the best set of a segment is found
without evaluating each, see `_synflow.fronts`; otherwise every set is evaluated. Batch norm is in evaluation mode, and
its running means count as zero: they are subtracted, while everything else in a network of magnitudes adds to the flow.
"""

import math
from collections.abc import Collection, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from edgeprune.criteria._fresh import fresh
from edgeprune.criteria._subject import code_of, droppable, whole_state
from edgeprune.criteria._synflow.flow import magnitudes, ones, synaptic_flow
from edgeprune.criteria._synflow.fronts import least
from edgeprune.criteria._synflow.stages import stages_of
from edgeprune.errors import ConfigError, ModelError
from edgeprune.network.running import evaluating
from edgeprune.protocols import Subject

MOST = 10_000  # sets that are judged one by one where there is no other way
AGREEMENT = 1e-6  # relative difference allowed between a score found at once and the same one found by gradients


class Probe:
    """A fresh network that can be given the trained weights of some units.

    Attributes:
        model: The network, for its structure.
        code: Its code.
        fresh: Magnitudes of the fresh parameters and buffers, by name.
        trained: Magnitudes of the trained ones, by unit and name.
    """

    def __init__(self, subject: Subject) -> None:
        self.shape = subject.shape
        self.model = subject.model
        self.fresh = _without_means(self.model, magnitudes(fresh(self.model, subject.seed)))
        trained = _without_means(self.model, magnitudes(self.model))
        self.code = code_of(subject)
        self.trained = {
            unit.index: {name: trained[name] for name in whole_state(self.code, unit)} for unit in droppable(subject)
        }

    def score(self, units: Collection[int]) -> float:
        """Synaptic flow of the probe with the trained weights of some units.

        Raises:
            ModelError: It exceeds double precision.
        """
        state = dict(self.fresh)
        for unit in units:
            state |= self.trained[unit]
        return sum(synaptic_flow(self.model, state, self.shape).values())


class SynFlowSearch:
    """Keeps in each segment the set of units whose probe has the least synaptic flow."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit by minus the synaptic flow of a probe in which that unit alone is trained.

        Raises:
            ModelError: The flow exceeds double precision.
        """
        probe = Probe(subject)
        return {index: -probe.score([index]) for index in probe.trained}

    def choose(self, subject: Subject, segments: Sequence[Sequence[int]], counts: Sequence[int]) -> frozenset[int]:
        """Choose the set of least score in each segment; exact up to rounding.

        Raises:
            ConfigError: There are too many sets for a network that must be evaluated set by set.
            ModelError: The flow exceeds double precision.
        """
        probe = Probe(subject)
        kept: set[int] = set()
        for place, (segment, count) in enumerate(zip(segments, counts, strict=True)):
            units = sorted(probe.trained.keys() & set(segment))
            if 0 < count < len(units):
                with evaluating(probe.model):
                    units, how = _best(probe, units, count, subject)
                subject.progress.note(f"segment {place + 1}: {how}")
            kept |= set(units if count else ())
        return frozenset(kept)


def _best(probe: Probe, units: list[int], count: int, subject: Subject) -> tuple[list[int], str]:
    """Find the best set of a segment, and say in words among which sets it is the best."""
    sets = math.comb(len(units), count)
    what = f"best of {sets:,} sets of {count} of {len(units)} units"
    try:
        owners = {name: unit for unit in units for name in probe.trained[unit]}
        stages = stages_of(probe.code, owners)
        if len(units) > sum(stage.unit is not None for stage in stages):
            raise ModelError("a unit has no weights")
    except ModelError as error:
        reason = error.message
    else:
        trained = {name: value for unit in units for name, value in probe.trained[unit].items()}
        with subject.progress.track("synflow search", len(stages)) as advance:
            found = least(stages, count, ones(probe.model, probe.shape), probe.fresh, trained, advance)
        if math.isclose(found.score, probe.score(found.chosen), rel_tol=AGREEMENT):
            return list(found.chosen), f"{what}, found with {found.flows:,} partial ones"
        reason = "its flow is not what its operations promise"
    if sets > MOST:
        raise ConfigError(
            f"synflow-search would have to evaluate {sets:,} sets of units {units[0]} to {units[-1]} one by one, and "
            f"at most {MOST:,} are allowed ({reason})",
            "Use more `segments`, or `criterion='synflow'`",
        )
    return _by_enumeration(probe, units, count, subject), f"{what}, {sets:,} evaluated ({reason})"


def _by_enumeration(probe: Probe, units: list[int], count: int, subject: Subject) -> list[int]:
    """Find the set of least score, the first of equals."""
    best, lowest = list(units[:count]), math.inf
    with subject.progress.track("synflow search", math.comb(len(units), count)) as advance:
        for chosen in combinations(units, count):
            score = probe.score(chosen)
            if score < lowest:
                best, lowest = list(chosen), score
            advance(1, "")
    return best


def _without_means(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the running means of batch norm set to zero."""
    means = {
        f"{path}.running_mean" if path else "running_mean"
        for path, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
    }
    return {name: torch.zeros_like(value) if name in means else value for name, value in state.items()}


criterion = SynFlowSearch()
