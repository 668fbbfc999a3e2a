"""Trust is of the bytes that the user named: what a run folder holds besides is data, whoever wrote it."""

import io
import json
import shutil
import sys
import tarfile

import pytest
import synthetic
import torch
from test_brought_networks import Brought

from edgeprune.cli import main
from edgeprune.files.store import canonical_sha256, file_sha256

DESCRIBED = ("--class-names", "BPSK,CW,QPSK", "--input-shape", f"2,{synthetic.LENGTH}", "--normalisation", "rms")


def arguments(world, model, out):
    what = ("--target", world / "quick-cpu.toml", "--data", world / "frames.npz", "--epochs", 1, "--keep", 2)
    return ("prune-and-export", model, *what, "--out", out, "--trust-pickle", "--accept-baseline", *DESCRIBED)


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    """A network that was saved whole, and the folder of a job on it."""
    place = tmp_path_factory.mktemp("made")
    torch.save(Brought(), place / "whole.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgeprune", *map(str, arguments(world, place / "whole.pt", place / "run")), "-q"])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0
    return place


def planted(folder, name, record, marker):
    """Put another pickle into a model file, and its hash into the stage's record; returns what the file embeds now."""
    content = torch.load(folder / name, weights_only=True)
    buffer = io.BytesIO()
    torch.save(synthetic.RunsCommand(marker), buffer)
    content["embedded"] = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    torch.save(content, folder / name)
    envelope = json.loads((folder / record).read_text())
    envelope["artifacts"][name] = file_sha256(folder / name)
    (folder / record).write_text(json.dumps(envelope))


@pytest.mark.parametrize(
    ("name", "record", "gone"),
    [("reassembled.pt", "06-prune.json", "07-finetune.json"), ("pruned.pt", "07-finetune.json", "08-accuracy.json")],
)
def test_a_network_planted_in_a_run_folder_is_not_run(world, made, tmp_path, run, name, record, gone):
    folder, marker = shutil.copytree(made / "run", tmp_path / "run"), tmp_path / "marker"
    planted(folder, name, record, marker)
    (folder / gone).unlink()
    ended = run(*arguments(world, made / "whole.pt", folder))
    assert ended.code == 2
    assert f"{name} embeds another network than the model that you trust; nothing was run" in ended.err
    assert not marker.exists()


def test_a_network_planted_in_a_cell_of_a_comparison_is_not_run(world, made, tmp_path, run):
    grid, marker = tmp_path / "grid.toml", tmp_path / "marker"
    grid.write_text(f"""
models = ["{made / "whole.pt"}"]
ratios = [0.5]
seeds = [0]
[data]
path = ["{world / "frames.npz"}"]
[training]
epochs = 1
batch_size = 8
[bench]
target = "{world / "quick-cpu.toml"}"
[[methods]]
name = "chance"
criterion = "random"
""")
    command = ("compare", "--grid", grid, "--workers", 0, "--out", tmp_path / "out", "--trust-pickle", *DESCRIBED)
    assert run(*command).code == 0
    (cell,) = (tmp_path / "out" / "cells").iterdir()
    planted(cell, "reassembled.pt", "02-prune.json", marker)
    (cell / "03-train.json").unlink()
    run(*command)
    assert "embeds another network" in (cell / "failure.json").read_text()
    assert not marker.exists()


def test_a_model_that_changed_since_a_comparison_read_it_is_not_loaded(made, tmp_path):
    from edgeprune.errors import ConfigError
    from edgeprune.network import checkpoint as checkpoints
    from edgeprune.network.model_file import ModelOptions

    marker = tmp_path / "marker"
    options = ModelOptions(class_names=("a", "b", "c"), input_shape=(2, synthetic.LENGTH), trust_pickle=True)
    torch.save(synthetic.RunsCommand(marker), tmp_path / "whole.pt")
    with pytest.raises(ConfigError, match="changed since it was first read"):
        checkpoints.load(tmp_path / "whole.pt", options, file_sha256(made / "whole.pt"))
    assert not marker.exists()


def test_records_that_were_changed_are_made_again(world, made, tmp_path, run):
    folder = shutil.copytree(made / "run", tmp_path / "run")
    envelope = json.loads((folder / "05-plan.json").read_text())
    assert envelope["sha256"] == canonical_sha256(envelope["record"])
    envelope["record"]["kept"] = [10**9]
    (folder / "05-plan.json").write_text(json.dumps(envelope))
    outcome = run(*arguments(world, made / "whole.pt", folder), "--dry-run", "--json").json["stages"]
    assert outcome["04-scores"] == "reuse"
    assert outcome["05-plan"] == "run"


@pytest.fixture(scope="module")
def bundled(world, tmp_path_factory):
    """The folder of a job for a device that nobody reached."""
    place = tmp_path_factory.mktemp("bundled")
    (place / "quick-pi.toml").write_text(BOARD)
    what = ("--target", place / "quick-pi.toml", "--data", world / "frames.npz", "--epochs", 1, "--keep", 3, "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys,
            "argv",
            ["edgeprune", "prune-and-export", *map(str, (world / "model.pt", *what, "--out", place / "run"))],
        )
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0
    return place / "run"


BOARD = """
name = "quick-pi"
description = "a board, measured shortly"
runtime = "onnxruntime-agent"
opset = 16
precisions = ["fp32"]
architecture = "aarch64"
[bench]
rounds = 6
round_ms = 20.0
warmup_ms = 5.0
"""


def repacked(source, target, change):
    """A bundle with one file changed, added or left out."""
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            content = old.extractfile(member).read()
            name = member.name.partition("/")[2]
            content = change.get(name, content)
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        folder = member.name.partition("/")[0]
        for name in change.keys() - {each.name.partition("/")[2] for each in old}:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(change[name])
            new.addfile(member, io.BytesIO(change[name]))


@pytest.mark.parametrize(
    "change",
    [
        {"run.sh": b"touch owned\n"},
        {"settings.sh": b"touch owned\n"},
        {"agent.py": b"import os\n"},
        {"plan/python3-30800.sh": b"step evil 1 0 '' -- sh\n"},
        {"plan/python3-99999.sh": b"step evil 1 0 '' -- sh\n"},
        {"numpy.py": b"import os\n"},
        {"../.bashrc": b"touch owned\n"},
        {"probe.sh": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_bundle_with_code_that_is_not_edgeprunes_is_given_to_no_device(bundled, tmp_path, run, change):
    assert run("device", "bundle", bundled).code == 0
    folder = tmp_path / "run"
    folder.mkdir()
    repacked(bundled / "bundle.tar", folder / "bundle.tar", change)
    ended = run("device", "bundle", folder, "--out", tmp_path / "carried.tar")
    assert ended.code == 2
    assert "is not what this edgeprune packs" in ended.err
    assert not (tmp_path / "carried.tar").exists()
