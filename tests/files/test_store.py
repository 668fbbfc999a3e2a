import hashlib
import json
from datetime import datetime, timedelta, timezone

import pytest

from edgeprune.errors import ConfigError
from edgeprune.files import store
from edgeprune.files.store import RunFolder
from edgeprune.records.pruning import Arch, InputSpec, PrunePlan, Scores
from edgeprune.records.results import EpochMetrics, TrainingResult


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


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
        from edgeprune.records.results import LatencySummary

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
