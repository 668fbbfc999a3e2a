"""Reads files by one reader under limits and tells of each what came of it, one JSON a line.

python child.py READER FILE...
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import psutil
from readers import READERS

from edgeprune.errors import EdgepruneError

ADDRESSES = 12 << 30
SECONDS = 60


def peak_bytes():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def reset_peak():
    """Let the peak begin anew; returns the memory that the process has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def told(read, path):
    """The exit code that reading a file ends with, and the words of the error."""
    try:
        read(path)
    except EdgepruneError as error:
        return error.exit_code, str(error)
    except Exception as error:
        return 70, f"{type(error).__name__}: {error}"
    return 0, ""


def measured(read, path):
    """The same with seconds, and the bytes of memory that were taken beyond what the process had."""
    before, begin = reset_peak(), time.perf_counter()
    code, words = told(read, path)
    return {
        "file": path.name,
        "code": code,
        "words": words,
        "seconds": time.perf_counter() - begin,
        "bytes": max(peak_bytes() - before, 0),
        "children": len(psutil.Process().children()),
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader, *files = sys.argv[1:]
    print(json.dumps({"limit": ADDRESSES, "pid": os.getpid()}), flush=True)
    for file in files:
        print(json.dumps({"begun": Path(file).name}), flush=True)
        print(json.dumps(measured(READERS[reader], Path(file))), flush=True)
