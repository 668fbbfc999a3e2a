"""Accuracy of the unpruned network, and identification of its normalization and outputs.

The weights of a foreign network record neither its normalization nor the order of its classes, and a wrong one raises
no error. So each normalization is tried on frames of the validation split, the order of the classes is checked against
the labels, and the kind of the outputs, logits or probabilities, is recognized from their values.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from edgeprune.errors import ConfigError, ModelError
from edgeprune.network.checkpoint import Checkpoint
from edgeprune.network.compute import CPU, Compute
from edgeprune.network.normalisation import FORMULAS
from edgeprune.network.outputs import LogitsOf, outputs_of
from edgeprune.network.user_code import require_any_batch
from edgeprune.protocols import NullProgress, Progress
from edgeprune.records.frames import Frames
from edgeprune.records.names import NORMALISATIONS, Normalisation, Outputs
from edgeprune.tasks.data.frames import spread
from edgeprune.tasks.data.reading import SPLIT_SEED
from edgeprune.train.evaluate import predict

TRIED_FRAMES = 2048
_LOOKED_AT = 512
CHANCES = 3
"""Multiple of chance that the accuracy of the unpruned network must reach."""
_UNTAUGHT: Normalisation = "rms"
_HALF = 0.5  # enough if there are so few classes that three times chance is more
_BY_CHANCE = 0.005  # probability, at most, that an order of the classes seems better by chance
_OWN = 2 / 3  # share of the classes with another output, at least, for which that is the most frequent answer
_RIGHT = 0.5  # share of the frames of these classes that must be right then


@dataclass(frozen=True)
class Attempt:
    """One normalization, tried on some frames of the validation split.

    Attributes:
        normalisation: The normalization.
        top1: Share of the frames that are classified correctly.
        reordered_top1: The same share with the classes in the order that fits the outputs best.
        order: Names of the classes in that order.
        misordered: Whether that is the order of the outputs rather than the one that is given.
    """

    normalisation: Normalisation
    top1: float
    reordered_top1: float
    order: tuple[str, ...]
    misordered: bool


@dataclass(frozen=True)
class Baseline:
    """Accuracy of the unpruned network, measured before anything else.

    Attributes:
        frames: Number of frames in the validation split.
        top1: Share of the frames that are classified correctly.
        least_top1: Minimum that `top1` must reach: three times chance, or half if that is less.
        normalisation: Normalization of each frame.
        outputs: Kind of the network's own outputs.
        tried: Normalizations that were tried to identify it; empty if it was known.
    """

    frames: int
    top1: float
    least_top1: float
    normalisation: Normalisation
    outputs: Outputs
    tried: tuple[Attempt, ...] = ()


def least_top1(classes: int) -> float:
    """Top-1 below which a network counts as untrained for its classes."""
    return min(CHANCES / classes, _HALF)


def is_settled(model: Checkpoint) -> bool:
    """Return whether a model's normalization and the kind of its outputs are known."""
    known = model.arch.source == "registered" or model.arch.outputs is not None
    return known and model.input.normalisation != "unknown"


def require_answers(model: Checkpoint) -> None:
    """Require that a network of a user's own computes the same for any number of frames at a time.

    Raises:
        ModelError: It does not; the message has the line of its code.
    """
    if model.arch.source != "registered":
        require_any_batch(model.model, (model.input.channels, model.input.length), model.name)


