"""Trial reading of an HDF5 file in a process with limits, before it is read in the main process.

    python _hdf5_trial.py FILE ALLOWED_BYTES

The library trusts a damaged file: it allocates the 4 GB that a string of three letters declares, and never finishes
a heap whose objects have no size. This program reads all text, and all arrays that are stored in chunks, once. Its exit
code says whether the file can be read. It imports nothing of edgeprune.

Exit codes: 0, everything was read; 2, the file cannot be opened; 3, something could not be read, possibly for lack
of memory. Standard error says what. A signal means that the library crashed or did not finish.
"""

import contextlib
import sys
from pathlib import Path

import h5py

NOT_OPENED, DAMAGED = 2, 3
BAND_BYTES = 4 << 20
WHOLE_BYTES = 256 << 20
"""Largest file whose chunked numbers are read too. A larger file may take more than a gigabyte."""
BYTES_A_SECOND, SPARE_SECONDS = 10_000_000, 5


def read_text(item: h5py.HLObject) -> None:
    """Read the attributes of an object that are a single text."""
    for name in item.attrs:
        kind = item.attrs.get_id(name)
        if kind.shape == () and h5py.check_string_dtype(kind.dtype):
            item.attrs[name]


def read_array(array: h5py.Dataset, allowed: int, whole: bool) -> None:
    """Read an array in this file, row by row in the layout of its chunks."""
    text = h5py.check_string_dtype(array.dtype) is not None
    if array.external or array.is_virtual or (array.dtype.kind == "O" and not text):
        return  # refused by name, or as neither numbers nor text
    row_bytes = array.nbytes // max(len(array), 1) if array.shape else 0
    if array.nbytes > allowed or not (text or (array.chunks and whole)):
        return
    if not array.shape:
        array[()]
        return
    rows = array.chunks[0] if array.chunks else 1
    rows *= max(1, BAND_BYTES // max(rows * row_bytes, 1))
    for start in range(0, len(array), rows):
        array[start : start + rows]


def look_through(file: h5py.File, allowed: int, whole: bool) -> None:
    """Read everything in a file that the library allocates memory for."""
    read_text(file)

    def visit(_name: str, item: h5py.HLObject) -> None:
        with contextlib.suppress(TypeError):  # of a type that NumPy has no equal of; it is not read
            read_text(item)
            if isinstance(item, h5py.Dataset):
                read_array(item, allowed, whole)

    file.visititems(visit)


def limit(path: Path, allowed: int) -> None:
    """Limit the memory that this process may still take, where possible, and its CPU time."""
    if sys.platform == "win32":
        return
    import resource

    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + allowed
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    seconds = int(used) + SPARE_SECONDS + path.stat().st_size // BYTES_A_SECOND
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(path: Path, allowed: int) -> int:
    """Run the trial; returns the exit code and writes problems to standard error."""
    limit(path, allowed)
    opened = False
    try:
        with h5py.File(path, "r") as file:
            opened = True
            look_through(file, allowed, path.stat().st_size <= WHOLE_BYTES)
    except Exception as error:  # a damaged file fails in whatever reads it first
        sys.stderr.write(" ".join(str(error).split()) or type(error).__name__)
        return DAMAGED if opened else NOT_OPENED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
