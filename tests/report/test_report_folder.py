import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import document, write_samples

from edgeprune.errors import ConfigError, DataError
from edgeprune.files.store import read_json
from edgeprune.report import folder

NAMES = ["report.html", "report.json", "report.md", "samples-baseline.npz", "samples-pruned.npz"]


def test_the_three_files_are_there(run: Path):
    assert sorted(path.name for path in run.iterdir()) == NAMES
    assert read_json(run / "report.json") == document()


def test_the_pages_come_back_the_same_from_the_files_alone(run: Path, tmp_path: Path):
    for name in ("report.json", "samples-baseline.npz", "samples-pruned.npz"):
        shutil.copy(run / name, tmp_path / name)
    folder.rerender(tmp_path)
    for name in ("report.md", "report.html"):
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


def test_broken_raw_samples_are_an_error(run: Path, tmp_path: Path):
    shutil.copy(run / "report.json", tmp_path)
    write_samples(tmp_path)
    (tmp_path / "samples-pruned.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"samples-pruned\.npz"):
        folder.rerender(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_a_report_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        folder.rerender(tmp_path)


def test_a_document_that_is_not_a_report_is_not_written(tmp_path: Path):
    with pytest.raises(ConfigError, match="seed"):
        folder.write(tmp_path, {key: value for key, value in document().items() if key != "seed"})
    assert list(tmp_path.iterdir()) == []


def test_reading_a_report_loads_no_heavy_library():
    heavy = {"torch", "onnx", "onnxruntime", "matplotlib", "psutil"}
    code = f"import sys, edgeprune.report.folder; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
