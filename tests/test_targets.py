import re

import pytest

from edgeprune import registry, targets
from edgeprune.errors import ConfigError

WHOLE = """
name = "my-board"
description = "A board"
runtime = "onnxruntime"
opset = 17
precisions = ["fp16", "fp32"]
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "my-board.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path):
    with pytest.raises(ConfigError) as caught:
        targets.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BOARD = """
name = "my-board"
description = "A board"
runtime = "trtexec"
opset = 13
precisions = ["fp16", "fp32"]
batch = "static"
compute_capability = "8.7"
tensorrt = {lowest = "8.4", below = "11"}
[bench]
round_ms = 1000
warmup_ms = 200
"""

# Compute capability, accelerators, rails, opset ceiling of the oldest TensorRT, int8: NVIDIA's tables, not the files.
AGX_RAILS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),)
JETSONS = {
    "jetson-orin": ("8.7", 2, (("VDD_IN",), *AGX_RAILS), 16, True),
    "jetson-agx-orin-64gb": ("8.7", 2, AGX_RAILS, 16, True),
    "jetson-agx-orin-32gb": ("8.7", 2, AGX_RAILS, 16, True),
    "jetson-orin-nx-16gb": ("8.7", 2, (("VDD_IN",),), 16, True),
    "jetson-orin-nx-8gb": ("8.7", 1, (("VDD_IN",),), 16, True),
    "jetson-orin-nano-8gb": ("8.7", 0, (("VDD_IN",),), 16, True),
    "jetson-orin-nano-4gb": ("8.7", 0, (("VDD_IN",),), 16, True),
    "jetson-agx-xavier": ("7.2", 2, (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),), 13, True),
    "jetson-xavier-nx": ("7.2", 2, (("VDD_IN",),), 13, True),
    "jetson-tx2": ("6.2", 0, (("VDD_IN",),), 13, False),
    "jetson-nano": ("5.3", 0, (("POM_5V_IN",),), 13, False),
    "jetson-agx-thor": ("11.0", 0, (("VIN",), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")), 17, True),
}


@pytest.mark.parametrize("name", targets.names())
def test_every_shipped_target_is_valid_and_its_runtime_exists(name):
    target = targets.get(name)
    assert target.name == name
    assert target.runtime in registry.names("runtimes")


@pytest.mark.parametrize("name", JETSONS)
def test_a_jetson_is_what_nvidia_says_of_it(name):
    target, (capability, cores, rails, opset, int8) = targets.get(name), JETSONS[name]
    assert (target.compute_capability, target.dla_cores, target.rails) == (capability, cores, rails)
    assert (target.opset, "int8" in target.precisions) == (opset, int8)
    assert (target.runtime, target.batch, target.on_device) == ("trtexec", "static", True)


def test_orin_is_too_hot_before_it_slows_down():
    names = [name for name in targets.names() if "orin" in name]
    assert len(names) == 7
    assert all(90 < targets.get(name).hot_c < 99 for name in names)  # from 99 °C on, says NVIDIA's guide


def test_every_jetson_is_checked_and_only_the_family_means_any_module():
    jetsons = {name for name in targets.names() if name.startswith("jetson-")}
    assert jetsons == set(JETSONS)
    assert [name for name in sorted(jetsons) if not targets.get(name).modules] == ["jetson-orin"]


@pytest.mark.parametrize(
    ("name", "runtime", "capability", "there"),
    [
        ("rtx-ampere", "tensorrt-rtx", "8.6", False),
        ("rtx-ada", "tensorrt-rtx", "8.9", False),
        ("rtx-blackwell", "tensorrt-rtx", "12.0", False),
        ("nvidia-gpu", "tensorrt", None, False),
        ("raspberry-pi-5", "onnxruntime-agent", None, True),
        ("arm64-linux", "onnxruntime-agent", None, True),
        ("host-cpu", "onnxruntime", None, False),
    ],
)
def test_other_targets_are_run_where_they_are(name, runtime, capability, there):
    target = targets.get(name)
    assert (target.runtime, target.compute_capability, target.on_device) == (runtime, capability, there)


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("jetson-nano", "8.2.1", True),
        ("jetson-nano", "8.0.1.6", False),
        ("jetson-xavier-nx", "8.5.2", True),
        ("jetson-orin", "10.3.0.30", True),
        ("jetson-orin", "11.4.1", True),
        ("jetson-orin-nano-8gb", "10.16.2.10", True),
        ("jetson-orin-nano-8gb", "11.4.1", False),
        ("jetson-agx-thor", "10.3.0.30", False),
        ("jetson-agx-thor", "10.13.3.9", True),
    ],
)
def test_versions_are_compared_number_by_number(name, version, fits):
    assert targets.get(name).tensorrt.holds(version) is fits


def test_a_users_board_is_read(file):
    target = targets.read(file(BOARD))
    assert (target.dla_cores, target.rails, target.modules, target.builds) == (0, (), (), 2)
    assert target.on_device


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('batch = "static"\n', "", "batch is 'dynamic'; the runtime trtexec takes \"static\""),
        ('compute_capability = "8.7"\n', "", "compute_capability is missing, which the runtime trtexec asks for"),
        ("round_ms = 1000", "round_ms = 3900", "warmup_ms and round_ms add up to more than 4000"),
        ('below = "11"', 'below = "8.4"', "tensorrt: lowest 8.4 is not below 8.4"),
        ('below = "11"', 'below = "11", highest = "12"', "Known: below, lowest"),
        ('lowest = "8.4"', 'lowest = "8.x"', "tensorrt.lowest: String should match pattern"),
        ('"8.7"', '"sm_87"', "compute_capability: String should match pattern"),
        ('runtime = "trtexec"', 'runtime = "trtexe"', "is named 'trtexe'. Did you mean 'trtexec'?"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(file, old, new, message):
    assert old in BOARD
    text = BOARD.replace(old, new, 1)
    assert message in refused(file(text))


@pytest.mark.parametrize(("capability", "allowed"), [("5.3", False), ("6.2", False), ("7.2", True), ("8.7", True)])
def test_int8_is_for_gpus_that_compute_it(file, capability, allowed):
    path = file(BOARD.replace('"8.7"', f'"{capability}"').replace('["fp16", "fp32"]', '["fp16", "int8"]'))
    if allowed:
        assert "int8" in targets.read(path).precisions
    else:
        assert f"precisions has int8, which compute capability {capability} has no units for" in refused(path)


def test_the_host_is_a_target():
    assert "host-cpu" in targets.names()
    assert targets.get("host-cpu").runtime == "onnxruntime"
    assert targets.get("host-cpu").precisions == ("fp32", "int8")


def test_a_users_file_is_read_by_its_path_with_defaults(file):
    target = targets.get(str(file(WHOLE)))
    assert (target.name, target.opset, target.precisions) == ("my-board", 17, ("fp16", "fp32"))
    assert (target.batch, target.threads, target.notes) == ("dynamic", 1, ())
    assert target.bench == targets.Bench()


def test_an_unknown_target_is_a_config_error_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no target is named 'hostcpu'\. Did you mean 'host-cpu'\?"):
        targets.get("hostcpu")


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path / "gone.toml") == f"no such target file: {tmp_path / 'gone.toml'}"


def test_an_unknown_key_is_named_with_the_nearest_and_all_that_are_known(file):
    message = refused(file(WHOLE + "thread = 2\n"))
    assert "no key" in message
    assert "'thread'" in message
    assert "Did you mean 'threads'?" in message
    assert all(key in message for key in targets.Target.model_fields)


def test_an_unknown_key_of_a_table_is_compared_with_the_keys_of_that_table(file):
    message = refused(file(WHOLE + "[bench]\nround = 8\n"))
    assert "Did you mean 'rounds'?" in message
    assert "opset" not in message


@pytest.mark.parametrize(
    ("line", "key", "found", "allowed"),
    [
        ("opset = 8", "opset", "8", "9"),
        ("opset = 99", "opset", "99", "23"),
        ('opset = "new"', "opset", "'new'", "integer"),
        ('precisions = ["fp8"]', "precisions.0", "'fp8'", "'fp32', 'fp16' or 'int8'"),
        ("precisions = []", "precisions", "[]", "at least 1"),
        ('batch = "big"', "batch", "'big'", "'dynamic' or 'static'"),
        ("threads = 0", "threads", "0", "1"),
        ("hot_c = 20", "hot_c", "20", "40"),
        ('name = "My Board"', "name", "'My Board'", "pattern"),
        ("bench = {rounds = 2}", "bench.rounds", "2", "6"),
        ("bench = {round_ms = 0}", "bench.round_ms", "0", "greater than 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(file, line, key, found, allowed):
    key_line = line.split("=")[0].strip()
    text = re.sub(rf"^{key_line} = .*\n", "", WHOLE, flags=re.M) + line + "\n"
    message = refused(file(text))
    assert f"my-board.toml: {key}: " in message
    assert message.endswith(f"found {found}")
    assert allowed in message


@pytest.mark.parametrize("key", ["name", "description", "runtime", "opset", "precisions"])
def test_a_missing_key_is_named(file, key):
    message = refused(file(re.sub(rf"^{key} = .*\n", "", WHOLE, flags=re.M)))
    assert f"{key}: Field required" in message


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"<!DOCTYPE html>", b'name = "a"\nname = "b"'])
def test_what_is_not_toml_is_a_config_error_of_one_line(file, content):
    assert "is not a TOML file" in refused(file(content))


def test_a_folder_is_not_a_target_file(tmp_path):
    (tmp_path / "my-board.toml").mkdir()
    assert "is not a TOML file" in refused(tmp_path / "my-board.toml")


def test_a_target_is_named_after_its_file(tmp_path):
    (tmp_path / "other.toml").write_text(WHOLE)
    message = refused(tmp_path / "other.toml")
    assert "'my-board'" in message
    assert "my-board.toml" in message
