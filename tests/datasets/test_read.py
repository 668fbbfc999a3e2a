import pytest

from edgeprune import datasets
from edgeprune.errors import ConfigError, DataError


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file: .*gone\.pkl\. Give the data set with `data=PATH`"):
        datasets.read(tmp_path / "gone.pkl")


def test_a_path_that_the_system_refuses_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        datasets.read(tmp_path / ("long" * 200 + ".pkl"))


@pytest.mark.parametrize("name", ["signals.txt", "signals", "signals.pkl.gz"])
def test_a_suffix_that_no_format_knows_is_named_with_those_known(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        datasets.read(tmp_path / name)
    assert name in caught.value.message
    assert all(suffix in caught.value.hint for suffix in (".dat", ".npz", ".pickle", ".pkl"))
