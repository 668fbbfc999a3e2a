import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgeprune import registry, targets
from edgeprune.errors import ConfigError, DeviceError
from edgeprune.network.cards import Card
from edgeprune.protocols import NullProgress
from edgeprune.runtimes import tensorrt
from edgeprune.runtimes._tensorrt import builder as settings
from edgeprune.runtimes.tensorrt import TensorRt, runtime
from edgeprune.targets import Target


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
        runtime.build(tmp_path / "m.onnx", targets.get("nvidia-gpu"), tmp_path / "e", NullProgress())
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
        runtime.build(tmp_path / "m.onnx", targets.get("nvidia-gpu"), tmp_path / "e", NullProgress())
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


class TestCards:
    """Which cards the two packages take, with packages and cards that are not there."""

    @pytest.fixture
    def machine(self, monkeypatch):
        def pretend(name, version, *found, knows=("CURRENT", "SM75", "SM86", "SM120")):
            members = {each: object() for each in knows}
            package = SimpleNamespace(__version__=version, ComputeCapability=SimpleNamespace(__members__=members))
            monkeypatch.setitem(sys.modules, name.replace("-", "_"), package)
            monkeypatch.setattr(tensorrt, "cards", lambda: found)
            return TensorRt(name)

        return pretend

    H200, VOLTA = Card(0, "NVIDIA H200", "9.0", 2**37), Card(0, "Tesla V100", "7.0", 2**34)
    HERE = Target(name="here", description="", runtime="tensorrt-rtx", opset=18, precisions=("fp32",))

    def test_a_card_that_tensorrt_rtx_refuses_is_named_with_those_that_it_takes(self, machine, tmp_path):
        runtime = machine("tensorrt-rtx", "1.7.1", self.H200)
        said = "NVIDIA H200 has compute capability 9.0, and TensorRT-RTX 1.7.1 takes 7.5, 8.6, 12.0"
        for work in (
            lambda: runtime.require(self.HERE),
            lambda: runtime.build(tmp_path / "m.onnx", self.HERE, tmp_path / "e", NullProgress()),
            lambda: runtime.open(tmp_path / "m.onnx", 1).__enter__(),
        ):
            with pytest.raises(DeviceError) as caught:
                work()
            assert caught.value.message == said
        assert runtime.refusal(self.H200) == said

    def test_for_a_card_elsewhere_that_of_this_machine_does_not_matter(self, machine):
        machine("tensorrt-rtx", "1.7.1", self.H200).require(targets.get("rtx-ampere"))

    def test_a_target_that_the_package_does_not_build_for_is_refused_before(self, machine):
        runtime = machine("tensorrt-rtx", "1.7.1", knows=("SM75",))
        with pytest.raises(ConfigError, match=r"compute capability 8.6 cannot be built for here. Allowed: 7.5"):
            runtime.require(targets.get("rtx-ampere"))

    def test_a_target_without_capability_is_for_the_card_that_is_there(self, machine):
        machine("tensorrt-rtx", "1.7.1", replace(self.H200, capability="8.6")).require(self.HERE)
        with pytest.raises(DeviceError, match="here is for this machine's GPU, and PyTorch sees none here"):
            machine("tensorrt-rtx", "1.7.1").require(self.HERE)

    @pytest.mark.parametrize(("version", "taken"), [("10.4.0", True), ("10.5.0", False), ("11.0.1", False)])
    def test_tensorrt_took_volta_until_10_5(self, machine, version, taken):
        runtime = machine("tensorrt", version, self.VOLTA)
        assert (runtime.refusal(self.VOLTA) is None) == taken
        assert runtime.refusal(self.H200) is None
