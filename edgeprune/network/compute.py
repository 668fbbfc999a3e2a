"""Devices of networks: chosen once a run, with one place that moves networks.

A stage computes on the network's device. Its caller lends the network out with `Compute.lent`, and the stage moves its
frames with `beside`. The results of a stage (similarities, scores, outputs) are in main memory again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgeprune.errors import DeviceError, EdgepruneError, reason_of
from edgeprune.network.misplaced import explained

TrainingPrecision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Compute:
    """Device that computes the networks of a run; by default the CPU.

    Attributes:
        device: Name in PyTorch: 'cpu' or 'cuda:0'.
        name: Name of the processor or card.
        torch: Version of PyTorch.
        precision: Precision of training; everything else is in float32.
        capability: Compute capability of the card, as in '9.0'.
        memory_bytes: Memory of the card.
        driver: Version of the NVIDIA driver.
        why: Reason for using the CPU although there is a card.
    """

    device: str = "cpu"
    name: str = "CPU"
    torch: str = torch.__version__
    precision: TrainingPrecision = "fp32"
    capability: str | None = None
    memory_bytes: int | None = None
    driver: str | None = None
    why: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether it is a card."""
        return self.device.startswith("cuda")

    @property
    def facts(self) -> dict[str, str | int]:
        """Facts for the report; unknown ones are absent."""
        known = {
            "device": self.device,
            "name": self.name,
            "capability": self.capability,
            "memory_bytes": self.memory_bytes,
            "driver": self.driver,
            "torch": self.torch,
            "precision": self.precision,
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def sentence(self) -> str:
        """Describe the device in one line for the terminal."""
        known = [
            self.device if self.on_gpu else "",
            f"compute capability {self.capability}" if self.capability else "",
            f"{self.memory_bytes / 2**30:.1f} GiB" if self.memory_bytes else "",
            f"driver {self.driver}" if self.driver else "",
        ]
        facts = ", ".join(each for each in known if each)
        place = f"{self.name} ({facts})" if facts else self.name
        reason = f"; {self.why}" if self.why else ""
        return f"networks run on {place}, training in {self.precision}; PyTorch {self.torch}{reason}"

    @contextmanager
    def lent(self, *networks: nn.Module | None) -> Iterator[None]:
        """Move networks to the device inside the `with` block; their state is restored afterwards, even after an error.

        The state is: its device, every module's mode, and every parameter's gradient flag and memory layout. Inside the
        block the card is PyTorch's current one, and float32 has full precision, as on a CPU.

        Args:
            networks: Networks that the stage uses; None is ignored.

        Raises:
            ModelError: A network keeps or makes a tensor on another device; the message says where in it.
            DeviceError: The card has not enough memory.
        """
        given = [network for network in networks if network is not None]
        homes = [_Home(network) for network in given]
        with _at_work(self.device) if self.on_gpu else nullcontext():
            try:
                for network in given:
                    network.to(self.device)
                yield
            except Exception as error:
                found = self._explained(error, given)
                if found is None:
                    raise
                raise found from error
            finally:
                for home in homes:
                    home.restore()

    def _explained(self, error: Exception, networks: list[nn.Module]) -> EdgepruneError | None:
        """Explain an error about the device of a tensor or the card's memory; None for any other.

        An error that already advises on memory is left unchanged.
        """
        if isinstance(error, DeviceError):
            return None
        if out_of_memory(error):
            return DeviceError(
                f"{self.name} has not enough memory: {reason_of(error)}",
                "Free memory there, choose another card with `compute='cuda:N'`, or use `compute='cpu'`",
            )
        return explained(error, networks, torch.device(self.device)) if self.on_gpu else None


CPU = Compute()
"""Default device."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a card ran out of memory, in this error or in its causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError):
            return True
        cause = cause.__cause__
    return False


class _Home:
    """Original device and state of a network."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._device = device_of(network)
        self._modes = [(module, module.training) for module in network.modules()]
        self._gradients = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
        self._layouts = [
            (parameter, layout_of(parameter)) for parameter in network.parameters() if parameter.dim() == 4
        ]

    def restore(self) -> None:
        self._network.to(self._device)
        for module, training in self._modes:
            module.training = training
        for parameter, wanted in self._gradients:
            parameter.requires_grad_(wanted)
        for parameter, layout in self._layouts:
            if layout_of(parameter) != layout:
                parameter.data = parameter.data.contiguous(memory_format=layout)


def layout_of(weight: Tensor) -> torch.memory_format:
    """Memory layout of the weights of a 2-D convolution."""
    last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


@contextmanager
def _at_work(card: str) -> Iterator[None]:
    """Make a card the current one, without TF32: it has ten of float32's 23 bits, which would change scores."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.cuda.device(card):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a card; None for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def halved(run: Callable[[Tensor], Tensor], frames: Tensor, size: int) -> tuple[Tensor, int]:
    """Compute the outputs for frames, in main memory; halves the batch as often as the card's memory requires.

    Args:
        run: Computes the outputs (n, ...) of n frames.
        frames: (N, ...), at least one.
        size: Batch size to begin with.

    Returns:
        The outputs (N, ...), and the batch size that succeeded.

    Raises:
        OutOfMemoryError: Not even one frame fits.
    """
    while True:
        try:
            return torch.cat([run(part).cpu() for part in torch.split(frames, size)]), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        size = max(1, min(size, len(frames)) // 2)
        torch.cuda.empty_cache()


def device_of(network: nn.Module) -> torch.device:
    """Device of a network: that of its first parameter or buffer; the CPU without either."""
    for tensor in (*network.parameters(), *network.buffers()):
        return tensor.device
    return torch.device("cpu")


def beside(network: nn.Module, tensor: Tensor) -> Tensor:
    """Move a tensor to a network's device; the same tensor if it is already there."""
    return tensor.to(device_of(network))


def put_beside(network: nn.Module, other: nn.Module) -> nn.Module:
    """Move another network to a network's device."""
    return other.to(device_of(network))


def copied(network: nn.Module) -> nn.Module:
    """Copy a network on its device.

    Tensors that its code computed and keeps, as the hooks of weight norm do, are copied as values, because the
    operations that made them cannot be copied.
    """
    kept = [leaf for module in network.modules() for leaf in tree_leaves(list(vars(module).values()))]
    computed = {id(leaf): leaf.detach().clone() for leaf in kept if isinstance(leaf, Tensor) and not leaf.is_leaf}
    return deepcopy(network, computed)


def host_copy(network: nn.Module) -> nn.Module:
    """Copy a network to main memory; the network itself is not moved."""
    return copied(network).cpu()


def shapes_copy(network: nn.Module) -> nn.Module:
    """Copy a network to PyTorch's meta device, where tensors have a shape but no values."""
    return copied(network).to("meta")


def brought_home(network: nn.Module) -> nn.Module:
    """Move a network that a stage made to main memory."""
    return network.cpu()


def training_precision(device: torch.device) -> TrainingPrecision:
    """Fastest precision for training on a device: bf16 where supported, fp16 on other cards, otherwise float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    return "bf16" if fast else "fp32"
