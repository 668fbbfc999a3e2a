"""Networks from outside: a user's function, a pickle, an exported program."""

import dataclasses
import hashlib
import io
import pickle
import sys
import types
import warnings

import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ConfigError, ModelError
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.edits import apply_edits
from edgeprune.network.factory import from_factory
from edgeprune.network.foreign import from_exported, from_pickle
from edgeprune.network.model_file import ModelOptions
from edgeprune.prune.surgery import apply
from edgeprune.prune.units.chain import layers_of
from edgeprune.records.pruning import Arch, InputSpec, PrunePlan

LENGTH, CLASSES = 16, ("AM", "FM", "CW")
DESCRIBED = {"class_names": CLASSES, "input_shape": (2, LENGTH), "normalisation": "rms"}


class Small(nn.Module):
    """A network of the user's own."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv1d(2, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.body, self.more = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.bn(self.stem(x)))
        x = x + functional.relu(self.body(x))
        x = functional.relu(self.more(x))
        return self.fc(x.mean(-1))


def build():
    return synthetic.shaken(Small())


def frames(count=3):
    return synthetic.signals(count, LENGTH)


@pytest.fixture(autouse=True)
def users_module(monkeypatch):
    """The user's module, as it would be found on the path."""
    module = types.ModuleType("users_networks")
    module.build = build
    module.nested = types.SimpleNamespace(build=build)
    module.broken = lambda: 1 / 0
    module.nothing = lambda: None
    module.picky = lambda width: width
    module.calls = []
    module.counted = lambda: module.calls.append(1) or build()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def caught(kind, act, *arguments):
    with pytest.raises(kind) as found:
        act(*arguments)
    assert type(found.value) is kind
    assert "\n" not in str(found.value)
    return str(found.value)


class TestFactory:
    @pytest.mark.parametrize("name", ["users_networks:build", "users_networks:nested.build"])
    @torch.no_grad()
    def test_builds_what_the_function_returns(self, name):
        torch.manual_seed(1)
        built = from_factory(name)
        torch.manual_seed(1)
        assert torch.equal(built(frames()), build()(frames()))

    @pytest.mark.parametrize("name", ["users_networks", "users_networks:", ":build", "", "users_networks.build"])
    def test_a_name_of_another_form(self, name):
        message = caught(ConfigError, from_factory, name)
        assert "is not of the form FILE.py:CALLABLE or package.module:callable" in message

    @pytest.mark.parametrize("name", ["users_networks:gone", "no.such.module:build", "users_networks:build.more"])
    def test_one_that_is_not_there(self, name):
        message = caught(ConfigError, from_factory, name)
        assert f"`factory={name}` was not found: " in message
        assert "PYTHONPATH" in message

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("users_networks:broken", "failed: division by zero. It is called without arguments"),
            ("users_networks:nothing", "returned a NoneType, not a torch.nn.Module"),
        ],
    )
    def test_one_that_fails(self, name, reason):
        message = caught(ModelError, from_factory, name)
        assert f"the factory {name} " in message
        assert reason in message

    def test_a_module_that_fails_when_it_is_imported(self, tmp_path, monkeypatch):
        (tmp_path / "fails_on_import.py").write_text("raise ValueError('not\\ntoday')")
        monkeypatch.syspath_prepend(tmp_path)
        message = caught(ModelError, from_factory, "fails_on_import:build")
        assert "importing fails_on_import for `factory` failed: not" in message

    @torch.no_grad()
    def test_weights_are_loaded_into_what_it_builds_and_travel_on(self, tmp_path):
        model, factory = build(), ModelOptions(factory="users_networks:build", **DESCRIBED)
        torch.save(model.state_dict(), tmp_path / "weights.pt")
        loaded = checkpoints.load(tmp_path / "weights.pt", factory)
        assert torch.equal(loaded.model(frames()), model(frames()))
        assert loaded.arch == Arch("users_networks:build", {}, "factory")
        checkpoints.save(tmp_path / "model.pt", loaded)
        again = checkpoints.load(tmp_path / "model.pt", ModelOptions(factory="users_networks:build"))
        assert torch.equal(again.model(frames()), model(frames()))
        assert loaded.trusted == again.trusted == ModelOptions(factory="users_networks:build")

    def test_a_file_that_names_one_does_not_run_it_without_being_asked(self, tmp_path, users_module):
        model = dataclasses.replace(checkpoint(), arch=Arch("users_networks:counted", {}, "factory"))
        checkpoints.save(tmp_path / "model.pt", model)
        for options in (None, ModelOptions(), ModelOptions(factory="users_networks:build"), ModelOptions(arch="vgg16")):
            message = caught(ConfigError, checkpoints.load, tmp_path / "model.pt", options)
            assert "is built by users_networks:counted, code that is not run without being asked for" in message
        assert users_module.calls == []
        checkpoints.load(tmp_path / "model.pt", ModelOptions(factory="users_networks:counted"))
        assert users_module.calls == [1]

    def test_options_that_the_file_answers_itself_are_refused(self, tmp_path):
        checkpoints.save(tmp_path / "model.pt", checkpoint())
        message = caught(ConfigError, checkpoints.load, tmp_path / "model.pt", replace_options(DESCRIBED))
        assert "already says which network it holds" in message


