"""Names that options, grids, plans and reports share, unless they are plug-ins. Standard library only."""

from typing import Literal, get_args

Bridge = Literal["least-squares", "inherit", "kaiming"]
BRIDGES: tuple[Bridge, ...] = get_args(Bridge)
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Role = Literal["baseline", "pruned"]
Drop = Literal["identity", "shortcut", "adapter"]
Normalisation = Literal["none", "rms", "rms-rows", "peak", "unknown"]
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "rms", "rms-rows", "peak")
"""Scalings of a raw frame; the formulas are in normalisation.py. Nothing computes with `unknown`."""
Outputs = Literal["logits", "probabilities", "log-probabilities"]
CRITERION = "block-influence"
"""Default criterion: the best found, see docs/method.md."""
CHANNEL_METHODS = ("rfp", "fpgm", "l1", "sfp", "bnp")
