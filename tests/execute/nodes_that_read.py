"""Every way to learn something of a file. Run in workers by tests/execute/test_sight.py."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

C = ctypes.CDLL(None)


def python(path: str) -> object:
    return Path(path).read_text()


def relative_to_a_descriptor(path: str) -> object:
    folder = os.open(os.path.dirname(path), os.O_PATH)
    return os.read(os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folder), 99).decode()


def c_library(path: str) -> object:
    fd = C.open(path.encode(), os.O_RDONLY)
    return os.read(fd, 99).decode() if fd >= 0 else None


def mapped_by_rust(path: str) -> object:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return file.metadata()


def database(path: str) -> object:
    return sqlite3.connect(path).execute("select word from words").fetchall()


def program(path: str) -> object:
    return subprocess.run(["cat", path], capture_output=True, text=True, check=True).stdout


def program_that_fails_quietly(path: str) -> object:
    return subprocess.run(["cat", path], capture_output=True, text=True, check=False).stdout


def shell(path: str) -> object:
    return os.popen(f"cat < '{path}' 2> /dev/null | cat").read()


def program_in_the_directory(path: str) -> object:
    words = ["cat", os.path.basename(path)]
    return subprocess.run(words, cwd=os.path.dirname(path), capture_output=True, text=True, check=True).stdout


def program_that_finds_it(path: str) -> object:
    script = (
        f"import glob; print(open(glob.escape({os.path.dirname(path)!r}) + '/' + {os.path.basename(path)!r}).read())"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout


def forked_child(path: str) -> object:
    return _in_a_child("fork", python, path)


def _in_a_child(method: str, function: Any, path: str) -> object:
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(function, (path,))


def spawned_child(path: str) -> object:
    return _in_a_child("spawn", python, path)


def child_of_a_forkserver(path: str) -> object:
    return _in_a_child("forkserver", python, path)


def grandchild(path: str) -> object:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_grandchild, args=(queue, path))
    child.start()
    found = queue.get()
    child.join()
    return found


def _grandchild(queue: Any, path: str) -> None:
    try:
        queue.put(_in_a_child("spawn", python, path))
    except OSError:
        queue.put(None)


def forked_by_os(path: str) -> object:
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.write(writing, Path(path).read_bytes())
        finally:
            os._exit(0)
    os.close(writing)
    os.wait()
    return os.read(reading, 99).decode()


def listing_by_a_fork(path: str) -> object:
    return _in_a_child("fork", listing, path)


def existence_by_a_fork(path: str) -> object:
    return _in_a_child("fork", existence, path)


def listing_by_a_spawned_child(path: str) -> object:
    return _in_a_child("spawn", listing, path)


def existence_by_a_spawned_child(path: str) -> object:
    return _in_a_child("spawn", existence, path)


def existence_by_a_child_of_a_forkserver(path: str) -> object:
    return _in_a_child("forkserver", existence, path)


def swallowing(path: str) -> object:
    try:
        return Path(path).read_text()
    except OSError:
        return "default"


def listing(path: str) -> object:
    return sorted(os.listdir(os.path.dirname(path)))


def walking(path: str) -> object:
    return [names for _, _, names in os.walk(os.path.dirname(path))]


def globbing(path: str) -> object:
    return sorted(each.name for each in Path(path).parent.glob("*.txt"))


def listing_by_a_program(path: str) -> object:
    return subprocess.run(["ls", os.path.dirname(path)], capture_output=True, text=True, check=False).stdout


def listing_by_c(path: str) -> object:
    C.opendir.restype = ctypes.c_void_p
    return bool(C.opendir(os.path.dirname(path).encode()))


def existence(path: str) -> object:
    return os.path.exists(path)


def existence_by_pathlib(path: str) -> object:
    return Path(path).is_file()


def size(path: str) -> object:
    return os.stat(path).st_size


def access(path: str) -> object:
    return os.access(path, os.R_OK)


def run(ctx: Any, params: dict[str, str]) -> dict[str, Any]:
    return {"seen": globals()[params["way"]](params["path"])}
