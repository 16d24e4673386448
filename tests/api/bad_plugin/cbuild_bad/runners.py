"""Runners with one fault each: y = 2·x."""

import itertools

import numpy as np

from compressbuild.api import ModelInput, UserError


class Good:
    inputs = (ModelInput("x", ("batch", 3), "float32"),)

    def __call__(self, feeds):
        x = feeds.get("x")
        if x is None or x.dtype != np.float32 or x.ndim != 2 or x.shape[1] != 3:
            raise UserError("x: float32 [batch, 3] is wanted")
        return {"y": 2 * x}

    def describe(self):
        return {"provider": "numpy"}


class AnyFeeds(Good):
    def __call__(self, feeds):
        return {"y": 2 * np.asarray(feeds.get("x", 0), np.float32)}


class Mute(Good):
    describe = None


class Reuses(Good):
    buffer = np.zeros((64, 3), np.float32)

    def __call__(self, feeds):
        found = super().__call__(feeds)["y"]
        self.buffer[: len(found)] = found
        return {"y": self.buffer[: len(found)]}


class NoInputs(Good):
    inputs = [("x", ("batch", 3))]


class UnnamedAxis(Good):
    inputs = (ModelInput("x", (-1, 3), "float32"),)


class Pairs(Good):
    inputs = {"x": (("batch", 3), "float32")}


class SameNames(Good):
    inputs = (*Good.inputs, *Good.inputs)


class ChangesFeeds(Good):
    def __call__(self, feeds):
        found = super().__call__(feeds)
        feeds["x"] += 1
        return found


class Drifts(Good):
    calls = itertools.count()

    def __call__(self, feeds):
        return {"y": super().__call__(feeds)["y"] + next(self.calls)}


class Lists(Good):
    def __call__(self, feeds):
        return {"y": super().__call__(feeds)["y"].tolist()}


def _loader(runner):
    def load(ctx, path, settings):
        return runner()

    return load


r_good, r_any_feeds, r_mute, r_reuses = map(_loader, (Good, AnyFeeds, Mute, Reuses))
r_no_inputs, r_unnamed_axis, r_changes_feeds = map(_loader, (NoInputs, UnnamedAxis, ChangesFeeds))
r_drifts, r_lists, r_pairs, r_same_names = map(_loader, (Drifts, Lists, Pairs, SameNames))
