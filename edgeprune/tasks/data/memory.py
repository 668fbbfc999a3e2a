"""How much memory there is for a process."""

import contextlib
from pathlib import Path

import psutil

_GROUP = Path("/sys/fs/cgroup")


def available_bytes(group: Path = _GROUP) -> int:
    """Memory that this process may still take: what the machine has free, or less where it runs in a bounded container.

    Args:
        group: Of the control group that bounds it, as Linux shows it (version 2).
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no control groups, or no bound: the text 'max'
        bound, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, max(0, bound - used))
    return free
