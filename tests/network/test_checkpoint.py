import copy
import dataclasses
import errno
import os
import pickle
import resource
import subprocess
import sys

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from edgeprune.errors import ConfigError, ModelError
from edgeprune.files import store
from edgeprune.files.store import file_sha256
from edgeprune.models.resnet import ResNet
from edgeprune.network import checkpoint as checkpoints
from edgeprune.network.model_file import ModelOptions
from edgeprune.records.frames import DataRef, Reading
from edgeprune.records.pruning import Arch, Decision, Edit, InputSpec, PrunePlan

PLAN = PrunePlan(
    model_sha256="a" * 64,
    metric="cka-unbiased",
    criterion="synflow",
    segments=((0, 9), (10, 28)),
    kept=(0, *range(2, 29)),
    dropped=(1,),
    decisions=(Decision(1, "blocks.0", False, 0, "ranks last", 0.5),),
    edits=(Edit("blocks.0", "identity"),),
)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """What is in a model file, as torch reads it."""
    path = tmp_path_factory.mktemp("model") / "model.pt"
    checkpoints.save(path, synthetic.checkpoint())
    return torch.load(path, weights_only=True)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "model.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        return path

    return write


def refused(path, kind=ModelError, options=None):
    with pytest.raises(kind) as caught:
        checkpoints.load(path, options)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestRoundTrip:
    @torch.no_grad()
    def test_everything_comes_back(self, tmp_path):
        whole = dataclasses.replace(
            synthetic.checkpoint(),
            data=DataRef("signals", "b" * 64, 7, "spans", "c" * 64, Reading(32, hop=8, sample_rate_hz=1e6)),
            metrics={"training": {"best_epoch": 3, "best_validation_top1": 0.875}},
            input=InputSpec(2, synthetic.LENGTH, "none"),
        )
        saved = checkpoints.save(tmp_path / "my model.pt", whole)
        loaded = checkpoints.load(tmp_path / "my model.pt")
        for field in ("arch", "classes", "input", "data", "plan", "metrics", "name", "sha256"):
            assert getattr(loaded, field) == getattr(saved, field), field
        assert (loaded.name, loaded.sha256) == ("my model", file_sha256(tmp_path / "my model.pt"))
        assert loaded.data == whole.data
        assert torch.equal(loaded.model(synthetic.signals()), whole.model(synthetic.signals()))
        assert not any(module.training for module in loaded.model.modules())

    def test_data_of_an_older_file_were_split_by_their_seed_alone(self, content, tmp_path):
        data = {"source": "signals.pkl", "sha256": "b" * 64, "split_seed": 2016}
        torch.save({**content, "data": data}, tmp_path / "old.pt")
        assert checkpoints.load(tmp_path / "old.pt").data == DataRef("signals.pkl", "b" * 64, 2016, "auto", None, None)

    def test_a_pruned_network_is_rebuilt(self, tmp_path):
        whole = synthetic.checkpoint()
        edited = checkpoints.apply_edits(whole.model, PLAN.edits, (2, synthetic.LENGTH))
        checkpoints.save(tmp_path / "pruned.pt", dataclasses.replace(whole, model=edited, plan=PLAN))
        loaded = checkpoints.load(tmp_path / "pruned.pt")
        assert loaded.plan == PLAN
        assert isinstance(loaded.model.get_submodule("blocks.0"), nn.Identity)
        assert not [name for name in loaded.model.state_dict() if name.startswith("blocks.0.")]

    def test_the_file_is_what_the_contract_says(self, content):
        assert content["format"] == "edgeprune-checkpoint/1"
        arguments = {"channels": 2, "length": 32, "classes": 3}
        assert content["arch"] == {"name": "resnet56-1d", "arguments": arguments, "source": "registered"}
        assert content["classes"] == ["class 00", "class 01", "class 02"]
        assert content["input"] == {"channels": 2, "length": 32, "normalisation": "rms"}
        assert (content["data"], content["plan"], content["metrics"]) == (None, None, {})
        assert (content["widths"], content["embedded"]) == ({}, None)
        fields = {"format", "arch", "state_dict", "classes", "input", "data", "plan", "metrics", "widths", "embedded"}
        assert set(content) == fields

    def test_the_same_model_is_the_same_file(self, tmp_path):
        first, second = (checkpoints.save(tmp_path / name / "m.pt", synthetic.checkpoint()) for name in "ab")
        assert first.sha256 == second.sha256


