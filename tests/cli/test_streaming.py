"""Training, fine-tuning and accuracy on every kind of data: frames in a file, recordings, splits by name."""

import json
import shutil

import numpy as np
import pytest
import synthetic

from edgeprune import datasets
from edgeprune.frames.labelled import split_frames
from edgeprune.frames.splits import split_sha256
from edgeprune.network import checkpoint as checkpoints
from edgeprune.records.frames import Reading

SHORT = ("--epochs", "2", "--batch-size", "16")


@pytest.fixture(scope="session")
def frames_h5(world, tmp_path_factory):
    from edgeprune.tasks.data.convert import convert

    path = tmp_path_factory.mktemp("stored") / "frames.h5"
    convert(world / "frames.npz", path, Reading(), False, synthetic.Silent())
    return path


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder of a recording of each class at each of two SNRs, 40 frames of 32 samples long."""
    folder = tmp_path_factory.mktemp("recordings")
    for place, name in enumerate(synthetic.CLASSES):
        (folder / name).mkdir()
        for snr in synthetic.SNRS:
            samples = np.random.default_rng([place, snr + 100]).standard_normal((40 * 32, 2)).astype(np.float32)
            samples.tofile(folder / name / f"{snr}dB.cf32")
    return folder


def test_streamed_commands_end_to_end(frames_h5, tmp_path, run):
    model, tuned = tmp_path / "model.pt", tmp_path / "tuned.pt"
    train = ("train", "--model", "ulcnn", "--data", frames_h5, "--out", model, "--stream", *SHORT, "-q", "--json")
    trained = run(*train)
    assert trained.code == 0, trained.err
    parts = split_frames(datasets.read(frames_h5), 2016)
    assert trained.json["data"]["split_sha256"] == split_sha256(parts)
    streamed, whole = (
        run("eval", model, "--data", frames_h5, how, "-q", "--json").json for how in ("--stream", "--no-stream")
    )
    assert streamed == whole
    assert whole["frames"] == len(parts["test"])
    assert whole["data"]["split"] == "auto"
    teach = ("--teacher", model, "--stream", "--epochs", "1", "-q")
    assert run("finetune", model, "--out", tuned, *teach).code == 0
    assert checkpoints.load(tuned).data == checkpoints.load(model).data
    plan = run("plan", tuned, "--keep-ratio", "0.5", "--out", tmp_path / "plan.json", "-q")
    assert plan.code == 0, plan.err


def test_training_says_that_it_streams(frames_h5, tmp_path, run):
    def said(how):
        small = ("--frames", "32", "--epochs", "1", "--batch-size", "16")
        return run("train", "--model", "ulcnn", "--data", frames_h5, "--out", tmp_path / "m.pt", how, *small).err

    assert "streamed" in said("--stream")
    assert "streamed" not in said("--no-stream")


@pytest.mark.parametrize("flag", ["--split", "--split-method"])
def test_a_named_split_is_kept_for_later_commands(frames_h5, tmp_path, run, flag):
    model = tmp_path / "model.pt"
    train = ("train", "--model", "ulcnn", "--data", frames_h5, "--out", model, flag, "authors-800-200", *SHORT)
    assert run(*train, "-q").code == 0
    expected = split_frames(datasets.read(frames_h5), 2016, "authors-800-200")
    kept = run("eval", model, "-q", "--json").json
    assert kept["data"]["split"] == "authors-800-200"
    assert (kept["data"]["split_sha256"], kept["frames"]) == (split_sha256(expected), len(expected["test"]))
    other = run("eval", model, "--split-method", "stratified", "-q", "--json").json
    stratified = split_frames(datasets.read(frames_h5), 2016, "stratified")
    assert other["data"]["split_sha256"] == split_sha256(stratified)


def test_a_split_that_does_not_exist_is_named_with_those_known(frames_h5, tmp_path, run):
    wrong = run("train", "--model", "ulcnn", "--data", frames_h5, "--out", tmp_path / "m.pt", "--split", "startified")
    assert wrong.code == 2
    assert wrong.err.startswith("error: no split is named 'startified'")
    assert "Did you mean 'stratified'?" in wrong.err


@pytest.mark.parametrize("how", ["--stream", "--no-stream"])
def test_recordings_are_cut_and_split_alike_by_every_command(recordings, tmp_path, run, how):
    model = tmp_path / "model.pt"
    cut = ("--length", "32", "--hop", "16")
    train = ("train", "--model", "ulcnn", "--data", recordings, "--out", model, *cut, how, *SHORT, "-q", "--json")
    trained = run(*train)
    assert trained.code == 0, trained.err
    expected = split_frames(datasets.read(recordings, Reading(32, 16)), 2016)
    assert trained.json["data"]["reading"]["hop"] == 16
    found = run("eval", model, how, "-q", "--json").json  # the folder is that which the model names
    assert found["frames"] == len(expected["test"])
    assert found["data"] == trained.json["data"]
    assert found["data"]["split_sha256"] == split_sha256(expected)
    apart = run("eval", model, "--hop", "32", "-q", "--json").json
    assert apart["data"]["reading"]["length"] == 32
    assert apart["frames"] < found["frames"]


def test_an_exported_model_is_evaluated_from_a_file(frames_h5, world, tmp_path, run):
    onnx = tmp_path / "model.onnx"
    export = ("export", world / "model.pt", "--data", frames_h5, "--target", world / "quick-cpu.toml", "--out", onnx)
    assert run(*export, "-q").code == 0
    found = [run("eval", onnx, "--data", frames_h5, how, "-q", "--json") for how in ("--stream", "--no-stream")]
    assert json.loads(found[0].out) == json.loads(found[1].out)
    assert found[0].json["frames"] == 30


def test_an_old_model_file_is_split_as_before(world, frames_h5, run):
    """One whose data name a seed alone."""
    import torch

    content = torch.load(world / "model.pt", weights_only=True)
    for name in ("split", "split_sha256", "reading"):
        content["data"].pop(name, None)
    torch.save(content, world / "old.pt")
    found = run("eval", world / "old.pt", "--data", frames_h5, "-q", "--json").json
    assert found["data"]["split_sha256"] == split_sha256(split_frames(datasets.read(frames_h5), 2016))


def test_what_is_left_out_is_listed_by_every_command(recordings, tmp_path, run):
    folder = tmp_path / "some"
    shutil.copytree(recordings, folder)
    (folder / synthetic.CLASSES[0] / "broken.cf32").write_bytes(b"odd")
    model, cut = tmp_path / "model.pt", ("--length", "32")
    train = ("train", "--model", "ulcnn", "--data", folder, "--out", model, *cut, "--epochs", "1", "--batch-size", "16")
    refused = run(*train)
    assert refused.code == 3
    assert "broken.cf32 is short" in refused.err
    for command in (train, ("eval", model), ("finetune", model, "--out", tmp_path / "tuned.pt", "--epochs", "1")):
        ended = run(*command, "--skip-bad-files")
        assert ended.code == 0, ended.err
        assert "skipped: " in ended.err
        assert "broken.cf32 is short: 3 bytes are not whole samples of 8 bytes" in ended.err
