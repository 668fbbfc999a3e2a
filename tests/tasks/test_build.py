import by_hand
import pytest

from edgeprune import targets
from edgeprune.errors import ConfigError
from edgeprune.protocols import NullProgress
from edgeprune.tasks.export import build_engine


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("jetson-orin", "another machine, and its engines are built there"),
        ("raspberry-pi-5", "another machine"),
        ("host-cpu", "runs ONNX files as they are"),
    ],
)
def test_a_target_whose_engines_are_not_built_here_is_refused(tmp_path, target, words):
    model = by_hand.model(tmp_path / "m.onnx", 1, 2)
    with pytest.raises(ConfigError, match=words):
        build_engine(model, targets.get(target), tmp_path / "e.engine", NullProgress())
    assert not (tmp_path / "e.engine").exists()


def test_a_place_that_cannot_be_written_is_found_out_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        build_engine(tmp_path / "gone.onnx", targets.get("rtx-ampere"), tmp_path / "file" / "e.engine", NullProgress())


def test_an_engine_is_built_ahead_of_time(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX has packages for Linux and Windows on x86-64 only")
    model = by_hand.model(tmp_path / "m.onnx", "N", 2)
    built = build_engine(model, targets.get("rtx-ada"), tmp_path / "e.engine", NullProgress(), largest_batch=8)
    assert built.batches == (1, 8)
    assert (tmp_path / "e.engine").stat().st_size == built.size_bytes
