"""`import`, and the first two stages of the job: what is silently wrong with a brought network is found and said."""

import json

import numpy as np
import pytest
import synthetic
import torch

from edgeprune.network import checkpoint as checkpoints

CODE = """
import torch
import torch.nn as nn
from edgeprune.models.resnet import ResNet


class Net(nn.Module):
    def __init__(self, answers):
        super().__init__()
        self.net, self.answers = ResNet(1, 9, 3), answers

    def forward(self, x):
        y = self.net(x)
        return {"logits": y, "probabilities": y.softmax(1), "log-probabilities": y.log_softmax(1)}[self.answers]


def build(answers="logits"):
    return Net(answers)


class Spectrum(Net):
    def forward(self, x):
        samples = torch.complex(x[:, 0], x[:, 1])
        spectra = torch.stft(samples, 16, 8, window=torch.hann_window(16), return_complex=True, onesided=False)
        return self.net(x) + spectra.abs().mean((1, 2))[:, None]


def spectrum():
    return Spectrum("logits")


class Squeezed(Net):
    def forward(self, x):
        return self.net(x)[:, None].squeeze()


def squeezed():
    return Squeezed("logits")


class Counted(Net):
    def forward(self, x):
        return self.net(x) + x.reshape(int(x.size(0)), -1).mean(1, keepdim=True)


def counted():
    return Counted("logits")
"""
CLASSES = "BPSK,CW,QPSK"


@pytest.fixture(scope="module")
def brought(world, tmp_path_factory):
    """A folder with net.py and the weights of the world's network, as a training left them."""
    folder = tmp_path_factory.mktemp("brought")
    (folder / "net.py").write_text(CODE)
    state = checkpoints.load(world / "model.pt").model.state_dict()
    torch.save({"epoch": 3, "best": np.float64(0.9), "model_state_dict": state}, folder / "w.pt")
    return folder


def described(world, brought, *more):
    return (brought / "w.pt", "--factory", f"{brought / 'net.py'}:build", "--data", world / "frames.npz", *more)


def error_of(result, code):
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert (result.code, len(lines)) == (code, 1), result.err
    assert "Traceback" not in result.err
    return result.err[result.err.index("error: ") :]


def test_a_network_is_brought_in_once_and_needs_no_options_then(world, brought, run, tmp_path, monkeypatch):
    out = tmp_path / "model.pt"
    done = run("import", *described(world, brought, "--out", out, "--json"))
    assert done.code == 0, done.err
    found = done.json
    assert (found["classes"], found["input"]) == (
        CLASSES.split(","),
        {"channels": 2, "length": synthetic.LENGTH, "normalisation": "rms"},
    )
    tried = {attempt["normalisation"]: attempt["top1"] for attempt in found["validation"].get("tried", [])}
    assert not tried or max(tried, key=tried.get) == "rms"
    assert "passed over in w.pt: epoch, best (numpy" in done.err
    assert "normalisation rms, x -> x / sqrt(mean over n of I[n]² + Q[n]²): none " in done.err
    assert done.err.startswith("  frames of frames.npz: ")
    monkeypatch.chdir(tmp_path)
    reference = run("eval", world / "model.pt", "--data", world / "frames.npz", "--json").json
    assert run("eval", out, "--json").json["top1"] == reference["top1"]
    assert len(run("inspect", out, "--json").json["units"]) > 5


@pytest.mark.parametrize("method", ["contiguous", "stratified"])
def test_frames_are_split_in_every_command_as_when_it_was_brought_in(world, brought, run, tmp_path, method):
    out = tmp_path / "model.pt"
    done = run("import", *described(world, brought, "--split-method", method, "--out", out, "--json"))
    assert done.code == 0, done.err
    assert done.json["data"]["split"] == method
    assert (
        run("eval", out, "--json").json["data"]["split_sha256"]
        == (run("eval", out, "--split-method", method, "--json").json["data"]["split_sha256"])
    )


def test_what_was_brought_in_elsewhere_is_not_run_unasked(world, brought, run, tmp_path, monkeypatch):
    out = tmp_path / "model.pt"
    assert run("import", *described(world, brought, "--out", out)).code == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another machine"))
    assert "is built by net.py:build, code that is not run without being asked for" in error_of(run("inspect", out), 2)
    assert run("inspect", out, "--factory", f"{brought / 'net.py'}:build").code == 0


