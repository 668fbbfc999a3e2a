"""Reads the time of each layer that trtexec exports.

Its names of layers are not escaped and its shares may be no numbers, so each row is looked for by its shape.
"""

import math
import re
from pathlib import Path

from edgeprune.records.device_run import LayerTime

_ROW = re.compile(r'"name"\s*:\s*"(.*?)"\s*,\s*"timeMs"\s*:\s*[^,}]*,\s*"averageMs"\s*:\s*([^,}\s]+)')


def read_profile(path: Path) -> tuple[LayerTime, ...]:
    """Read the file of --exportProfile.

    Returns:
        The layers, slowest first, with their share of the sum of all; nothing where the file does not tell every time.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    means = []
    for name, mean in _ROW.findall(text):
        try:
            means.append((name, float(mean)))
        except ValueError:
            return ()
    total = sum(mean for _, mean in means)
    if not 0 < total < math.inf or min(mean for _, mean in means) < 0:
        return ()
    layers = [LayerTime(name, mean, mean / total) for name, mean in means]
    return tuple(sorted(layers, key=lambda layer: -layer.mean_ms))