def replace_options(described):
    return ModelOptions(factory="users_networks:build", **described)


def checkpoint():
    return checkpoints.Checkpoint(
        model=build(),
        arch=Arch("users_networks:build", {}, "factory"),
        classes=CLASSES,
        input=InputSpec(2, LENGTH),
        data=None,
        plan=None,
        metrics={},
        sha256="0" * 64,
    )


def dropping(chain, indices):
    kept = tuple(unit.index for unit in chain.units if unit.index not in indices)
    edits = tuple(unit.edit for unit in chain.units if unit.index in indices)
    return PrunePlan(chain.model_sha256, "", "", ((0, len(chain.units) - 1),), kept, tuple(indices), (), edits)


@torch.no_grad()
def goes_on_and_on(loaded, folder):
    """Whether a model that was trusted can be pruned, saved, loaded and pruned again without losing a bit."""
    trusted, x = loaded.trusted, frames()
    for number in range(2):
        saved = checkpoints.save(folder / f"{number}.pt", loaded)
        chain = layers_of(saved.model, saved.input, saved.sha256)
        assert len(chain.droppable) == 2 - number
        loaded = apply(saved, dropping(chain, chain.droppable[:1]))
        checkpoints.save(folder / f"pruned {number}.pt", loaded)
        again = checkpoints.load(folder / f"pruned {number}.pt", trusted)
        assert torch.equal(again.model(x), loaded.model(x))
        loaded = again
    return True


