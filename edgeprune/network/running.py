"""Temporary modes of a network: in evaluation mode, seeded, with every product counted, or without warnings."""

import contextlib
import io
import logging
import random
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside the `with` block; every module is then returned to its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators that a network may use: torch's, NumPy's and Python's.

    Dropout draws from torch's, on the device that it runs on; foreign networks may draw from the others. Afterwards
    every generator continues as if nothing had been drawn.

    Args:
        seed: 0 to 2^32 - 1, the range of NumPy.
        device: Device of the network; None for the CPU. Generators of other GPUs are not touched.
    """
    python, numpy = random.getstate(), np.random.get_state()
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.set_state(np.random.RandomState(seed).get_state())
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def drawn_by_python() -> tuple[object, ...]:
    """State of Python's and NumPy's global generators; it differs after something was drawn from them."""
    numpy = np.random.get_state(legacy=False)["state"]
    return random.getstate(), numpy["pos"], numpy["key"].tobytes()


@contextlib.contextmanager
def countable() -> Iterator[None]:
    """Disable fused kernels: those of oneDNN and of attention hide their products from PyTorch's counter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Hide the pages that torch writes about failing code: its errors are sufficient."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def copies_traced() -> Iterator[None]:
    """Let `copy.deepcopy` of a tensor be an operation while torch traces or exports a network.

    As it is, the copy is a constant to the exporter on TorchScript, and an error to the one on torch.export.
    """
    from torch._subclasses.fake_tensor import FakeTensor  # loads torch's compiler

    own: Any = Tensor.__deepcopy__

    def copied(tensor: Tensor, memo: dict[int, Any]) -> Any:
        traced = isinstance(tensor, FakeTensor) or torch._C._get_tracing_state() is not None
        return tensor.clone() if traced else own(tensor, memo)

    with mock.patch.object(Tensor, "__deepcopy__", copied):
        yield


PROBE_FRAMES = 5  # nobody mistakes the axis of frames for a tuple's two or three things


def probe(channels: int, length: int) -> Tensor:
    """Frames (PROBE_FRAMES, channels, length) that rise from -1 to 1."""
    count = PROBE_FRAMES * channels * length
    return torch.linspace(-1, 1, count).reshape(PROBE_FRAMES, channels, length)
