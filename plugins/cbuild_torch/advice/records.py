"""The checks that know how to prune."""

from collections.abc import Iterator

from compressbuild.api import Check

__all__ = ["checks"]


def checks() -> Iterator[Check]:
    yield Check(
        name="too-much-at-once",
        run="cbuild_torch.advice.pruned:too_much_at_once",
        summary="a large share pruned in one step, with no training after it, and too much quality lost",
        reference="docs/techniques/prune.gradual.md; Zhu & Gupta, To prune, or not to prune, 2017, arXiv:1710.01878",
        priority=100,
    )
    yield Check(
        name="zeros-not-faster",
        run="cbuild_torch.advice.pruned:zeros_not_faster",
        summary="zeros in dense weights, which save no time",
        reference="docs/techniques/prune.channels.md; Li et al., Pruning filters for efficient ConvNets, ICLR 2017",
        priority=40,
    )
    yield Check(
        name="pattern-without-kernels",
        run="cbuild_torch.advice.pruned:pattern_without_kernels",
        summary="N:M zeros for a runtime that has no kernels for them",
        reference="docs/techniques/prune.nm.md; Mishra et al., Accelerating sparse deep neural networks, 2021, "
        "arXiv:2104.08378",
        priority=42,
    )
