# SPDX-License-Identifier: GPL-3.0-or-later
"""A device beside the processor, on a machine that has none: its tensors hold values.

Within `elsewhere`, tensors that are asked for on torch's meta device are `Away`: torch and the
package take them for tensors of another device, but their values are kept in main memory. What a
graphics processor would refuse raises: an operation that mixes both places, and, as on Apple's,
any number of 64 bits that is no integer.
"""

import math
import sys
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

aten = torch.ops.aten
DOUBLE = (torch.float64, torch.complex128)
# What may take tensors of both places: copies, and indices from main memory.
ACROSS = {aten.copy_.default, aten._to_copy.default, aten.index.Tensor, aten.index_put_.default}
ACROSS |= {aten._index_put_impl_.default}

# Complex conjugates and negatives that torch only promises.
LAZY = {aten._conj.default, aten._neg_view.default}

_memory = ContextVar("bytes that one tensor may take", default=math.inf)


class Away(torch.Tensor):
    """Tensor on the other device."""

    @staticmethod
    def __new__(cls, here):
        if here.dtype in DOUBLE:
            raise TypeError(f"this device has no {here.dtype}")
        if here.nbytes > _memory.get():
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to take {here.nbytes}")
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device="meta",
            requires_grad=here.requires_grad,
        )

    def __init__(self, here):
        self.here = here

    def __repr__(self):
        return f"Away({self.here})"

    def __deepcopy__(self, memo):
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, requires_grad=self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol):
        raise TypeError("tensors of this device must not be pickled: another machine has none")

    def tolist(self):
        return self.here.tolist()

    def numpy(self, *_, **__):
        raise TypeError("tensors of this device must be copied to main memory first")

    def __array__(self, *_, **__):
        return self.numpy()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        _check_places(func, args, kwargs)
        with torch.inference_mode(False):  # which tensors that wrap others know nothing of
            found = func(*_here(args), **_here(kwargs))
            if func in LAZY:  # the wrapper would promise the same once more
                return cls(found.resolve_conj().resolve_neg())
            if torch.device(kwargs.get("device") or "meta").type != "meta":
                return found
            found = tree_map_only(torch.Tensor, cls, found)
            return return_and_correct_aliasing(func, args, kwargs, found)


def _here(tree):
    tree = tree_map_only(Away, lambda away: away.here, tree)
    if isinstance(tree, dict) and tree.get("device") is not None:
        return tree | {"device": torch.device("cpu")}
    return tree


def _check_places(func, args, kwargs):
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    beside = [x for x in tensors if not isinstance(x, Away) and x.ndim]
    if beside and func not in ACROSS:
        raise RuntimeError(f"{func} got tensors of two devices")


class _Operations(TorchDispatchMode):
    """What is made on the meta device is `Away`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        asked = torch.device(kwargs.get("device") or "cpu")
        tensors = tree_flatten((args, kwargs))[0]
        if any(isinstance(x, Away) for x in tensors):
            with self:  # in inference mode torch hands over what it else takes apart first
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        if asked.type != "meta":
            return func(*args, **kwargs)
        with torch.inference_mode(False):
            return tree_map_only(torch.Tensor, Away, func(*args, **_here(kwargs)))


class _Calls(TorchFunctionMode):
    """Tensors of values, which torch forgets on the meta device, are made in main memory first."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is torch.Tensor.new_tensor and isinstance(args[0], Away):
            return torch.tensor(*args[1:], **({"dtype": args[0].dtype} | kwargs)).to("meta")
        return func(*args, **kwargs)


@contextmanager
def elsewhere(memory=math.inf):
    """While it lasts, the device "meta" is that of `Away`, whose tensors take so many bytes."""
    before = _memory.set(memory)
    _forget()
    try:
        with _Operations(), _Calls():
            yield
    finally:
        _memory.reset(before)
        _forget()


def _forget():
    """Drop the tensors that the package keeps for a device: torch's own "meta" is another one."""
    for name, module in sys.modules.items():
        if name.startswith("py4dstem_rrvae."):
            for kept in vars(module).values():
                if hasattr(kept, "cache_clear"):
                    kept.cache_clear()
