"""A small world to compare in: three classes, a network of ten units, a target that is measured quickly."""

from dataclasses import replace

import onnx.parser
import pytest
import synthetic
from comparisons import save_frames

from edgeprune.compare.cell import work
from edgeprune.files.store import file_sha256
from edgeprune.network import checkpoint as checkpoints
from edgeprune.records.frames import DataRef
from edgeprune.records.pruning import OnnxModel


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with frames.npz, net.pt (weights nobody trained) and quick-cpu.toml."""
    folder = tmp_path_factory.mktemp("place")
    frames = save_frames(folder / "frames.npz")
    reference = DataRef("frames.npz", file_sha256(folder / "frames.npz"), 2016)
    checkpoints.save(
        folder / "net.pt", replace(synthetic.checkpoint("iq-transformer"), classes=frames.classes, data=reference)
    )
    (folder / "quick-cpu.toml").write_text(synthetic.QUICK_CPU)
    return folder


def placeholder(_model, spec, _iq, target, path, _metadata, _progress):
    """In place of an export, which takes most of a small cell's time: a file of the right shape that can be run."""
    size = spec.channels * spec.length
    text = f"""<ir_version: 8, opset_import: ["": {target.opset}]>
        network (float[N, {spec.channels}, {spec.length}] iq) => (float[N, 3] logits) {{
            flat = Flatten (iq)
            rows = Constant <value = int64[2] {{{size}, 3}}> ()
            weights = ConstantOfShape <value = float[1] {{0.5}}> (rows)
            logits = MatMul (flat, weights)
        }}"""
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return OnnxModel(path.name, file_sha256(path), path.stat().st_size, target.opset, 4, "none", (), 0.0, 1, 0, "none")


@pytest.fixture(scope="module")
def exported_as_placeholders():
    """Cells are exported as files of the right shape that anything can run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "export", placeholder)
        yield
