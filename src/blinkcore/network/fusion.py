"""What freezing TorchScript leaves undone on a CPU: about a tenth of a network's time.

Results that nobody else reads are overwritten instead of put beside themselves, and oneDNN
applies a ReLU as it writes the convolution before it. All values stay the same but for the
last bits of small and narrow images, for which oneDNN has another kernel.
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
    """Rewrite a frozen network for a CPU, in place; without it all is right, but slower.

    The rewriting is not a public part of PyTorch. Where a version does not have it, or not
    so, the network stays as it is, and the log says so.

    Parameters
    ----------
    network : ScriptModule
        Frozen. What is not as in `blinkcore.network.networks` stays.
    methods : tuple of str
        To rewrite.
    """
    # In order: the last one leaves no ReLU for the first to find.
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
            "PyTorch %s does not rewrite networks as blinkcore knows it, so they run "
            "slower: %s",
            torch.__version__, error,
        )  # fmt: skip
