"""Surgery: a plan carried out on a network, which is left untouched, and batch norm told of its new input."""

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from edgeprune.checkpoint import Checkpoint
from edgeprune.edits import apply_edits
from edgeprune.errors import ConfigError
from edgeprune.network.compute import beside
from edgeprune.records import PrunePlan


def apply(checkpoint: Checkpoint, plan: PrunePlan) -> Checkpoint:
    """A checkpoint with the plan's units dropped and all other weights kept.

    Raises:
        ConfigError: The plan was made for another model.
    """
    if plan.model_sha256 != checkpoint.sha256:
        raise ConfigError(
            f"the plan was made for a model with sha256 {plan.model_sha256[:12]}, not {checkpoint.sha256[:12]}",
            "Make a plan for this model with: edgeprune plan",
        )
    shape = (checkpoint.input.channels, checkpoint.input.length)
    earlier = checkpoint.plan.edits if checkpoint.plan else ()
    return replace(
        checkpoint,
        model=apply_edits(checkpoint.model, plan.edits, shape).eval(),
        plan=replace(plan, edits=(*earlier, *plan.edits)),
        metrics={},
        sha256="",
    )


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch norm by their averages over the batches; the model stays in its mode.

    What a layer sees changes when units before it are dropped; without this the first epochs only undo the mismatch.

    Args:
        model: Changed in place.
        batches: Normalised frames (N, channels, length) of the train split; brought to the model one batch at a time.
    """
    was_training = model.training
    update_bn((beside(model, batch) for batch in batches), model)
    model.train(was_training)
