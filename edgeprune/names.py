"""Names that options, grids and plans share, where they are no plug-ins. Standard library only."""

from typing import Literal, get_args

Bridge = Literal["least-squares", "inherit", "kaiming"]
BRIDGES: tuple[Bridge, ...] = get_args(Bridge)
CHANNEL_METHODS = ("rfp", "fpgm", "l1", "sfp", "bnp")
