"""A disk that is full while a network is exported: whatever a library makes of it, it is a full disk that is told."""

import errno
import os
import resource
import signal
import sys

import numpy as np
import onnx
import pytest
from torch import nn

from edgeprune import targets
from edgeprune.errors import ConfigError, ModelError
from edgeprune.export import Calibration, export
from edgeprune.export.simplify import Simplifier
from edgeprune.files import whole
from edgeprune.files.whole import blame_disk, require_room
from edgeprune.records.pruning import InputSpec

LENGTH = 8


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * LENGTH, 3)).eval()


@pytest.fixture
def frames():
    return np.random.default_rng(0).standard_normal((16, 2, LENGTH)).astype(np.float32)


def exported(network, frames, path, precision, simplifiers=()):
    target = targets.get("host-cpu").model_copy(update={"opset": 17, "precisions": ["fp32", "fp16", "int8"]})
    calibration = Calibration(frames, "minmax") if precision == "int8" else None
    spec = InputSpec(2, LENGTH, "none")
    return export(
        network, spec, frames, target, path, {}, precision=precision, calibration=calibration, simplifiers=simplifiers
    )


@pytest.mark.parametrize(("precision", "code"), [("fp32", errno.EROFS), ("fp16", errno.ENOSPC), ("int8", errno.EDQUOT)])
def test_whichever_file_finds_no_room_it_is_said_so(network, frames, tmp_path, monkeypatch, precision, code):
    save, place = onnx.save, tmp_path / "net.onnx"
    place.write_bytes(b"old")
    failing, writes, told = 0, 0, []

    def full(*arguments, **options):
        nonlocal writes
        writes += 1
        if writes == failing:
            raise OSError(code, os.strerror(code))
        return save(*arguments, **options)

    monkeypatch.setattr("onnx.save", full)
    while True:
        failing, writes = failing + 1, 0
        try:
            exported(network, frames, place, precision)
        except ConfigError as error:
            told.append((error.message, place.read_bytes(), len(list(tmp_path.iterdir()))))
        else:
            break
    assert told
    assert set(told) == {(f"cannot write {place}: {os.strerror(code)}", b"old", 1)}
    assert place.read_bytes() != b"old"


@pytest.fixture
def limited():
    """Files of this process and its children may have so many bytes."""
    before, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, heard)


def test_a_limit_on_the_size_of_files_is_one_too(network, frames, tmp_path, limited):
    limited(1024)
    with pytest.raises(ConfigError, match=r"cannot write .*net\.onnx: File too large"):
        exported(network, frames, tmp_path / "net.onnx", "fp32")
    assert list(tmp_path.iterdir()) == []


def test_a_simplifier_that_found_no_room_is_not_one_that_failed(network, frames, tmp_path, monkeypatch):
    broken = Simplifier("broken", (sys.executable, "-c", "raise SystemExit(1)"))
    assert exported(network, frames, tmp_path / "net.onnx", "fp32", (broken,)).simplifier == "none"

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole.os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        exported(network, frames, tmp_path / "net.onnx", "fp32", (broken,))


class TestBlame:
    def test_is_found_in_whatever_came_of_it(self, tmp_path):
        def chain(first):
            try:
                try:
                    raise first
                except OSError as error:
                    raise RuntimeError("protobuf") from error
            except RuntimeError:
                raise ModelError("Set another opset")  # noqa: B904 (as libraries do)

        with pytest.raises(ModelError) as caught:
            chain(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(ConfigError, match="No space left"):
            blame_disk(caught.value, tmp_path / "x")
        with pytest.raises(ModelError) as caught:
            chain(PermissionError(errno.EACCES, "Permission denied", "/etc/shadow"))
        blame_disk(caught.value, tmp_path / "x")  # of the network's own code
        with pytest.raises(ModelError) as caught:
            chain(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "inner")))
        with pytest.raises(ConfigError, match="Permission denied"):
            blame_disk(caught.value, tmp_path / "x")
        blame_disk(ModelError("no room for more channels"), tmp_path / "x")

    def test_room_is_tried_and_nothing_stays(self, tmp_path, limited):
        require_room(tmp_path, 3_000_000, tmp_path / "x")
        limited(1 << 20)
        require_room(tmp_path, 1 << 20, tmp_path / "x")
        with pytest.raises(ConfigError, match="File too large"):
            require_room(tmp_path, (1 << 20) + 1, tmp_path / "x")
        assert list(tmp_path.iterdir()) == []
