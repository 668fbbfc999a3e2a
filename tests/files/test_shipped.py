import pytest

from edgeprune.errors import EdgepruneError
from edgeprune.files import shipped


@pytest.mark.parametrize("folder", ["targets", "calib_data", "examples"])
def test_shipped_folders_are_there(folder):
    assert shipped.shipped(folder).is_dir()
    assert shipped.shipped(folder).name == folder


def test_the_installed_copy_wins_over_the_source_tree(tmp_path, monkeypatch):
    package = tmp_path / "edgeprune"
    monkeypatch.setattr(shipped, "__file__", str(package / "files" / "shipped.py"))
    (tmp_path / "targets").mkdir()
    assert shipped.shipped("targets") == tmp_path / "targets"
    (package / "shipped" / "targets").mkdir(parents=True)
    assert shipped.shipped("targets") == package / "shipped" / "targets"


def test_a_missing_folder_is_a_broken_installation():
    with pytest.raises(EdgepruneError, match="'no-such-folder' is missing") as caught:
        shipped.shipped("no-such-folder")
    assert "Install" in caught.value.hint
