"""Network as it is deployed: on the CPU, in evaluation mode, with its normalization in front."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeprune.errors import DataError, ModelError
from edgeprune.network.compute import host_copy
from edgeprune.network.normalisation import normalise
from edgeprune.records.names import Normalisation
from edgeprune.records.pruning import InputSpec

BATCH_SIZE = 256


class RawSampleNetwork(nn.Module):
    """Network that takes raw samples.

    Args:
        network: Network that takes normalized frames (N, C, L).
        normalisation: Normalization of raw frames.
    """

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        self.normalisation: Normalisation = normalisation

    def forward(self, iq: Tensor) -> Tensor:
        """Compute logits (N, classes) of raw frames (N, C, L)."""
        logits: Tensor = self.network(normalise(iq, self.normalisation))
        return logits


def on_raw_samples(model: nn.Module, spec: InputSpec) -> RawSampleNetwork:
    """Copy the model as one that takes raw samples, float32 on the CPU in evaluation mode; the model is left unchanged.

    Raises:
        ModelError: The model cannot be copied.
    """
    try:
        duplicate = host_copy(model)
    except Exception as error:  # copying runs the module's own code
        raise ModelError(f"the network cannot be copied: {first_cause(error)}") from error
    return RawSampleNetwork(duplicate.float(), spec.normalisation).eval()


def torch_logits(network: RawSampleNetwork, iq: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute logits (N, classes) of raw frames (N, C, L), by torch.

    Raises:
        ModelError: The network cannot run on such frames, or returns anything but one row of logits a frame.
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(iq), BATCH_SIZE):
            batch = torch.from_numpy(iq[start : start + BATCH_SIZE])
            try:
                logits = network(batch)
            except Exception as error:  # the network is anybody's code
                shape = tuple(batch.shape)
                raise ModelError(f"the network cannot read frames {shape}: {first_cause(error)}") from error
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
                found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ModelError(f"the network returns {found} for {len(batch)} frames, not ({len(batch)}, classes)")
            parts.append(logits.float().numpy())
    return np.concatenate(parts)


def fitting(iq: npt.NDArray[np.float32], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Convert the frames to a contiguous float32 array (N, C, L).

    Raises:
        DataError: There are none, or they do not fit the network's input.
    """
    if iq.ndim != 3 or iq.shape[1:] != (spec.channels, spec.length) or not len(iq):
        allowed = f"(N, {spec.channels}, {spec.length}) with N > 0"
        raise DataError(f"the frames to check the export on have shape {iq.shape}; allowed is {allowed}")
    return np.ascontiguousarray(iq, dtype=np.float32)


def first_cause(error: BaseException) -> str:
    """First cause in a chain of errors, in one line of at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ModelError):
        return error.message
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


_CHATTY_LOGGERS = ("", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")
"""The first is the root logger, which ONNX Runtime's quantizer writes to."""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide warnings, logs and prints from the user: the result is checked afterwards.

    When it fails, the TorchScript exporter dumps its graph on standard output, from C++; `--json` promises a single
    object there.
    """
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    sys.stdout.flush()
    output = os.dup(1)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            Path(os.devnull).open("wb") as nowhere,
        ):
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(output, 1)
        os.close(output)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
