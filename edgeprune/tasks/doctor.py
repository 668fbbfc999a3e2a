"""Check of this installation, and of the parts of the main job."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgeprune
from edgeprune import datasets, registry, targets
from edgeprune.errors import reason_of
from edgeprune.files.shipped import shipped
from edgeprune.report import facts

if TYPE_CHECKING:
    from edgeprune.network.cards import Card

_ROOM_BYTES = 200_000_000


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    what: str
    found: str
    ok: bool


def diagnose() -> list[Finding]:
    """Check Python, packages, plug-ins, targets, shipped data, compute and disk; a failed check is a finding too."""
    checks: dict[str, Callable[[], str]] = {
        "edgeprune": lambda: f"{edgeprune.__version__} in {Path(edgeprune.__file__).parent}",
        "python": lambda: sys.version.split()[0],
        "packages": lambda: ", ".join(f"{name} {version}" for name, version in facts.packages().items()),
        "compute": _compute,
        "GPUs": _gpus,
        "runtimes": lambda: ", ".join(_runtime(name) for name in registry.names("runtimes")),
        "models": lambda: ", ".join(registry.model_names()),
        "criteria": lambda: _loaded("criteria"),
        "similarity": lambda: _loaded("similarity"),
        "targets": lambda: ", ".join(targets.get(name).name for name in targets.names()),
        "shipped data": _shipped_data,
        "disk": _disk,
    }
    return [_finding(what, check) for what, check in checks.items()]


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, check(), True)
    except Exception as error:  # a check that fails in any way is a finding
        return Finding(what, f"{type(error).__name__}: {reason_of(error)}", False)


def _compute() -> str:
    from edgeprune.network.cards import choose

    return choose().sentence


def _gpus() -> str:
    """List each GPU with its compute capability, and which of NVIDIA's two packages support it."""
    from edgeprune.network.cards import cards

    found = [
        f"cuda:{card.index} {card.name}, compute capability {card.capability}, {card.memory_bytes / 2**30:.1f} GiB; "
        + "; ".join(_taken(name, card) for name in ("tensorrt", "tensorrt-rtx"))
        for card in cards()
    ]
    return " | ".join(found) or "none that PyTorch sees"


def _taken(name: str, card: "Card") -> str:
    """Describe whether one of the packages supports a card."""
    runtime = registry.get("runtimes", name)
    version = runtime.facts()["version"]
    if version == "not installed":
        return f"{name} is not installed"
    reason = runtime.refusal(card)
    return f"{name} {version} supports it" if reason is None else f"{name} {version} does not support it"


def _runtime(name: str) -> str:
    return f"{name} {registry.get('runtimes', name).facts()['version']}"


def _loaded(kind: registry.Kind) -> str:
    names = registry.names(kind)
    for name in names:
        registry.get(kind, name)
    return ", ".join(names)


def _shipped_data() -> str:
    found = []
    for file in sorted(shipped("calib_data").glob("*/*.npz")):
        frames = datasets.read(file)
        found.append(f"{file.parent.name}: {len(frames)} frames, {len(frames.classes)} classes")
    return "; ".join(found) or "none"


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free
    with tempfile.TemporaryFile(dir=Path.cwd()):
        pass
    if free < _ROOM_BYTES:
        raise OSError(f"{free / 1e6:.0f} MB free here, {_ROOM_BYTES / 1e6:.0f} MB wanted")
    return f"{free / 1e9:.1f} GB free here, and it can be written"
