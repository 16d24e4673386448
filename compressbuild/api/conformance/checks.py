"""What a run may leave and may have done. Each check raises AssertionError that names the fault and the way out."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import StoreError
from .bench import Ran, contents

__all__ = [
    "check_covered_reads",
    "check_facts",
    "check_files",
    "check_no_pickle",
    "check_nothing_outside",
    "check_refusal",
    "check_same",
    "check_stateless",
    "check_succeeded",
]

_LARGEST_FACTS = 1 << 20
_CODE_OPS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX"})


def check_succeeded(ran: Ran) -> None:
    if not ran.result.ok:
        hint = f" ({ran.result.hint})" if ran.result.hint else ""
        raise AssertionError(f"it failed, {ran.cause}: {ran.error}{hint}\n{ran.result.trace or ran.log[-2000:]}")


def check_files(ran: Ran, patterns: tuple[str, ...], kind: str) -> None:
    """Regular files with plain names, and those that the kind requires."""
    try:
        found = contents(ran.out)
    except StoreError as error:
        raise AssertionError(f"its output cannot be kept: {error}. {error.hint or ''}") from None
    assert found, "its output is empty: write the artifact into ctx.out"
    for pattern in patterns:
        assert any(ran.out.glob(pattern)), f"its output has no file matching '{pattern}', which kind '{kind}' requires"
    for name in found:
        path = ran.out / name
        assert path.is_dir() or path.stat().st_nlink == 1, (
            f"'{name}' of its output is a hard link to a file elsewhere: write a copy instead"
        )


def check_no_pickle(directory: Path) -> None:
    """Loading an artifact must not run code that came out of a cache."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            for name in _pickles(path):
                raise AssertionError(
                    f"its output holds a pickle, {path.relative_to(directory)}{name}: loading one runs code. "
                    f"Write safetensors, JSON or the format's own file"
                )


def _pickles(path: Path) -> Iterator[str]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if _is_pickle(archive.read(member)):
                    yield f" ({member.filename})"
    elif _is_pickle(path.read_bytes()):
        yield ""


def _is_pickle(data: bytes) -> bool:
    if data[:6] == b"\x93NUMPY":
        return b"'|O'" in data[:256] or b'"|O"' in data[:256]
    protocol = data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if not protocol and data[:1] not in b"(c]}":
        return False
    found = set()
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(data)):
            found.add(opcode.name)
    except Exception:  # noqa: BLE001  genops raises whatever its bytes lead to: it is no pickle
        return False
    return protocol or bool(found & _CODE_OPS)


def check_same(first: Ran, second: Ran, second_out: Path | None = None) -> None:
    """Two processes, two directories, two hash seeds, two time zones."""
    _same_files(
        first.out,
        second_out or second.out,
        "two runs of the same work gave different bytes, in processes with another hash seed, time zone, clock and "
        "directory",
        "sort what comes out of sets, take randomness from ctx.seed, write no time and no path; "
        "or say why in the record's 'nondeterministic'",
    )


def check_stateless(ran: Ran) -> None:
    """A second call in one process. A default that is changed, or a cache of the module, shows here."""
    if ran.report.mutable:
        raise AssertionError(
            f"argument '{ran.report.mutable[0]}' has a mutable default, which all calls share: use None and make it "
            f"in the function"
        )
    assert ran.again is not None
    _same_files(
        ran.again,
        ran.out,
        "a second call in the same process gave different bytes than the first",
        "keep no state in the module, and draw from a generator of your own that ctx.seed starts",
    )


def _same_files(one: Path, two: Path, message: str, hint: str) -> None:
    try:
        first, second = contents(one), contents(two)
    except StoreError as error:
        raise AssertionError(f"its output cannot be kept: {error}") from None
    if first == second:
        return
    name = next(n for n in sorted({*first, *second}) if first.get(n) != second.get(n))
    if name not in first or name not in second:
        raise AssertionError(f"{message}: only one has '{name}'. {hint}")
    for directory in (one, two):
        if str(directory.parent).encode() in (directory / name).read_bytes():
            hint = f"the file holds the path {directory.parent}, which differs in each build: write names, not paths"
    raise AssertionError(f"{message}: '{name}' differs. {hint}")


def check_covered_reads(ran: Ran) -> None:
    """What a function reads must be in its key."""
    report = ran.report
    assert not report.own_data, (
        f"it reads {report.own_data[0]}, a data file of its own package, which no key covers: an edit would serve the "
        f"old result. Put the data into a Python module"
    )
    assert not report.reads, (
        f"it reads {report.reads[0]}, which is neither an input nor declared: make it a FileRef parameter and open it "
        "with ctx.file"
    )
    assert not report.variables, (
        f"it reads the environment variable {report.variables[0]}, which its key does not cover: make it a parameter"
    )
    assert not report.connections, f"it connects to {report.connections[0]}: what it gets from there is in no key"


def check_nothing_outside(ran: Ran) -> None:
    assert ran.spoiled is None, (
        f"it changes its input {ran.spoiled}: inputs are read-only, copy what you change to ctx.out or ctx.scratch"
    )
    wrote = (*ran.report.writes, *ran.strays)
    assert not wrote, f"it writes {wrote[0]}, outside of ctx.out and ctx.scratch"
    assert not ran.report.threads, f"it leaves a thread running ({ran.report.threads[0]}): join it before you return"


def check_facts(facts: Mapping[str, Any], ran: Ran) -> None:
    assert not ran.report.not_finite, f"it returns a number that is not finite: {ran.report.not_finite[0]}"
    size = len(msgspec.json.encode(facts))
    assert size <= _LARGEST_FACTS, f"it returns {size:,} bytes of facts, of at most {_LARGEST_FACTS:,}: write a file"


def check_refusal(ran: Ran, what: str) -> None:
    """One line for the user: a UserError with a message of one line."""
    assert not ran.result.ok, f"it accepts {what}: raise compressbuild.api.UserError for what it cannot take"
    assert ran.cause == "raised", f"for {what} its process ends ({ran.cause}): {ran.error}"
    report = ran.report
    assert report.raised, f"it accepts {what}, and makes something invalid of it: {ran.error}"
    assert report.refused, (
        f"for {what} it raises {report.raised} with a traceback: raise compressbuild.api.UserError with one line that "
        f"says what is wrong, and a hint"
    )
    assert report.lines == 1, f"for {what} its message has {report.lines} lines; users see only the first: {ran.error}"
