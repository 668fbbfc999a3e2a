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


@pytest.mark.parametrize("name", targets.names())
def test_every_shipped_target_is_valid_and_its_runtime_exists(name):
    target = targets.get(name)
    assert target.name == name
    assert target.runtime in registry.names("runtimes")


def test_the_host_is_a_target():
    assert "host-cpu" in targets.names()
    assert targets.get("host-cpu").runtime == "onnxruntime"


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
