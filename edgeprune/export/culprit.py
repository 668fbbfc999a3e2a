"""Location of a failed export: the module and the line of the user's code."""

import re
import traceback
from pathlib import Path

import torch
from torch import nn

from edgeprune.export.network import quietly
from edgeprune.network.user_code import is_users

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_NODE = re.compile(r"translating node %(\w+)")


def culprit_of(error: BaseException, network: nn.Module, example: torch.Tensor) -> str:
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
        with quietly():
            graph = torch.export.export(network, (example,), strict=False).graph
    except Exception:  # it is looked at for a message only
        return "", ""
    node = next((node for node in graph.nodes if node.name == name), None)
    if node is None:
        return "", ""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = str(stack[-1][0]) if stack else ""
    return path.partition(".")[2], str(node.meta.get("stack_trace") or "")
