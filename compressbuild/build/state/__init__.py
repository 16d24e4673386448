"""What a complete build leaves for the next one: what it looked at, and what each target came to.

If nothing has changed, the next build is a no-op (:mod:`compressbuild.noop`). If little has, only the targets that it
can reach are built again (:mod:`.part`), and for the others the report says what it said.
"""
