"""Fuse operations that freezing TorchScript leaves separate, about a tenth of CPU time.

Intermediate results that nothing else reads are overwritten in place, and oneDNN
applies a ReLU while it writes the preceding convolution. All values stay the same
except for the last bits in small and narrow images, for which oneDNN has another
kernel.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

logger = logging.getLogger(__name__)

# Each pattern, and what takes its place. TorchScript replaces only where the values between
# the nodes of a pattern are used nowhere else, so they may be overwritten.
_CONV_RELU = (
    """graph(%x, %weight, %bias, %stride, %padding, %dilation, %groups):
  %y : Tensor = aten::conv2d(%x, %weight, %bias, %stride, %padding, %dilation, %groups)
  %result : Tensor = aten::relu(%y)
  return (%result)""",
    """graph(%x, %weight, %bias, %stride, %padding, %dilation, %groups):
  %attr : str = prim::Constant[value="relu"]()
  %scalars : Scalar?[] = prim::ListConstruct()
  %algorithm : str = prim::Constant[value=""]()
  %result : Tensor = mkldnn::_convolution_pointwise(%x, %weight, %bias, %padding, %stride,
    %dilation, %groups, %attr, %scalars, %algorithm)
  return (%result)""",
)
_ADD_TO_RELU = (
    """graph(%x, %y, %alpha):
  %positive : Tensor = aten::relu(%y)
  %result : Tensor = aten::add(%x, %positive, %alpha)
  return (%result)""",
    """graph(%x, %y, %alpha):
  %positive : Tensor = aten::relu(%y)
  %result : Tensor = aten::add_(%positive, %x, %alpha)
  return (%result)""",
)
_ADD_TO_ENLARGED = (
    """graph(%x, %y, %size, %scales, %alpha):
  %large : Tensor = aten::upsample_nearest2d(%y, %size, %scales)
  %result : Tensor = aten::add(%x, %large, %alpha)
  return (%result)""",
    """graph(%x, %y, %size, %scales, %alpha):
  %large : Tensor = aten::upsample_nearest2d(%y, %size, %scales)
  %result : Tensor = aten::add_(%large, %x, %alpha)
  return (%result)""",
)
_COMPRESS = (
    """graph(%x, %one, %alpha):
  %size : Tensor = aten::abs(%x)
  %more : Tensor = aten::add(%size, %one, %alpha)
  %factor : Tensor = aten::rsqrt(%more)
  %result : Tensor = aten::mul(%x, %factor)
  return (%result)""",
    """graph(%x, %one, %alpha):
  %size : Tensor = aten::abs(%x)
  %more : Tensor = aten::add_(%size, %one, %alpha)
  %factor : Tensor = aten::rsqrt_(%more)
  %result : Tensor = aten::mul_(%factor, %x)
  return (%result)""",
)


def fuse(network: Any, methods: tuple[str, ...]) -> None:
    """Rewrite a frozen network in place, so that it runs faster on a CPU.

    The rewriting is not part of PyTorch's public API. If a version lacks it or has
    changed it, the network stays as it is, and a warning is logged.

    Parameters
    ----------
    network : ScriptModule
        Frozen. Operations that match none of the patterns stay as they are.
    methods : tuple of str
        Names of the methods to rewrite.
    """
    # _CONV_RELU must be last: it leaves no ReLU for _ADD_TO_RELU to match.
    patterns = [_ADD_TO_RELU, _ADD_TO_ENLARGED, _COMPRESS]
    # Inductor, PyTorch's compiler, has this operator too; not on a Mac.
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        patterns.append(_CONV_RELU)
    try:
        for method in methods:
            for pattern, replacement in patterns:
                torch._C._jit_pass_custom_pattern_based_rewrite_graph(
                    pattern, replacement, getattr(network, method).graph
                )
    except (RuntimeError, AttributeError, TypeError) as error:
        logger.warning(
            "PyTorch %s cannot rewrite networks the way blinkcore expects, so they run "
            "slower: %s",
            torch.__version__, error,
        )  # fmt: skip
