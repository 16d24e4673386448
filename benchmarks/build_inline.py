"""``cbuild`` with nodes run in its own process and no fsync: fills a cache with many trivial results in little time."""

from __future__ import annotations

import functools
import sys

from inline import InlineExecutor

from compressbuild import store
from compressbuild.build import run
from compressbuild.cli.main import main

vars(run)["LocalExecutor"] = lambda environ, **_: InlineExecutor()
vars(store)["Store"] = functools.partial(store.Store, sync=False)
sys.exit(main(sys.argv[1:]))
