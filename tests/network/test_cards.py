"""Which card a run computes on, with cards that are not there."""

from types import SimpleNamespace

import pytest
import torch

from edgeprune.errors import ConfigError, DeviceError
from edgeprune.network import cards
from edgeprune.network.cards import choose


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend that PyTorch was built with CUDA and sees these cards, each (name, major, minor)."""

    def pretend(*found, driver="NVIDIA UNIX Open Kernel Module for x86_64  580.159.03  Release", fails=""):
        def init():
            raise RuntimeError(fails)

        def properties(index):
            name, major, minor = found[index]
            return SimpleNamespace(name=name, major=major, minor=minor, total_memory=16 * 2**30)

        file = tmp_path / "version"
        if driver:
            file.write_text(f"NVRM version: {driver}  (someone)\n")
        monkeypatch.setattr(cards, "_DRIVER", file)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(found))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "compute_120"])
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(cards, "training_precision", lambda device: "bf16" if device.type == "cuda" else "fp32")
        monkeypatch.delenv("LOCAL_RANK", raising=False)

    return pretend


H200, T4, OLD = ("NVIDIA H200", 9, 0), ("Tesla T4", 7, 5), ("Tesla K80", 3, 7)


class TestChoosing:
    @pytest.mark.parametrize(
        ("wanted", "device"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
    )
    def test_the_one_asked_for(self, machine, wanted, device):
        machine(H200, T4)
        assert choose(wanted).device == device

    def test_it_knows_the_card(self, machine):
        machine(H200, T4)
        found = choose("cuda:1")
        assert (found.name, found.capability, found.memory_bytes) == ("Tesla T4", "7.5", 16 * 2**30)
        assert (found.driver, found.precision) == ("580.159.03", "bf16")
        said = "networks run on Tesla T4 (cuda:1, compute capability 7.5, 16.0 GiB, driver 580.159.03)"
        assert found.sentence.startswith(said)

    def test_each_of_several_processes_takes_its_own(self, machine, monkeypatch):
        machine(H200, T4)
        monkeypatch.setenv("LOCAL_RANK", "1")
        assert choose("cuda").name == choose("auto").name == "Tesla T4"

    def test_without_a_card_it_is_the_cpu(self, machine):
        machine(driver="", fails="No CUDA GPUs are available")
        found = choose("auto")
        assert (found.device, found.on_gpu, found.why) == ("cpu", False, "")

    def test_what_this_machine_has_can_be_chosen(self):
        found = choose("cpu")
        assert (found.device, found.torch) == ("cpu", torch.__version__)


class TestRefusals:
    @pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "", "CUDA", "cuda:-1"])
    def test_other_words(self, wanted):
        with pytest.raises(ConfigError, match="Allowed: auto, cpu, cuda, cuda:N"):
            choose(wanted)

    @pytest.mark.parametrize("wanted", ["cuda", "cuda:0"])
    def test_no_card(self, machine, wanted):
        machine(driver="", fails="No CUDA GPUs are available\nand more")
        with pytest.raises(ConfigError, match=r"PyTorch sees no GPU: No CUDA GPUs are available. Use `compute='cpu'`"):
            choose(wanted)

    def test_a_pytorch_without_cuda(self, machine, monkeypatch):
        machine()
        monkeypatch.setattr(torch.version, "cuda", None)
        with pytest.raises(ConfigError, match="is built without CUDA"):
            choose("cuda")

    def test_a_card_too_many_names_those_that_are_there(self, machine):
        machine(H200)
        with pytest.raises(ConfigError, match=r"asks for GPU 7, and this machine has 1: cuda:0 \(NVIDIA H200\)"):
            choose("cuda:7")

    def test_a_driver_that_is_too_old(self, machine):
        machine(
            driver="NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27",
            fails="The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver",
        )
        with pytest.raises(DeviceError, match=r"driver 470.82.01 is too old .* built for CUDA 13.0"):
            choose("cuda")
        assert "driver 470.82.01 is too old" in choose("auto").why

    def test_a_card_that_pytorch_is_not_built_for(self, machine):
        machine(OLD)
        with pytest.raises(DeviceError, match=r"Tesla K80 has compute capability 3.7, .* is built for 7.5 and higher"):
            choose("cuda")
        assert choose("auto").device == "cpu"

    def test_a_card_that_fails(self, machine, monkeypatch):
        machine(H200)

        def broken(_):
            raise RuntimeError("CUDA error: unknown error\nCompile with TORCH_USE_CUDA_DSA")

        monkeypatch.setattr(torch.cuda, "get_device_properties", broken)
        with pytest.raises(DeviceError, match="a GPU cannot be used: CUDA error: unknown error"):
            choose("cuda:0")
