import sys
from types import SimpleNamespace

import pytest

from edgeprune import registry, targets
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.runtimes import _tensorrt_settings as settings
from edgeprune.runtimes.tensorrt import runtime
from edgeprune.silence import Silence


class Cache:
    """A timing cache that fits the GPU or does not."""

    def __init__(self, content):
        self.content = content


class Config:
    """A builder configuration that takes caches of this GPU alone."""

    def __init__(self):
        self.cache = None

    def create_timing_cache(self, content):
        return Cache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if cache.content.startswith(b"other"):
            return False
        self.cache = cache
        return True


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_it_is_registered():
    assert registry.get("runtimes", "tensorrt") is runtime


def test_without_the_package_it_says_what_to_install(absent, tmp_path):
    assert runtime.facts() == {"name": "tensorrt", "version": "not installed"}
    with pytest.raises(ConfigError, match="TensorRT is not installed") as caught:
        runtime.build(tmp_path / "m.onnx", targets.get("nvidia-gpu"), tmp_path / "e", Silence())
    assert caught.value.hint == "pip install 'edgeprune[tensorrt]'"
    assert caught.value.exit_code == 2


def test_without_a_gpu_it_says_that_it_asks_for_one(tmp_path, monkeypatch):
    """As pybind fails on a machine without a driver: the factory of the builder returns nothing."""

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    def builder(log):
        log.log(Logger.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    package = SimpleNamespace(__version__="10.13.3.9", ILogger=Logger, Builder=builder)
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    with pytest.raises(
        DeviceError, match="TensorRT cannot start: CUDA initialization failure with error: 35"
    ) as caught:
        runtime.build(tmp_path / "m.onnx", targets.get("nvidia-gpu"), tmp_path / "e", Silence())
    assert caught.value.exit_code == 4


def test_a_timing_cache_is_read_where_it_fits_and_made_anew_where_not(tmp_path):
    notes = []
    progress = SimpleNamespace(note=notes.append)
    config, path = Config(), tmp_path / "timing.cache"
    assert settings.read_timing_cache(config, None, progress) is None
    assert settings.read_timing_cache(config, path, progress).content == b""
    path.write_bytes(b"mine")
    assert settings.read_timing_cache(config, path, progress) is config.cache
    assert config.cache.content == b"mine"
    assert notes == []
    path.write_bytes(b"other")
    assert settings.read_timing_cache(config, path, progress) is config.cache
    assert config.cache.content == b""
    assert "timing.cache is of another GPU or version" in notes[0]
