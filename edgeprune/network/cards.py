"""Graphics cards that PyTorch can use, and the choice of one for a run."""

import os
import platform
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from edgeprune.errors import ConfigError, DeviceError, EdgepruneError, reason_of
from edgeprune.network.compute import Compute, training_precision

CHOICES = "auto, cpu, cuda, cuda:N"
_CUDA = re.compile(r"cuda(?::(\d+))?")
_DRIVER = Path("/proc/driver/nvidia/version")
_VERSION = re.compile(r"Kernel Module\D*?(?:x86_64|aarch64)?\s+(\d+[.\d]*)\s")


@dataclass(frozen=True)
class Card:
    """Graphics card.

    Attributes:
        index: Number of the card in PyTorch.
        name: Name that the driver reports.
        capability: Compute capability, as in '9.0'.
        memory_bytes: Total memory.
    """

    index: int
    name: str
    capability: str
    memory_bytes: int


def cards() -> tuple[Card, ...]:
    """List all cards that PyTorch sees.

    Raises:
        DeviceError: The properties of a card cannot be read.
    """
    if not _available():
        return ()
    try:
        found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    except RuntimeError as error:
        raise DeviceError(f"a GPU cannot be used: {reason_of(error)}", "Check its state with nvidia-smi") from error
    return tuple(
        Card(index, each.name, f"{each.major}.{each.minor}", each.total_memory) for index, each in enumerate(found)
    )


def choose(wanted: str = "auto") -> Compute:
    """Choose the device for the networks of a run.

    Args:
        wanted: 'cpu', 'cuda' or 'cuda:N' for one card, or 'auto' for a card if a usable one exists.

    Raises:
        ConfigError: Another word, or no such card.
        DeviceError: There is a card, but its driver or PyTorch cannot use it.
    """
    asked = _CUDA.fullmatch(wanted)
    if wanted not in ("auto", "cpu") and asked is None:
        raise ConfigError(f"`compute={wanted!r}` names nothing to compute on", f"Allowed: {CHOICES}")
    if wanted == "cpu":
        return _cpu()
    try:
        return _on(_card(wanted, None if asked is None else asked[1]))
    except EdgepruneError as error:
        if wanted != "auto":
            raise
        return _cpu(f"no GPU is used: {error.message}" if _driver() else "")


def _card(wanted: str, number: str | None) -> Card:
    """Find the requested card; without a number, that of this process among those that work together on one machine."""
    found = cards()
    if not found:
        raise _none()
    index = int(os.environ.get("LOCAL_RANK", "0")) if number is None else int(number)
    if index >= len(found):
        there = ", ".join(f"cuda:{card.index} ({card.name})" for card in found)
        raise ConfigError(f"`compute={wanted}` asks for GPU {index}, and this machine has {len(found)}: {there}")
    return found[index]


def _on(card: Card) -> Compute:
    built = [int(name[3:]) for name in torch.cuda.get_arch_list() if name[3:].isdecimal()]
    if built and int(card.capability.replace(".", "")) < min(built):
        raise DeviceError(
            f"{card.name} has compute capability {card.capability}, and PyTorch {torch.__version__} is built for "
            f"{min(built) / 10:.1f} and higher",
            "Install a PyTorch that is built for it, or use `compute='cpu'`",
        )
    device = torch.device("cuda", card.index)
    return Compute(
        device=str(device),
        name=card.name,
        precision=training_precision(device),
        capability=card.capability,
        memory_bytes=card.memory_bytes,
        driver=_driver(),
    )


def _cpu(why: str = "") -> Compute:
    name = f"{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads"
    return Compute(name=name, precision=training_precision(torch.device("cpu")), why=why)


def _available() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a driver that is too old; the error says so
        return torch.cuda.is_available()


def _none() -> EdgepruneError:
    """Explain why there is no card that PyTorch can use."""
    instead = "Use `compute='cpu'`, or auto"
    if torch.version.cuda is None:
        return ConfigError(
            f"PyTorch {torch.__version__} is built without CUDA and sees no GPU",
            f"Install a PyTorch that is built with CUDA. {instead}",
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        said = reason_of(error)
        if "too old" in said:
            return DeviceError(
                f"NVIDIA's driver {_driver() or ''} is too old for PyTorch {torch.__version__}, which is built for "
                f"CUDA {torch.version.cuda}",
                f"Update the driver, or install a PyTorch for an older CUDA. {instead}",
            )
        return ConfigError(f"PyTorch sees no GPU: {said}", instead)
    return ConfigError("PyTorch sees no GPU", instead)


def _driver() -> str | None:
    """Version of NVIDIA's driver, as reported by the kernel; None without one, or if it reports none."""
    try:
        found = _VERSION.search(_DRIVER.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[1] if found else None
