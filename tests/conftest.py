import pytest
import synthetic
import torch


@pytest.fixture
def frames():
    """Frames of 3 classes at 2 SNRs, 25 of each: a split of 18, 2 and 5."""
    return synthetic.frames_of(synthetic.cells())


@pytest.fixture
def silent():
    """A progress that keeps what it is told."""
    return synthetic.Silent()


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(0)
