"""Runs ``srun`` and ends it when the build is gone: ``python keeper.py DESCRIPTOR COMMAND…``.

While ``srun`` waits in the queue it does not read its standard input, so it would not see that a build was killed: the
job would wait on, and start for nobody. The build holds the other end of DESCRIPTOR, which the kernel closes for it.
A byte there means: end now. Its end means: the program's input has ended, too, so give it the time to end by itself.
"""

import os
import subprocess
import sys
import threading

GRACE = 5.0  # seconds for srun to end after each step


def main(lifeline: int, command: list[str]) -> int:
    os.set_inheritable(lifeline, False)
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # they are srun's alone, else their ends would not be seen
        os.dup2(null, stream)
    threading.Thread(target=_leave_with, args=(child,), daemon=True).start()
    said = os.read(lifeline, 1)
    for end in (None, child.terminate, child.terminate, child.kill):
        if end is not None:
            end()
        elif said:
            continue
        try:
            return child.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    return child.wait()


def _leave_with(child: "subprocess.Popen[bytes]") -> None:
    os._exit(child.wait() & 0xFF)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]) & 0xFF)
