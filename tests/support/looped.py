"""A real file system in an image, as the disk of a machine that loses power: what was not written is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

__all__ = ["Image"]

_SIZE = 32 << 20
_OPTIONS = "noauto_da_alloc"
"""Else ext4 syncs of itself a file that is renamed over another one, and hides what the program forgot."""


class Image:
    """An ext4 file system, mounted at ``disk``. The test is skipped where this process may mount nothing."""

    def __init__(self, place: Path) -> None:
        self._file, self.disk = place / "image", place / "disk"
        self.disk.mkdir()
        with self._file.open("wb") as file:
            file.truncate(_SIZE)
        program = shutil.which("mkfs.ext4", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
        if program is None or os.geteuid() != 0:
            pytest.skip("needs root and mkfs.ext4, to mount an image of a disk")
        subprocess.run([program, "-q", "-F", "-J", "size=4", str(self._file)], check=True)
        ran = self._mount()
        if ran.returncode:
            pytest.skip(f"no image can be mounted here: {ran.stderr.strip()}")

    def _mount(self) -> subprocess.CompletedProcess[str]:
        words = ["mount", "-t", "ext4", "-o", f"loop,{_OPTIONS}", str(self._file), str(self.disk)]
        return subprocess.run(words, text=True, capture_output=True, check=False)

    def unmount(self) -> None:
        """AssertionError if somebody still uses it."""
        if os.path.ismount(self.disk):
            ran = subprocess.run(["umount", str(self.disk)], text=True, capture_output=True, check=False)
            assert ran.returncode == 0, ran.stderr

    def boot(self, copy: Path) -> None:
        """Go on from a copy, as after the failure: the kernel replays its journal."""
        self.unmount()
        shutil.copyfile(copy, self._file)
        ran = self._mount()
        assert ran.returncode == 0, ran.stderr

    def others_sync(self) -> None:
        """Another program syncs a file of its own. With it, the journal brings every rename so far to the disk, but no
        content that nobody has synced."""
        (path := self.disk / "unrelated").write_bytes(os.urandom(8))
        self.sync(path)

    def sync(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    def copy(self, path: Path) -> None:
        """The disk at one moment. The kernel may be writing: it is one once two copies in a row are equal."""
        last = b""
        for _ in range(200):
            now = self._file.read_bytes()
            if now == last:
                path.write_bytes(now)
                return
            last = now
            time.sleep(0.002)
        raise AssertionError("the disk does not come to rest")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "--lazy", str(self.disk)], capture_output=True, check=False)