def settled(
    model: Checkpoint,
    validation: Frames,
    progress: Progress,
    compute: Compute = CPU,
    *,
    strict: bool = False,
    any_order: bool = False,
) -> Checkpoint:
    """Identify a model's normalization and the kind of its outputs; a model that records both is returned unchanged.

    If the accuracy is near chance with every normalization, the network is untrained for these labels, and its
    normalization cannot be identified. Its frames are then scaled as rms, and a warning says so.

    Args:
        model: The network.
        validation: Frames of the validation split.
        progress: Reporter of what was found.
        compute: Device on which networks run.
        strict: Refuse a network that is near chance.
        any_order: Accept classes in another order than that of the labels.

    Raises:
        ConfigError: The order of its classes differs from that of the labels.
        ModelError: No normalization gives three times chance, the number of outputs is not that of the classes, or the
            outputs depend on the number of frames at a time.
    """
    require_answers(model)
    if is_settled(model):
        return model
    known = model.input.normalisation
    attempts, outputs = _attempts(model, validation, progress, compute, None if known == "unknown" else known)
    best = max(attempts, key=lambda attempt: attempt.top1)
    if model.arch.outputs is None and model.plan is None and not any_order:
        _refuse_order(model, attempts)
    if known == "unknown" and best.top1 < least_top1(len(model.classes)):
        if strict:
            raise too_low(model, best.top1, attempts)
        best = next(attempt for attempt in attempts if attempt.normalisation == _UNTAUGHT)
        progress.note(
            f"warning: {model.name} is near chance with every normalization ({_listed(attempts)}): frames are scaled "
            f"as {_UNTAUGHT} from here on; give `normalisation` if its training had another"
        )
    elif known == "unknown":
        progress.note(f"normalisation {best.normalisation}, x -> {FORMULAS[best.normalisation]}: {_listed(attempts)}")
    return as_found(model, best.normalisation, outputs, progress)


def looked_at(model: Checkpoint, validation: Frames, progress: Progress, compute: Compute = CPU) -> Checkpoint:
    """Identify a model as `settled` does, and warn if its accuracy is near chance.

    Raises:
        ConfigError: The order of its classes differs from that of the labels.
        ModelError: It has another number of outputs than classes, or its outputs depend on the number of frames.
    """
    found = settled(model, validation, progress, compute)
    if model.input.normalisation != "unknown":
        few = spread(validation, _LOOKED_AT, SPLIT_SEED)
        with compute.lent(found.model):
            logits = predict(found.model, few.iq, found.input, NullProgress(), "")
        _require_outputs(found, logits)
        warn_low(found.name, found.classes, float((logits.argmax(axis=1) == few.labels).mean()), progress)
    return found


def warn_low(name: str, classes: tuple[str, ...], top1: float, progress: Progress) -> None:
    """Warn if the accuracy of a network is near chance."""
    if top1 < least_top1(len(classes)):
        accuracy = f"it classifies {top1:.1%} of the frames correctly, and chance is {1 / len(classes):.1%}"
        progress.note(f"warning: {name} is near chance: {accuracy}")


def baseline_of(model: Checkpoint, validation: Frames, progress: Progress, compute: Compute = CPU) -> Baseline:
    """Measure an identified network on the whole validation split."""
    with compute.lent(model.model):
        logits = predict(model.model, validation.iq, model.input, progress, "the unpruned network")
    _require_outputs(model, logits)
    top1 = float((logits.argmax(axis=1) == validation.labels).mean())
    least, outputs = least_top1(len(model.classes)), model.arch.outputs or "logits"
    return Baseline(len(validation), top1, least, model.input.normalisation, outputs)


def refuse_low(
    model: Checkpoint, baseline: Baseline, validation: Frames, progress: Progress, compute: Compute = CPU
) -> None:
    """Refuse a network that is near chance, with the accuracy of each normalization and order of the classes.

    Raises:
        ConfigError: The order of its classes differs from that of the labels.
        ModelError: The accuracy is near chance with every normalization.
    """
    if baseline.top1 >= baseline.least_top1:
        return
    attempts, _ = _attempts(model, validation, progress, compute, None)
    _refuse_order(model, attempts)
    raise too_low(model, baseline.top1, attempts)


def as_found(model: Checkpoint, normalisation: Normalisation, outputs: Outputs, progress: Progress) -> Checkpoint:
    """Return the model with its identified normalization and kind of outputs."""
    found = replace(model, input=replace(model.input, normalisation=normalisation))
    if model.arch.outputs == outputs or model.arch.source == "registered":
        return found
    if outputs == "probabilities" and (model.plan is not None or model.widths):
        progress.note("its outputs are probabilities and are taken for logits: it was pruned so; import it unpruned")
        return found
    if outputs != "logits":
        progress.note(f"its outputs are {outputs}, and are taken so")
    network = LogitsOf(model.model).eval() if outputs == "probabilities" else model.model
    return replace(found, model=network, arch=replace(model.arch, outputs=outputs))


