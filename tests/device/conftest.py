import pytest
import stand_in


@pytest.fixture(params=sorted(stand_in.SHELLS))
def each_shell(request, tmp_path):
    """A stand-in board, once for every shell that this machine has."""
    return stand_in.StandIn(tmp_path, request.param)


@pytest.fixture
def board(tmp_path):
    """A stand-in board."""
    return stand_in.StandIn(tmp_path)
