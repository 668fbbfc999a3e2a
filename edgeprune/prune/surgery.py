"""Surgery: applies a plan to a network, which is left unchanged."""

from dataclasses import replace

from edgeprune.errors import ConfigError
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.edits import apply_edits
from edgeprune.records.pruning import PrunePlan


def apply(checkpoint: Checkpoint, plan: PrunePlan) -> Checkpoint:
    """Drop the plan's units from a checkpoint and keep all other weights.

    Raises:
        ConfigError: The plan was made for another model.
    """
    require_own(checkpoint, plan)
    shape = (checkpoint.input.channels, checkpoint.input.length)
    earlier = checkpoint.plan.edits if checkpoint.plan else ()
    return replace(
        checkpoint,
        model=apply_edits(checkpoint.model, plan.edits, shape).eval(),
        plan=replace(plan, edits=(*earlier, *plan.edits)),
        metrics={},
        sha256="",
    )


def require_own(checkpoint: Checkpoint, plan: PrunePlan) -> None:
    """Refuse a plan that was made for another model.

    Raises:
        ConfigError: It was.
    """
    if plan.model_sha256 != checkpoint.sha256:
        raise ConfigError(
            f"the plan was made for a model with sha256 {plan.model_sha256[:12]}, not {checkpoint.sha256[:12]}",
            "Make a plan for this model with: edgeprune plan",
        )
