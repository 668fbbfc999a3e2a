import psutil
import pytest

from edgeprune.tasks.data.reading import available_bytes


def test_without_a_bound_it_is_what_the_machine_has(tmp_path):
    assert 0 < available_bytes(tmp_path) <= psutil.virtual_memory().total


@pytest.mark.parametrize(("bound", "used", "left"), [("1000000", "400000", 600_000), ("1000", "4000", 0)])
def test_the_bound_of_a_container_counts(tmp_path, bound, used, left):
    (tmp_path / "memory.max").write_text(f"{bound}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    assert available_bytes(tmp_path) == left


def test_a_container_without_a_bound_has_what_the_machine_has(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert available_bytes(tmp_path) > 1 << 20
