"""Subjects for the criteria: small networks with their chains and normalised frames."""

import functools

import synthetic
import torch
from torch import nn

from edgeprune.models.resnet import ResNet
from edgeprune.network.normalisation import normalise
from edgeprune.network.unfold import unfolded
from edgeprune.protocols import Labelled, Subject
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Edit, InputSpec, LayerChain, Unit

LENGTH = 16
CLASSES = 3


def chain_of(*paths, fixed=(), shortcuts=()):
    """A chain of modules that are dropped as identities, but for those at `fixed` places and at `shortcuts`."""
    units = []
    for index, path in enumerate(paths):
        edit = None if index in fixed else Edit(path, "shortcut" if index in shortcuts else "identity")
        units.append(Unit(index, path, "x", (), (), 0, 0, "", edit and edit.drop, edit=edit))
    return LayerChain("sha", tuple(units), 0, 0)


@functools.cache
def frames(per_cell=20, length=LENGTH, seed=0):
    """Normalised frames of three tones in noise, in random order."""
    found = synthetic.frames_of(synthetic.cells(per_cell, length, seed=seed))
    order = torch.randperm(len(found.labels), generator=torch.Generator().manual_seed(seed))
    return Labelled(normalise(torch.from_numpy(found.iq), "rms")[order], torch.from_numpy(found.labels)[order])


def subject_of(model, chain=None, length=LENGTH, seed=0, train=None, validation=None, progress=None):
    """The network in eval mode, its chain found in it unless given."""
    model = unfolded(model.eval())
    shape = InputSpec(2, length)
    return Subject(
        model=model,
        chain=chain or layers_of(model, shape, "sha"),
        shape=shape,
        train=train or frames(20, length, 0),
        validation=validation or frames(12, length, 1),
        seed=seed,
        progress=progress or synthetic.Silent(),
    )


BLOCKS = chain_of("stem", "blocks.0", "blocks.1", "blocks.2", "fc", fixed=(0, 4), shortcuts=(2, 3))


@functools.cache
def trained():
    """A residual network of three blocks that tells the tones apart. Read only: it is shared."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        model = ResNet(1, 1, CLASSES)
        weights = list(model.parameters())
        for _ in range(30):
            loss = nn.functional.cross_entropy(model(frames().iq), frames().labels)
            with torch.no_grad():
                for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight -= 0.1 * gradient
    return model.eval()


def top1(model, labelled):
    """Accuracy on frames."""
    with torch.no_grad():
        return float((model(labelled.iq).argmax(1) == labelled.labels).float().mean())
