"""What each JetPack prints, in the shapes of its own files and tools, becomes the same facts."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from stand_in import SHELLS, StandIn

from edgeprune import targets
from edgeprune.device import jetson
from edgeprune.device.local import LocalTransport
from edgeprune.device.probe import SCRIPT, Needs, count, needs_of, parse, probe, refuse, tool_version, words
from edgeprune.errors import DeviceError
from edgeprune.records.device_run import DeviceFacts


def told(**sections):
    return "".join(f"\n@@ {name}\n{text}\n" for name, text in sections.items()) + "\n@@ end\n"


NANO_JP4 = told(
    hostname="nano",
    machine="aarch64",
    kernel="4.9.337-tegra",
    os='NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"',
    cpus="4",
    memory="MemTotal:        4059288 kB",
    disk="Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
    "/dev/mmcblk0p1  29727232 20000000 8200000  71% /",
    clock="1700000000",
    model="NVIDIA Jetson Nano Developer Kit",
    compatible="nvidia,p3450-0000\nnvidia,jetson-nano\nnvidia,tegra210",
    dts="/dvs/git/dirty/git-master_linux/kernel/kernel-4.9/arch/arm64/boot/dts/../platform/"
    "tegra210-p3448-0000-p3449-0000-b00.dts",
    boot_control="TNSPEC 3448-400-0000-L.0-1-0-jetson-nano-emmc-mmcblk0p1",
    tegra_release="# R32 (release), REVISION: 7.3, GCID: 31982016, BOARD: t210ref, EABI: aarch64, DATE: Tue Nov 22",
    packages="libnvinfer-bin 8.2.1-1+cuda10.2 installed\nlibnvinfer8 8.2.1-1+cuda10.2 installed\n"
    "nvidia-l4t-core 32.7.3-20221122092935 installed\nnvidia-jetpack  unknown",
    cuda="CUDA Version 10.2.300",
    trtexec="path /usr/src/tensorrt/bin/trtexec\n"
    "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # /usr/src/tensorrt/bin/trtexec --help",
    nvpmodel="NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0",
    nvpmodel_conf="< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n< PM_CONFIG DEFAULT=0 >",
    gpu="76800000 76800000 921600000 57000000.gpu",
    tegrastats="/usr/bin/tegrastats",
    python="path /usr/bin/python3\npython 3.6.9\nno numpy ModuleNotFoundError\nno onnxruntime ModuleNotFoundError",
    sudo="",
)
XAVIER_NX_JP5 = told(
    machine="aarch64",
    compatible="nvidia,p3449-0000+p3668-0000\nnvidia,p3509-0000+p3668-0000\nnvidia,tegra194",
    boot_control="TNSPEC 3668-100-0000-L.0-1-0-jetson-xavier-nx-devkit-mmcblk0p1\n"
    "COMPATIBLE_SPEC 3668-100----1--jetson-xavier-nx-devkit-",
    tegra_release="# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1",
    packages="libnvinfer8 8.5.2-1+cuda11.4 installed\nnvidia-jetpack 5.1.2-b104 installed",
    cuda='{\n   "cuda" : {\n      "name" : "CUDA SDK",\n      "version" : "11.4.19"\n   }\n}',
    trtexec="path /usr/src/tensorrt/bin/trtexec\n&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --help",
    nvpmodel="NVPM ERROR: Error opening /var/lib/nvpmodel/status: 13\nNV Power Mode: MODE_20W_6CORE\n8",
)
ORIN_NANO_JP6 = told(
    model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    compatible="nvidia,p3768-0000+p3767-0005-super\nnvidia,p3767-0005\nnvidia,tegra234",
    boot_control="TNSPEC 3767-301-0005-G.1-1-1-jetson-orin-nano-devkit-super-",
    tegra_release="# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8",
    packages="libnvinfer-bin 10.3.0.30-1+cuda12.5 installed\nlibnvinfer10 10.3.0.30-1+cuda12.5 installed\n"
    "libnvinfer-dispatch10 10.3.0.30-1+cuda12.5 installed",
    trtexec="path /usr/src/tensorrt/bin/trtexec\n&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help",
    nvpmodel="NV Power Mode: 25W\n1",
    gpu="1020000000 1020000000 1020000000 17000000.gpu",
    nvpmodel_conf="< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
    sudo="yes",
)
THOR_JP7 = told(
    compatible="nvidia,p4071-0000+p3834-0008\nnvidia,tegra264",
    tegra_release="# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, EABI: aarch64",
    packages="libnvinfer10 10.13.3.9-1+cuda13.0 installed",
    trtexec="path /usr/src/tensorrt/bin/trtexec\n&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec",
    nvpmodel_status="pmode:0002 fmode:fanNull",
    nvidia_smi="11.0, NVIDIA Thor, 580.00, [N/A]",
)
RTX = told(
    machine="x86_64",
    nvidia_smi="8.6, NVIDIA GeForce RTX 3090, 550.54.14, 24576 MiB",
    trtexec="path /usr/local/trt/bin/trtexec\n&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec",
)
PI = told(
    machine="aarch64",
    model="Raspberry Pi 5 Model B Rev 1.0",
    compatible="raspberrypi,5-model-b\nbrcm,bcm2712",
    python="path /usr/bin/python3\npython 3.11.2\nnumpy 1.26.4\nonnxruntime 1.20.1",
)


def test_a_nano_with_jetpack_4():
    facts = parse(NANO_JP4, now_s=1700000010.0)
    assert facts == DeviceFacts(
        hostname="nano",
        architecture="aarch64",
        os="Ubuntu 18.04.6 LTS",
        kernel="4.9.337-tegra",
        cpus=4,
        memory_bytes=4059288 * 1024,
        disk_free_bytes=8200000 * 1024,
        clock_offset_s=-10.0,
        model="NVIDIA Jetson Nano Developer Kit",
        module="Jetson Nano",
        part="p3448-0000",
        soc="tegra210",
        l4t="32.7.3",
        jetpack="4.6.3",
        compute_capability="5.3",
        dla_cores=0,
        cuda="10.2.300",
        tensorrt="8.2.1",
        trtexec="/usr/src/tensorrt/bin/trtexec",
        trtexec_version=80201,
        power_mode="MAXN",
        power_mode_id=0,
        power_modes={0: "MAXN", 1: "5W"},
        clocks_locked=False,
        gpu_hz=(76800000, 76800000, 921600000),
        python="3.6.9",
    )


def test_a_xavier_nx_with_jetpack_5():
    facts = parse(XAVIER_NX_JP5)
    assert (facts.module, facts.part, facts.compute_capability, facts.dla_cores) == (
        "Jetson Xavier NX",
        "p3668-0000",
        "7.2",
        2,
    )
    assert (facts.l4t, facts.jetpack, facts.cuda, facts.trtexec_version) == ("35.4.1", "5.1.2", "11.4.19", 80502)
    assert (facts.power_mode, facts.power_mode_id, facts.sudo) == ("MODE_20W_6CORE", 8, False)


def test_an_orin_nano_with_jetpack_6():
    facts = parse(ORIN_NANO_JP6)
    assert (facts.module, facts.compute_capability, facts.dla_cores) == (
        "Jetson Orin Nano 8GB (developer kit)",
        "8.7",
        0,
    )
    assert (facts.jetpack, facts.tensorrt, facts.trtexec_version) == ("6.2", "10.3.0.30", 100300)
    assert (facts.clocks_locked, facts.power_mode, facts.sudo) == (True, "25W", True)


def test_a_thor_with_jetpack_7():
    facts = parse(THOR_JP7)
    assert (facts.module, facts.compute_capability, facts.jetpack) == ("Jetson AGX Thor", "11.0", "7.1")
    assert (facts.tensorrt, facts.trtexec_version, facts.power_mode_id) == ("10.13.3.9", 101303, 2)


def test_a_machine_with_a_graphics_card_and_one_with_none():
    facts = parse(RTX)
    assert (facts.module, facts.compute_capability, facts.tensorrt) == ("NVIDIA GeForce RTX 3090", "8.6", "10.13.3")
    facts = parse(PI, replay="pi")
    assert (facts.model, facts.python, facts.numpy, facts.onnxruntime, facts.replay) == (
        "Raspberry Pi 5 Model B Rev 1.0",
        "3.11.2",
        "1.26.4",
        "1.20.1",
        "pi",
    )
    assert (facts.compute_capability, facts.module, facts.dla_cores) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["", "garbage", told(), "\n@@ cpus\nmany\n@@ clock\n\n@@ gpu\n1 2\n@@ nvpmodel\nNV Power Mode\n"]
)
def test_what_is_missing_or_odd_is_none(text):
    assert parse(text, now_s=0.0) == DeviceFacts()


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_the_script_works_here_and_on_a_machine_with_nothing(shell, tmp_path):
    facts = probe(LocalTransport("here", tmp_path, shell=(*SHELLS[shell], "-s")))
    assert facts.architecture == subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()
    assert (facts.cpus or 0) >= 1
    assert abs(facts.clock_offset_s or 99) < 10
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("tr", "sed", "grep", "cat", "df", "uname", "date", "sleep", "rm"):
        (bare / name).symlink_to(shutil.which(name))
    script = SCRIPT.read_text().replace("PATH=$PATH", f"PATH={bare}").replace(":/usr/local/sbin:/usr/sbin:/sbin", "")
    done = LocalTransport("bare", tmp_path, {"EDGEPRUNE_ROOT": str(tmp_path)}, shell=(*SHELLS[shell], "-s")).run(script)
    assert done.code == 0
    facts = parse(done.stdout.decode())
    assert (facts.architecture is not None, facts.trtexec, facts.python, facts.sudo) == (True, None, None, False)


def test_the_script_reads_a_board(tmp_path):
    board = StandIn(tmp_path / "board")
    board.system("etc/nv_tegra_release", "# R32 (release), REVISION: 7.1, GCID: 1\n")
    facts = probe(LocalTransport("nano", board.home, board.environment))
    assert (facts.soc, facts.compute_capability, facts.jetpack, facts.trtexec_version) == (
        "tegra210",
        "5.3",
        "4.6.1",
        80201,
    )
    assert (facts.power_mode, facts.power_modes, facts.sudo) == ("MODE0", {0: "MAXN", 1: "5W"}, True)


def test_what_is_no_linux_machine_is_told(tmp_path):
    transport = LocalTransport("switch", tmp_path, shell=("sh", "-c", "echo '% Invalid input'"))
    with pytest.raises(DeviceError, match="switch does not answer like a Linux machine; it said: % Invalid input"):
        probe(transport)


@pytest.mark.parametrize(
    ("text", "number"), [("8.5.2", 80502), ("10.3.0.30", 100300), ("10.13", 101300), ("11.4.1", 110401)]
)
def test_versions_are_counted(text, number):
    assert count(text) == number
    assert text.startswith(words(number).removesuffix(".0")) or words(number).startswith(text)


def test_the_needs_of_the_shipped_targets():
    nano, pi = needs_of(targets.get("jetson-nano")), needs_of(targets.get("raspberry-pi-5"))
    assert nano == Needs("jetson-nano", "trtexec", "5.3", ("p3448",), 80200, 80300)
    assert (pi.tool, pi.lowest, pi.compute_capability) == ("python3", 30800, None)
    refuse(parse(NANO_JP4), nano)
    refuse(parse(ORIN_NANO_JP6), needs_of(targets.get("jetson-orin")))
    refuse(parse(ORIN_NANO_JP6), needs_of(targets.get("jetson-orin-nano-8gb")))
    refuse(parse(PI), needs_of(targets.get("arm64-linux")))


@pytest.mark.parametrize("part", [part for part in jetson.MODULES if "-" in part])
def test_every_module_has_its_accelerators_counted(part):
    assert jetson.dla_cores(part) in (0, 1, 2)
    assert jetson.part_in(f"nvidia,{part}") == part


@pytest.mark.parametrize(
    ("l4t", "jetpack"), [("32.7.1", "4.6.1"), ("35.6.2", "5.1.5"), ("36.4.7", "6.2.1"), ("36.4", "6.1"), ("40.1", None)]
)
def test_releases_have_their_jetpack(l4t, jetpack):
    assert jetson.jetpack_of(l4t) == jetpack


NANO, PYTHON = parse(NANO_JP4), Needs("arm64-linux", "python3", lowest=30800)


@pytest.mark.parametrize(
    ("facts", "needs", "message"),
    [
        (
            NANO,
            Needs("jetson-orin", "trtexec", "8.7"),
            "nano is Jetson Nano with compute capability 5.3; jetson-orin needs 8.7",
        ),
        (parse(PI), Needs("jetson-orin", "trtexec", "8.7"), "Raspberry Pi 5 Model B Rev 1.0 with no GPU that is known"),
        (
            NANO,
            Needs("x", "trtexec", None, ("p3767-0000", "p3701")),
            r"Jetson Nano \(p3448-0000\); x is p3767-0000, p3701",
        ),
        (parse(RTX), replace(PYTHON, architecture="aarch64"), "has x86_64; arm64-linux needs aarch64"),
        (replace(NANO, trtexec=None, trtexec_version=None), Needs("x", "trtexec"), "nano has no trtexec"),
        (replace(NANO, trtexec_version=None), Needs("x", "trtexec"), "does not say its version"),
        (NANO, Needs("x", "trtexec", lowest=80400), "nano has TensorRT 8.2.1; x needs 8.4.0 or newer"),
        (NANO, Needs("x", "trtexec", lowest=80000, below=80200), "needs 8.0.0 or newer and below 8.2.0"),
        (NANO, PYTHON, "nano has Python 3.6.9; arm64-linux needs 3.8.0 or newer"),
        (replace(NANO, python=None), PYTHON, "nano has no python3"),
        (replace(NANO, python="3.9.2"), PYTHON, "nano's python3 lacks numpy and onnxruntime"),
        (replace(NANO, python="3.9.2", numpy="1"), PYTHON, "nano's python3 lacks onnxruntime"),
    ],
)
def test_what_does_not_fit_is_refused(facts, needs, message):
    with pytest.raises(DeviceError, match=message) as refused:
        refuse(facts, needs)
    assert len(str(refused.value).splitlines()) == 1


def test_versions_of_tools():
    assert tool_version(NANO, "trtexec") == 80201
    assert tool_version(NANO, "python3") == 30609
    assert tool_version(DeviceFacts(), "python3") is None
