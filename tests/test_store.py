import errno
import hashlib
import json
import os
import stat
from datetime import datetime, timedelta, timezone

import pytest

from edgeprune import store
from edgeprune.errors import ConfigError
from edgeprune.records import Arch, EpochMetrics, InputSpec, PrunePlan, Scores, TrainingResult
from edgeprune.store import RunFolder, held, replacing


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


class TestReplacing:
    def test_writes_the_file_and_its_folders(self, tmp_path):
        with replacing(tmp_path / "a" / "b" / "file") as file:
            file.write(b"new")
        assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"
        assert left_in(tmp_path / "a" / "b") == ["file"]

    def test_the_old_file_is_whole_until_the_end(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"old")
        with replacing(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new"

    @pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError("no")])
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path, failure):
        path = tmp_path / "file"
        path.write_bytes(b"old")

        def write():
            with replacing(path) as file:
                file.write(b"half")
                raise failure

        with pytest.raises(type(failure)):
            write()
        assert path.read_bytes() == b"old"
        assert left_in(tmp_path) == ["file"]

    @pytest.mark.parametrize(("where", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EROFS)])
    def test_a_full_or_read_only_disk_is_a_config_error(self, tmp_path, monkeypatch, where, code):
        path = tmp_path / "file"
        path.write_bytes(b"old")

        def refuse(*_arguments, **_options):
            raise OSError(code, os.strerror(code))

        if where == "fsync":
            monkeypatch.setattr(store.os, "fsync", refuse)
        else:
            monkeypatch.setattr(store.Path, "replace", refuse)
        with pytest.raises(ConfigError) as caught, replacing(path) as file:
            file.write(b"new")
        assert caught.value.message == f"cannot write {path}: {os.strerror(code)}"
        assert "--out" in caught.value.hint
        assert path.read_bytes() == b"old"
        assert left_in(tmp_path) == ["file"]

    def test_a_folder_without_permission_is_a_config_error(self, tmp_path, monkeypatch):
        def refuse(*_arguments, **_options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(store.tempfile, "mkstemp", refuse)
        with pytest.raises(ConfigError, match="Permission denied"), replacing(tmp_path / "file"):
            pytest.fail("nothing can be written")
        assert left_in(tmp_path) == []

    def test_a_file_in_place_of_the_folder_is_a_config_error(self, tmp_path):
        (tmp_path / "file").write_bytes(b"old")
        with pytest.raises(ConfigError, match="cannot write"), replacing(tmp_path / "file" / "inner"):
            pytest.fail("nothing can be written")
        assert (tmp_path / "file").read_bytes() == b"old"

    def test_a_folder_in_place_of_the_file_is_a_config_error(self, tmp_path):
        (tmp_path / "file").mkdir()
        with pytest.raises(ConfigError, match="cannot write"), replacing(tmp_path / "file") as file:
            file.write(b"new")
        assert left_in(tmp_path) == ["file"]

    def test_the_umask_decides_who_may_read(self, tmp_path):
        before = os.umask(0o027)
        try:
            with replacing(tmp_path / "file") as file:
                file.write(b"new")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


class TestJson:
    def test_what_was_written_is_read(self, tmp_path):
        plain = {"b": [1, 2.5, "ü"], "a": {"none": None}}
        store.write_json(tmp_path / "file.json", plain)
        assert json.loads((tmp_path / "file.json").read_text()) == plain
        assert store.read_json(tmp_path / "file.json") == plain

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_number_is_no_number(self, tmp_path, value):
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.write_json(tmp_path / "file.json", {"x": value})
        assert left_in(tmp_path) == []

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            store.read_json(tmp_path / "gone.json")
        assert caught.value.message == f"no such file: {tmp_path / 'gone.json'}"

    @pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"", b"<html>"])
    def test_what_is_not_json_is_a_config_error_of_one_line(self, tmp_path, content):
        (tmp_path / "file.json").write_bytes(content)
        with pytest.raises(ConfigError, match="is not a JSON file") as caught:
            store.read_json(tmp_path / "file.json")
        assert "\n" not in str(caught.value)

    def test_a_folder_is_not_a_json_file(self, tmp_path):
        with pytest.raises(ConfigError, match="is not a JSON file"):
            store.read_json(tmp_path)


