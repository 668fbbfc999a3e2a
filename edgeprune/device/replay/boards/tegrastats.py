"""Stand-in for tegrastats on a replayed board: a line every interval, with power that follows the GPU."""

import sys
import time
from datetime import datetime

from edgeprune.device.replay.boards._board import HASTE, Board, here

_THROTTLED = 0.6


def main() -> None:
    """Print until stopped."""
    board = here()
    arguments = sys.argv[1:]
    interval_ms = int(arguments[arguments.index("--interval") + 1]) if "--interval" in arguments else 1000
    sums: dict[str, list[int]] = {}
    number = 0
    while True:
        number += 1
        worker = board.worker()
        sys.stdout.write(line(board, number, sums) + "\n")
        sys.stdout.flush()
        if worker is not None and worker == board.worker():
            board.note_reading(worker)
        time.sleep(interval_ms / 1000 / HASTE)


def line(board: Board, number: int, sums: dict[str, list[int]]) -> str:
    """Build one line.

    Args:
        board: The board.
        number: Number of the line, from 1.
        sums: Sum of each rail's readings so far, in mW; updated.
    """
    said = board.said
    busy, hot = board.busy(), board.throttled()
    ripple = 1 + (number * 7 % 11 - 5) / 500
    idle_mhz, busy_mhz = said["gpu_mhz"]
    mhz = busy_mhz if busy else idle_mhz
    values: dict[str, object] = {
        "date": datetime.now().astimezone().strftime("%m-%d-%Y %H:%M:%S"),
        "load": 98 if busy else 0,
        "mhz": int(mhz * (_THROTTLED if hot and busy else 1)),
        "gpu": f"{(97.5 if hot else 54.0 if busy else 48.0) + number % 3 * 0.25:.3f}",
    }
    for rail, (idle_mw, busy_mw) in said["rails"].items():
        shown = sums.setdefault(rail, [])
        shown.append(int((busy_mw if busy else idle_mw) * ripple))
        values |= {rail: shown[-1], f"{rail}_avg": sum(shown) // len(shown), f"{rail}_max": max(shown)}
    return str(said["tegrastats"]).format(**values)


if __name__ == "__main__":
    main()
