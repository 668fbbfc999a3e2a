import contextlib

import pytest
import torch

from edgeprune.train import precision


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be another machine."""

    def pretend(gpu_bf16=False, cpu=()):
        monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_bf16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(cpu, True) | {"avx2": True})

    return pretend


@pytest.mark.parametrize(
    ("device", "has", "expected"),
    [
        ("cuda:0", {"gpu_bf16": True}, "bf16"),
        ("cuda:0", {}, "fp16"),
        ("cuda:0", {"cpu": ("avx512_bf16",)}, "fp16"),
        ("cpu", {"gpu_bf16": True}, "no"),
        ("cpu", {"cpu": ("avx512_bf16",)}, "bf16"),
        ("cpu", {"cpu": ("amx_bf16",)}, "bf16"),
        ("cpu", {"cpu": ("bf16",)}, "bf16"),  # Arm
    ],
)
def test_precision_is_what_the_device_computes_fast_in(machine, device, has, expected):
    machine(**has)
    assert precision.mixed(torch.device(device)) == expected


@pytest.mark.parametrize(("cpu", "dtype"), [((), torch.float32), (("amx_bf16",), torch.bfloat16)])
def test_forward_passes_are_computed_in_it(machine, cpu, dtype):
    machine(cpu=cpu)
    with precision.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_this_machine_has_one():
    assert precision.mixed(torch.device("cpu")) in ("no", "fp16", "bf16")


@pytest.mark.parametrize(("cpu", "expected"), [((), torch.contiguous_format), (("amx_bf16",), torch.channels_last)])
def test_weights_of_convolutions_lie_as_mixed_precision_wants_them_while_it_lasts(machine, cpu, expected):
    machine(cpu=cpu)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv1d(4, 2, 3), torch.nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with precision.fast_layout(model):
        assert model[0].weight.is_contiguous(memory_format=expected)
    assert all(value.is_contiguous() for value in model.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
