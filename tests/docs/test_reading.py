"""How far a reader has to go: a limit for each way, which a change may lower and not raise."""

import pytest
from scripts import script


@pytest.fixture(scope="module")
def reading():
    """docs/reading.py, which is a script and in no package."""
    return script("docs/reading.py")


def test_no_way_takes_more_files_than_it_did(reading):
    reader = reading.Reader()
    lengths = {what: (len(reader.files_from(start)), most) for what, (start, most) in reading.WAYS.items()}
    assert {what: counts for what, counts in lengths.items() if counts[0] > counts[1]} == {}


def test_files_are_counted_as_a_reader_would(reading, tmp_path):
    package = tmp_path / "edgeprune"
    (package / "sub").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "sub/__init__.py": "from edgeprune.sub.deep import far\n",
        "start.py": """
            from edgeprune import whole
            from edgeprune.annotated import Shape
            from edgeprune.constant import LIMIT
            from edgeprune.sub import far
            from edgeprune.unused import nothing

            def begin(shape: Shape = None) -> Shape:
                return near(far(LIMIT)) + whole.used.attribute

            def near(x):
                return x

            def elsewhere():
                return nothing()
            """,
        "whole.py": "from edgeprune.behind import value\nused = value\nleft = 1\n",
        "behind.py": "value = 1\n",
        "annotated.py": "class Shape: pass\n",
        "constant.py": "LIMIT: int = 3\n",
        "sub/deep.py": "def far(x): return x\n",
        "unused.py": "def nothing(): pass\n",
    }
    for name, text in files.items():
        (package / name).write_text("\n".join(line.removeprefix(" " * 12) for line in text.splitlines()) + "\n")
    opened = reading.Reader(tmp_path).files_from("edgeprune.start:begin")
    assert {file.relative_to(package).as_posix(): names for file, names in opened.items()} == {
        "start.py": {"begin", "near"},
        "whole.py": {"used"},
        "behind.py": {"value"},
        "constant.py": {"LIMIT"},
        "sub/deep.py": {"far"},
    }
