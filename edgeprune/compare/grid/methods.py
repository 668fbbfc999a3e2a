"""Methods by name: what a grid may call by one word. Data only."""

from typing import Any

from edgeprune.records.names import CHANNEL_METHODS

REFERENCE = "edgeprune"  # its cells say how many MACs the channel methods may leave

# Scores of the paper, within the default segments.
_WITHIN_SEGMENTS = ("synflow", "synflow-search")

# Baselines that know no segments choose among all units at once.
_WITHOUT_SEGMENTS = ("random", "uniform", "reinit", "linear-probe", "block-influence", "taylor", "leave-one-out")

WELL_KNOWN: dict[str, dict[str, Any]] = {
    REFERENCE: {"kind": "layers"},
    **{name: {"kind": "layers", "criterion": name} for name in _WITHIN_SEGMENTS},
    "paper": {"kind": "layers", "criterion": "synflow-search", "profile": "column-sums", "distill": False},
    **{name: {"kind": "layers", "criterion": name, "segments": 1} for name in _WITHOUT_SEGMENTS},
    "scratch": {"kind": "layers", "init": "scratch"},
    **{name: {"kind": "channels", "criterion": name} for name in CHANNEL_METHODS},
    "train-on": {"kind": "none"},
}
