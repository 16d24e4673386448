"""Where layers' channels go, through every operation of a model, whether it has a gradient or not.

torch-pruning follows gradients, and takes an operation that it does not know for one on each channel by itself. So one
run of the model is watched, to find the layers whose widths the code depends on: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

__all__ = ["Flow", "Source"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRODUCTS = _names(
    "matmul __matmul__ __rmatmul__ mm bmm baddbmm einsum tensordot inner scaled_dot_product_attention addmm addbmm "
    "linear bilinear conv1d conv2d conv3d grouped_mm _grouped_mm dot mv addmv outer"
)
_MOVES = _names(
    "view reshape flatten unflatten view_as reshape_as permute transpose swapaxes swapdims movedim moveaxis t adjoint "
    "unsqueeze squeeze chunk split split_with_sizes tensor_split hsplit vsplit dsplit unbind narrow select __getitem__ "
    "index_select roll flip unsafe_chunk "
    "unsafe_split unfold diagonal repeat tile repeat_interleave __get__"
)
_VIEWS = _names("view reshape flatten view_as reshape_as")  # after which a channel may fill a run of places
_SHAPES_ONLY = _names(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full "
    "new_tensor new_empty_strided"
)
_NORMS = _names("batch_norm instance_norm layer_norm group_norm rms_norm")
_BLENDS = _names(
    "softmax log_softmax normalize norm vector_norm var std mean sum logsumexp cumsum local_response_norm glu "
    "cosine_similarity cdist instance_norm"
)
_READS = _names("item tolist numpy __array__")
_WRITES = _names("__setitem__ copy_ index_put_ index_copy_ scatter_ masked_scatter_ slice_scatter")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor comes from.

    ``layers``: the last ones with weights before it. ``axis``: of their channels, from the end, if known; each channel
    fills ``run`` places of it. ``stays``: its width cannot change. ``mixed``: a product of two tensors. ``chosen``:
    numbers that stand for channels or positions. ``cut``: the operation that ended its gradient.
    """

    layers: frozenset[nn.Module] = frozenset()
    axis: int | None = None
    run: int = 1
    stays: bool = False
    mixed: bool = False
    chosen: bool = False
    cut: str = ""

    def channels(self, value: Tensor) -> int:
        if self.axis is None or -self.axis > value.dim():
            return 0
        return int(value.shape[self.axis]) // self.run


