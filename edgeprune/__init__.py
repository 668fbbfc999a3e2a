"""edgeprune: take a trained radio-signal classifier to an edge device, with proof of what it lost and gained.

    import edgeprune as ep

    model = ep.load("model.pt")                        # or ep.wrap(module, classes=..., normalisation=...)
    data = ep.read_frames("frames.npz")                # or ep.wrap_frames(iq, labels, classes=...)
    plan = ep.plan(model, data, keep_ratio=0.33)       # the units to keep, with reasons; plan.plot()
    small = ep.prune(model, plan, data)                # small.module is an ordinary torch.nn.Module
    small = ep.finetune(small, data, teacher=model, epochs=20)
    ep.evaluate(small, data)                           # accuracy by SNR, with intervals
    ep.bench([model, small], target="host-cpu")        # latency, in interleaved rounds
    onnx = ep.export(small, target="jetson-orin")

All of it in one call is `ep.prune_and_export(model, data, target="host-cpu", out="run")`. Nothing here imports torch
until a function that needs it is first used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeprune.api.frames import read_frames, wrap_frames
    from edgeprune.api.job import GateVerdict, RunReport, check, prune_and_export
    from edgeprune.api.measuring import Evaluation, Latency, OnnxFile, bench, evaluate, export
    from edgeprune.api.model import Model, load, wrap
    from edgeprune.api.pruning import UnitPlan, UnitTable, plan, prune, units
    from edgeprune.api.training import finetune
    from edgeprune.errors import ConfigError, DataError, DeviceError, EdgepruneError, ModelError
    from edgeprune.records.frames import Frames
    from edgeprune.registry import register
    from edgeprune.targets import Target

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "EdgepruneError",
    "Evaluation",
    "Frames",
    "GateVerdict",
    "Latency",
    "Model",
    "ModelError",
    "OnnxFile",
    "RunReport",
    "Target",
    "UnitPlan",
    "UnitTable",
    "bench",
    "check",
    "evaluate",
    "export",
    "finetune",
    "load",
    "plan",
    "prune",
    "prune_and_export",
    "read_frames",
    "register",
    "units",
    "wrap",
    "wrap_frames",
]

_HOMES = {
    "api.frames": ("read_frames", "wrap_frames"),
    "api.job": ("GateVerdict", "RunReport", "check", "prune_and_export"),
    "api.measuring": ("Evaluation", "Latency", "OnnxFile", "bench", "evaluate", "export"),
    "api.model": ("Model", "load", "wrap"),
    "api.pruning": ("UnitPlan", "UnitTable", "plan", "prune", "units"),
    "api.training": ("finetune",),
    "errors": ("ConfigError", "DataError", "DeviceError", "EdgepruneError", "ModelError"),
    "records.frames": ("Frames",),
    "registry": ("register",),
    "targets": ("Target",),
}
"""Module of each public name."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


class _Front(ModuleType):
    """This package: its public names are imported on first use, and are never rebound.

    `prune`, `export` and `bench` name functions here and packages below; importing one of those packages would bind it
    in place of the function.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Front
