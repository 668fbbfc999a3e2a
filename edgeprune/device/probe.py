"""Facts of a device: parsed from the text sections that `bundle/probe.sh` prints, and compared with requirements."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgeprune.device import jetson
from edgeprune.errors import DeviceError
from edgeprune.protocols import Transport
from edgeprune.records.device_run import DeviceFacts, Tool
from edgeprune.targets import Target

SCRIPT = Path(__file__).parent / "bundle" / "probe.sh"
LOWEST_PYTHON = 30800
_KIB = 1024
_PROBE_S = 120.0


@dataclass(frozen=True)
class Needs:
    """Requirements on a device.

    Attributes:
        target: Name of the target that sets them.
        tool: Required tool.
        compute_capability: Required compute capability of the GPU, or None for any.
        modules: Part numbers of the allowed modules, or their prefixes; empty for any.
        lowest: Lowest version of the tool, as `Plan.since`.
        below: First unsupported version; 0 for no limit.
        architecture: Required processor architecture, as `uname -m` prints it, or None for any.
    """

    target: str
    tool: Tool
    compute_capability: str | None = None
    modules: tuple[str, ...] = ()
    lowest: int = 0
    below: int = 0
    architecture: str | None = None


def needs_of(target: Target) -> Needs:
    """Requirements of a target on a device."""
    tool: Tool = "trtexec" if target.runtime == "trtexec" else "python3"
    lowest, below = LOWEST_PYTHON, 0
    if tool == "trtexec":
        lowest, below = (count(target.tensorrt.lowest), count(target.tensorrt.below)) if target.tensorrt else (0, 0)
    return Needs(target.name, tool, target.compute_capability, target.modules, lowest, below, target.architecture)


def count(version: str) -> int:
    """Convert a version to one number, as `Plan.since`: '8.5.2' is 80502; anything after its third part is ignored."""
    parts = [int(part) for part in re.findall(r"\d+", version)[:3]]
    major, minor, patch = parts + [0] * (3 - len(parts))
    return major * 10000 + minor * 100 + patch


def words(version: int) -> str:
    """Convert a number back to a version: 80502 is '8.5.2'."""
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


def probe(transport: Transport) -> DeviceFacts:
    """Determine the facts of a device.

    Raises:
        DeviceError: It cannot be reached, or does not answer with a POSIX shell.
    """
    began = datetime.now(timezone.utc).timestamp()
    done = transport.run(SCRIPT.read_text(encoding="utf-8"), _PROBE_S)
    now_s = (began + datetime.now(timezone.utc).timestamp()) / 2
    text = done.stdout.decode(errors="replace")
    if "@@ end" not in text:
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())[:200] or "nothing"
        raise DeviceError(f"{transport.name} does not answer like a Linux machine; it said: {said}")
    return parse(text, now_s=now_s, replay=transport.replay)


def parse(text: str, *, now_s: float | None = None, replay: str | None = None) -> DeviceFacts:
    """Parse the output of `probe.sh`; anything missing or not understood is None.

    Args:
        text: Output of the script.
        now_s: This machine's clock when it ran, in seconds since 1970.
        replay: See DeviceFacts.
    """
    found = _sections(text)
    packages = _packages(found["packages"])
    part = jetson.part_in("\n".join(found[name] for name in ("boot_control", "compatible", "dts")))
    soc = _first(r"\b(tegra\d{3})\b", found["compatible"]) or _first(r"\b(tegra\d{3})\b", found["dts"])
    l4t = _l4t(found["tegra_release"], packages)
    gpu_hz = _gpu_hz(found["gpu"])
    trtexec_version = _banner(found["trtexec"])
    modes = {int(number): name for number, name in re.findall(r"ID=(\d+)\s+NAME=(\S+)", found["nvpmodel_conf"])}
    mode_id = _mode_id(found["nvpmodel"], found["nvpmodel_status"])
    clock = _whole(found["clock"])
    return DeviceFacts(
        hostname=_line(found["hostname"]),
        architecture=_line(found["machine"]),
        os=_first(r'^PRETTY_NAME="?([^"\n]+)', found["os"]),
        kernel=_line(found["kernel"]),
        cpus=_whole(found["cpus"]),
        memory_bytes=_kib(_first(r"^MemTotal:\s*(\d+) kB", found["memory"])),
        disk_free_bytes=_kib(_first(r"\s(\d+)\s+\d+%\s", found["disk"])),
        clock_offset_s=None if clock is None or now_s is None else round(clock - now_s, 1),
        model=_line(found["model"]),
        module=(jetson.module_name(part) if part else None) or _smi(found["nvidia_smi"], 1),
        part=part,
        soc=soc,
        l4t=l4t,
        jetpack=_first(r"^([\d.]+)", packages.get("nvidia-jetpack", "")) or (jetson.jetpack_of(l4t) if l4t else None),
        compute_capability=jetson.COMPUTE_CAPABILITIES.get(soc or "") or _smi(found["nvidia_smi"], 0),
        dla_cores=jetson.dla_cores(part) if part else None,
        cuda=_cuda(found["cuda"], packages),
        tensorrt=_tensorrt(packages) or (words(trtexec_version) if trtexec_version else None),
        trtexec=_first(r"^path (.+)$", found["trtexec"]),
        trtexec_version=trtexec_version,
        power_mode=_first(r"NV Power Mode\s*:\s*(\S+)", found["nvpmodel"])
        or modes.get(-1 if mode_id is None else mode_id),
        power_mode_id=mode_id,
        power_modes=modes,
        clocks_locked=gpu_hz[0] == gpu_hz[2] if gpu_hz else None,
        gpu_hz=gpu_hz,
        python=_first(r"^python (\S+)", found["python"]),
        onnxruntime=_first(r"^onnxruntime (\S+)", found["python"]),
        numpy=_first(r"^numpy (\S+)", found["python"]),
        sudo=_line(found["sudo"]) == "yes",
        replay=replay or _first(r"^([a-z0-9-]{1,64})$", found["replay"]),
    )


def tool_version(facts: DeviceFacts, tool: Tool) -> int | None:
    """Version of a tool on a device, as `Plan.since`; None if it is missing."""
    if tool == "trtexec":
        return facts.trtexec_version
    return count(facts.python) if facts.python else None


def refuse(facts: DeviceFacts, needs: Needs) -> None:
    """Refuse a device that does not meet the requirements.

    Raises:
        DeviceError: It does not; the message has what was found and what is allowed.
    """
    name = facts.hostname or "the device"
    if needs.architecture is not None and facts.architecture != needs.architecture:
        processor = facts.architecture or "an unknown processor"
        raise DeviceError(
            f"{name} has {processor}; {needs.target} needs {needs.architecture}", "Choose the target that fits it"
        )
    if needs.compute_capability is not None and facts.compute_capability != needs.compute_capability:
        has = facts.compute_capability
        board = facts.module or facts.model or facts.architecture or "of an unknown kind"
        raise DeviceError(
            f"{name} is {board} with {f'compute capability {has}' if has else 'no GPU that is known'}; "
            f"{needs.target} needs {needs.compute_capability}",
            "See the targets with: edgeprune targets list",
        )
    if needs.modules and not (facts.part or "").startswith(needs.modules):
        raise DeviceError(
            f"{name} is {facts.module or 'an unknown module'} ({facts.part or 'no part number'}); "
            f"{needs.target} is {', '.join(needs.modules)}",
            "Name the module's own target, or the family",
        )
    _refuse_tool(name, facts, needs)


def _refuse_tool(name: str, facts: DeviceFacts, needs: Needs) -> None:
    """Raise a DeviceError if the tool is missing or of an unsupported version."""
    version = tool_version(facts, needs.tool)
    if version is None:
        if needs.tool == "python3":
            raise DeviceError(f"{name} has no python3", "Install it there: sudo apt install python3 python3-pip")
        if facts.trtexec is not None:
            raise DeviceError(
                f"{facts.trtexec} on {name} does not say its version", f"Run it there: {facts.trtexec} --help"
            )
        raise DeviceError(
            f"{name} has no trtexec, neither in its PATH nor in /usr/src/tensorrt/bin",
            "Install it there: sudo apt install libnvinfer-bin (or nvidia-jetpack)",
        )
    if version < needs.lowest or (needs.below and version >= needs.below):
        end = f" and below {words(needs.below)}" if needs.below else ""
        what = "TensorRT" if needs.tool == "trtexec" else "Python"
        raise DeviceError(
            f"{name} has {what} {words(version)}; {needs.target} needs {words(needs.lowest)} or newer{end}"
        )
    if needs.tool == "python3":
        missing = [package for package, has in (("numpy", facts.numpy), ("onnxruntime", facts.onnxruntime)) if not has]
        if missing:
            raise DeviceError(
                f"{name}'s python3 lacks {' and '.join(missing)}",
                f"Install it there: python3 -m pip install {' '.join(missing)}",
            )


def _sections(text: str) -> "dict[str, str]":
    """Text of each section by its name; an absent one is empty."""
    parts = re.split(r"^@@ (\w+)\n?", text, flags=re.MULTILINE)
    return _Sections(zip(parts[1::2], parts[2::2], strict=True))


class _Sections(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def _line(text: str) -> str | None:
    return next((line.strip() for line in text.splitlines() if line.strip()), None)


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else None


def _whole(text: str) -> int | None:
    line = (_line(text) or "").strip()
    return int(line) if line.isdigit() else None


def _kib(number: str | None) -> int | None:
    return int(number) * _KIB if number else None


def _packages(text: str) -> dict[str, str]:
    """Version of each installed Debian package."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[2:] in ([], ["installed"])}


