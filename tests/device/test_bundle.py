import json
import os
import subprocess
import tarfile

import pytest
from stand_in import ANY, WORK

from edgeprune.device import bundle
from edgeprune.device.probe import Needs
from edgeprune.errors import ConfigError, DeviceError, EdgepruneError
from edgeprune.records.device_run import KNOWN_FRAMES, Plan, Step, frames_file

STEP = Step("time", "trtexec", ("--loadEngine=x",), 9, ("result/out/t.json",), telemetry=True)
BUILD = Step("build", "python3", (), 60, engine="result/out/e.engine")
PLAN = Plan("trtexec", 80200, (STEP,))


def pack(path, plans=(PLAN,), content=None, **options):
    return bundle.pack(path, ANY, WORK, "trtexec", plans, content or {"models/baseline.onnx": b"m"}, **options)


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    (tmp_path / "model").write_bytes(b"m")
    os.utime(tmp_path / "model", (1, 1))
    one = pack(tmp_path / "a" / "x.tar")
    two = pack(tmp_path / "b" / "x.tar", content={"models/baseline.onnx": tmp_path / "model"})
    assert one == two
    assert (tmp_path / "a/x.tar").read_bytes() == (tmp_path / "b/x.tar").read_bytes()
    assert bundle.read_manifest(tmp_path / "a/x.tar") == one


@pytest.mark.parametrize(
    "options",
    [
        {"content": {"models/baseline.onnx": b"n"}},
        {"plans": (PLAN, Plan("trtexec", 100300, (STEP,)))},
        {"power_mode": "MAXN"},
        {"lock_clocks": True},
    ],
)
def test_whatever_matters_changes_its_name(tmp_path, options):
    assert pack(tmp_path / "x.tar", **options).id != pack(tmp_path / "y.tar").id


def test_it_unpacks_into_one_folder_whose_hashes_hold(tmp_path):
    manifest = pack(tmp_path / "x.tar", content={"models/baseline.onnx": b"m", "agent.py": "print()\n"})
    subprocess.run(["tar", "xf", "x.tar"], cwd=tmp_path, check=True)
    folder = tmp_path / manifest.folder
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True).returncode == 0
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*listed, "SHA256SUMS"}
    assert {"run.sh", "probe.sh", "settings.sh", "README.txt", "bundle.json", "plan/trtexec-80200.sh"} <= found
    assert manifest.folder in (folder / "README.txt").read_text()
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert {member.mtime for member in archive} == {0}


def test_a_plan_is_lines_of_quoted_words():
    plan = Plan("trtexec", 80200, (Step("a-1", "trtexec", ("it's", "$(x)", ""), 9), BUILD, STEP))
    assert bundle.render(plan).splitlines()[1:] == [
        "step a-1 9 0 '' -- \"$TRTEXEC\" 'it'\"'\"'s' '$(x)' ''",
        'step build 60 0 result/out/e.engine -- "$PYTHON3"',
        "step time 9 1 '' result/out/t.json -- \"$TRTEXEC\" --loadEngine=x",
    ]


@pytest.mark.parametrize(
    "step",
    [
        Step("A", "trtexec", (), 1),
        Step("a b", "trtexec", (), 1),
        Step("../a", "trtexec", (), 1),
        Step("idle", "trtexec", (), 1),
        Step("a", "trtexec", (), 1, ("../x",)),
        Step("a", "trtexec", (), 1, ("/x",)),
        Step("a", "trtexec", (), 1, ("x y",)),
        Step("a", "trtexec", (), 1, ("-x",)),
        Step("a", "trtexec", (), 1, engine="$(x)"),
    ],
)
def test_names_must_be_plain(step):
    with pytest.raises(EdgepruneError):
        bundle.render(Plan("trtexec", 0, (step,)))


def test_names_must_be_unique():
    with pytest.raises(EdgepruneError, match="'time'"):
        bundle.render(Plan("trtexec", 0, (STEP, STEP)))


@pytest.mark.parametrize("mode", ["", "a b", "1; reboot", "$(x)"])
def test_a_power_mode_is_a_name(tmp_path, mode):
    with pytest.raises(EdgepruneError, match="no name of a power mode"):
        pack(tmp_path / "x.tar", power_mode=mode)


@pytest.mark.parametrize("path", ["../x", "/x", "a b", "a//b", ".x", "a/../b"])
def test_content_stays_within(tmp_path, path):
    with pytest.raises(EdgepruneError, match="no plain path"):
        pack(tmp_path / "x.tar", content={path: b""})


def test_a_missing_model_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none for models/baseline\.onnx"):
        pack(tmp_path / "x.tar", content={"models/baseline.onnx": tmp_path / "none"})


def test_the_socs_of_a_compute_capability_are_in_the_settings():
    text = bundle.settings("0" * 64, Needs("t", "trtexec", "8.7", (), 80400, 110000), 1025, "MAXN", True)
    lines = dict(line.split("=", 1) for line in text.splitlines())
    assert (lines["SOCS"], lines["COMPUTE_CAPABILITY"], lines["NEED_KIB"]) == ("tegra234", "8.7", "2")
    assert (lines["POWER_MODE"], lines["LOCK_CLOCKS"]) == ("MAXN", "yes")


def test_what_is_no_bundle_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        bundle.read_manifest(tmp_path / "none.tar")
    (tmp_path / "x.tar").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="is not a bundle"):
        bundle.read_manifest(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "y.tar", "w"):
        pass
    with pytest.raises(ConfigError, match=r"is not a bundle: it holds nothing"):
        bundle.read_manifest(tmp_path / "y.tar")
    with tarfile.open(tmp_path / "z.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("other"))
    with pytest.raises(ConfigError, match=r"it has no bundle\.json"):
        bundle.read_manifest(tmp_path / "z.tar")


def test_a_bundle_of_another_version_is_told(tmp_path):
    manifest = pack(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        plain = json.load(archive.extractfile(f"{manifest.folder}/bundle.json"))
    assert bundle.manifest_from(dict(plain), "x") == manifest
    with pytest.raises(DeviceError, match="of schema 'edgeprune-bundle/2'"):
        bundle.manifest_from({**plain, "schema": "edgeprune-bundle/2"}, "x")
    with pytest.raises(ConfigError, match="is not a Manifest"):
        bundle.manifest_from({**plain, "needs": 3}, "x")


@pytest.mark.parametrize("size", [0, 32, 65, 128])
def test_frames_of_another_size_than_the_model_takes_are_not_packed(tmp_path, size):
    with pytest.raises(EdgepruneError, match=rf"known\.bin has {size} bytes; the models take 64"):
        pack(tmp_path / "x.tar", content={KNOWN_FRAMES: bytes(size)})  # 1 frame of 2 x 8 float32
    chunk = WORK.answer_batch * 64
    with pytest.raises(EdgepruneError, match=f"{frames_file(0)} has {2 * chunk} bytes; the models take {chunk}"):
        pack(tmp_path / "x.tar", content={KNOWN_FRAMES: bytes(64), frames_file(0): bytes(2 * chunk)})
    assert not (tmp_path / "x.tar").exists()
    assert pack(tmp_path / "x.tar", content={KNOWN_FRAMES: bytes(64), frames_file(0): bytes(chunk)})
