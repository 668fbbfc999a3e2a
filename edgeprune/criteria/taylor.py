"""First-order Taylor importance (Molchanov et al. 2019, arXiv 1906.10771): how much the loss would change without a
unit's weights. Needs labeled frames.

The score is Σ |g · w| over the parameters that dropping the unit would remove, g being the gradient of the mean
cross-entropy of one batch, averaged over batches. To first order |g · w| is the change from setting one weight to zero.
A whole unit is not a small change, so the sum ranks units rather than predicting the loss.
"""

import torch
from torch.nn.functional import cross_entropy

from edgeprune.criteria._subject import batches, code_of, droppable, lost_names, not_finite, spread
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.protocols import Subject

FRAMES = 1024


class Taylor:
    """Scores units by the first-order change of the loss."""

    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit on frames of the train split, in evaluation mode.

        Raises:
            ModelError: A gradient is not finite.
        """
        model = subject.model
        parts = batches(spread(subject.train, FRAMES, subject.seed))
        weights = {name: value.detach().requires_grad_() for name, value in model.named_parameters()}
        changes = dict.fromkeys(weights, 0.0)
        with evaluating(model), subject.progress.track("taylor", len(parts)) as advance:
            for batch in parts:
                with torch.enable_grad():
                    logits = torch.func.functional_call(model, weights, (beside(model, batch.iq),))
                    loss = cross_entropy(logits, beside(model, batch.labels))
                gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                    if gradient is not None:
                        changes[name] += float((gradient * weight.detach()).abs().sum(dtype=torch.float64))
                advance(1, f"{len(batch.labels)} frames")
        code = code_of(subject)
        scores = {
            unit.index: sum(changes[name] for name in lost_names(code, unit)) / len(parts)
            for unit in droppable(subject)
        }
        if not torch.tensor(list(scores.values())).isfinite().all():
            raise not_finite("the network's gradients")
        return scores


criterion = Taylor()