def _l4t(release: str, packages: dict[str, str]) -> str | None:
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    if match:
        return f"{match[1]}.{match[2]}"
    return _first(r"^([\d.]+)", packages.get("nvidia-l4t-core", ""))


def _tensorrt(packages: dict[str, str]) -> str | None:
    """Version of the library rather than of the samples; the newest where there are several."""
    versions = [
        _first(r"^([\d.]+)", version) for name, version in packages.items() if re.fullmatch(r"libnvinfer\d*", name)
    ]
    return max((version for version in versions if version), key=count, default=None)


def _banner(text: str) -> int | None:
    """Version in trtexec's banner: up to 8.x it counts 8502 for 8.5.2, from 10 on 100300 for 10.3.0."""
    digits = _first(r"\[TensorRT v(\d+)\]", text)
    if digits is None:
        return None
    number = int(digits)
    return number // 1000 * 10000 + number % 1000 if number < 10000 else number


def _cuda(text: str, packages: dict[str, str]) -> str | None:
    found = _first(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', text) or _first(r"CUDA Version ([\d.]+)", text)
    if found:
        return found
    versions = [version for name, version in packages.items() if name.startswith("cuda-cudart-")]
    return _first(r"^([\d.]+)", max(versions, key=count, default=""))


def _mode_id(said: str, status: str) -> int | None:
    """Number of the power mode: the tool prints it on the line after the name; the file has 'pmode:0002'."""
    number = _first(r"NV Power Mode[^\n]*\n\s*(\d+)\s*$", said) or _first(r"pmode:(\d+)", status)
    return int(number) if number else None


def _gpu_hz(text: str) -> tuple[int, int, int] | None:
    match = re.search(r"^(\d+) (\d+) (\d+)\b", text, re.MULTILINE)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _smi(text: str, column: int) -> str | None:
    """Column of nvidia-smi's first row: '8.6, NVIDIA GeForce RTX 3090, 550.54, 24576 MiB'."""
    row = [cell.strip() for cell in (_line(text) or "").split(",")]
    return row[column] if len(row) == 4 and re.fullmatch(r"\d+\.\d", row[0]) else None
