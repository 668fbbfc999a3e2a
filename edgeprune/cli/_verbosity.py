"""How much a command says, and in what form."""

from dataclasses import dataclass


@dataclass
class Verbosity:
    """The global options, from before or after the command's name."""

    verbose: bool = False
    quiet: bool = False
    as_json: bool = False
