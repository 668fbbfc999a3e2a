"""Names that options, grids, plans and reports share, where they are no plug-ins. Standard library only."""

from typing import Literal, get_args

Bridge = Literal["least-squares", "inherit", "kaiming"]
BRIDGES: tuple[Bridge, ...] = get_args(Bridge)
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Role = Literal["baseline", "pruned"]
Drop = Literal["identity", "shortcut", "adapter"]
CRITERION = "block-influence"
"""Scores layers where nothing else is asked for: the best found, see docs/method.md."""
CHANNEL_METHODS = ("rfp", "fpgm", "l1", "sfp", "bnp")
