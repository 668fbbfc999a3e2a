"""Location of the shipped files: in the installed package, or beside it in a source tree."""

from pathlib import Path

from edgeprune.errors import EdgepruneError


def shipped(folder: str) -> Path:
    """Path of the shipped folder of that name ('targets', 'calib_data', 'examples').

    Raises:
        EdgepruneError: The installation does not contain it.
    """
    package = Path(__file__).parents[1]
    for parent in (package / "shipped", package.parent):
        if (parent / folder).is_dir():
            return parent / folder
    raise EdgepruneError(f"the shipped folder {folder!r} is missing from {package}", "Install edgeprune again")