def _attempts(
    model: Checkpoint,
    validation: Frames,
    progress: Progress,
    compute: Compute,
    only: Normalisation | None,
) -> tuple[tuple[Attempt, ...], Outputs]:
    """Try each normalization on some frames, and recognize the kind of the outputs."""
    few = spread(validation, TRIED_FRAMES, SPLIT_SEED)
    attempts: list[Attempt] = []
    kinds: set[Outputs] = set()
    with compute.lent(model.model):
        for how in NORMALISATIONS if only is None else (only,):
            answers = predict(model.model, few.iq, replace(model.input, normalisation=how), progress, f"as {how}")
            _require_outputs(model, answers)
            attempts.append(_attempt(how, answers, few))
            kinds.add(outputs_of(answers))
    outputs = kinds.pop() if len(kinds) == 1 else "logits"
    return tuple(attempts), outputs


def _attempt(how: Normalisation, answers: npt.NDArray[np.float32], frames: Frames) -> Attempt:
    called, classes = answers.argmax(axis=1), len(frames.classes)
    counts = np.bincount(frames.labels * classes + called, minlength=classes**2).reshape(classes, classes)
    outputs, misordered = best_order(counts)
    order = tuple(frames.classes[label] for label in np.argsort(outputs))
    top1, reordered = (float(counts[np.arange(classes), own].sum() / len(frames)) for own in (range(classes), outputs))
    return Attempt(how, top1, reordered, order, misordered)


def best_order(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], bool]:
    """Find the order of the classes that fits a network's answers best, and whether it is the right one.

    It is, if two things hold. Of the frames that the two orders judge differently, it is right for so many more that
    chance does not explain it (sign test). And of the classes that it gives another output, half of the frames are
    answered with that output, and most classes with no other one more often: in an untrained network, a few outputs are
    the answer to all classes.

    Args:
        counts: Number of frames of each class (rows) that are answered with each output (columns).

    Returns:
        The output of each class, and whether the classes are in another order than their outputs.
    """
    classes, outputs = linear_sum_assignment(counts, maximize=True)
    moved = outputs != classes
    if not moved.any():
        return outputs, False
    right, given = counts[classes, outputs], counts.diagonal()
    better, worse = int(right[moved].sum()), int(given[moved].sum())
    by_chance = binom.sf(better - 1, better + worse, 0.5)
    own = float((right >= counts.max(axis=1))[moved].mean())
    enough = better >= _RIGHT * counts[moved].sum()
    return outputs, bool(by_chance < _BY_CHANCE and own >= _OWN and enough)


def _require_outputs(model: Checkpoint, answers: npt.NDArray[np.float32]) -> None:
    if answers.shape[1] != len(model.classes):
        raise ModelError(
            f"{model.name} answers a frame with {answers.shape[1]} values, and {len(model.classes)} classes are named",
            f"Name {answers.shape[1]} classes in the order of its outputs with `classes`",
        )


def too_low(model: Checkpoint, top1: float, attempts: tuple[Attempt, ...]) -> ModelError:
    """Make the error for a network that is near chance with every normalization."""
    classes = len(model.classes)
    best = max(attempts, key=lambda attempt: attempt.reordered_top1)
    return ModelError(
        f"unpruned, {model.name} classifies {top1:.1%} of the validation frames correctly; chance is "
        f"{1 / classes:.1%}, and at least {least_top1(classes):.1%} is required. "
        f"Tried: {_listed(attempts)}; with the classes in the order "
        f"that suits best, {best.reordered_top1:.1%}",
        "Look at the weights, the class names and the data; where its frames were scaled otherwise, do that in the "
        "network's forward and give `normalisation=none`",
    )


def _refuse_order(model: Checkpoint, attempts: tuple[Attempt, ...]) -> None:
    """Refuse an order of the classes if another one fits the labels clearly better."""
    best = max(attempts, key=lambda attempt: attempt.reordered_top1)
    as_given = max(attempt.top1 for attempt in attempts)
    if not best.misordered:
        return
    raise ConfigError(
        f"{model.name} classifies {as_given:.1%} of the validation frames correctly with its classes in the order "
        f"{','.join(model.classes)}, and {best.reordered_top1:.1%} ({best.normalisation}) in another",
        f"If that is the order of its outputs, give `classes={','.join(best.order)}`",
    )


def _listed(attempts: tuple[Attempt, ...]) -> str:
    return ", ".join(f"{attempt.normalisation} {attempt.top1:.1%}" for attempt in attempts)
