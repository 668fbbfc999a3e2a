"""Model files of other frameworks, recognized by their content, with the way to convert each."""

from pathlib import Path

from edgeprune.errors import ModelError
from edgeprune.files.bounds import claimed
from edgeprune.files.zips import opened

_WEIGHTS_AND_CODE = "Save its state_dict where it was trained, and name the function that builds it with `factory`"
_IN_TORCH = (
    "Write the network in PyTorch, copy the weights into it, save its state_dict, and name the function with `factory`"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TFLITE = slice(4, 8)
_SAFETENSORS_LENGTH_BYTES = 8


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Refuse a model file of another framework, with the way to convert it.

    Args:
        path: Path of the file.
        head: First bytes of the file.

    Raises:
        ModelError: It has another known format.
    """
    name = path.name.lower()
    found: tuple[str, str] | None = None
    if head.startswith(b"PK"):
        found = _in_archive(path)
    elif head.startswith(_HDF5):
        found = "holds weights of Keras (HDF5)", _IN_TORCH
    elif head[_TFLITE] == b"TFL3":
        found = "is a TensorFlow Lite file", _IN_TORCH
    elif name.endswith((".pb", ".keras", ".index")) or ".ckpt.data-" in name or name == "checkpoint":
        found = "is a TensorFlow file", _IN_TORCH
    elif name.endswith(".onnx"):
        found = "is an ONNX file, from which no unit can be dropped", _WEIGHTS_AND_CODE
    elif name.endswith(".safetensors") or head[_SAFETENSORS_LENGTH_BYTES:][:2] == b'{"':
        found = (
            "is a safetensors file",
            "Write it as a state_dict: torch.save(safetensors.torch.load_file(FILE), 'weights.pt')",
        )
    if found is not None:
        raise ModelError(f"{path} {found[0]}", found[1])


def refuse_folder(path: Path) -> None:
    """Refuse a folder.

    Raises:
        ModelError: It is one.
    """
    if (path / "saved_model.pb").is_file():
        raise ModelError(f"{path} is a SavedModel of TensorFlow", _IN_TORCH)
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a model file", "Name the file of weights in it")


def _in_archive(path: Path) -> tuple[str, str] | None:
    with claimed(path, "a readable model file", ModelError, "Fetch it again"), opened(path) as archive:
        members = archive.namelist()
    names = {name.partition("/")[2] for name in members}
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "is TorchScript, which holds a network as compiled code", f"{_WEIGHTS_AND_CODE}, or use torch.export"
    if {"config.json", "model.weights.h5"} <= set(members):
        return "is a Keras archive", _IN_TORCH
    return None
