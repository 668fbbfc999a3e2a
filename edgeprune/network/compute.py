"""Where networks are computed: chosen once a run, and the one place that moves a network.

A stage computes where the network is. Whoever calls it lends the network out with `Compute.lent`, and the stage brings
its frames with `beside`. What a stage hands on (similarities, scores, answers) is in main memory again.
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
    """What computes the networks of a run; without arguments the CPU.

    Attributes:
        device: As PyTorch names it: 'cpu' or 'cuda:0'.
        name: Name of the processor or card.
        torch: Version of PyTorch.
        precision: What training computes in; everything else is in float32.
        capability: Compute capability of the card, as in '9.0'.
        memory_bytes: Memory of the card.
        driver: Version of NVIDIA's driver.
        why: Why it is the CPU although there is a card.
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
        """What a report keeps of it; what is not known is absent."""
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
        """One line for the terminal."""
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
        """Move networks here for a while; afterwards each is where and as it was, also when something was raised.

        That is: on its device, every module in its mode, every parameter with or without gradients and laid out in
        memory as before. Meanwhile the card is PyTorch's current one, and float32 has all its digits, as on a CPU.

        Args:
            networks: Those that the stage uses; None stands for one that there is not.

        Raises:
            ModelError: A network keeps or makes a tensor elsewhere; the message says where in it.
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
        """What an error says of the place of a tensor or of the card's memory; None for any other.

        One that says what to do about memory itself is such another.
        """
        if isinstance(error, DeviceError):
            return None
        if out_of_memory(error):
            return DeviceError(
                f"{self.name} has not enough memory: {reason_of(error)}",
                "Free memory there, choose another card with --compute cuda:N, or use --compute cpu",
            )
        return explained(error, networks, torch.device(self.device)) if self.on_gpu else None


CPU = Compute()
"""What computes where nobody chose."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a card had not enough memory, here or in what led to the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.OutOfMemoryError):
            return True
        cause = cause.__cause__
    return False


class _Home:
    """Where and how a network was."""

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
    """How the weights of a 2-D convolution lie in memory."""
    last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


@contextmanager
def _at_work(card: str) -> Iterator[None]:
    """Make a card the current one, without TF32: that has ten of float32's 23 bits, and scores would differ by it."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.cuda.device(card):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def free_bytes(device: torch.device) -> int | None:
    """Memory of a card that nothing has taken; None for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def halved(run: Callable[[Tensor], Tensor], frames: Tensor, size: int) -> tuple[Tensor, int]:
    """What a network makes of frames, in main memory; in half as many at a time where a card cannot hold so many.

    Args:
        run: Makes the answers (n, ...) to n frames.
        frames: (N, ...), at least one.
        size: How many at a time.

    Returns:
        The answers (N, ...), and how many at a time went well.

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
    """Where a network is: where its first parameter is, or buffer; one without either is on the CPU."""
    for tensor in (*network.parameters(), *network.buffers()):
        return tensor.device
    return torch.device("cpu")


def beside(network: nn.Module, tensor: Tensor) -> Tensor:
    """A tensor where a network is; the same one if it is there already."""
    return tensor.to(device_of(network))


def put_beside(network: nn.Module, other: nn.Module) -> nn.Module:
    """Another network, moved to where a network is."""
    return other.to(device_of(network))


def copied(network: nn.Module) -> nn.Module:
    """Copy a network where it is.

    Tensors that its code computed and keeps, as the hooks of weight norm do, are copied as numbers: the operations that
    made them cannot be copied along.
    """
    kept = [leaf for module in network.modules() for leaf in tree_leaves(list(vars(module).values()))]
    computed = {id(leaf): leaf.detach().clone() for leaf in kept if isinstance(leaf, Tensor) and not leaf.is_leaf}
    return deepcopy(network, computed)


def host_copy(network: nn.Module) -> nn.Module:
    """A copy of a network in main memory; the network is left where it is."""
    return copied(network).cpu()


def shapes_copy(network: nn.Module) -> nn.Module:
    """A copy of a network on PyTorch's meta device, where tensors have a shape and no numbers."""
    return copied(network).to("meta")


def brought_home(network: nn.Module) -> nn.Module:
    """A network that a stage made, moved to main memory."""
    return network.cpu()


def training_precision(device: torch.device) -> TrainingPrecision:
    """What training is fast in on a device: bf16 where it computes in it, fp16 on other cards, otherwise float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16")
    return "bf16" if fast else "fp32"