@pytest.mark.parametrize("answers", ["probabilities", "log-probabilities"])
def test_probabilities_are_taken_for_what_they_are(world, brought, run, tmp_path, answers):
    """The network trains on as its logits would: the same frames, steps and weights give the same answers."""
    data, kinds = ("--data", world / "frames.npz"), {}
    for kind in ("logits", answers):
        out, tuned = tmp_path / f"{kind}.pt", tmp_path / f"{kind}-tuned.pt"
        what = described(world, brought, "--factory-arg", f"answers={kind}", "--out", out)
        done = run("import", *what)
        assert done.code == 0, done.err
        assert (f"its outputs are {kind}, and are taken so" in done.err) is (kind != "logits")
        trained = run("finetune", out, *data, "--epochs", 1, "--teacher", out, "--out", tuned, "--json")
        assert trained.code == 0, trained.err
        kinds[kind] = trained.json["training"]["epochs"][0]
    assert kinds[answers]["train_loss"] == pytest.approx(kinds["logits"]["train_loss"], rel=1e-3)
    assert kinds[answers]["validation_top1"] == kinds["logits"]["validation_top1"]


class TestWhatIsWrong:
    def test_classes_in_another_order(self, world, brought, run, tmp_path):
        what = described(world, brought, "--class-names", "QPSK,BPSK,CW", "--out", tmp_path / "m.pt")
        said = error_of(run("import", *what), 2)
        assert "with its classes in the order QPSK,BPSK,CW, and " in said
        assert "give --class-names BPSK,CW,QPSK" in said

    def test_too_few_classes(self, world, brought, run, tmp_path):
        what = described(world, brought, "--class-names", "BPSK,QPSK", "--out", tmp_path / "m.pt")
        assert any(word in error_of(run("import", *what), 3) for word in ("2 classes are named", "CW"))

    def test_a_network_that_knows_nothing_of_the_labels(self, world, brought, run, tmp_path):
        state = {
            name: value * 0
            for name, value in torch.load(brought / "w.pt", weights_only=False)["model_state_dict"].items()
        }
        torch.save(state, tmp_path / "zeros.pt")
        what = (tmp_path / "zeros.pt", *described(world, brought, "--out", tmp_path / "m.pt")[1:])
        said = error_of(run("import", *what), 3)
        assert "chance is 33.3%, and at least 50.0% is required. Tried: none 33.3%, rms 33.3%, rms-rows 33.3%" in said
        assert not (tmp_path / "m.pt").exists()

    def test_the_job_stops_there_before_anything_is_written(self, world, brought, run, tmp_path):
        wrong = ("--class-names", CLASSES, "--input-shape", "2,32", "--normalisation", "none")
        state = {
            name: value * 0
            for name, value in torch.load(brought / "w.pt", weights_only=False)["model_state_dict"].items()
        }
        torch.save(state, tmp_path / "zeros.pt")
        job = ("prune-and-export", tmp_path / "zeros.pt", *described(world, brought, *wrong)[1:])
        more = ("--target", world / "quick-cpu.toml", "--epochs", 1, "--keep", 3, "--out", tmp_path / "run")
        said = error_of(run(*job, *more), 3)
        assert "Tried: none 33.3%, rms 33.3%, rms-rows 33.3%, peak 33.3%" in said
        assert not (tmp_path / "run").exists()

    def test_what_cannot_be_exported_ends_the_job_before_fine_tuning(self, world, brought, run, tmp_path):
        what = (brought / "w.pt", "--factory", f"{brought / 'net.py'}:spectrum", "--data", world / "frames.npz")
        named = ("--class-names", CLASSES, "--input-shape", "2,32", "--accept-baseline")
        more = ("--target", world / "quick-cpu.toml", "--epochs", 1, "--keep", 3, "--out", tmp_path / "run")
        done = run("prune-and-export", *what, *named, *more)
        said = error_of(done, 3)
        line = next(number for number, text in enumerate(CODE.splitlines(), 1) if "torch.stft" in text)
        assert f"cannot be exported to ONNX opset 18 (net.py:{line}" in said
        assert "fine-tune" not in done.err

    @pytest.mark.parametrize("command", ["import", "job", "dry run", "plan", "eval"])
    def test_code_that_breaks_with_one_frame(self, world, brought, run, tmp_path, command):
        what = (brought / "w.pt", "--factory", f"{brought / 'net.py'}:squeezed", "--data", world / "frames.npz")
        named = ("--class-names", CLASSES, "--input-shape", "2,32", "--normalisation", "rms")
        job = ("prune-and-export", *what, *named, "--target", world / "quick-cpu.toml", "--out", tmp_path / "run")
        said = error_of(
            run(
                *{
                    "import": ("import", *what, "--out", tmp_path / "m.pt"),
                    "job": job,
                    "dry run": (*job, "--dry-run"),
                    "plan": ("plan", *what, *named, "--out", tmp_path / "plan.json"),
                    "eval": ("eval", *what, *named),
                }[command]
            ),
            3,
        )
        line = next(number for number, text in enumerate(CODE.splitlines(), 1) if ".squeeze()" in text)
        assert f"w answers one frame at a time with (3,) (net.py:{line})" in said
        assert list(tmp_path.iterdir()) == []

    def test_code_that_takes_the_number_of_frames_for_a_constant(self, world, brought, run, tmp_path):
        what = (brought / "w.pt", "--factory", f"{brought / 'net.py'}:counted", "--data", world / "frames.npz")
        line = next(number for number, text in enumerate(CODE.splitlines(), 1) if "int(x.size(0))" in text)
        place = f"net.py:{line} takes the number of frames as a plain number"
        done = run("import", *what, "--out", tmp_path / "m.pt")
        assert done.code == 0, done.err
        assert f"warning: {place}" in done.err
        job = ("prune-and-export", tmp_path / "m.pt", *what[3:], "--target", world / "quick-cpu.toml", "--keep", 3)
        done = run(*job, "--epochs", 1, "--out", tmp_path / "run")
        assert f"cannot be exported to ONNX opset 18 for any number of frames ({place})" in error_of(done, 3)
        assert "fine-tune" not in done.err

    @pytest.mark.parametrize("command", ["eval", "plan", "prune", "finetune", "export"])
    def test_other_commands_say_that_it_is_near_chance_and_go_on(self, world, run, tmp_path, command):
        model = checkpoints.load(world / "model.pt")
        *_, last = (module for module in model.model.modules() if isinstance(module, torch.nn.Linear))
        for value in last.parameters():
            value.data = value.data.roll(1, 0)
        checkpoints.save(tmp_path / "rolled.pt", model)
        what = (command, tmp_path / "rolled.pt", "--data", world / "frames.npz")
        plan, out = tmp_path / "plan.json", ("--out", tmp_path / "made")
        if command == "prune":
            planned = run("plan", *what[1:], "--criterion", "uniform", "--keep", 5, "--out", plan)
            assert planned.code == 0, planned.err
        more = {
            "eval": (),
            "plan": ("--criterion", "uniform", "--keep", 5, *out),
            "prune": ("--plan", plan, *out),
            "finetune": ("--epochs", 1, *out),
            "export": ("--target", world / "quick-cpu.toml", *out),
        }
        done = run(*what, *more[command])
        assert done.code == 0, done.err
        assert done.err.count("near chance") == 1
        assert "warning: rolled is near chance: it classifies " in done.err
        assert "% of the frames correctly, and chance is 33.3%" in done.err

    def test_all_that_is_missing_is_asked_for_at_once(self, brought, run):
        said = error_of(run("eval", brought / "w.pt"), 2)
        assert "Add --factory FILE.py:FUNCTION (or --arch NAME), --class-names a,b,c, --input-shape C,L; or" in said


