"""Checks of pickles before they are read: their length, their depth and the size of their results.

Python's reader runs any number of steps. Unbounded nesting overflows its stack when it hashes a key, a memo index takes
memory in proportion, and one text can be fetched from the memo a million times and converted to bytes.
"""

import pickletools
from typing import IO, Any, cast

from edgeprune.files.bounds import MOST_DEPTH, Bounded, MalformedError

_MOST_STEPS = 500_000
_FETCHED_BYTES = 1 << 20  # in all from the memo, above the size of the file
_PUT = ("PUT", "BINPUT", "LONG_BINPUT")
_GET = ("GET", "BINGET", "LONG_BINGET", "DUP")
_FILL = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_WRAP = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT", "FROZENSET", "REDUCE", "NEWOBJ", "OBJ")


class _Value:
    """Result of a step: its nesting depth and its approximate size in bytes."""

    __slots__ = ("depth", "weight")

    def __init__(self, depth: int, weight: int) -> None:
        self.depth, self.weight = depth, weight


def check(file: Bounded) -> None:
    """Walk through the steps of a pickle, from the current position of the file to its end.

    Raises:
        MalformedError: It is truncated, too long or too deep, or its results are far larger than itself.
    """
    stack: list[_Value | None] = []  # None is a mark
    memo: dict[int, _Value] = {}
    fetched = 0
    try:
        for step, (operation, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
            if step >= _MOST_STEPS:
                raise MalformedError(f"it has more than {_MOST_STEPS} steps")
            name = operation.name
            if name == "MEMOIZE" or name in _PUT:
                place = len(memo) if name == "MEMOIZE" else int(argument or 0)
                if place > step:
                    raise MalformedError(f"step {step} fills place {place} of its memo")
                memo[place] = _top(stack)
            elif name in _GET:
                value = _top(stack) if name == "DUP" else memo[int(argument or 0)]
                fetched += value.weight
                if fetched > file.size + _FETCHED_BYTES:
                    raise MalformedError("it makes far more than its size from what it repeats")
                stack.append(value)
            else:
                _run(operation, argument, stack)
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        if isinstance(error, MalformedError):
            raise
        raise MalformedError(f"a step of it is damaged: {error}") from error


def _run(operation: pickletools.OpcodeInfo, argument: Any, stack: list[_Value | None]) -> None:
    """Apply any other step to the stack."""
    before, after, name = operation.stack_before, operation.stack_after, operation.name
    taken: list[_Value] = []
    if pickletools.markobject in before:
        while (value := stack.pop()) is not None:
            taken.append(value)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        taken.append(_pop(stack))
    if name == "POP":  # it is the one that may also take a mark
        return
    size = len(argument) if isinstance(argument, str | bytes | bytearray) else 0
    if name in _FILL:
        holder = taken.pop()
        holder.weight += sum(value.weight for value in taken)
        holder.depth = max([holder.depth, *(value.depth + 1 for value in taken)])
        made = holder
    else:
        depth = max((value.depth for value in taken), default=0) + (name in _WRAP)
        made = _Value(depth, 8 + size + sum(value.weight for value in taken))
    if made.depth > MOST_DEPTH:
        raise MalformedError(f"it is nested more than {MOST_DEPTH} levels deep")
    for kind in after:
        stack.append(None if kind is pickletools.markobject else made)


def _top(stack: list[_Value | None]) -> _Value:
    value = stack[-1]
    if value is None:
        raise MalformedError("a step of it is damaged: it takes a mark for a value")
    return value


def _pop(stack: list[_Value | None]) -> _Value:
    value = _top(stack)
    stack.pop()
    return value
