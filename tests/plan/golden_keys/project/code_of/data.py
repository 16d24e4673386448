from . import helper


def load(z, a, m):
    return [z, *a, f"{helper.scale(m)!s:>8}"]
