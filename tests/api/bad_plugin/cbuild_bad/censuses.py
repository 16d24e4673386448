"""Censuses of a kind, each but the first with one fault."""

import numpy as np

from compressbuild.api import Census, Macs, Weight

ROW = np.ones(3, np.float32)


def _made(weights=None, macs=None, traffic=None):
    return lambda ctx, directory: Census(
        weights=weights or (lambda: [_weight("w"), _weight("b")]),
        macs=macs or (lambda axes: Macs.of_run([("MatMul", "float", 3)])),
        traffic=traffic or (lambda axes, batch: 12),
    )


def _weight(name):
    return Weight(name=name, array=ROW, dtype="float32")


def c_type(ctx, directory):
    return {"weights": 3}


c_good = _made()
c_weights = _made(weights=lambda: ["w"])
c_twice = _made(weights=lambda: [_weight("w"), _weight("w")])
c_macs = _made(macs=lambda axes: 3)
c_traffic = _made(traffic=lambda axes, batch: 1.25 * batch if batch > 1 else 12)
