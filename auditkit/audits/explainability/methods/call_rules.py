"""Which calls of torch are linear in what they are given, and which bend one number at a time.

Rules that hand attributions back layer by layer are right for these alone. A call stands here by its name
without what follows a dot, so that ``torch.relu``, ``Tensor.relu``, ``functional.relu`` and the ``relu`` of
an exported program are one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE: Final = _names(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid softsign "
    "softshrink hardshrink tanhshrink threshold tanh sigmoid softplus logsigmoid exp expm1 log log1p "
    "log2 log10 sqrt rsqrt square reciprocal abs sin cos tan sinh cosh asin acos atan asinh acosh "
    "atanh erf erfc clamp clip clamp_min clamp_max pow float_power"
)
"""One number in, one number out."""

THROUGH_ZERO: Final = _names(
    "relu relu6 leaky_relu elu selu celu gelu silu mish hardtanh hardswish softsign softshrink "
    "hardshrink tanhshrink tanh expm1 log1p sqrt square abs sin tan sinh asin atan asinh atanh erf"
)
"""Those of them that map zero to zero, so that all of what comes out belongs to what went in."""

MAX_POOLING: Final = frozenset({"max_pool1d", "max_pool2d", "max_pool3d"})

QUERIES: Final = _names(
    "dim size numel nelement stride is_contiguous is_floating_point is_complex element_size "
    "get_device ndimension __len__ zeros_like ones_like full_like empty_like new_zeros new_ones "
    "new_full new_empty new_tensor _assert is_same_size"
)
"""Of the shape or type, not of the numbers."""

_OF_SHAPE: Final = _names(
    "shape dtype device ndim is_nested requires_grad layout is_cuda is_cpu is_mps is_sparse is_leaf "
    "is_meta is_quantized is_mkldnn names itemsize nbytes grad_fn"
)

_OF_ANY: Final = _names(
    "add add_ __radd__ __iadd__ sub sub_ subtract __rsub__ __isub__ rsub neg negative positive cat "
    "concat concatenate stack hstack vstack dstack flatten unflatten reshape view view_as reshape_as "
    "_unsafe_view ravel permute transpose swapaxes swapdims movedim moveaxis t squeeze unsqueeze "
    "expand expand_as broadcast_to repeat repeat_interleave tile contiguous clone to float double "
    "half bfloat16 type type_as cpu cuda _to_copy alias select narrow slice __getitem__ index_select "
    "gather take_along_dim index chunk split split_with_sizes unbind tensor_split diagonal tril triu "
    "flip fliplr flipud roll rot90 cumsum sum nansum mean avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d pad constant_pad_nd interpolate "
    "upsample pixel_shuffle pixel_unshuffle unfold fold masked_fill where channel_shuffle"
)
"""Linear in all tensors given together, in the sense of an affine map."""

_OF_ONE: Final = _names(
    "linear conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d "
    "matmul mm bmm mv dot inner outer __matmul__ __rmatmul__ einsum tensordot mul mul_ multiply "
    "__rmul__ __imul__"
)
"""Products: linear in one factor where the others are fixed."""

_BY_FIXED: Final = _names("div div_ divide true_divide __truediv__ __itruediv__")
_ADDED_PRODUCT: Final = _names("addmm addmv addbmm baddbmm")
_DROPPING: Final = _names(
    "dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout"
)
_TRAINING_AT: Final = 2
_BATCH_TRAINING_AT: Final = 5


@dataclass(frozen=True, slots=True)
class Call:
    """One call of torch with what it is given."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Such as ``"relu"``; of an attribute its own name."""
        name = str(getattr(self.function, "__name__", self.function))
        if name == "__get__":
            name = str(getattr(getattr(self.function, "__self__", None), "__name__", name))
        return name.split(".")[0]

    @property
    def carriers(self) -> tuple[Tensor, ...]:
        """The tensors among what it is given that depend on the inputs."""
        return tuple(carriers((*self.arguments, *self.keywords.values())))

    def made(self) -> Any:
        """What it gives."""
        return self.function(*self.arguments, **self.keywords)

    def given(self, position: int, *names: str) -> Any:
        """One argument by position or name; ``None`` where it is left out."""
        if len(self.arguments) > position:
            return self.arguments[position]
        return next((self.keywords[name] for name in names if name in self.keywords), None)


def carriers(values: Any) -> Iterator[Tensor]:
    """Tensors with a gradient, in lists and tuples, too."""
    if isinstance(values, Tensor):
        if values.requires_grad:
            yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from carriers(value)


def is_query(call: Call) -> bool:
    """Whether the call reads the shape or type alone."""
    return call.name in QUERIES or call.name in _OF_SHAPE


def is_linear(call: Call) -> bool:
    """Whether the call is affine in those tensors that depend on the inputs, taken together."""
    name, carried = call.name, call.carriers
    if name in _OF_ANY or name in {"T", "mT"}:
        return True
    if name in _OF_ONE:
        return len(carried) == 1
    if name in _BY_FIXED:
        return len(carried) == 1 and carried[0] is call.arguments[0]
    if name in _ADDED_PRODUCT:
        return len(carried) == 1 or (len(carried) == 2 and carried[0] is call.arguments[0])
    if name in _DROPPING:
        return call.given(_TRAINING_AT, "training", "train") is False
    return name == "batch_norm" and not call.given(_BATCH_TRAINING_AT, "training")
