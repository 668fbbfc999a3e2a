import errno
import json
import re
import shutil

import pytest

from edgeprune.errors import ConfigError
from edgeprune.files.run_folder import (
    MANIFEST,
    begun_name,
    claim,
    clear_unfinished,
    held,
    own_file,
    refuse_foreign,
    run_id,
    working_in,
)
from edgeprune.files.store import RunFolder
from edgeprune.records.pruning import Arch


def tree(folder):
    """Every path below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def home(tmp_path):
    """A folder as people have them, with names that look unfinished."""
    (tmp_path / ".ssh.bak.20240101").mkdir()
    (tmp_path / ".ssh.bak.20240101" / "id_ed25519").write_text("secret")
    (tmp_path / ".env.local.template").write_text("KEY=")
    (tmp_path / ".edgeprune-unfinished-0123456789abcdef").write_text("of another run")
    (tmp_path / f".edgeprune-{'0' * 32}-0123456789abcdef").write_text("of another run")
    return tmp_path


class TestForeign:
    def test_a_folder_that_holds_anything_else_is_refused_and_nothing_is_touched(self, home):
        before = tree(home)
        with pytest.raises(ConfigError, match="is not empty and not a folder of an earlier run: it holds ") as caught:
            refuse_foreign(home)
        assert caught.value.exit_code == 2
        with pytest.raises(ConfigError, match="not empty"), working_in(home):
            pytest.fail("it was taken")
        assert tree(home) == before

    def test_new_and_empty_folders_and_those_of_a_run_are_taken(self, tmp_path):
        for folder in (tmp_path / "new" / "inner", tmp_path / "empty", tmp_path / "again"):
            if folder.name != "inner":
                folder.mkdir()
            for _ in range(2):
                with working_in(folder):
                    (folder / "log.txt").write_text("a run")
            assert run_id(folder) is not None

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("01-layers.json", {"schema": "edgeprune-stage/1"}),
            ("cells/one/02-prune.json", {"schema": "edgeprune-stage/1"}),
            ("report.json", {"schema": "edgeprune-report/1"}),
            ("compare.json", {"schema": "edgeprune-compare/1"}),
            ("manifest.json", {"name": "set", "producer": "edgeprune 0.1.0"}),
        ],
    )
    def test_folders_of_older_versions_are_known_by_their_records(self, tmp_path, name, content):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content, indent=2))
        with working_in(tmp_path):
            assert run_id(tmp_path) is not None

    @pytest.mark.parametrize("name", ["01-layers.json", "report.json", "manifest.json"])
    def test_a_file_of_that_name_that_is_something_else_is_no_record(self, tmp_path, name):
        (tmp_path / name).write_text('{"schema": "other/1"}')
        with pytest.raises(ConfigError, match="not empty"):
            refuse_foreign(tmp_path)

    def test_a_manifest_that_is_a_link_is_none(self, home, tmp_path_factory):
        other = tmp_path_factory.mktemp("other")
        claim(other)
        (home / MANIFEST).symlink_to(other / MANIFEST)
        with pytest.raises(ConfigError, match="not empty"):
            refuse_foreign(home)

    def test_a_file_is_no_folder(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match=r"cannot write .*Not a directory"):
            refuse_foreign(tmp_path / "file")


class TestManifest:
    def test_stays_as_it_is(self, tmp_path):
        claim(tmp_path)
        first = run_id(tmp_path)
        claim(tmp_path)
        assert run_id(tmp_path) == first
        assert re.fullmatch("[0-9a-f]{32}", first)

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[" * 100_000, b"\xff", b'{"schema": "edgeprune-run/1", "id": "../../x"}', b"[]"]
    )
    def test_a_damaged_one_is_written_again(self, tmp_path, content):
        (tmp_path / MANIFEST).write_bytes(content)
        assert run_id(tmp_path) is None
        with working_in(tmp_path):
            assert run_id(tmp_path) is not None

    def test_two_folders_have_two(self, tmp_path):
        for name in "ab":
            (tmp_path / name).mkdir()
            claim(tmp_path / name)
        assert run_id(tmp_path / "a") != run_id(tmp_path / "b")


class TestUnfinished:
    def test_what_was_begun_here_goes_and_all_else_stays(self, home):
        (home / "01-layers.json").write_text('{"schema": "edgeprune-stage/1"}')
        before = tree(home)
        claim(home)
        (home / "trials").mkdir()
        (home / begun_name(home / "report.json")).write_text("half")
        (home / "trials" / begun_name(home / "trials" / "x")).write_text("half")
        folder = home / begun_name(home / "x")
        folder.mkdir()
        (folder / "raw.onnx").write_text("half")
        (folder / "way-out").symlink_to(home / ".ssh.bak.20240101")
        with working_in(home):
            left = tree(home)
        assert {name for name in left if name not in before} == {MANIFEST, "trials"}
        assert {name: left[name] for name in before} == before

    def test_links_are_not_followed(self, tmp_path):
        run, mine = tmp_path / "run", tmp_path / "mine"
        for folder in (run, mine):
            folder.mkdir()
        claim(run)
        begun = begun_name(run / "x")
        (mine / begun).write_text("in the user's folder")
        (run / "trials").symlink_to(mine)
        (run / begun).symlink_to(mine)
        clear_unfinished(run)
        assert (mine / begun).read_text() == "in the user's folder"
        assert not (run / begun).is_symlink()

    def test_without_a_manifest_nothing_is_removed(self, home):
        before = tree(home)
        clear_unfinished(home)
        assert tree(home) == before

    def test_a_copied_run_folder_is_cleared_by_its_own_manifest(self, tmp_path):
        (tmp_path / "run").mkdir()
        claim(tmp_path / "run")
        (tmp_path / "run" / begun_name(tmp_path / "run" / "x")).write_text("half")
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        clear_unfinished(tmp_path / "copy")
        assert [len(tree(tmp_path / name)) for name in ("run", "copy")] == [2, 1]


class TestOwnFile:
    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../mine/file", "/etc/passwd", "inner", "link", "linked/file", "no\0"]
    )
    def test_only_files_below_the_folder_without_a_link_are(self, tmp_path, name):
        run, mine = tmp_path / "run", tmp_path / "mine"
        (run / "inner").mkdir(parents=True)
        mine.mkdir()
        (mine / "file").write_text("")
        (run / "link").symlink_to(mine / "file")
        (run / "linked").symlink_to(mine)
        (run / "inner" / "file").write_text("")
        assert own_file(run, "inner/file")
        assert not own_file(run, name)


class TestForget:
    def test_a_record_is_removed_and_a_file_of_its_name_stays(self, tmp_path):
        folder = RunFolder(tmp_path)
        folder.save("01-layers", Arch("resnet56", {}), {}, ())
        (tmp_path / "05-plan.json").write_text('{"mine": true}')
        for stage in ("01-layers", "05-plan", "09-export"):
            folder.forget(stage)
        assert list(tree(tmp_path)) == ["05-plan.json"]

    def test_not_through_a_link(self, tmp_path):
        run, mine = tmp_path / "run", tmp_path / "mine"
        mine.mkdir()
        run.mkdir()
        claim(run)
        RunFolder(mine).save("01-layers", Arch("resnet56", {}), {}, ())
        (run / "trials").symlink_to(mine)
        with pytest.raises(ConfigError, match="trials is a symbolic link"):
            RunFolder(run / "trials").forget("01-layers")
        assert (mine / "01-layers.json").is_file()


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
