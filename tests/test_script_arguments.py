"""Arguments of operators that PyTorch does not check: it would write over memory, or crash."""

import re

import pytest

from blinkcore.model_files.script_code import check_code
from blinkcore.plain_pickle import Call, Global

CODE = """class N(Module):
  groups : Final[int] = 2
  wrong : Final[int] = -1
  free : int
  name : str
  def forward(self: m.N, x: Tensor, factor: Optional[List[float]], share: float, pair: Tuple[List[float], float]) -> Tensor:
    {}
    return x
  def half(self: m.N, n: int) -> int:
    return torch.floordiv(4, n)
  def third(other: m.N, n: int) -> int:
    return torch.floordiv(4, n)
def quarter(n: int) -> int:
  return torch.floordiv(4, n)
"""


def check(*lines, **state):
    objects = [
        Call(Global("m", "N"), (), {"free": 3}),
        Call(Global("m", "N"), (), state),
    ]
    check_code({"code/m.py": CODE.format("\n    ".join(lines))}, objects)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["y = torch.im2col(x, [3], out=x)"], "gives torch.im2col an argument out"),
        (["y = torch.max(x, 1, max=x, max_values=x)"], "gives torch.max an argument max"),
        (["y = m.g(x, **z)"], "gives m.g an argument None"),
        (["y = torch.div(x, x, rounding_mode=\"trunc\")"], "rounds in an odd way"),
        (["r = \"trunc\"", "y = torch.div(x, x, rounding_mode=r)"], "rounds in an odd way"),
        (["y = torch.div(x, x, \"trunc\")"], "rounds in an odd way"),
        (["y = torch.floordiv(4, -1)"], "divides by what may be negative"),
        (["y = torch.floordiv(4, 0)"], "divides by what may be negative"),
        (["y = torch.floordiv(4)"], "divides by what may be negative"),
        (["y = torch.floordiv(4, self.wrong)"], "divides by what may be negative"),
        (["y = torch.floordiv(4, self.name)"], "divides by what may be negative"),
        (["y = torch.floordiv(4, self.none)"], "divides by what may be negative"),
        (["n = 2", "n = torch.neg(1)", "y = torch.floordiv(4, n)"], "may be negative"),
        (["y = (self).half(2)", "z = (self).third(torch.neg(1))"], "may be negative"),
        (["y = torch.remainder(4, torch.size(x, 0))"], "divides by what may be negative"),
        (["y = torch.floordiv(4, x.free)"], "divides by what may be negative"),
        (["self = x", "y = torch.floordiv(4, self.free)"], "may be negative"),
        (["t = m.quarter", "y = t(torch.neg(1))", "z = m.quarter(2)"], "may be negative"),
        (["y = torch.to(x, \"meta\", 6)"], "converts a tensor"),
        (["y = torch.to(x, device=\"meta\")"], "converts a tensor"),
        (["d = None", "d = \"meta\"", "y = torch.to(x, d)"], "converts a tensor"),
        (["y = torch.to(x, self.free)"], "converts a tensor"),
        (["y = torch._upsample_bicubic2d_aa(x, [8, 8], False, 1e-4, 1e-4)"], "resamples"),
        (["y = torch._upsample_bilinear2d_aa(x, [8, 8], False, 1e-4)"], "resamples"),
        (["y = torch._upsample_bilinear2d_aa(x, [8, 8], False, share)"], "resamples"),
        (["f = None", "f = 1e-4", "y = torch._upsample_bilinear2d_aa(x, [8], False, f)"],
         "resamples in an odd way"),
        (["factor = 3.0", "y = torch._upsample_bilinear2d_aa(x, [8], False, factor)"],
         "resamples in an odd way"),
        (["a, b = pair", "y = torch._upsample_bilinear2d_aa(x, [8], False, b)"], "resamples"),
    ],
)  # fmt: skip
def test_what_pytorch_does_not_check_is_refused(lines, said):
    if "half" not in lines[0]:
        lines = [
            *lines,
            "a = (self).half(2)",
            "b = (self).third(2)",
            "c = m.quarter(4)",
        ]
    with pytest.raises(ValueError, match=re.escape(said)):
        check(*lines)


def test_an_attribute_is_what_the_objects_say():
    line = "y = torch.floordiv(4, self.free)"
    calls = ("a = (self).half(2)", "b = (self).third(2)", "c = m.quarter(4)")
    check(line, *calls)
    check(line, *calls, free=7)
    for value in (-1, 0):
        with pytest.raises(ValueError, match="divides by what may be negative"):
            check(line, *calls, free=value)
    with pytest.raises(ValueError, match="divides by what may be negative"):
        check_code({"code/m.py": CODE.format(line)})


def test_what_networks_need_passes():
    check(
        "a = torch.floordiv(torch.size(x, 1), self.groups)", "n = 3", "b = n",
        "c = torch.floordiv(4, b)", "d = torch.floordiv(4, torch.size(x, 0))",
        "e = torch.remainder(torch.size(x, 0), 2)", "f = (self).half(self.groups)",
        "g = (self).third(n)", "h = torch.to(x, 6)", "quarter = m.quarter", "z = quarter(4)", "w = torch.to(x, x)", "k = torch.to(x, ops.prim.dtype(x))",
        "l = torch.to(x, dtype=6, device=ops.prim.device(x), copy=False)",
        'o = torch.div(x, 2, rounding_mode="floor")', "p = torch.sub(x, x, alpha=2)",
        "q = torch._upsample_bilinear2d_aa(x, [8, 8], False, factor)",
        "r = unchecked_cast(List[float], factor)", "s, t = None, r", "u = s", "u = t",
        "v = torch._upsample_bilinear2d_aa(x, None, False, u)",
    )  # fmt: skip