class TestWriting:
    @pytest.mark.parametrize("limit", [0, 100, 20_000, 1_000_000])
    def test_a_full_disk_is_a_config_error_and_the_old_file_is_whole(self, tmp_path, limit):
        path = tmp_path / "model.pt"
        path.write_bytes(b"old")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # the system refuses to write more to any file
        try:
            with pytest.raises(ConfigError, match="cannot write") as caught:
                checkpoints.save(path, synthetic.checkpoint())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert os.strerror(errno.EFBIG) in caught.value.message
        assert path.read_bytes() == b"old"
        assert [each.name for each in tmp_path.iterdir()] == ["model.pt"]

    def test_no_space_left_when_the_file_is_synced(self, tmp_path, monkeypatch):
        def refuse(_handle):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(ConfigError, match="No space left on device"):
            checkpoints.save(tmp_path / "model.pt", synthetic.checkpoint())
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_place_of_the_folder(self, tmp_path):
        (tmp_path / "out").write_bytes(b"")
        with pytest.raises(ConfigError, match="cannot write"):
            checkpoints.save(tmp_path / "out" / "model.pt", synthetic.checkpoint())


class TestBareWeights:
    OPTIONS = ModelOptions("resnet56-1d", ("AM", "FM", "CW"), (2, 32))

    @pytest.mark.parametrize("wrapped", [False, True])
    @torch.no_grad()
    def test_are_read_with_what_the_command_line_says(self, file, wrapped):
        state = synthetic.checkpoint().model.state_dict()
        loaded = checkpoints.load(file({"state_dict": state, "epoch": 3} if wrapped else state), self.OPTIONS)
        assert loaded.arch == Arch("resnet56-1d", {"channels": 2, "length": 32, "classes": 3})
        assert (loaded.classes, loaded.input) == (("AM", "FM", "CW"), InputSpec(2, 32, "unknown"))
        assert torch.equal(loaded.model(synthetic.signals()), synthetic.checkpoint().model(synthetic.signals()))

    @pytest.mark.parametrize(
        ("changes", "found", "options"),
        [
            ({"arch": None}, "holds weights only", ("`arch", "`factory")),
            ({"factory": "package.module:build"}, "holds weights only", ("`arch", "`factory")),
            ({"class_names": None}, "holds weights only", ("Add `classes=a,b,c`; or", "edgeprune import")),
            ({"input_shape": None}, "holds weights only", ("Add `input_shape=C,L`; or",)),
            (
                {"arch": None, "class_names": None, "input_shape": None},
                "holds weights only",
                ("`factory=FILE.py:FUNCTION` (or `arch=NAME`), `classes=a,b,c`, `input_shape=C,L`",),
            ),
        ],
    )
    def test_without_a_description_are_a_config_error_with_the_options(self, file, changes, found, options):
        path = file(synthetic.checkpoint().model.state_dict())
        message = refused(path, ConfigError, dataclasses.replace(self.OPTIONS, **changes))
        assert found in message
        assert all(option in message for option in options)

    def test_for_frames_that_were_left_as_they_are(self, file):
        options = dataclasses.replace(self.OPTIONS, normalisation="none")
        assert checkpoints.load(file(synthetic.checkpoint().model.state_dict()), options).input.normalisation == "none"

    def test_of_an_unknown_network_are_a_config_error_with_the_nearest(self, file):
        path = file(synthetic.checkpoint().model.state_dict())
        message = refused(path, ConfigError, dataclasses.replace(self.OPTIONS, arch="resnet65-1d"))
        assert "Did you mean 'resnet56-1d'?" in message

    def test_of_another_network_do_not_fit(self, file):
        message = refused(file(ResNet(1, 1, 3).state_dict()), options=self.OPTIONS)
        assert "do not fit resnet56-1d: blocks." in message
        assert "is missing (and " in message

    def test_of_other_classes_do_not_fit_and_the_shapes_are_named(self, file):
        options = dataclasses.replace(self.OPTIONS, class_names=("AM", "FM"))
        message = refused(file(synthetic.checkpoint().model.state_dict()), options=options)
        assert "fc.weight has shape (3, 64), not (2, 64); fc.bias has shape (3,), not (2,)" in message

    def test_with_weights_that_are_too_many_do_not_fit(self, file):
        state = {**synthetic.checkpoint().model.state_dict(), "extra.weight": torch.zeros(1)}
        assert "extra.weight is not in the network" in refused(file(state), options=self.OPTIONS)

    def test_for_other_channels(self, file):
        options = dataclasses.replace(self.OPTIONS, input_shape=(3, 32))
        assert "2 channels" in refused(file(synthetic.checkpoint().model.state_dict()), options=options)

    def test_with_a_class_named_twice(self, file):
        options = dataclasses.replace(self.OPTIONS, class_names=("AM", "AM", "CW"))
        message = refused(file(synthetic.checkpoint().model.state_dict()), ConfigError, options)
        assert "names a class twice" in message

    def test_options_for_a_file_that_says_it_itself(self, file, content):
        message = refused(file(content), ConfigError, self.OPTIONS)
        assert "already says which network it holds" in message
        assert "`arch`" in message

    @pytest.mark.parametrize("content", [{}, {"a": 1}, {"state_dict": {}}, {"state_dict": {"a": 1}}])
    def test_anything_else_is_not_a_model_file(self, file, content):
        message = refused(file(content), options=self.OPTIONS)
        assert "is not a model file; it holds " in message
        assert "edgeprune-checkpoint/1" in message


