"""Errors of OpenSSH, translated into helpful messages. Pure."""

import re

from edgeprune.errors import DeviceError
from edgeprune.protocols import LinkLost

_LINK_EXIT = 255

# Text in ssh's message, its meaning, and what to do; problems that may pass come last.
_FINAL = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "the host key of {name} is not the one that is known: another machine answers, or it was installed anew",
        "If that is right, forget the old key with: ssh-keygen -R HOST, then connect once with: ssh {name}",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "the host key of {name} is not known",
        "Connect once by hand and compare its fingerprint: ssh {name}",
    ),
    (
        r"Too many authentication failures",
        "{name} refused the keys: too many were offered",
        "Name the right one in ~/.ssh/config: IdentityFile and IdentitiesOnly yes",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "the private key for {name} can be read by others, so ssh does not use it",
        "chmod 600 the key file",
    ),
    (
        r"Permission denied",
        "{name} refused the key: no key of yours is allowed there",
        "Put one there with: ssh-copy-id {name}; a key with a passphrase must be in the agent: ssh-add",
    ),
    (
        r"Unable to negotiate|no matching .* found",
        "{name} and this ssh have no algorithm in common",
        "See what it offers with: ssh -v {name}",
    ),
    (
        r"Bad configuration option|bad configuration|Bad owner or permissions",
        "ssh refuses its configuration: {said}",
        "",
    ),
)
_REACH = (
    (
        r"Could not resolve hostname|Name or service not known",
        "no host named {name} is known",
        "Give a host as in ~/.ssh/config, or user@address",
    ),
    (r"Connection refused", "{name} refused the connection", "See whether its SSH server runs, and on which port"),
    (
        r"timed out|No route to host|Network is unreachable|Host is down",
        "{name} cannot be reached: {said}",
        "See whether it is switched on, and on this network",
    ),
    (r"booting up|System is going down", "{name} is starting or stopping", "Try again in a minute"),
)


def failure(name: str, code: int, errors: str, said: str, reached: bool, what: str = "") -> DeviceError:
    """Build the error for a command whose end was not seen.

    Args:
        name: User's name for the device.
        code: Exit code of ssh: 255 is its own, others are the command's.
        errors: Standard error of ssh.
        said: Output before the expected start of the reply.
        reached: Whether the device had answered before; it may then come back.
        what: Failed action, for a command that failed on the device.

    Returns:
        A LinkLost if a retry may help.
    """
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")
    if code != _LINK_EXIT and code > 0:
        if what:
            hint = "Make room there" if "No space left" in errors else ""
            return DeviceError(f"{what}: {last[:200] or f'ended with {code}'}", hint)
        told = " ".join((said or errors).split())[:200]
        return DeviceError(f"{name} has no POSIX shell for this account: {told or f'ended with {code}'}")
    for pattern, message, hint in _FINAL:
        if re.search(pattern, errors):
            return DeviceError(message.format(name=name, said=last[:200]), hint.format(name=name))
    for pattern, message, hint in _REACH:
        if re.search(pattern, errors):
            kind = LinkLost if reached else DeviceError
            return kind(message.format(name=name, said=_tail(last)), hint)
    if reached:
        return LinkLost(f"the link to {name} was lost{f': {_tail(last)}' if last else ''}")
    return DeviceError(f"ssh cannot connect to {name}: {_tail(last) or 'it gave no reason'}", f"Try: ssh -v {name}")


def _tail(line: str) -> str:
    """Last part of a message of ssh: 'ssh: connect to host x port 22: No route to host'."""
    return line.rpartition(": ")[2][:200]
