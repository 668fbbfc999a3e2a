"""Jetson modules by their part numbers: names, accelerators, releases.

Numbers and releases are from meta-tegra's machine files and NVIDIA's JetPack archive; names are from the modules' data
sheets.
"""

import re

MODULES = {
    "p3448": "Jetson Nano",
    "p3310": "Jetson TX2",
    "p3489": "Jetson TX2i or TX2 4GB",
    "p3636": "Jetson TX2 NX",
    "p2888": "Jetson AGX Xavier",
    "p3668": "Jetson Xavier NX",
    "p3668-0003": "Jetson Xavier NX 16GB",
    "p3701": "Jetson AGX Orin",
    "p3701-0000": "Jetson AGX Orin 32GB (developer kit)",
    "p3701-0002": "IGX Orin",
    "p3701-0004": "Jetson AGX Orin 32GB",
    "p3701-0005": "Jetson AGX Orin 64GB",
    "p3767": "Jetson Orin NX or Nano",
    "p3767-0000": "Jetson Orin NX 16GB",
    "p3767-0001": "Jetson Orin NX 8GB",
    "p3767-0003": "Jetson Orin Nano 8GB",
    "p3767-0004": "Jetson Orin Nano 4GB",
    "p3767-0005": "Jetson Orin Nano 8GB (developer kit)",
    "p3834": "Jetson AGX Thor",
}
"""Name of each module by its part number, or by the common prefix of a whole series."""

COMPUTE_CAPABILITIES = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}
"""Compute capability of the GPU in each SoC."""

_DLA_CORES = {"p2888": 2, "p3668": 2, "p3701": 2, "p3767-0000": 2, "p3767-0001": 1}
_WITHOUT_DLA = ("p3448", "p3310", "p3489", "p3636", "p3767-0003", "p3767-0004", "p3767-0005", "p3834")

_JETPACKS = {
    (32, 6, 1): "4.6",
    (32, 7, 1): "4.6.1",
    (32, 7, 2): "4.6.2",
    (32, 7, 3): "4.6.3",
    (32, 7, 4): "4.6.4",
    (32, 7, 5): "4.6.5",
    (32, 7, 6): "4.6.6",
    (35, 1, 0): "5.0.2",
    (35, 2, 1): "5.1",
    (35, 3, 1): "5.1.1",
    (35, 4, 1): "5.1.2",
    (35, 5, 0): "5.1.3",
    (35, 6, 0): "5.1.4",
    (35, 6, 1): "5.1.5",
    (35, 6, 4): "5.1.6",
    (36, 2, 0): "6.0 DP",
    (36, 3, 0): "6.0",
    (36, 4, 0): "6.1",
    (36, 4, 3): "6.2",
    (36, 4, 4): "6.2.1",
    (36, 5, 0): "6.2.2",
    (38, 2, 0): "7.0",
    (38, 4, 0): "7.1",
    (39, 2, 0): "7.2",
}


def part_in(text: str) -> str | None:
    """Find the first part number of a known module in a text.

    Args:
        text: A device tree's names ('nvidia,p3768-0000+p3767-0005-super'), or a board's specification in
            `nv_boot_control.conf` ('3767-300-0005-T.1-1-1-jetson-orin-nano-devkit-').
    """
    for series, kind in re.findall(r"\bp(\d{4})-(\d{4})", text):
        if f"p{series}" in MODULES:
            return f"p{series}-{kind}"
    for series, kind in re.findall(r"^\s*(?:TNSPEC|COMPATIBLE_SPEC)\s+(\d{4})-[^-\s]*-(\d{4})", text, re.MULTILINE):
        if f"p{series}" in MODULES:
            return f"p{series}-{kind}"
    return None


def module_name(part: str) -> str | None:
    """Name of a module: 'Jetson Orin Nano 8GB'."""
    return MODULES.get(part) or MODULES.get(part.partition("-")[0])


def dla_cores(part: str) -> int | None:
    """Number of deep-learning accelerators of a module; None if unknown."""
    series = part.partition("-")[0]
    if part in _WITHOUT_DLA or series in _WITHOUT_DLA:
        return 0
    return _DLA_CORES.get(part, _DLA_CORES.get(series))


def jetpack_of(l4t: str) -> str | None:
    """JetPack that a release of Jetson Linux came with: '36.4.3' is '6.2'.

    A later update of a known release ('36.4.7') counts as the JetPack before it.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", l4t)[:3])
    version = numbers + (0,) * (3 - len(numbers))
    alike = [known for known in _JETPACKS if known[:2] == version[:2] and known <= version]
    return _JETPACKS[max(alike)] if alike else None