class TestDanger:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_model_file_that_would_run_a_command_is_not_run(self, tmp_path, content, zipped):
        marker = tmp_path / "marker"
        path = tmp_path / "model.pt"
        spoiled = {**content, "metrics": synthetic.RunsCommand(marker)}
        torch.save(spoiled, path, _use_new_zipfile_serialization=zipped)
        message = refused(path)
        assert "wants to load posix.system, which could run code; nothing was run" in message
        assert not marker.exists()

    @pytest.mark.parametrize("protocol", [2, 4])
    def test_a_pickle_named_pt_is_not_run(self, tmp_path, file, protocol):
        marker = tmp_path / "marker"
        assert "nothing" in refused(file(synthetic.trap(marker, protocol)))
        assert not marker.exists()

    def test_the_trap_of_this_test_works(self, tmp_path):
        pickle.loads(synthetic.trap(tmp_path / "marker"))
        assert (tmp_path / "marker").exists()

    def test_a_whole_module_is_refused_with_the_way_out(self, file):
        message = refused(file(ResNet(1, 1, 3)))
        assert "wants to load edgeprune.models.resnet.ResNet" in message
        assert "state_dict" in message


@pytest.fixture
def small():
    """A model file with few bytes: it lacks most fields, and its weights are few."""
    return {"format": checkpoints.FORMAT, "state_dict": {"w": torch.arange(50.0)}, "classes": ["AM"]}


