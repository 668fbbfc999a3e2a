"""Plans and settings as POSIX sh: every word is quoted, so that a name can never be more than a name."""

import re
from shlex import quote

from edgeprune.device import jetson
from edgeprune.device.probe import Needs
from edgeprune.errors import ConfigError, EdgepruneError
from edgeprune.records.device_run import Plan, Step

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_VARIABLES = {"trtexec": '"$TRTEXEC"', "python3": '"$PYTHON3"'}
_MODE = re.compile(r"[A-Za-z0-9_.-]+")
RESERVED = "idle"
"""Reserved step name for the records that the device makes before the first step with telemetry."""


def render(plan: Plan) -> str:
    """Render a plan as the file that `run.sh` reads: one line a step.

    Raises:
        EdgepruneError: A step or a file has a name that is not plain, or a step's name comes twice.
    """
    names = [step.name for step in plan.steps]
    for name in names:
        if not _NAME.fullmatch(name) or name == RESERVED or names.count(name) > 1:
            raise EdgepruneError(f"a step is named {name!r}", "Names are lower case, plain and unique in their plan")
    lines = [f"# {plan.tool} from version {plan.since} on: NAME LIMIT_S TELEMETRY ENGINE FILES_IT_MAKES... -- COMMAND"]
    return "\n".join([*lines, *(_line(step) for step in plan.steps), ""])


def _line(step: Step) -> str:
    made = (*step.makes, *((step.engine,) if step.engine is not None else ()))
    for path in made:
        check_path(path)
    head = ["step", step.name, str(step.limit_s), str(int(step.telemetry)), quote(step.engine or "")]
    makes = [quote(path) for path in step.makes if path != step.engine]
    return " ".join([*head, *makes, "--", _VARIABLES[step.tool], *map(quote, step.arguments)])


def check_path(path: str) -> str:
    """Check a path within the bundle; it must have plain characters, as `run.sh` keeps lists of paths in a string.

    Raises:
        EdgepruneError: It has other characters.
    """
    if not _PATH.fullmatch(path):
        raise EdgepruneError(f"{path!r} is no plain path within a bundle")
    return path


def settings(bundle_id: str, needs: Needs, need_bytes: int, power_mode: str | None, lock_clocks: bool) -> str:
    """Render the file `settings.sh`.

    Args:
        bundle_id: Identifier of the bundle.
        needs: Requirements on the device.
        need_bytes: Required free space on its disk.
        power_mode: Name or number of the power mode to measure in, or None to leave it.
        lock_clocks: Whether to lock the clocks meanwhile.

    Raises:
        ConfigError: The power mode is not a plain name.
    """
    if power_mode is not None and not _MODE.fullmatch(power_mode):
        raise ConfigError(
            f"{power_mode!r} is no name of a power mode", "See those of a board with: edgeprune device probe HOST"
        )
    socs = [soc for soc, capability in jetson.COMPUTE_CAPABILITIES.items() if capability == needs.compute_capability]
    values = {
        "BUNDLE_ID": bundle_id,
        "TARGET": needs.target,
        "TOOL": needs.tool,
        "LOWEST": str(needs.lowest),
        "BELOW": str(needs.below),
        "ARCHITECTURE": needs.architecture or "",
        "COMPUTE_CAPABILITY": needs.compute_capability or "",
        "SOCS": " ".join(socs),
        "NEED_KIB": str(-(-need_bytes // 1024)),
        "POWER_MODE": power_mode or "",
        "LOCK_CLOCKS": "yes" if lock_clocks else "",
    }
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items())
