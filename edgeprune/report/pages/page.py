"""Shared parts of the HTML pages: one style, plots within the page, nothing from the network."""

import re
from collections.abc import Callable
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgeprune.text import numerals as n
from edgeprune.text.printable import line


def _shown(value: Any) -> Any:
    """Convert a value for a template, keeping its own markup; a page may have line breaks."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(line(text) for text in value.split("\n"))


def environment(
    inseparable: re.Pattern[str], loader: BaseLoader | None = None, **filters: Callable[..., Any]
) -> Environment:
    """Build the environment that renders a page from a template.

    Args:
        inseparable: Spaces at which a line must not break.
        loader: Loader of the page's own templates, searched before those of the report.
        filters: Filters of the page's own.
    """
    shared = PackageLoader("edgeprune.report", "templates")
    made = Environment(
        loader=ChoiceLoader([*([loader] if loader else []), shared]),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style"] = Markup(shared.get_source(made, "style.css")[0])  # noqa: S704 (our own file)
    made.filters.update(
        svg=lambda plot: Markup(plot.svg),  # noqa: S704 (names in it were escaped as it was drawn)
        p_value=n.p_value,
        score=n.score,
        significant=n.significant,
        unbroken=lambda text: inseparable.sub("\u00a0", text),
        **filters,
    )
    return made
