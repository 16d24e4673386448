"""One run of ``cbuild TARGET``, and a function of the Python API: see :mod:`compressbuild.callable`."""

from ..callable import make_callable

make_callable(__name__, "compressbuild.notebook")
