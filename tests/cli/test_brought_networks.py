"""Networks that users bring: what the commands take, and what they say when it does not work."""

import sys
import types

import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.files.store import read_json

DESCRIBED = ("--class-names", "BPSK,CW,QPSK", "--input-shape", f"2,{synthetic.LENGTH}")
FACTORY = ("--factory", "brought_networks:build")


class Brought(nn.Module):
    """Wide layers in code, so that one that goes must be bridged."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide, self.narrow = nn.Conv1d(2, 4, 3), nn.Conv1d(4, 8, 3), nn.Conv1d(8, 8, 3, padding=1)
        self.rnn, self.fc = nn.GRU(8, 6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        x = functional.relu(self.wide(functional.relu(self.stem(x))))
        x = functional.relu(self.narrow(x))
        return self.fc(self.rnn(x.transpose(1, 2))[0].mean(1))


@pytest.fixture
def brought(monkeypatch, tmp_path):
    """The weights of a user's network, and the module that builds it."""
    module = types.ModuleType("brought_networks")
    module.build = Brought
    module.broken = lambda: 1 / 0
    module.alone = lambda: nn.Sequential(nn.Flatten(), nn.Linear(2 * synthetic.LENGTH, 3))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save(Brought().state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def one_error(result, code, *words):
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert result.code == code, result.err
    assert len(lines) == 1, result.err
    assert "Traceback" not in result.err
    assert all(word in result.err for word in words), result.err
    return True


def test_from_weights_and_a_function_to_a_pruned_network(world, brought, tmp_path, run):
    data, described = ("--data", world / "frames.npz"), (*FACTORY, *DESCRIBED)
    units = run("inspect", brought, *described, "--json").json["units"]
    assert [unit["drop"] for unit in units] == [None, "adapter", "identity", "adapter", "identity", None]
    plan, pruned = tmp_path / "plan.json", tmp_path / "pruned.pt"
    run("plan", brought, *described, *data, "--keep-ratio", "0.5", "--criterion", "random", "--out", plan)
    assert len(read_json(plan)["edits"]) == 2
    for bridge in ("least-squares", "inherit", "kaiming"):
        done = run("prune", brought, *described, *data, "--plan", plan, "--bridge", bridge, "--out", pruned)
        assert done.code == 0, done.err
    assert run("eval", pruned, *data, *FACTORY, "--json").json["frames"] == 30
    assert one_error(run("eval", pruned, *data), 2, "brought_networks:build", "--factory brought_networks:build")
    assert one_error(run("eval", pruned, *data, *described), 2, "already says which network it holds")


def test_a_whole_module_is_read_with_trust_alone(tmp_path, run):
    file = tmp_path / "whole.pt"
    torch.save(Brought(), file)
    assert one_error(run("inspect", file, *DESCRIBED), 3, "could run code; nothing was run", "--trust-pickle")
    assert one_error(run("inspect", file, "--trust-pickle"), 2, "Add --input-shape C,L; or")
    assert one_error(run("eval", file, "--trust-pickle"), 2, "Add --class-names a,b,c, --input-shape C,L; or")
    assert len(run("inspect", file, "--trust-pickle", *DESCRIBED, "--json").json["units"]) == 6


def test_to_look_at_a_network_takes_neither_class_names_nor_data(tmp_path, brought, run):
    shape, file = ("--input-shape", f"2,{synthetic.LENGTH}", "--json"), tmp_path / "whole.pt"
    torch.save(Brought(), file)
    described = run("inspect", brought, *FACTORY, *DESCRIBED, "--json").json
    assert run("inspect", brought, *FACTORY, *shape).json == described
    assert run("inspect", file, "--trust-pickle", *shape).json == described
    assert one_error(run("inspect", brought, "--arch", "gru2", *shape), 2, "Add --class-names a,b,c; or")


@pytest.mark.parametrize(
    ("factory", "code", "words"),
    [
        ("brought_networks:gone", 2, ["--factory brought_networks:gone was not found"]),
        ("no_such_module:build", 2, ["PYTHONPATH"]),
        ("brought_networks", 2, ["package.module:callable"]),
        ("brought_networks:broken", 3, ["the factory brought_networks:broken failed: division by zero"]),
        ("brought_networks:alone", 3, ["do not fit brought_networks:alone"]),
    ],
)
def test_a_function_that_does_not_build_it(brought, run, factory, code, words):
    assert one_error(run("inspect", brought, "--factory", factory, *DESCRIBED), code, *words)


def test_a_network_with_nothing_to_drop_is_refused_with_the_reasons(world, tmp_path, brought, run):
    file = tmp_path / "alone.pt"
    torch.save(sys.modules["brought_networks"].alone().state_dict(), file)
    place = ("--data", world / "frames.npz", "--out", tmp_path / "plan.json")
    done = run("plan", file, "--factory", "brought_networks:alone", *DESCRIBED, *place)
    assert one_error(done, 2, "none of the network's 1 units can be dropped", "it reads the network input")
    assert not (tmp_path / "plan.json").exists()


def test_a_network_that_is_random_in_evaluation_mode_is_refused(tmp_path, brought, run):
    class Random(Brought):
        def forward(self, x):
            return super().forward(x) + torch.rand(3)

    sys.modules["brought_networks"].random = Random
    done = run("inspect", brought, "--factory", "brought_networks:random", *DESCRIBED)
    assert one_error(done, 3, "outputs for the same frames differ each time, in evaluation mode")


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: (Brought.forward(self, x), x), ["1 inputs and 2 outputs"]),
        (lambda self, x, y: Brought.forward(self, x) + y, ["takes 2 inputs (x, y)"]),
        (lambda self, x: Brought.forward(self, x) if x.sum() > -1e9 else (x, x), []),
    ],
)
def test_two_inputs_or_outputs_are_refused_and_looking_at_data_is_not(brought, run, forward, words):
    sys.modules["brought_networks"].other = type("Other", (Brought,), {"forward": forward})
    done = run("inspect", brought, "--factory", "brought_networks:other", *DESCRIBED, "--json")
    if words:
        assert one_error(done, 3, *words)
    else:
        assert len(done.json["units"]) == 6