def test_the_first_stages_are_in_the_run_folder(world, run, tmp_path):
    what = ("--target", world / "quick-cpu.toml", "--data", world / "frames.npz", "--epochs", 1, "--keep", 3)
    done = run("prune-and-export", world / "model.pt", *what, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "run" / "00-baseline.json").read_text())
    validation = run("eval", world / "model.pt", "--data", world / "frames.npz", "--split", "validation", "--json").json
    assert record["record"]["top1"] == pytest.approx(validation["top1"])
    exported, first = (tmp_path / "run" / f"{name}.onnx" for name in ("baseline", "baseline-fp32"))
    assert exported.read_bytes() == first.read_bytes()


def test_the_teacher_is_described_as_its_student(world, brought, run, tmp_path):
    out, plan, pruned = (tmp_path / name for name in ("m.pt", "plan.json", "pruned.pt"))
    factory, data = ("--factory", f"{brought / 'net.py'}:build"), ("--data", world / "frames.npz")
    assert run("import", *described(world, brought, "--out", out)).code == 0
    assert run("plan", out, *data, "--keep", 5, "--out", plan).code == 0
    assert run("prune", out, *data, "--plan", plan, "--out", pruned).code == 0
    done = run(
        "finetune", pruned, *factory, *data, "--teacher", brought / "w.pt", "--epochs", 1, "--out", tmp_path / "t.pt"
    )
    assert done.code == 0, done.err