@dataclass
class Flow(TorchFunctionMode):
    """Use as a context around one run with gradients. ``kept``: layer → why its width has to stay.
    ``blended``: layers whose channels are counted or averaged, so that zeros are not as if they were not there."""

    module: nn.Module
    layers: Collection[nn.Module]
    kept: dict[nn.Module, str] = field(default_factory=dict)
    blended: set[nn.Module] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self._sources: dict[int, tuple[Tensor, Source]] = {}  # the tensors stay alive, so no id is used twice
        self._hooks: list[Any] = []
        self._inside = 0  # a layer, whose own operations do not count

    def __enter__(self) -> Flow:
        for layer in self.module.modules():
            if layer in self.layers or isinstance(layer, nn.Embedding | nn.MultiheadAttention):
                self._hooks.append(layer.register_forward_pre_hook(self._entered))
                self._hooks.append(layer.register_forward_hook(self._layer, always_call=True))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def of(self, value: Any) -> Source | None:
        """Where a tensor of the run comes from; None if no layer with weights is behind it."""
        entry = self._sources.get(id(value))
        return entry[1] if entry else None

    def keep(self, layers: Iterable[nn.Module], why: str) -> None:
        for layer in layers:
            self.kept.setdefault(layer, why)

    def _entered(self, *_: Any) -> None:
        self._inside += 1

    def _layer(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        """A layer's output has its own channels, wherever its input came from."""
        self._inside -= 1
        axis = -(len(layer.kernel_size) + 1) if isinstance(layer, _ConvNd) else -1
        own = frozenset((layer,)) if layer in self.layers else frozenset()
        for value in _tensors(inputs):
            source = self.of(value)
            if source is None:
                continue
            if source.mixed:
                self.keep(own, "it takes the result of attention, or of another product of activations")
            if own and source.axis not in (None, axis) and source.channels(value) > 1:
                self.keep(own | source.layers, "a layer works along an axis other than the channels")
        for value in _tensors(output):
            cut = "" if value.requires_grad else "no_grad"
            self._sources[id(value)] = (value, Source(own, axis, cut=cut))

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if self._inside or getattr(function, "__name__", "") in _SHAPES_ONLY:
            return result
        given = [(value, source) for value in _tensors((args, kwargs)) if (source := self.of(value)) is not None]
        if given:
            self._follow(function, args, kwargs, given, result)
        return result

    def _follow(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: list[tuple[Tensor, Source]],
        result: Any,
    ) -> None:
        name = getattr(function, "__name__", "")
        layers = frozenset().union(*(source.layers for _, source in given))
        made = list(_tensors(result))
        self._blend(name, given, made)
        if name in _READS or name in _WRITES:
            does = "turns them into plain numbers" if name in _READS else "writes them into a tensor of fixed size"
            self.keep(layers, f"{name} {does}")
        for _, source in given:
            if source.chosen and made:
                self.keep(source.layers, "which of its channels are largest decides what the model does")
        if name in _WRITES:
            made = [args[0], *made]
        if not made:
            return
        source = self._joined(name, args, kwargs, given, layers)
        for value in made:
            self._sources[id(value)] = (value, self._made(name, value, source, given))
        if name in _MOVES:
            self._moved(function, args, kwargs, given[0], made)

    def _blend(self, name: str, given: list[tuple[Tensor, Source]], made: list[Tensor]) -> None:
        for value, source in given:
            count = source.channels(value)
            gone = (each.dim() < -(source.axis or 0) or each.shape[source.axis] == 1 for each in made)
            if count > 1 and (name in _BLENDS or (name not in _MOVES and any(gone))):
                self.blended |= source.layers

    def _joined(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: list[tuple[Tensor, Source]],
        layers: frozenset[nn.Module],
    ) -> Source:
        """The source of what an operation makes of these, and the layers that it keeps from being pruned."""
        value, first = max(given, key=lambda each: (each[1].channels(each[0]), each[0].dim()))
        source = replace(
            first,
            layers=layers,
            stays=any(each.stays for _, each in given),
            mixed=any(each.mixed for _, each in given),
            cut=next((each.cut for _, each in given if each.cut), ""),
            chosen=False,
        )
        if name in _PRODUCTS:
            matrices = sum(each.dim() > 1 for each in _tensors((args, kwargs)))
            self.keep(layers, "its outputs are multiplied by a matrix that is not a layer's weight, as in attention")
            return replace(source, axis=None, mixed=matrices > 1)
        if name in ("cat", "concat", "concatenate"):
            return self._concatenated(args, kwargs, given, source)
        if name in ("pad", "_pad", "constant_pad_nd"):
            return self._padded(args, kwargs, value, source)
        if name in ("stack", "hstack", "vstack"):
            return replace(source, axis=None)
        fixed = name not in _NORMS and any(self._constant(other, value, source) for other in _tensors((args, kwargs)))
        if fixed and name not in _MOVES:
            self.keep(layers, f"{name} joins its outputs with a tensor of fixed width")
            source = replace(source, stays=True)
        if source.stays:
            self.keep(layers, "it is joined with a tensor whose width is fixed")
        return source

    def _constant(self, other: Tensor, value: Tensor, source: Source) -> bool:
        """Whether another operand has as many channels, which no layer makes: a buffer, or an input of the model."""
        made = self.of(other) is not None or other.requires_grad or not other.is_floating_point()
        if made or source.axis is None or -source.axis > min(value.dim(), other.dim()):
            return False
        return 1 < value.shape[source.axis] == other.shape[source.axis]

    def _concatenated(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[tuple[Tensor, Source]], source: Source
    ) -> Source:
        parts = list(_tensors(args[:1] or (kwargs.get("tensors", ()),)))
        dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
        dim = dim if dim < 0 else dim - parts[0].dim()
        if dim != source.axis:
            return source
        strange = [self.of(part) is None for part in parts]
        if source.stays or (any(strange) and strange != [False] + [True] * (len(parts) - 1)):
            self.keep(source.layers, "its outputs are concatenated with a tensor of fixed width")
        return replace(source, run=1)

    def _padded(self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor, source: Source) -> Source:
        widths = kwargs.get("pad", args[1] if len(args) > 1 else ())
        last = -2 * (source.axis or 0)  # pairs count from the last axis
        if source.axis is None or not any(widths[last - 2 : last]):
            return source
        self.keep(source.layers, "its outputs are padded to a fixed number of channels")
        return replace(source, stays=True)

    def _made(self, name: str, value: Tensor, source: Source, given: list[tuple[Tensor, Source]]) -> Source:
        """The source of one result: where its channels are, and whether it has a gradient."""
        integers = not value.is_floating_point() and value.dtype != torch.bool
        chosen = integers and any(each.is_floating_point() or other.chosen for each, other in given)
        cut = source.cut
        if not cut and not value.requires_grad and any(each.requires_grad for each, _ in given):
            cut = name if torch.is_grad_enabled() else "no_grad"
        return replace(source, axis=self._axis(value, source, given), chosen=chosen, cut=cut)

    @staticmethod
    def _axis(value: Tensor, source: Source, given: list[tuple[Tensor, Source]]) -> int | None:
        """Elementwise operations, pooling and the like leave the axis where it is, unless they take others away."""
        if source.axis is None:
            return None
        before = next(each for each, other in given if other.axis == source.axis)
        size = before.shape[source.axis]
        if value.dim() >= before.dim():
            return source.axis
        places = [at for at in range(-value.dim(), 0) if value.shape[at] == size]
        if len(places) > 1:  # the first as it was counted from the front
            front = before.dim() + source.axis - value.dim()
            return front if front in places else places[0]
        return places[0] if places else None

    def _moved(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: tuple[Tensor, Source],
        made: list[Tensor],
    ) -> None:
        """What moves elements is done to the channels' numbers too, which show where they went."""
        value, source = given
        if source.axis is None or value is not (args[0] if args else None) or value.is_complex():
            return
        count = source.channels(value)
        shape = [1] * value.dim()
        shape[source.axis] = -1
        numbers = (torch.arange(value.shape[source.axis]) // source.run).view(shape).expand(value.shape).contiguous()
        with torch.no_grad():
            results = list(_tensors(function(numbers, *args[1:], **kwargs)))
        for each, moved in zip(made, results, strict=True):
            place = _place(moved, count) if count else None
            if place is not None and place[1] != source.run and function.__name__ not in _VIEWS:
                place = None
            known = self._sources[id(each)][1]
            if place is None:
                self.keep(source.layers, f"{function.__name__} divides or rearranges its channels")
                self._sources[id(each)] = (each, replace(known, axis=None, stays=True))
            else:
                self._sources[id(each)] = (each, replace(known, axis=place[0], run=place[1]))


def _place(numbers: Tensor, count: int) -> tuple[int, int] | None:
    """The axis along which all channels stand in order, each in a run of places; None if no axis has that."""
    for axis in range(-numbers.dim(), 0):
        size = int(numbers.shape[axis])
        if size == 0 or size % count:
            continue
        line = numbers.movedim(axis, -1).reshape(-1, size)
        if bool((line == torch.arange(size) // (size // count)).all()):
            return axis, size // count
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