class TestPickle:
    @pytest.fixture
    def file(self, tmp_path):
        torch.save(build(), tmp_path / "whole.pt")
        return tmp_path / "whole.pt"

    @torch.no_grad()
    def test_a_module_is_read_under_trust(self, file, tmp_path):
        options = ModelOptions(trust_pickle=True, **DESCRIBED)
        torch.manual_seed(0)
        loaded = checkpoints.load(file, options)
        whole = torch.load(file, weights_only=False)
        assert torch.equal(loaded.model(frames()), whole(frames()))
        assert loaded.arch == Arch("whole.pt", {}, "pickle")
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        assert loaded.trusted == ModelOptions(trust_pickle=True, embedded_sha256=sha256)
        assert goes_on_and_on(loaded, tmp_path)

    def test_what_was_saved_of_it_needs_trust_too(self, file, tmp_path):
        loaded = checkpoints.load(file, ModelOptions(trust_pickle=True, **DESCRIBED))
        checkpoints.save(tmp_path / "saved.pt", loaded)
        message = caught(ConfigError, checkpoints.load, tmp_path / "saved.pt")
        assert "holds a network as a pickle, which can run code; nothing was run" in message
        assert "`trust_pickle=True`" in message

    def test_what_says_nothing_of_itself_must_be_described(self, file):
        message = caught(ConfigError, checkpoints.load, file, ModelOptions(trust_pickle=True))
        assert "Add `classes=a,b,c`, `input_shape=C,L`" in message

    @pytest.mark.parametrize("options", [None, ModelOptions(**DESCRIBED), ModelOptions(arch="vgg16", **DESCRIBED)])
    def test_without_trust_nothing_in_it_is_run(self, tmp_path, options):
        marker = tmp_path / "marker"
        torch.save(synthetic.RunsCommand(marker), tmp_path / "evil.pt")
        message = caught(ModelError, checkpoints.load, tmp_path / "evil.pt", options)
        assert "could run code; nothing was run" in message
        assert "`trust_pickle=True`" in message
        assert not marker.exists()

    def test_a_pickle_inside_a_model_file_is_not_run_either(self, tmp_path):
        marker = tmp_path / "marker"
        embedded = torch.frombuffer(bytearray(synthetic.trap(marker)), dtype=torch.uint8)
        content = {"source": "pickle", "embedded": embedded, "format": checkpoints.FORMAT}
        checkpoints.save(tmp_path / "model.pt", checkpoint())
        honest = torch.load(tmp_path / "model.pt", weights_only=True)
        arch = {"name": "evil.pt", "arguments": {}, "source": "pickle"}
        torch.save({**honest, **content, "arch": arch}, tmp_path / "evil.pt")
        assert "nothing was run" in caught(ConfigError, checkpoints.load, tmp_path / "evil.pt")
        assert not marker.exists()

    def test_the_trap_of_this_test_works(self, tmp_path):
        caught(ModelError, from_pickle, synthetic.trap(tmp_path / "marker"), "trap")
        buffer = io.BytesIO()
        torch.save(synthetic.RunsCommand(tmp_path / "marker"), buffer)
        caught(ModelError, from_pickle, buffer.getvalue(), "trap")
        assert (tmp_path / "marker").exists()

    @pytest.mark.parametrize(
        ("content", "reason"),
        [({"a": torch.zeros(2), "b": build}, "holds a dict, not a network"), (None, "cannot be unpickled: ")],
    )
    def test_what_is_no_network(self, content, reason):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        damaged = buffer.getvalue() if content is not None else pickle.dumps(None)[:-1]
        assert f"whole.pt {reason}" in caught(ModelError, from_pickle, damaged, "whole.pt")


class Everything(nn.Module):
    """Every way a weight can be used, so that no operation takes another's place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(2, 4, 3, padding="same")
        self.one, self.two = nn.Parameter(torch.randn(4, 4, 3)), nn.Parameter(torch.randn(4, 4, 3))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 1))
        self.bn, self.norm, self.plain = nn.BatchNorm1d(4), nn.LayerNorm(4), nn.BatchNorm1d(4, affine=False)
        self.again, self.tied = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1, bias=False)
        self.tied.weight = self.again.weight
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.rnn, self.dropout, self.fc = nn.GRU(4, 4, batch_first=True), nn.Dropout(0.3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.bn(functional.relu(self.stem(x)))
        x = functional.conv1d(functional.conv1d(x, self.one, padding=1), self.two, padding=1)
        x = functional.max_pool1d(self.plain(self.normed(x)), 2)
        x = self.tied(functional.conv1d(self.again(x), self.again.weight, padding=2, dilation=2))
        x = self.bn(self.again(x)).transpose(1, 2)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.fc(self.dropout(self.rnn(x)[0]).mean(1))


class Flat(nn.Module):
    """A map of two axes."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.pool = (
            nn.Conv2d(1, 4, (2, 3), padding="valid"),
            nn.BatchNorm2d(4),
            nn.MaxPool2d((1, 2)),
        )
        self.deep, self.fc = nn.Conv2d(4, 4, (1, 3), padding=(0, 1), groups=4), nn.Linear(28, 3)

    def forward(self, x):
        x = self.pool(functional.relu(self.bn(self.conv(x.unsqueeze(1)))))
        return self.fc(functional.relu(self.deep(x)).flatten(1))


def exported(model, count=2, dynamic=True):
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (frames(count),), dynamic_shapes=shapes, strict=False)
        torch.export.save(program, buffer)
    return buffer.getvalue()


