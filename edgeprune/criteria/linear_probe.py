"""Linear classifier probes (Alain & Bengio 2016, arXiv 1610.01644; for layer pruning Chen & Zhao 2018, TPAMI,
doi 10.1109/TPAMI.2018.2874634): how much a unit improves linear separability. Needs labeled frames.

A linear classifier is fitted to each unit's output on train frames, by ridge regression onto one-hot labels. The score
of a unit is its validation accuracy, minus that of a classifier fitted to the unit's input. Both are averaged down to
at most `FEATURES` numbers a frame, and standardized.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from edgeprune.criteria._subject import batches, droppable, not_finite, spread
from edgeprune.network.activations import passages_of, read_passing
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.protocols import Labelled, Subject

TRAIN_FRAMES = 2048
FRAMES = 1024
FEATURES = 256
PENALTY = 1e-3  # for each train frame, on features of variance 1


class LinearProbe:
    """Scores units by the accuracy that a linear classifier gains from them."""

    @torch.no_grad()
    def scores(self, subject: Subject) -> dict[int, float]:
        """Score every droppable unit: fitted on the train split, judged on the validation split.

        Raises:
            DataError: The frames do not fit the network.
            ModelError: The output of a unit cannot be read, or is not finite.
        """
        train = spread(subject.train, TRAIN_FRAMES, subject.seed)
        validation = spread(subject.validation, FRAMES, subject.seed)
        learnt, seen = _features(subject, train), _features(subject, validation)
        known: tuple[Tensor, float] | None = None
        scores: dict[int, float] = {}
        for unit, pair in enumerate(zip(learnt, seen, strict=True)):
            accuracies = []
            for what, x, y in zip(("input", "output"), *pair, strict=True):
                if not (x.isfinite().all() and y.isfinite().all()):
                    raise not_finite(f"the {what}s of unit {unit}")
                if known is None or not torch.equal(known[0], x):  # most units take in what the one before puts out
                    fitted = (beside(subject.model, each) for each in (x, train.labels, y, validation.labels))
                    known = x, probe_accuracy(*fitted)
                accuracies.append(known[1])
            scores[unit] = accuracies[1] - accuracies[0]
        return {unit.index: scores[unit.index] for unit in droppable(subject)}


def _features(subject: Subject, frames: Labelled) -> list[tuple[Tensor, Tensor]]:
    """Input and output of each unit, pooled: twice (n, at most FEATURES) each, in main memory."""
    model, parts = subject.model, batches(frames)
    found = []
    with evaluating(model), subject.progress.track("linear probe", len(parts)) as advance:
        passages = passages_of(model, subject.chain, beside(model, parts[0].iq))
        for batch in parts:
            iq = beside(model, batch.iq)
            found.append(
                read_passing(model, passages, iq, lambda x: pooled(x).cpu(), lambda before, after: (before, after))
            )
            advance(1, f"{len(batch.labels)} frames")
    return [
        (torch.cat(before), torch.cat(after))
        for before, after in (zip(*unit, strict=True) for unit in zip(*found, strict=True))
    ]


def pooled(activations: Tensor) -> Tensor:
    """Average activations (n, C, ...) down to (n, at most FEATURES).

    Channels are kept separate as far as they fit; the remaining features cover equal stretches of the other axes.
    """
    shape = activations.shape if activations.dim() > 1 else (len(activations), 1)
    image = activations.float().reshape(shape[0], 1, shape[1], -1)
    channels = min(image.shape[2], FEATURES)
    places = min(image.shape[3], FEATURES // channels)
    return adaptive_avg_pool2d(image, (channels, places)).flatten(1)


def probe_accuracy(x: Tensor, labels: Tensor, y: Tensor, true: Tensor) -> float:
    """Accuracy of a linear classifier.

    Ridge regression in closed form: W = (XᵀX + λnI)⁻¹ XᵀT with X standardized by its own mean and deviation, T the
    centered one-hot labels and λ = PENALTY. Constant features are left at zero.

    Args:
        x: Features to fit to, (n, d).
        labels: Their classes, (n,).
        y: Features to judge by, (m, d).
        true: Their classes, (m,).
    """
    x, y = x.double(), y.double()
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, torch.inf)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    targets = one_hot(labels, int(max(labels.max(), true.max())) + 1).double()
    penalty = PENALTY * len(x) * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ (targets - targets.mean(dim=0)))
    predicted = y @ weights + targets.mean(dim=0)
    return float((predicted.argmax(dim=1) == true).double().mean())


criterion = LinearProbe()
