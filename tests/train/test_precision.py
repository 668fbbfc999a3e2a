import contextlib

import pytest
import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.protocols import NullProgress
from edgeprune.train import precision
from edgeprune.train.feed import TrainingData
from edgeprune.train.finetune import Recipe, train
from edgeprune.train.precision import Way


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


class Viewed(nn.Module):
    """Flattens its map with `.view`, which needs the channels to lie one after the other."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        self.norm, self.fc = nn.BatchNorm2d(4), nn.Linear(4 * 2 * 8, 3)

    def forward(self, x):
        x = self.norm(self.conv(x.unsqueeze(1)))
        return self.fc(x.view(x.size(0), -1))


class Flattened(Viewed):
    """The same by `flatten`, which does not mind."""

    def forward(self, x):
        return self.fc(self.norm(self.conv(x.unsqueeze(1))).flatten(1))


class Complex(nn.Module):
    """Makes complex numbers of what its layers answer, and there are none of bfloat16."""

    def __init__(self):
        super().__init__()
        self.real, self.imaginary, self.fc = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.complex(self.real(x[:, 0]), self.imaginary(x[:, 1])).abs())


class Broken(nn.Module):
    """Fails, but only in training."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        assert not self.training, "not written for training"
        return self.fc(x.flatten(1))


@pytest.mark.parametrize(
    ("kind", "expected", "said"),
    [
        (Flattened, Way("bf16", channels_last=True), ""),
        (Viewed, Way("bf16", channels_last=False), "view size is not compatible"),
        (Complex, Way("no", channels_last=False), "computed without bf16"),
    ],
)
def test_the_fastest_way_that_a_network_can_be_trained_in_is_found_and_nothing_is_changed(
    machine, kind, expected, said
):
    machine(cpu=("amx_bf16",))
    model = kind().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    way, problem = precision.way_of(model, torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0)))
    assert way == expected
    assert said in problem
    assert bool(said) == bool(problem)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not model.training
    assert all(parameter.grad is None and parameter.is_contiguous() for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_that_cannot_be_trained_says_so(machine):
    machine(cpu=("amx_bf16",))
    with pytest.raises(ModelError, match=r"a step of training fails.*not written for training"):
        precision.way_of(Broken(), torch.zeros(4, 2, 8))
    way, _ = precision.way_of(Broken(), torch.zeros(4, 2, 8), learns=False)
    assert way.mixed == "bf16"


def test_float32_needs_no_trial(machine):
    machine()
    assert precision.way_of(Broken(), torch.zeros(4, 2, 8)) == (Way("no", channels_last=False), "")


@pytest.mark.parametrize("kind", [Viewed, Complex])
def test_networks_that_cannot_take_the_fastest_way_are_trained_and_taught(machine, data, kind):
    machine(cpu=("amx_bf16",))
    notes = []
    frames = TrainingData(
        *(
            iq[..., :8].contiguous() if iq.ndim == 3 else iq
            for iq in (data.train_iq, data.train_labels, data.validation_iq, data.validation_labels)
        )
    )
    progress = NullProgress()
    progress.note = notes.append
    result = train(kind(), frames, Recipe(epochs=1, batch_size=16), progress, teacher=kind().eval())
    assert result.precision == ("bf16" if kind is Viewed else "fp32")
    assert [note.split(" is ")[0] for note in notes] == ["the teacher", "the network"]


def test_only_weights_of_2d_convolutions_are_laid_out_and_lie_as_before_afterwards():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv1d(4, 2, 3), nn.ConvTranspose2d(3, 4, 3))
    model[1].to(memory_format=torch.channels_last)
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    with precision.laid_out({model: Way("bf16", channels_last=True)}):
        assert all(model[place].weight.is_contiguous(memory_format=torch.channels_last) for place in (0, 1))
        assert model[3].weight.is_contiguous()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]
