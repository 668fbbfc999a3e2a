"""Facts of the measuring machine, and the load of other processes. Linux and macOS."""

import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path("/")
_TICK_S = 0.01  # resolution of the kernel's CPU time, for each core
_NOT_BUSY = frozenset({"idle", "iowait", "steal", "guest", "guest_nice"})  # guest time is within user time


def facts(runtime: dict[str, Any], root: Path = _ROOT) -> dict[str, Any]:
    """Describe this machine in plain values; what cannot be read is absent.

    Args:
        runtime: Facts of the runtime, included as 'runtime'.
        root: Root of the file system.
    """
    found = {
        "board": _text(root / "proc/device-tree/model"),
        "cpu": _cpu(root),
        "architecture": platform.machine(),
        "cores": psutil.cpu_count(),
        "physical_cores": psutil.cpu_count(logical=False),
        "usable_cores": _usable_cores(root),
        "ram_bytes": psutil.virtual_memory().total,
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "governor": _governor(root),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "virtualisation": _virtualisation(root),
        "runtime": runtime,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def identity() -> dict[str, Any]:
    """Facts that affect this machine's latencies: a measurement is reused only where they are equal."""
    return {name: value for name, value in facts({}).items() if name in ("board", "cpu", "cores")}


@dataclass(frozen=True)
class CpuTime:
    """Seconds since a fixed moment: wall clock, all busy cores, taken by the hypervisor, and used by this process."""

    clock_s: float
    busy_s: float
    stolen_s: float
    own_s: float
    cores: int


def cpu_time() -> CpuTime:
    """Read the CPU time spent until now."""
    spent = psutil.cpu_times()._asdict()
    return CpuTime(
        clock_s=time.perf_counter(),
        busy_s=sum(seconds for kind, seconds in spent.items() if kind not in _NOT_BUSY),
        stolen_s=spent.get("steal", 0.0),
        own_s=time.process_time(),
        cores=os.cpu_count() or 1,
    )


def busy_cores(before: CpuTime, after: CpuTime) -> tuple[float, float]:
    """Number of cores kept busy between two moments: by other processes, and by the hypervisor.

    Unlike the load average, this excludes this process, which may itself have been busy a minute ago.
    """
    elapsed_s = after.clock_s - before.clock_s
    slack_s = after.cores * _TICK_S
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s) - slack_s
    stolen_s = after.stolen_s - before.stolen_s - slack_s
    return max(0.0, others_s / elapsed_s), max(0.0, stolen_s / elapsed_s)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _cpu(root: Path) -> str:
    """Name of the processor, or its architecture where the kernel gives no name."""
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _usable_cores(root: Path) -> float:
    """Cores this process may use: by its affinity and by the quota of its control group (version 2)."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    return min(float(allowed), int(quota) / int(period)) if quota.isdigit() and period.isdigit() else float(allowed)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform(terse=True)


def _governor(root: Path) -> str:
    """Frequency governor of the cores, all of them where they differ; empty where the kernel shows none."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({_text(file) for file in files}))


def _virtualisation(root: Path) -> str:
    """Known virtualization between this process and the machine."""
    container = any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))
    virtual = " hypervisor" in _text(root / "proc/cpuinfo") or (root / "sys/hypervisor/type").exists()
    return " in ".join(word for word, is_so in (("container", container), ("virtual machine", virtual)) if is_so)
