"""Exporters and quantisers that talk."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_CHATTY_LOGGERS = ("", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")
"""The first is the root logger, which ONNX Runtime's quantiser writes to."""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep warnings, logs and prints from the user: whether it did well is checked afterwards.

    The TorchScript exporter dumps its graph on standard output, from C++, when it fails; `--json` promises one object
    there.
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
