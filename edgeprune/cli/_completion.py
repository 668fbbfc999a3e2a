"""Shell completion of option values."""

from typing import TYPE_CHECKING

from click import Context, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeprune.registry import Kind


def plugin_names(kind: "Kind") -> "Callable[[Context, Parameter, str], list[str]]":
    """Complete with the names of plug-ins."""

    def complete(_ctx: Context, _parameter: Parameter, typed: str) -> list[str]:
        from edgeprune import registry

        return [name for name in registry.names(kind) if name.startswith(typed)]

    return complete


def model_names(_ctx: Context, _parameter: Parameter, typed: str) -> list[str]:
    """Complete with the names of networks."""
    from edgeprune import registry

    return [name for name in registry.model_names() if name.startswith(typed)]


def target_names(_ctx: Context, _parameter: Parameter, typed: str) -> list[str]:
    """Complete with the names of targets."""
    from edgeprune import targets

    return [name for name in targets.names() if name.startswith(typed)]
