"""A node's action for tools that run Python in their own process, or in workers. ``shell.py`` says the same in sh."""

import time
from pathlib import Path

from peers_notes import NOTES

LOG, HELD = f"{NOTES}/log", f"{NOTES}/held"


def act(name, salt, coarse, reads, output):
    total = salt
    for path in reads:
        with open(path) as file:
            number = int(file.read())
        total = (total * 31 + (number // 10 if coarse else number)) % 1_000_003
    if Path(f"{NOTES}/hold-{name}").exists():
        hold(output)
    with open(output, "w") as file:
        file.write(f"{total}\n")
    with open(LOG, "a") as file:
        file.write(f"{name}\n")


def hold(output):
    """Leave a part of a file, say so, and wait to be killed."""
    with open(output, "w") as file:
        file.write("1\n")
    with open(HELD, "w"):
        pass
    time.sleep(600)
