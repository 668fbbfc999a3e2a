"""Progress of a training: in memory, and in a file that it can be resumed from."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgeprune.files.bounds import MalformedError
from edgeprune.files.weights import check
from edgeprune.network.checkpoint import write_tensors
from edgeprune.records.results import EpochMetrics


@dataclass
class State:
    """State that must survive an interruption."""

    epoch: int
    curve: list[EpochMetrics]
    best_weights: dict[str, Tensor]
    best_epoch: int
    best_top1: float
    device: str = ""

    def add(self, metrics: EpochMetrics, model: nn.Module) -> None:
        """Note an epoch, and keep its weights if it is the best so far."""
        self.curve.append(metrics)
        self.epoch = metrics.epoch
        if metrics.validation_top1 > self.best_top1:
            self.best_weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            self.best_epoch, self.best_top1 = metrics.epoch, metrics.validation_top1


def save(path: Path, key: str, state: State, parts: dict[str, Any]) -> None:
    """Write the state to a file.

    Raises:
        ConfigError: The file cannot be written.
    """
    write_tensors(
        path,
        {
            "key": key,
            "epoch": state.epoch,
            "curve": [vars(metrics) for metrics in state.curve],
            "device": state.device,
            "best": (state.best_weights, state.best_epoch, state.best_top1),
            "parts": {name: part.state_dict() for name, part in parts.items()},
        },
    )


def restore(path: Path, key: str, parts: dict[str, Any]) -> State | None:
    """Load the state in a file into the parts; returns None and leaves the parts unchanged if it does not fit."""
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        check(path)
        saved = cast(dict[str, Any], torch.load(path, weights_only=True, map_location="cpu"))
        if saved["key"] != key:
            return None
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        weights, best_epoch, best_top1 = saved["best"]
        if {name: value.shape for name, value in weights.items()} != _shapes(parts):
            raise MalformedError("its best weights are of another network")
        curve = [EpochMetrics(**metrics) for metrics in saved["curve"]]
        return State(saved["epoch"], curve, weights, best_epoch, best_top1, str(saved.get("device", "")))
    except Exception:  # a damaged state only costs the epochs it held
        for name, part in parts.items():
            part.load_state_dict(before[name])
        return None


def _shapes(parts: dict[str, Any]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in parts["model"].state_dict().items()}
