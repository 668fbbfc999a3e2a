"""Requirements of all networks here on their frames."""

from edgeprune.errors import ModelError


def require_iq(name: str, channels: int, length: int, shortest: int = 1) -> None:
    """Check the frames that a network is to be built for.

    Args:
        name: Name of the network.
        channels: Rows of a frame.
        length: Samples of a frame.
        shortest: Fewest samples that the network can read.

    Raises:
        ModelError: They do not have the two channels I and Q, or too few samples.
    """
    if channels != 2:
        raise ModelError(f"{name} takes 2 channels (I and Q), not {channels}")
    if length < shortest:
        raise ModelError(f"{name} takes frames of {shortest} samples or more, not {length}")
