"""The file an exporter leaves: opset, shapes, metadata, and what it computes, run by ONNX Runtime directly."""

import copy
import logging
import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edgeprune.errors import ModelError
from edgeprune.export.onnx import export_onnx, routes
from edgeprune.records.pruning import InputSpec


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 11)

    def forward(self, x):
        states, _ = self.lstm(x.transpose(1, 2))
        return self.fc(states[:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv1d(2, 16, 8, stride=8)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.fc = nn.Linear(16, 11)

    def forward(self, x):
        return self.fc(self.encoder(self.patches(x).transpose(1, 2)).mean(dim=1))


class Reshaping(nn.Module):
    """Ends in a reshape that the TorchScript exporter loses the shape of."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 11)

    def forward(self, x):
        logits = self.fc(x.flatten(1))
        return torch.stack([logits, logits]).view(2, x.shape[0], -1).mean(0)


class Exotic(nn.Module):
    """Computes with a function that ONNX has no operator for."""

    def forward(self, x):
        return torch.special.bessel_j0(x).mean(dim=2)


class Distracted(nn.Module):
    """Answers with more than logits."""

    def forward(self, x):
        return x.mean(dim=2), x


def run(path, iq):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"iq": iq})[0]


def shape_of(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("dims", "opset", "exporter"),
    [(1, 13, "TorchScript"), (2, 17, "TorchScript"), (2, 18, "torch.export"), (1, 20, "torch.export")],
)
def test_opset_is_the_one_asked_for_and_the_batch_is_free(build, spec, iq, answer, tmp_path, dims, opset, exporter):
    model, path = build(dims), tmp_path / "net.onnx"
    made_by = export_onnx(model, spec, path, opset=opset, batch_size=None, metadata={})
    file = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", opset)]
    assert [(value.name, shape_of(value)) for value in file.graph.input] == [("iq", ["N", 2, 128])]
    assert [(value.name, shape_of(value)) for value in file.graph.output] == [("logits", ["N", 11])]
    assert made_by == f"{exporter} at opset {opset}"
    assert b".py" not in path.read_bytes()  # no lines of source, no paths of this machine
    for frames in (1, 7, 40):
        np.testing.assert_allclose(run(path, iq[:frames]), answer(model, iq[:frames]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", [Recurrent, Attentive])
def test_recurrent_and_attentive_networks_are_exported(network, spec, iq, answer, tmp_path):
    torch.manual_seed(0)
    model, path = network().eval(), tmp_path / "net.onnx"
    export_onnx(model, spec, path, opset=17, batch_size=None, metadata={})
    np.testing.assert_allclose(run(path, iq), answer(model, iq), rtol=1e-4, atol=1e-5)


def test_shape_of_the_output_is_stated_even_if_the_exporter_leaves_it_open(spec, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(Reshaping(), spec, path, opset=17, batch_size=None, metadata={})
    assert shape_of(onnx.load(path).graph.output[0]) == ["N", 11]


def test_static_batch_takes_that_many_frames_only(model, spec, iq, answer, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(model, spec, path, opset=17, batch_size=4, metadata={})
    file = onnx.load(path)
    assert shape_of(file.graph.input[0]) == [4, 2, 128]
    assert shape_of(file.graph.output[0]) == [4, 11]
    np.testing.assert_allclose(run(path, iq[:4]), answer(model, iq[:4]), rtol=1e-4, atol=1e-4)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(path, iq[:5])


def test_gain_does_not_matter_and_silence_is_answered(model, spec, iq, answer, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(model, spec, path, opset=17, batch_size=None, metadata={})
    expected = answer(model, iq)
    for gain in (1e-6, 1e6):
        np.testing.assert_allclose(run(path, iq * np.float32(gain)), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        silent = model(torch.zeros(1, 2, 128)).numpy()
    np.testing.assert_allclose(run(path, np.zeros((1, 2, 128), np.float32)), silent, rtol=1e-4, atol=1e-4)


def test_without_normalisation_the_samples_go_in_as_they_are(model, iq, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(model, InputSpec(2, 128, "none"), path, opset=17, batch_size=None, metadata={})
    with torch.no_grad():
        expected = model(torch.from_numpy(iq)).numpy()
    np.testing.assert_allclose(run(path, iq), expected, rtol=1e-4, atol=1e-4)


def test_metadata_are_in_the_file(model, spec, tmp_path):
    path = tmp_path / "net.onnx"
    export_onnx(model, spec, path, opset=17, batch_size=None, metadata={"classes": '["BPSK", "Ψ"]'})
    found = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert found == {"classes": '["BPSK", "Ψ"]', "exporter": "TorchScript at opset 17"}


def test_model_is_left_as_it_was(model, spec, tmp_path):
    model.train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    weights = copy.deepcopy(model.state_dict())
    export_onnx(model, spec, tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_native_exporter_of_an_opset_goes_first():
    order = {
        opset: [(route.exporter, route.opset) for route in routes(opset, nn.Identity())] for opset in (13, 17, 18, 21)
    }
    assert order == {
        13: [("TorchScript", 13), ("torch.export", 18)],
        17: [("TorchScript", 17), ("torch.export", 18)],
        18: [("torch.export", 18), ("TorchScript", 18)],
        21: [("torch.export", 21), ("TorchScript", 20)],
    }


def test_recurrent_layers_go_through_torchscript_first_where_it_writes_the_opset():
    """torch.export takes a minute for each of these, which the other exporter does in a second."""
    network = nn.Sequential(nn.Flatten(), nn.GRU(2, 3, 2, bidirectional=True))
    first = {opset: routes(opset, network)[0].exporter for opset in (13, 18, 20, 21)}
    assert first == {13: "TorchScript", 18: "TorchScript", 20: "TorchScript", 21: "torch.export"}


@pytest.mark.parametrize(
    ("opset", "missing", "made_by"),
    [
        (17, False, "torch.export at opset 18, converted to 17"),
        (18, True, "TorchScript at opset 18"),
        (21, True, "TorchScript at opset 20, converted to 21"),
    ],
)
def test_other_exporter_steps_in(model, spec, iq, answer, tmp_path, monkeypatch, opset, missing, made_by):
    genuine = torch.onnx.export

    def one_exporter(*arguments, dynamo, **options):
        if dynamo is missing:
            raise RuntimeError("this exporter was removed")
        return genuine(*arguments, dynamo=dynamo, **options)

    monkeypatch.setattr(torch.onnx, "export", one_exporter)
    path = tmp_path / "net.onnx"
    assert export_onnx(model, spec, path, opset=opset, batch_size=None, metadata={}) == made_by
    assert [entry.version for entry in onnx.load(path).opset_import] == [opset]
    np.testing.assert_allclose(run(path, iq), answer(model, iq), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_exported_is_one_line_and_no_chatter(spec, tmp_path, capfd):
    with pytest.raises(ModelError) as caught:
        export_onnx(Exotic(), spec, tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})
    assert "opset 17" in caught.value.message
    assert "bessel_j0" in caught.value.message
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_chatter_of_an_exporter_is_kept_from_the_user_and_nothing_else_is(model, spec, tmp_path, monkeypatch, capfd):
    genuine, records, handler = torch.onnx.export, [], logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("torch.onnx")

    def chatty(*arguments, **options):
        logging.getLogger("torch.onnx._internal.registration").warning("chatter")
        warnings.warn("chatter", stacklevel=2)
        sys.stdout.write("chatter\n")
        os.write(1, b"chatter")
        return genuine(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", chatty)
    level = logger.level
    logger.addHandler(handler)
    try:
        export_onnx(model, spec, tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})
        assert (records, capfd.readouterr()) == ([], ("", ""))
        assert logger.level == level
        sys.stdout.write("afterwards\n")
        assert capfd.readouterr().out == "afterwards\n"
        with pytest.warns(UserWarning, match="afterwards"):
            warnings.warn("afterwards", stacklevel=1)
    finally:
        logger.removeHandler(handler)


def test_exporter_that_writes_another_network_is_not_believed(model, spec, tmp_path, monkeypatch):
    genuine = torch.onnx.export

    def of_another(network, *arguments, dynamo, **options):
        if dynamo:
            raise RuntimeError("this exporter was removed")
        changed = copy.deepcopy(network)
        changed.network.fc.bias.data[3] += 10
        return genuine(changed, *arguments, dynamo=dynamo, **options)

    monkeypatch.setattr(torch.onnx, "export", of_another)
    with pytest.raises(ModelError, match=r"TorchScript at opset 17: it gives another class to 3 of 3 frames"):
        export_onnx(model, spec, tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})


def test_network_must_answer_with_logits_alone(spec, tmp_path):
    with pytest.raises(ModelError, match=r"returns tuple for 2 frames, not \(2, classes\)"):
        export_onnx(Distracted(), spec, tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})


def test_network_of_another_input_is_named_as_such(model, tmp_path):
    with pytest.raises(ModelError, match=r"cannot read frames \(2, 3, 128\): RuntimeError: Given groups=1"):
        export_onnx(model, InputSpec(3, 128), tmp_path / "net.onnx", opset=17, batch_size=None, metadata={})
