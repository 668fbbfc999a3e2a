import errno
import os
import stat

import pytest

from edgeprune.errors import ConfigError
from edgeprune.files import whole
from edgeprune.files.run_folder import MANIFEST, claim
from edgeprune.files.whole import append_text, begun_folder, own_folder, remove, replacing, writable


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

        monkeypatch.setattr(os, where, refuse)
        with pytest.raises(ConfigError) as caught, replacing(path) as file:
            file.write(b"new")
        assert caught.value.message == f"cannot write {path}: {os.strerror(code)}"
        assert "`out`" in caught.value.hint
        assert path.read_bytes() == b"old"
        assert left_in(tmp_path) == ["file"]

    def test_a_folder_without_permission_is_a_config_error(self, tmp_path, monkeypatch):
        def refuse(*_arguments, **_options):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
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

    def test_a_name_as_long_as_a_file_system_takes_is_written(self, tmp_path):
        path = tmp_path / ("x" * 255)
        with replacing(path) as file:
            file.write(b"new")
        assert path.read_bytes() == b"new"


class TestText:
    def test_is_added_at_the_end(self, tmp_path):
        append_text(tmp_path / "log.txt", "one\n")
        append_text(tmp_path / "log.txt", "zwölf\n")
        assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "one\nzwölf\n"

    def test_where_it_cannot_be_written_is_a_config_error(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot write"):
            append_text(tmp_path, "text")

    def test_a_name_that_no_encoding_has_is_kept_as_an_escape(self, tmp_path):
        append_text(tmp_path / "log.txt", "model \udcff\n")
        assert (tmp_path / "log.txt").read_bytes() == b"model \\udcff\n"

    def test_a_link_in_the_place_of_the_file_is_not_followed(self, tmp_path):
        (tmp_path / "mine").write_text("keep")
        (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
        with pytest.raises(ConfigError, match=r"log\.txt is a symbolic link, which is not followed"):
            append_text(tmp_path / "log.txt", "text")
        assert (tmp_path / "mine").read_text() == "keep"


@pytest.fixture
def linked(tmp_path):
    """A run folder in which `device` is a link to a folder of the user's."""
    run, mine = tmp_path / "run", tmp_path / "mine"
    run.mkdir()
    mine.mkdir()
    (mine / "file").write_text("keep")
    claim(run)
    (run / "device").symlink_to(mine)
    return run


WAYS = {
    "replacing": lambda path: replacing(path).__enter__(),
    "begun_folder": lambda path: begun_folder(path.parent).__enter__(),
    "append_text": lambda path: append_text(path, "text"),
    "remove": remove,
    "own_folder": own_folder,
    "writable": writable,
}


class TestLinks:
    @pytest.mark.parametrize("by_handle", [True, False])
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("inner", ["device/file", "device/inner/file"])
    def test_within_a_run_folder_none_is_followed(self, linked, monkeypatch, way, by_handle, inner):
        monkeypatch.setattr(whole, "_BY_HANDLE", by_handle)
        with pytest.raises(ConfigError, match="device is a symbolic link, which is not followed"):
            WAYS[way](linked / inner)
        assert left_in(linked.parent / "mine") == ["file"]
        assert (linked.parent / "mine" / "file").read_text() == "keep"

    def test_a_link_to_another_run_folder_is_none_to_follow_either(self, linked):
        claim(linked.parent / "mine")
        with pytest.raises(ConfigError, match="symbolic link"), replacing(linked / "device" / "file"):
            pytest.fail("the link was followed")

    def test_a_link_in_the_place_of_the_file_is_replaced_and_its_target_stays(self, linked):
        (linked / "report.json").symlink_to(linked.parent / "mine" / "file")
        with replacing(linked / "report.json") as file:
            file.write(b"new")
        assert not (linked / "report.json").is_symlink()
        assert (linked.parent / "mine" / "file").read_text() == "keep"

    def test_the_user_may_name_a_run_folder_by_a_link(self, linked):
        (linked.parent / "shortcut").symlink_to(linked)
        with replacing(linked.parent / "shortcut" / "report.json") as file:
            file.write(b"new")
        assert left_in(linked) == ["device", MANIFEST, "report.json"]


class TestWritable:
    def test_leaves_nothing_neither_files_nor_folders(self, tmp_path):
        (tmp_path / ".file.probe").write_text("keep")
        writable(tmp_path / "file")
        writable(tmp_path / "new" / "folder" / "file")
        assert left_in(tmp_path) == [".file.probe"]
        assert (tmp_path / ".file.probe").read_text() == "keep"

    def test_says_what_is_in_the_way(self, tmp_path):
        (tmp_path / "file").write_text("")
        for path, why in (
            (tmp_path / "file" / "inner", "Not a directory"),
            (tmp_path, "it is a folder"),
            (tmp_path / ("x" * 256), "File name too long"),
        ):
            with pytest.raises(ConfigError, match=why):
                writable(path)


class TestBegunFolder:
    def test_is_for_this_user_alone_and_gone_afterwards(self, tmp_path):
        with begun_folder(tmp_path) as folder:
            (folder / "file").write_text("half")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert left_in(tmp_path) == []
