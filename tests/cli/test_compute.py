"""`--compute`: on every command that runs a network, said on the terminal, refused in one line."""

import click
import pytest
import torch

from edgeprune.cli import app

RUN_A_NETWORK = {
    "prune-and-export": ("{world}/model.pt", "--target", "host-cpu", "--data", "{world}/frames.npz"),
    "plan": ("{world}/model.pt", "--data", "{world}/frames.npz", "--out", "{out}/plan.json"),
    "train": ("--model", "cnn1d", "--data", "{world}/frames.npz", "--out", "{out}/m.pt"),
    "finetune": ("{world}/model.pt", "--data", "{world}/frames.npz", "--out", "{out}/m.pt"),
    "eval": ("{world}/model.pt", "--data", "{world}/frames.npz"),
}


def options_of(*path):
    command = app
    for name in path:
        command = command.get_command(click.Context(command), name)
    return {flag for parameter in command.params for flag in parameter.opts}


@pytest.mark.parametrize(
    "path", [*((name,) for name in RUN_A_NETWORK), ("prune",), ("export",), ("compare",), ("data", "calib")]
)
def test_every_command_that_runs_a_network_takes_it(path):
    assert "--compute" in options_of(*path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU, so nothing is refused")
@pytest.mark.parametrize("command", RUN_A_NETWORK)
def test_a_gpu_that_is_not_there_is_refused_in_one_line(world, tmp_path, run, command):
    arguments = [each.format(world=world, out=tmp_path) for each in RUN_A_NETWORK[command]]
    result = run(command, *arguments, "--compute", "cuda")
    assert result.code == 2
    error, hint = result.err.strip().splitlines()[-2:]
    assert error.startswith("error: PyTorch ")
    assert "--compute cpu" in hint
    assert list(tmp_path.iterdir()) == []


def test_frames_and_what_is_computed_on_are_in_the_first_lines(world, run):
    result = run("eval", world / "model.pt", "--data", world / "frames.npz", "--compute", "cpu")
    assert result.code == 0
    first, second = result.err.splitlines()[:2]
    assert first.startswith("  frames of frames.npz: ")
    assert second.startswith("  networks run on")


def test_the_environment_says_the_same(world, run, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_COMPUTE", "tpu")
    result = run("eval", world / "model.pt", "--data", world / "frames.npz")
    assert result.code == 2
    assert "--compute tpu names nothing to compute on" in result.err
    assert run("eval", world / "model.pt", "--data", world / "frames.npz", "--compute", "cpu").code == 0
