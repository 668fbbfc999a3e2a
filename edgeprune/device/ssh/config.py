"""Host names in the user's SSH configuration."""

import re
from pathlib import Path

_HOST = re.compile(r"^\s*host(?:\s*=\s*|\s+)(.*)$", re.IGNORECASE)
_INCLUDE = re.compile(r"^\s*include(?:\s*=\s*|\s+)(.*)$", re.IGNORECASE)
_DEEPEST = 8


def hosts(config: Path | None, depth: int = 0) -> list[str]:
    """List the hosts in a configuration, without patterns, in order; empty if there is no file.

    Args:
        config: The file, or None for `~/.ssh/config`. Files that it includes are read too.
        depth: Number of files that include it.
    """
    home = Path.home() / ".ssh"
    path = config or home / "config"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: dict[str, None] = {}
    for line in lines:
        if (match := _HOST.match(line)) is not None:
            names = (name.strip('"') for name in match[1].split("#")[0].split())
            found.update(dict.fromkeys(name for name in names if name and not set("*?!") & set(name)))
        elif (match := _INCLUDE.match(line)) is not None and depth < _DEEPEST:
            for pattern in match[1].split():
                given = Path(pattern).expanduser()
                base, relative = (
                    (Path(given.anchor), given.relative_to(given.anchor)) if given.anchor else (home, given)
                )
                for included in sorted(base.glob(str(relative))):
                    found.update(dict.fromkeys(hosts(included, depth + 1)))
    return list(found)
