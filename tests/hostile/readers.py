"""What reads files from outside, each as a function of a path."""

from collections.abc import Callable
from pathlib import Path


def _model(path: Path) -> object:
    from edgeprune.network import checkpoint
    from edgeprune.network.model_file import ModelOptions

    trusting = ModelOptions(class_names=("AM",), input_shape=(2, 32), trust_pickle=True)
    return checkpoint.load(path, trusting if path.suffix == ".pt2" else ModelOptions())


def _data(path: Path) -> object:
    from edgeprune import datasets

    return datasets.read(path).iq.shape


def _json(path: Path) -> object:
    from edgeprune.files import store

    return store.read_json(path)


def _toml(path: Path) -> object:
    from edgeprune.gate import budget

    return budget.read(path)


def _result(path: Path) -> object:
    from edgeprune.device import archive

    return archive.unpack(path, path.parent / "unpacked", "a" * 64)


def _bundle(path: Path) -> object:
    from edgeprune.device import bundle

    return bundle.read_manifest(path)


def _onnx(path: Path) -> object:
    from edgeprune import registry

    with registry.get("runtimes", "onnxruntime").open(path, 1) as session:
        return session.metadata


def _samples(path: Path) -> object:
    from edgeprune.bench import samples

    return samples.read(path)


READERS: dict[str, Callable[[Path], object]] = {
    "model": _model,
    "data": _data,
    "json": _json,
    "toml": _toml,
    "result": _result,
    "bundle": _bundle,
    "onnx": _onnx,
    "samples": _samples,
}
