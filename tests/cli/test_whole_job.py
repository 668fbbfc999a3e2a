"""`prune-and-export`: what it leaves, what it reuses, and that an interruption changes nothing."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgeprune import datasets
from edgeprune.bench import protocol
from edgeprune.files.store import file_sha256
from edgeprune.files.whole import begun_folder, replacing
from edgeprune.frames.labelled import split_frames
from edgeprune.network import checkpoint as checkpoints
from edgeprune.pipeline import job as whole_job
from edgeprune.pipeline import open_folder
from edgeprune.pipeline.settings import TITLES
from edgeprune.tasks import export
from edgeprune.train import finetune

ON_REQUEST = {"02-trials", "05-latency", "06-width", "08-bound", "09-qat", "09-precision"}
ELSEWHERE = {"10-engine", "10-bundle", "11-device"}
STAGES = [name for name in TITLES if name not in ON_REQUEST | ELSEWHERE]


def job(world, out, *more):
    target, data = world / "quick-cpu.toml", world / "frames.npz"
    model = ("--target", target, "--data", data, "--epochs", 2, "--keep-ratio", 0.12, "--out", out)
    return ("prune-and-export", world / "model.pt", *model, *more)


def records(folder):
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("[0-9][0-9]-*.json"))}


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The folder of a job that ran through, made by the library so that the fixture can live for the module."""
    import sys

    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = ["edgeprune", *map(str, job(world, folder, "--quiet"))]
    old, sys.argv = sys.argv, arguments
    try:
        from edgeprune.cli import main

        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        sys.argv = old
    assert stop.value.code == 0
    return folder


def test_leaves_every_file_of_the_contract(finished):
    names = {file.name for file in finished.iterdir()}
    wanted = {"report.json", "report.md", "report.html", "pruned.pt", "baseline.onnx", "pruned.onnx", "log.txt"}
    assert wanted <= names
    assert sorted(records(finished)) == STAGES[:-1]
    assert not [name for name in names if name.startswith(".") or name.endswith(".state")]


def test_report_has_the_keys_of_the_contract_and_true_hashes(finished):
    report = json.loads((finished / "report.json").read_text())
    assert report["schema"] == "edgeprune-report/1"
    assert report["target"] == "quick-cpu"
    assert set(report["plan"]["kept"]) | set(report["plan"]["dropped"]) == set(range(29))
    assert len(report["plan"]["kept"]) == report["pruned"]["units"] == 2 + round(0.12 * 27)
    assert report["accuracy"]["split"] == "test"
    assert set(report["accuracy"]["baseline"]["by_snr"]) == {"-4", "10"}
    for name in ("baseline_onnx", "pruned_onnx", "pruned_checkpoint"):
        artifact = report["artifacts"][name]
        assert file_sha256(finished / artifact["path"]) == artifact["sha256"]


def test_accuracy_is_that_of_the_test_split_counted_by_hand(finished, world):
    report = json.loads((finished / "report.json").read_text())
    pruned = checkpoints.load(finished / "pruned.pt")
    with np.load(world / "frames.npz") as data:
        iq, labels = data["iq"], data["labels"]
    test = split_frames(datasets.read(world / "frames.npz"), 2016)["test"]
    power = np.sqrt((iq[test] ** 2).sum(axis=1).mean(axis=1))[:, None, None]
    with torch.no_grad():
        called = pruned.model(torch.from_numpy(iq[test] / power)).argmax(1).numpy()
    assert report["accuracy"]["frames"] == len(test)
    assert report["accuracy"]["pruned"]["top1"] == pytest.approx((called == labels[test]).mean())


def test_exported_file_takes_raw_samples_in_any_batch_and_says_what_it_is(finished, world):
    session = onnxruntime.InferenceSession(str(finished / "pruned.onnx"))
    with np.load(world / "frames.npz") as data:
        iq = data["iq"][:5]
    assert [(port.name, port.shape[1:]) for port in session.get_inputs()] == [("iq", [2, 32])]
    assert session.run(["logits"], {"iq": iq})[0].shape == (5, 3)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["BPSK", "CW", "QPSK"]
    assert about["checkpoint_sha256"] == file_sha256(finished / "pruned.pt")
    assert json.loads(about["plan"])["dropped"] == json.loads((finished / "report.json").read_text())["plan"]["dropped"]
    assert onnx.load(finished / "pruned.onnx").opset_import[0].version == 18


def test_same_command_reuses_every_stage(finished, world, tmp_path, run):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    before = records(folder)
    outcome = run(*job(world, folder, "--dry-run", "--json"))
    assert outcome.json["stages"] == {**dict.fromkeys(STAGES[:-1], "reuse"), STAGES[-1]: "run"}
    again = run(*job(world, folder, "--json"))
    assert again.code == 0
    assert records(folder) == before


