"""The first program on another machine: needs Python and its standard library, fetches the agent, and becomes it.

``python -c`` runs the text of :data:`PROGRAM`. Its dialogue, in lines of JSON: it says what it is; the engine offers
bundles of code by digest, and sends those that are not there; then it says which to run.
"""

from __future__ import annotations

from .bundle import LIBRARIES

__all__ = ["MARK", "OLDEST", "PROGRAM"]

MARK = "cbuild-agent-1 "
"""What its lines begin with. What a login script prints stands before them, and is passed over."""
OLDEST = (3, 11)

_TEXT = """
import os, sys
out = os.fdopen(os.dup(1), "wb", 0)
os.dup2(2, 1)
def say(**what):
    import json
    out.write(MARK + json.dumps(what).encode() + b"\\n")
version = sys.version_info[:2]
if version < OLDEST:
    say(python=list(version))
    sys.exit(0)
import hashlib, importlib.util, json, shutil, sysconfig, tempfile, zlib
tag = "-".join((sys.implementation.cache_tag, sysconfig.get_platform(), sysconfig.get_config_var("SOABI") or ""))
lacks = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
said = os.fdopen(0, "rb", 0)
def line():
    text = b""
    while not text.endswith(b"\\n"):
        char = said.read(1)
        if not char:
            sys.exit(0)
        text += char
    return json.loads(text)
def exactly(size):
    parts = []
    while size:
        part = said.read(min(size, 1 << 20))
        if not part:
            sys.exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
def sound(place, digest):
    try:
        with open(os.path.join(place, ".index"), "rb") as file:
            index = file.read()
        found = hashlib.sha256(index)
        for path, size in json.loads(index):
            with open(os.path.join(place, path), "rb") as file:
                found.update(file.read())
    except (OSError, ValueError):
        return False
    return found.hexdigest() == digest
def unpack(data, place):
    index, _, rest = data.partition(b"\\n")
    parent = os.path.dirname(place)
    made = tempfile.mkdtemp(prefix=".new-", dir=parent)
    at = 0
    for path, size in json.loads(index):
        full = os.path.join(made, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(rest[at : at + size])
        at += size
    with open(os.path.join(made, ".index"), "wb") as file:
        file.write(index)
    if os.path.lexists(place):
        os.rename(place, os.path.join(tempfile.mkdtemp(prefix=".old-", dir=parent), "was"))
    try:
        os.rename(made, place)
    except OSError:
        if not sound(place, os.path.basename(place)):
            raise
        shutil.rmtree(made, ignore_errors=True)  # another agent was as fast
    for name in os.listdir(parent):
        if name.startswith(".old-"):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
say(python=list(version), tag=tag, lacks=lacks)
asked = line()
base = asked["directory"] or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "cbuild-agent")
base = os.path.abspath(os.path.expanduser(base))
os.umask(0o077)
code = []
try:
    os.makedirs(os.path.join(base, "code"), exist_ok=True)
    for bundle in asked["bundles"]:
        place = os.path.join(base, "code", bundle["digest"])
        have = sound(place, bundle["digest"])
        say(have=have)
        if not have:
            unpack(zlib.decompress(exactly(line()["size"])), place)
            if not sound(place, bundle["digest"]):
                raise OSError("the code did not arrive as it was sent")
        os.utime(place)
        code.append(place)
except (OSError, zlib.error) as error:
    say(trouble="%s cannot hold the agent: %s" % (base, error))
    sys.exit(0)
say(trouble="")
sys.dont_write_bytecode = True
sys.path[:0] = code
from compressbuild.agent.serve import main
main(said, out, base, code)
"""
PROGRAM = f"MARK, OLDEST, LIBRARIES = {MARK.encode()!r}, {OLDEST!r}, {LIBRARIES!r}\n{_TEXT}"