class TestDamage:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_truncated_file_is_a_model_error_wherever_it_is_cut(self, tmp_path, small, zipped):
        path = tmp_path / "model.pt"
        torch.save(small, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for length in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
            path.write_bytes(whole[:length])
            refused(path)

    def test_a_changed_byte_is_a_model_error(self, tmp_path, small):
        path = tmp_path / "model.pt"
        torch.save(small, path)
        whole = path.read_bytes()
        generator = np.random.default_rng(0)
        for _ in range(60):
            spoiled = bytearray(whole)
            for place in generator.integers(len(whole), size=5):
                spoiled[place] = generator.integers(256)
            path.write_bytes(bytes(spoiled))
            refused(path)

    @pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n  <html>not found</html>"])
    def test_a_web_page_is_called_one(self, file, page):
        message = refused(file(page))
        assert "is a web page, not a model" in message
        assert "fetch it again" in message

    def test_a_missing_file_is_a_config_error(self, tmp_path):
        assert refused(tmp_path / "gone.pt", ConfigError) == f"no such file: {tmp_path / 'gone.pt'}"

    def test_a_folder_is_no_model_file(self, tmp_path):
        assert "is a folder, not a model file" in refused(tmp_path)

    @pytest.mark.parametrize(("content", "found"), [(torch.zeros(3), "Tensor"), ([1], "list"), (3, "int")])
    def test_what_is_not_a_dict_is_named(self, file, content, found):
        assert f"holds a {found}, not a model file or state dict" in refused(file(content))


class TestFields:
    @pytest.mark.parametrize("field", ["arch", "state_dict", "classes", "input", "data", "plan", "metrics"])
    def test_a_missing_one_is_named(self, file, content, field):
        assert f"lacks {field}" in refused(file({name: value for name, value in content.items() if name != field}))

    @pytest.mark.parametrize(
        ("changes", "part"),
        [
            ({"arch": 3}, "Arch"),
            ({"arch": {"name": "resnet56-1d", "arguments": {"classes": 3}}}, "cannot be built with {'classes': 3}"),
            ({"arch": {"name": "resnet56-1d", "arguments": {"classes": "three"}}}, "cannot be built"),
            (
                {"arch": {"name": "resnet56-1d", "arguments": {"channels": 2, "length": 32, "classes": -1}}},
                "cannot be built",
            ),
            ({"state_dict": None}, "no dict of tensors but a NoneType"),
            ({"state_dict": {"fc.weight": 3}}, "no dict of tensors"),
            ({"state_dict": {}}, "stem.0.weight is missing"),
            ({"classes": 3}, "tuple"),
            ({"input": {"channels": 2}}, "length: Field required"),
            ({"input": {"channels": 2, "length": 32, "normalisation": "z-score"}}, "'none', 'rms', 'rms-rows', 'peak'"),
            ({"data": {"source": "x"}}, "sha256: Field required"),
            ({"plan": {"metric": "cka"}}, "model_sha256: Field required"),
            ({"metrics": 3}, "dict"),
        ],
    )
    def test_a_wrong_one_is_a_model_error_that_says_what(self, file, content, changes, part):
        message = refused(file({**content, **changes}))
        assert part in message

    def test_a_plan_for_other_modules(self, file, content):
        plan = store.to_plain(dataclasses.replace(PLAN, edits=(Edit("layers.0", "identity"),)))
        assert "drops 'layers.0', which the network does not have" in refused(file({**content, "plan": plan}))

    def test_an_unknown_network_is_named_with_those_known(self, file, content):
        arch = copy.deepcopy(content["arch"]) | {"name": "resnet57-1d"}
        message = refused(file({**content, "arch": arch}), ConfigError)
        assert "no model is named 'resnet57-1d'" in message
        assert "resnet110" in message


def test_a_network_is_loaded_without_the_compiler(tmp_path):
    names = "import sys; from pathlib import Path; from edgeprune.network import checkpoint"
    read = f"{names}; checkpoint.load(Path(sys.argv[1]))"
    for name in ("resnet56", "iq-transformer", "ulcnn"):
        arch = Arch(name, {"classes": 3, "channels": 2, "length": 128})
        path = tmp_path / f"{name}.pt"
        whole = dataclasses.replace(synthetic.checkpoint(), arch=arch, input=InputSpec(2, 128, "rms"))
        checkpoints.save(path, dataclasses.replace(whole, model=checkpoints.build(arch)))
        command = [sys.executable, "-c", f"{read}; print('torch._dynamo' in sys.modules)", path]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n", name