def test_dry_run_of_a_new_job_writes_nothing(world, tmp_path, run):
    outcome = run(*job(world, tmp_path / "run", "--dry-run", "--json"))
    assert set(outcome.json["stages"].values()) == {"run"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [("--epochs", 3), ("--frames", 12), ("--mix", 0.5)])
def test_a_changed_setting_redoes_only_what_follows_from_it(finished, world, tmp_path, run, changed):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    outcome = run(*job(world, folder, *changed, "--dry-run", "--json"))
    redone = [name for name, what in outcome.json["stages"].items() if what == "run"]
    assert redone == STAGES[STAGES.index("07-finetune") :]


def test_at_most_so_many_frames_are_learnt_from_and_as_many_as_before_judged_by(
    finished, world, tmp_path, run, monkeypatch
):
    folder, seen, real = tmp_path / "run", [], finetune._Loop.epoch
    shutil.copytree(finished, folder)

    def epoch(self, *arguments):
        seen.append((self.feed.frames, sum(len(labels) for _, labels in self.feed.validation())))
        return real(self, *arguments)

    monkeypatch.setattr(finetune._Loop, "epoch", epoch)
    assert run(*job(world, folder, "--frames", 12)).code == 0
    parts = split_frames(datasets.read(world / "frames.npz"), 2016)
    assert len(parts["train"]) > 12
    assert seen == [(12, len(parts["validation"]))] * 2
    assert json.loads((folder / "report.json").read_text())["accuracy"]["frames"] == len(parts["test"])


def test_a_damaged_file_is_made_again(finished, world, tmp_path, run):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "pruned.onnx").write_bytes(b"damaged")
    outcome = run(*job(world, folder, "--dry-run", "--json"))
    redone = [name for name, what in outcome.json["stages"].items() if what == "run"]
    assert redone == STAGES[STAGES.index("09-export") :]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(whole_job, "layers_of"), (export, "onnx_metadata"), (protocol, "measure"), (finetune, "save")],
    ids=["layers", "export", "bench", "between epochs"],
)
def test_interrupted_anywhere_the_same_command_ends_with_the_same_weights(
    finished, world, tmp_path, run, monkeypatch, owner, name
):
    folder = tmp_path / "run"
    real = getattr(owner, name)

    def interrupted(*arguments, **options):
        if name == "save":  # the first epoch is kept, then it stops
            real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    stopped = run(*job(world, folder))
    assert stopped.code == 130
    assert "interrupted" in stopped.err
    assert not (folder / "report.json").exists()
    monkeypatch.undo()
    assert run(*job(world, folder, "--quiet")).code == 0
    after, expected = (checkpoints.load(each / "pruned.pt").model.state_dict() for each in (folder, finished))
    assert all(torch.equal(value, expected[key]) for key, value in after.items())


def test_a_plan_step_by_step_gives_the_network_of_the_whole_job(finished, world, tmp_path, run):
    plan = tmp_path / "plan.json"
    source = ("--data", world / "frames.npz")
    assert run("plan", world / "model.pt", *source, "--keep-ratio", 0.12, "--out", plan).code == 0
    content = json.loads(plan.read_text())
    assert content["dropped"] == json.loads((finished / "report.json").read_text())["plan"]["dropped"]
    assert all(decision["reason"] for decision in content["decisions"])
    pruned = tmp_path / "pruned.pt"
    assert run("prune", world / "model.pt", "--plan", plan, *source, "--out", pruned).code == 0
    one, other = (checkpoints.load(path).model.state_dict() for path in (pruned, finished / "reassembled.pt"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_report_is_made_again_from_its_files(finished, tmp_path, run):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "report.md").unlink()
    assert run("report", folder).code == 0
    assert (folder / "report.md").read_text() == (finished / "report.md").read_text()


def test_a_fresh_folder_forgets_its_stages_and_keeps_what_is_not_its_own(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "notes.txt").write_text("mine")
    with open_folder(folder, fresh=True):
        assert records(folder) == {}
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path):
    folder, seen = tmp_path / "run", tmp_path / "seen"
    with open_folder(folder, fresh=False):
        (folder / "notes.txt").write_text("mine")
        with replacing(folder / "pruned.pt") as file, begun_folder(folder) as workbench:
            file.write(b"half")
            (workbench / "raw.onnx").write_text("half")
            shutil.copytree(folder, seen)  # as a kill would leave it
    assert len(list(seen.iterdir())) == 4
    (seen / ".gitignore").write_text("*")
    (seen / ".baseline.onnx.a1b2c3d4").mkdir()
    with open_folder(seen, fresh=False):
        left = sorted(file.name for file in seen.iterdir())
    assert left == [".baseline.onnx.a1b2c3d4", ".gitignore", "edgeprune-run.json", "notes.txt"]
