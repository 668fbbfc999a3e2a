"""Problems in a user's code, with its line: code that breaks with another number of frames or cannot be exported."""

import functools
import re
import sys
import sysconfig
import traceback
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import edgeprune
from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating, probe, quiet_torch
from edgeprune.network.tracing import Code

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_NODE = re.compile(r"translating node %(\w+)")
_COUNTS = (3, 2, 1)
_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "onnxscript", "onnx_ir")
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
_OTHERS = (
    Path(edgeprune.__file__).resolve().parent,
    *(Path(torch.__file__).resolve().parents[1] / name for name in _PACKAGES),
)
_HINT = "Name the axis, as in x.flatten(1) or x.squeeze(-1), and let the number of frames be what it is"


@functools.cache
def is_users(file: str) -> bool:
    """Return whether a Python file belongs neither to edgeprune or its dependencies nor to the standard library."""
    path = Path(file).resolve()
    standard = path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
    return not file.startswith("<") and not standard and not any(map(path.is_relative_to, _OTHERS))


def place_of(error: BaseException) -> str:
    """Innermost line of the user's code that an error passed through, as in 'net.py:7', or ''."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def require_any_batch(model: nn.Module, shape: tuple[int, int], name: str) -> None:
    """Require that a network computes the same for three frames at a time as for two and one.

    Args:
        model: The network.
        shape: (channels, length) of its frames.
        name: Name of the network in messages.

    Raises:
        ModelError: It does not. The message has the line of the user's code and the module.
    """
    most, *fewer = (_Run(model, probe(*shape)[:count]) for count in _COUNTS)
    if most.problem is not None:
        raise ModelError(f"{name} fails on frames {shape[0]}×{shape[1]}{_at(most.place)}: {most.problem}")
    for run in fewer:
        frames = f"{run.count} frames" if run.count > 1 else "one frame"
        where = _at(most.parts_from(run) or run.place)
        if run.problem is not None:
            raise ModelError(f"{name} fails on {frames} at a time{where}: {run.problem}", _HINT)
        if most.shape is not None and run.shape != (run.count, *most.shape[1:]):
            raise ModelError(f"{name} answers {frames} at a time with {run.shape}{where}", _HINT)


def bound_to_batch(model: nn.Module, shape: tuple[int, int]) -> str:
    """Line of the user's code that takes the number of frames as a plain number, or ''.

    Such a network runs with any number of frames, but an exported graph would keep the one it was exported with.

    Args:
        model: The network.
        shape: (channels, length) of its frames.
    """
    error = Code(model, shape).bound_to_batch()
    return "" if error is None else place_of(error)


def place_of_export(error: BaseException, network: nn.Module, example: torch.Tensor) -> str:
    """Describe the location of the code that cannot be exported; empty if it is unknown.

    Args:
        error: The exporter's error.
        network: The exported network; its only child is the user's.
        example: Frames (N, C, L) for the network.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    said = "\n".join(str(each) for each in chain)
    found = _NODE.search(said)
    module, code = _of_node(found.group(1), network, example) if found else ("", "")
    frames = [f'File "{frame.filename}", line {frame.lineno}' for frame in _frames(chain)]
    for text in (code, said, "\n".join(frames)):
        places = [f"{Path(file).name}:{line}" for file, line in _PLACE.findall(text) if is_users(file)]
        if places:
            return f"{places[-1]}{f', in the module {module}' if module else ''}"
    return f"the module {module}" if module else ""


def _frames(chain: list[BaseException]) -> list[traceback.FrameSummary]:
    return [frame for each in chain for frame in traceback.extract_tb(each.__traceback__)]


def _of_node(name: str, network: nn.Module, example: torch.Tensor) -> tuple[str, str]:
    """Find the module that an operation of the exported graph belongs to, and the stack of code that made it."""
    try:
        with quiet_torch():
            graph = torch.export.export(network, (example,), strict=False).graph
    except Exception:  # it is looked at for a message only
        return "", ""
    node = next((node for node in graph.nodes if node.name == name), None)
    if node is None:
        return "", ""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = str(stack[-1][0]) if stack else ""
    return path.partition(".")[2], str(node.meta.get("stack_trace") or "")


def _at(place: str) -> str:
    return f" ({place})" if place else ""


class _Run(TorchFunctionMode):
    """One run of a network, with each step of it that makes a tensor.

    Attributes:
        count: Number of frames.
        steps: Name, number of axes and place in the user's code of each step.
        shape: Shape of the output, or None if it is not one tensor.
        problem: Message of the error, or None.
        place: Place of the error.
    """

    def __init__(self, model: nn.Module, frames: Tensor) -> None:
        super().__init__()
        self.count = len(frames)
        self.steps: list[tuple[str, int, str]] = []
        self.shape: tuple[int, ...] | None = None
        self.problem: str | None = None
        self.place = ""
        self._paths = {id(module): path for path, module in model.named_modules() if path}
        try:
            with torch.no_grad(), evaluating(model), quiet_torch(), self:
                answers = model(beside(model, frames))
        except Exception as error:  # the user's code
            self.problem, self.place = reason_of(error), place_of(error)
            return
        if isinstance(answers, Tensor):
            self.shape = tuple(answers.shape)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a torch function and note the tensor that it made."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.steps.append((str(getattr(func, "__name__", func)), result.dim(), self._place()))
        return result

    def parts_from(self, other: "_Run") -> str:
        """Place of the first step that another run does differently, or ''."""
        for own, others in zip_longest(self.steps, other.steps):
            if own is None or others is None:
                return ""
            if own[:2] != others[:2]:
                return own[2]
        return ""

    def _place(self) -> str:
        """Line of the user's code that is running, with its module."""
        frame = sys._getframe(2)
        while frame is not None and not is_users(frame.f_code.co_filename):
            if frame.f_back is None:
                return ""
            frame = frame.f_back
        path = self._paths.get(id(frame.f_locals.get("self")))
        return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}{f', in the module {path}' if path else ''}"
