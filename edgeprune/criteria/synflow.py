"""SynFlow (Tanaka et al. 2020): the share of the network's synaptic flow that passes through a unit. Needs
no data.

A unit's score is the sum of |∂R/∂w · w| over the parameters that dropping it would remove, so a residual unit is judged
by its body and not by the shortcut that stays. One forward and one backward pass.
"""

from edgeprune.criteria._subject import code_of, droppable, lost_names
from edgeprune.criteria._synflow.flow import magnitudes, synaptic_flow
from edgeprune.protocols import Subject


class SynFlow:
    """Scores units by the synaptic flow through the parameters they would lose."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit.

        Raises:
            ModelError: The flow exceeds double precision.
        """
        model = subject.model
        flows = synaptic_flow(model, magnitudes(model), subject.shape)
        code = code_of(subject)
        return {unit.index: sum(flows[name] for name in lost_names(code, unit)) for unit in droppable(subject)}


criterion = SynFlow()
