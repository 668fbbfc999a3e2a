import pytest
from accelerate.state import AcceleratorState

from edgeprune.train import precision


@pytest.fixture
def single_precision(monkeypatch):
    """Train in float32 whatever this machine computes fast in, so that results can be worked out by hand."""
    AcceleratorState._reset_state()
    monkeypatch.setattr(precision, "mixed", lambda: "no")
    yield
    AcceleratorState._reset_state()
