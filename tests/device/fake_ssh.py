"""A program `ssh` that needs no network: it runs what it is asked to on this machine, and its link can be cut.

What happens next is in the folder FAKE_SSH: `config` is what -G says, `say` is what each of the next calls does, a line
each: 'cut BYTES' passes so many bytes of input or output and then loses the link, 'lost' and 'error TEXT' fail at once.
"""

PROGRAM = """#!%s
import os, subprocess, sys
from pathlib import Path

folder = Path(os.environ["FAKE_SSH"])
words = sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(repr(words) + "\\n")
if "-G" in words:
    print((folder / "config").read_text() if (folder / "config").exists() else "stricthostkeychecking ask")
    raise SystemExit
if "-O" in words:
    raise SystemExit
command = words[words.index("--") + 2]
say = folder / "say"
lines = say.read_text().splitlines() if say.exists() else []
verb, _, rest = (lines[0] if lines else "").partition(" ")
if lines:
    say.write_text("".join(f"{line}\\n" for line in lines[1:]))
if verb in ("lost", "error"):
    print(rest or "client_loop: send disconnect: Broken pipe", file=sys.stderr)
    raise SystemExit(255)
home = folder / "home"
environment = {**os.environ, "HOME": str(home)}
noise = folder / "noise"
if noise.exists():
    sys.stdout.write(noise.read_text())
    sys.stdout.flush()
if verb == "cut":
    given = sys.stdin.buffer.read()
    passed = given[: int(rest)] if "cat " in command else given
    done = subprocess.run(["sh", "-c", command], cwd=home, env=environment, input=passed, stdout=subprocess.PIPE)
    sys.stdout.buffer.write(done.stdout[: int(rest)])
    sys.stdout.flush()
    print("Connection to board closed by remote host.", file=sys.stderr)
    raise SystemExit(255)
raise SystemExit(subprocess.run(["sh", "-c", command], cwd=home, env=environment).returncode)
"""