class TestText:
    def test_is_added_at_the_end(self, tmp_path):
        store.append_text(tmp_path / "log.txt", "one\n")
        store.append_text(tmp_path / "log.txt", "zwölf\n")
        assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "one\nzwölf\n"

    def test_where_it_cannot_be_written_is_a_config_error(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot write"):
            store.append_text(tmp_path, "text")


class TestHashes:
    def test_of_a_file_larger_than_one_read(self, tmp_path):
        content = bytes(range(256)) * 5000
        (tmp_path / "file").write_bytes(content)
        assert store.file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()

    def test_of_plain_values_ignores_the_order_of_keys(self):
        by_hand = hashlib.sha256(b'{"a":[1,2],"b":"x"}').hexdigest()
        assert store.canonical_sha256({"b": "x", "a": [1, 2]}) == by_hand
        assert store.canonical_sha256({"a": [2, 1], "b": "x"}) != by_hand

    def test_of_a_record_changes_with_any_field(self):
        one = store.record_sha256(InputSpec(2, 128))
        assert one == store.record_sha256(InputSpec(2, 128))
        assert one != store.record_sha256(InputSpec(2, 129))
        assert one == hashlib.sha256(b'{"channels":2,"length":128,"normalisation":"rms"}').hexdigest()


class TestRecords:
    def test_survive_json(self):
        for record in (
            Scores("sha", "synflow", {3: 1.5, 10: 2e46}),
            TrainingResult(1, 0.5, (EpochMetrics(1, 1.25, 2.0, 0.5, 3.0),), "bf16", True),
            PrunePlan("sha", "cka", "synflow", ((0, 2), (3, 4)), (0, 1), (2, 3, 4), (), ()),
        ):
            plain = json.loads(json.dumps(store.to_plain(record)))
            assert store.from_plain(type(record), plain, "file") == record

    def test_what_was_not_measured_is_left_out(self):
        from edgeprune.records import LatencySummary

        plain = store.to_plain(LatencySummary(1.0, 1.0, 5, "s.npz", (1.0,), p90_ms=2.0))
        assert plain["p90_ms"] == 2.0
        assert "p99_ms" not in plain

    @pytest.mark.parametrize(
        ("plain", "names"),
        [({"channels": 2}, "length"), ({"channels": "two", "length": 3}, "channels"), ([], "the file")],
    )
    def test_a_wrong_field_is_named_with_the_file(self, plain, names):
        with pytest.raises(ConfigError) as caught:
            store.from_plain(InputSpec, plain, "some.json")
        assert caught.value.message.startswith("some.json")
        assert f"{names}:" in caught.value.message
        assert "\n" not in caught.value.message


class TestHeld:
    def test_a_folder_is_held_once_and_then_free_again(self, tmp_path):
        with held(tmp_path):
            with pytest.raises(ConfigError, match="another run is at work in"), held(tmp_path):
                pytest.fail("it was held twice")
            with held(tmp_path.parent):
                pass
        with held(tmp_path):
            assert list(tmp_path.iterdir()) == []

    def test_what_goes_wrong_within_it_frees_it(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), held(tmp_path):
            raise KeyboardInterrupt
        with held(tmp_path):
            assert tmp_path.is_dir()

    def test_where_there_are_no_locks_it_goes_on(self, tmp_path, monkeypatch):
        def refuse(handle, how):
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr("fcntl.flock", refuse)
        with held(tmp_path), held(tmp_path):
            assert tmp_path.is_dir()


INPUTS = {"model": "abc", "data": "def"}


class TestRunFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "pruned.pt").write_bytes(b"weights")
        folder = RunFolder(tmp_path)
        folder.save("03-prune", Arch("resnet56", {"classes": 3}), INPUTS, ("pruned.pt",))
        return folder

    def test_a_finished_stage_is_reused(self, folder):
        def make():
            pytest.fail("it is already made")

        record = folder.reuse_or_make("03-prune", Arch, dict(reversed(INPUTS.items())), ("pruned.pt",), make)
        assert record == Arch("resnet56", {"classes": 3})

    def test_a_stage_says_what_it_was_made_from_and_what_it_left(self, folder):
        envelope = json.loads((folder.path / "03-prune.json").read_text())
        assert envelope["schema"] == "edgeprune-stage/1"
        assert envelope["inputs"] == INPUTS
        assert envelope["artifacts"] == {"pruned.pt": hashlib.sha256(b"weights").hexdigest()}
        assert envelope["producer"].startswith("edgeprune ")

    def test_other_inputs_make_it_again_and_then_it_is_reused(self, folder):
        made = []

        def make():
            made.append(1)
            return Arch("resnet110", {})

        other = {"model": "abc", "data": "other"}
        for _ in range(2):
            assert folder.reuse_or_make("03-prune", Arch, other, ("pruned.pt",), make).name == "resnet110"
        assert made == [1]

    @pytest.mark.parametrize("damage", ["changed", "gone", "folder"])
    def test_an_artefact_that_is_not_what_it_was_makes_it_again(self, folder, damage):
        artifact = folder.path / "pruned.pt"
        artifact.unlink()
        if damage == "changed":
            artifact.write_bytes(b"other weights")
        elif damage == "folder":
            artifact.mkdir()
        assert folder.reusable("03-prune", Arch, INPUTS) is None

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "{",
            "[]",
            "null",
            '{"schema": "edgeprune-stage/1"}',
            '{"schema": "edgeprune-stage/2", "inputs": {"model": "abc", "data": "def"}, "artifacts": {}, '
            '"record": {"name": "x"}}',
            '{"schema": "edgeprune-stage/1", "inputs": {"model": "abc", "data": "def"}, "artifacts": [], '
            '"record": {"name": "x"}}',
            '{"schema": "edgeprune-stage/1", "inputs": {"model": "abc", "data": "def"}, "artifacts": {}, "record": 3}',
        ],
    )
    def test_a_damaged_stage_is_made_again(self, folder, content):
        (folder.path / "03-prune.json").write_text(content)
        assert folder.reusable("03-prune", Arch, INPUTS) is None

    def test_a_stage_that_never_ran_is_not_there(self, folder):
        assert folder.reusable("04-finetune", Arch, INPUTS) is None


def test_now_is_utc():
    moment = datetime.fromisoformat(store.now())
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - moment) < timedelta(minutes=1)