class TestExported:
    @pytest.mark.parametrize("kind", [Small, Everything, Flat])
    def test_answers_and_gradients_are_those_of_the_network_bit_for_bit(self, kind):
        model = synthetic.shaken(kind())
        read = from_exported(exported(model), "program.pt2")
        for count in (1, 3, 8):
            assert torch.equal(read(frames(count)), model(frames(count)))
        for network in (model, read):
            network.zero_grad()
            network(frames()).square().sum().backward()
        total = sum(parameter.numel() for parameter in model.parameters())
        assert sum(parameter.numel() for parameter in read.parameters()) == total
        wanted = {name: parameter.grad for name, parameter in model.named_parameters()}
        own = {name: parameter.grad for name, parameter in read.named_parameters(remove_duplicate=False)}
        for name in wanted.keys() & own.keys():
            torch.testing.assert_close(own[name], wanted[name])
        assert len(wanted.keys() & own.keys()) >= len(wanted) - 2  # weight norm's go by other names in torch itself

    def test_it_trains_as_the_network_does(self):
        model = synthetic.shaken(Small())
        read = from_exported(exported(model), "program.pt2")
        for network in (model, read):
            network.train()
            network(frames(8)).square().sum().backward()
        assert not torch.equal(read.bn.running_mean, build().bn.running_mean)
        torch.testing.assert_close(read.bn.running_mean, model.bn.running_mean)
        torch.testing.assert_close(read.bn.running_var, model.bn.running_var)
        torch.testing.assert_close(read.stem.weight.grad, model.stem.weight.grad)

    def test_dropout_drops_in_training_only(self):
        model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * LENGTH, 3)).eval()
        read = from_exported(exported(model), "program.pt2")
        assert torch.equal(read(frames()), read(frames()))
        read.train()
        assert not torch.equal(read(frames()), read(frames()))

    def test_it_comes_as_it_was_in_evaluation_mode(self):
        assert not any(module.training for module in from_exported(exported(build()), "p.pt2").modules())

    def test_layers_are_modules_again_and_droppable(self):
        model = synthetic.shaken(Small())
        read = from_exported(exported(model), "program.pt2")
        assert {path: type(read.get_submodule(path)) for path in ("stem", "bn", "body", "fc")} == {
            "stem": nn.Conv1d, "bn": nn.BatchNorm1d, "body": nn.Conv1d, "fc": nn.Linear,
        }  # fmt: skip
        of_model, of_read = (layers_of(each, InputSpec(2, LENGTH), "") for each in (model, read))
        assert [(u.kind, u.in_shape, u.out_shape, u.params, u.macs, u.drop) for u in of_read.units] == [
            (u.kind, u.in_shape, u.out_shape, u.params, u.macs, u.drop) for u in of_model.units
        ]
        pruned, own = (
            apply_edits(each, [chain.units[1].edit], (2, LENGTH))
            for each, chain in ((model, of_model), (read, of_read))
        )
        assert torch.equal(own(frames()), pruned(frames()))

    def test_a_program_for_one_number_of_frames_is_refused_with_the_way_out(self):
        message = caught(ModelError, from_exported, exported(build(), 4, dynamic=False), "fixed.pt2")
        assert "fixed.pt2 was exported for 4 frames at once" in message
        assert "dynamic_shapes" in message

    @pytest.mark.parametrize("content", [b"", b"not a program", b"PK\x03\x04" + bytes(40)])
    def test_what_is_no_program(self, content):
        assert "fake.pt2 is not a readable exported program: " in caught(ModelError, from_exported, content, "fake.pt2")

    @torch.no_grad()
    def test_the_file_is_read_under_trust_alone_and_goes_on(self, tmp_path):
        model, path = build(), tmp_path / "program.pt2"
        path.write_bytes(exported(model))
        message = caught(ConfigError, checkpoints.load, path, ModelOptions(**DESCRIBED))
        assert "may hold pickles, which can run code; nothing was run" in message
        loaded = checkpoints.load(path, ModelOptions(trust_pickle=True, **DESCRIBED))
        assert torch.equal(loaded.model(frames()), model(frames()))
        assert loaded.arch == Arch("program.pt2", {}, "exported")
        assert goes_on_and_on(loaded, tmp_path)
