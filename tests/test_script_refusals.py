"""Why the code of a model file is refused, with which sentence, and where each limit lies."""

import ast
import hashlib

import pytest
import torch

from blinkcore.model_files.script_code import OPERATORS, check_code, check_purpose
from blinkcore.model_files.script_work import assigned, check_work

LONG = r"its code has a loop that may run for long \(m\.py\)"
G = "def g(x: Tensor) -> Tensor:\n  return x\n"
_IN_LOOPS = (
    "append add sub mul floordiv size floor ceil dim len eq ne lt le gt ge __is__ __isnot__ "
    "__derive_index slice format"
)
IN_LOOPS = frozenset(_IN_LOOPS.split())


TEXTS, SUMS, NESTED = "makes texts of texts", "adds lists or texts", "nests lists"
GROWING = """  sizes : List[int]
  def both(self: m.N, x: Tensor) -> Tuple[Tensor, List[int]]:
    return (x, torch.size(x))
def h(x: Tensor) -> List[int]:
  return torch.size(x)
"""


def check(*lines, more=""):
    """Check a method of these lines, beside the function `g` and further methods."""
    body = "".join(f"    {line}\n" for line in (*lines, "return x"))
    head = "class N(Module):\n  part : m.N\n  def forward(self: m.N, x: Tensor) -> Tensor:\n"
    check_code({"code/m.py": f"{G}{head}{body}{more}"})


def refused(sentence):
    return pytest.raises(ValueError, match=f"^{sentence}$")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("while x:\n      pass", "a loop without a bound"), ("import os", "an import"),
        ("from os import path", "a ImportFrom"), ("y = lambda: x", "a Lambda"),
        ("y = [z for z in x]", "a ListComp"), ("y = x + x", "a BinOp"), ("del x", "a Delete"),
        ("x += 1", "a AugAssign"), ("y = not x", "a Not"), ("y = x[1:2]", "a Slice"),
        ("assert x", "a Assert"), ("raise x", "a Raise"),
    ],
)  # fmt: skip
def test_other_kinds_of_code_are_named(line, kind):
    with refused(rf"its code uses {kind} \(m\.py\)"):
        check(line)


def test_the_kinds_of_code_that_networks_have_pass():
    check(
        "y, z = x, -1", "w : List[int] = [1, 2]", 'd = {"a": 1.5, "b": None}',
        "if torch.gt(z, 0):", "  y = torch.sub(y, w[0], alpha=2)", "else:", "  pass",
        "_0 = (self.part).more(y, )", more="  def more(self: m.N, x: Tensor) -> Tensor:\n    return x\n",
    )  # fmt: skip
    for text in ("def f(:", "(" * 1000):
        with refused(r"its code a/n\.py is damaged"):
            check_code({"code/m.py": "\n", "code/a/n.py": text})


def test_operators_are_those_of_pytorch_and_were_looked_at():
    """A new one may neither touch files nor make large tensors; then change the digest."""
    known = torch._C._jit_get_schemas_for_operator
    unknown = {name for name in OPERATORS if not known(f"aten::{name}")}
    assert unknown <= {"_upsample_lanczos2d_aa"}  # newer than the oldest PyTorch
    names = " ".join(sorted(OPERATORS))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "45353963b6831f28"
    more = {"floordiv": ", 2", "remainder": ", 2"}
    more |= dict.fromkeys(
        [n for n in OPERATORS if n.endswith("_aa")], ", [8, 8], False, None"
    )
    check(*(f"_0 = torch.{name}(x{more.get(name, '')})" for name in OPERATORS))


NEEDED = (
    "ops.prim.dtype ops.prim.device ops.prim.layout ops.prim.RaiseException ops.prim.unchecked_unwrap_optional "
    "ops.prim.NumToTensor annotate unchecked_cast uninitialized getattr int float bool "
    "__torch__.m.g"
)
NOT_NEEDED = (
    "torch.save torch.load torch.from_file torch.ones torch.arange torch.tensor torch.cumsum "
    "torch.set_ torch.as_strided torch.resize_ torch.prim ops.prim.Print ops.prim.relu "
    "ops.aten.relu ops.relu ops.image.read_file open eval x __torch__.torch.classes.quantized.C"
)


def test_calls_that_no_network_needs_are_named():
    text = G + "def f(x: Tensor) -> Tensor:\n  _0 = {}(x)\n  return x\n"
    for name in NEEDED.split():
        cast = name in ("annotate", "unchecked_cast", "uninitialized")
        line = text.replace("{}(x)", "{}(List[Tensor], x)") if cast else text
        check_code({"code/__torch__/m.py": line.format(name)})
    for name in NOT_NEEDED.split():
        with refused(
            rf"its code calls {name}, which no network needs \(__torch__/m\.py\)"
        ):
            check_code({"code/__torch__/m.py": text.format(name)})
    check("f = m.g", "_0 = f(x)")
    for value in ("x", "__torch__x.g", "m.N", "m.g(x).cumsum", "m.g.cumsum"):
        with refused("its code calls f, which is not in it"):
            check("f = m.g", f"f = {value}", "_0 = f(x)")
    for value in (
        "torch.save",
        "__torch__.m.g(x).cumsum",
        "__torch__.n.g",
        "__torch__.N.__new__",
    ):
        with refused(rf"its code hands {value.partition('.')[0]} on \(m\.py\)"):
            check("f = m.g", f"f = {value}", "_0 = f(x)")


def test_methods_that_run_by_themselves_are_refused():
    method = "  def {}(self: m.N) -> int:\n    return 1\n"
    for name in ("__len__", "__contains__", "__private", "plain__"):
        check(more=method.format(name))
    for name in ("__init__", "__setstate__", "__getattr__", "__add__"):
        with refused(rf"its code has a method {name}, which runs by itself \(m\.py\)"):
            check(more=method.format(name))


@pytest.mark.parametrize(
    ("sentence", "lines"),
    [
        (TEXTS, ['_0 = torch.format("{}", torch.format("{}", 1))']),
        (TEXTS, ['a = torch.format("", 1)', '_0 = torch.format("{}", a)']),
        (TEXTS, ['a = torch.format("", 1)', "b : str = a", "c = b", "_0 = m.g(c)"]),
        (TEXTS, ['a = torch.format("", 1)', "_0 = [a]"]),
        (TEXTS, ['return torch.format("", 1)']),
        ("repeats a list", ["_0 = torch.mul([1], 9)"]),
        ("repeats a list", ["_0 = torch.mul(9, [1])"]),
        ("repeats a list", ["a = 1", "a = [1]", "_0 = torch.mul(a, 9)"]),
        ("repeats a list", ["_0 = torch.mul(torch.size(x), 9)"]),
        (SUMS, ["a = [1]", "b = torch.add(a, a)", "c = torch.add(b, b)"]),
        (SUMS, ["a = torch.size(x)", "b = torch.add(a, torch.slice(a, 1))"]),
        (SUMS, ["a = annotate(List[int], b)", "c = torch.add_(a, a)"]),
        (SUMS, ["_0 = torch.add(self.sizes, getattr(self, 'sizes'))"]),
        (SUMS, ["_0 = torch.add(m.h(x), m.h(x))"]),
        (SUMS, ["f = m.h", "_0 = torch.add(f(x), f(x))"]),
        (SUMS, ["a, b = (self).both(x)", "_0 = torch.add(b, b)"]),
        (SUMS, ["a = [[1]]", "b = torch.pop(a)", "c = a[0]", "_0 = torch.add(b, c)"]),
        (SUMS, ["c = b", "b = a", "a = torch.size(x)", "_0 = torch.add(c, c)"]),
        (SUMS, ['a = "text"', "_0 = torch.add(a, a)"]),
        (SUMS, ["a = ops.prim.unchecked_unwrap_optional(torch.size(x))", "_0 = torch.add(a, a)"]),
        (NESTED, ["a = [1]", "b = [a]", "c = [b]", "d = [c]"]),
        (NESTED, ["a = (((1, 2), 3), (4, (5, (6,))))"]),
        (NESTED, ["a = (1, 2)", "b = (a, a)", "c = (b, b)", "d = (c, c)"]),
        (NESTED, ["a = [1]", f"b = [{'a, ' * 17}]"]),
        (NESTED, ["a = annotate(List[List[List[List[int]]]], [])"]),
        (NESTED, ["a = [[1]]", "b = torch.append(a, [2])"]),
    ],
)  # fmt: skip
def test_values_that_grow_are_refused(sentence, lines):
    with refused(rf"its code {sentence} \(m\.N\.forward\)"):
        check(*lines, more=GROWING)


@pytest.mark.parametrize(
    "lines",
    [
        ["a0 = (1, 1)", *(f"a{n + 1} = (a{n}, a{n})" for n in range(60))],
        ["a = (1, 1)", f"b = ({'a, ' * 17})"],
    ],
)
def test_tuples_that_double_with_each_line_are_refused_at_once(lines):
    """Counting their parts would take as many steps as they have."""
    with pytest.raises(ValueError, match=NESTED):
        check(*lines)


def test_lists_and_texts_of_networks_pass():
    check(
        'a = torch.format("{}", x)', '_0 = torch.format("{}", 1)', "torch.warn(a)",
        'b = torch.add(torch.format("{}", 1), " px")',
        'ops.prim.RaiseException(b, "builtins.ValueError")',
        "levels = annotate(List[Tensor], [])", "_1 = torch.append(levels, x)",
        "size = torch.add(torch.slice(torch.size(x), None, 2), [1, 2])",
        "n = annotate(List[int], [])", "_2 = torch.append(n, torch.size(x, 1))",
        "y, z = (self).both(x)", "w = torch.add(y, torch.cat([x, y]))",
        "v = torch.mul(x, size[0])", f"u = torch.cat([{'x, ' * 40}])",
        more=GROWING,
    )  # fmt: skip
    with pytest.raises(ValueError, match="nested too deep"):
        check(*[f"a{n + 1} = a{n}" for n in reversed(range(200))], "a0 = [1]")


@pytest.mark.parametrize(
    ("lines", "shorter", "longer"),
    [
        ([], "64", "65"), ([], "1", "-1"), ([], "1", "1.5"), ([], "1", '"a"'), ([], "1", "1, 2"),
        ([], "torch.dim(x)", "torch.numel(x)"), ([], "torch.len(x)", "torch.add(1, 2)"),
        ([], "torch.sub(64, 65)", "torch.sub(65, 2)"), ([], "torch.sub(64, 0)", "torch.sub(65, 0)"), ([], "torch.dim(x)", "x[0]"),
        ([], "torch.__range_length(65, 64, 65)", "torch.__range_length(0, 65, 1)"),
        (["n = 3", "n = torch.dim(x)", "k = 3", "k = torch.numel(x)"], "n", "k"),
        (["n, k = 64, 65"], "n", "k"), (["n = 64"], "n", "k"),
        (["a = 64", "b = a", "c = b", "d = c", "e = 65", "f = e", "g = f"], "d", "g"),
        (["a = 3", "a = b", "b = a", "c = b", "c = torch.numel(x)"], "b", "c"),
        (["b = torch.sub(3, 0)", "c = torch.sub(b, 0)", "d = torch.sub(c, 0)", "e = torch.numel(x)", "e = d"], "d", "e"),
    ],
)  # fmt: skip
def test_a_loop_has_few_turns(lines, shorter, longer):
    check(*lines, f"for i in range({shorter}):", "  y = torch.add(i, 1)")
    with refused(LONG):
        check(*lines, f"for i in range({longer}):", "  y = torch.add(i, 1)")


def test_a_loop_computes_sizes():
    for name in IN_LOOPS:
        more = ", 2" if name == "floordiv" else ""
        check(
            "for i in range(torch.dim(x)):",
            "  if i:",
            f"    _0 = torch.{name}(i{more})",
        )
    for name in ("int", "float", "unchecked_cast", "ops.prim.RaiseException"):
        given = "Optional[int], i" if name == "unchecked_cast" else "i"
        check("for i in range(torch.len(x)):", f"  _0 = {name}({given})")
    for name in (*(f"torch.{name}" for name in OPERATORS - IN_LOOPS), "bool", "(x).g"):
        with refused(LONG):
            check("for i in range(2):", "  if i:", f"    _0 = {name}(i)")
    for first, second in (
        ("x", "pass"), ("torch.len(x)", "pass"), ("torch.cat(3)", "pass"),
        ("range(2)", "for j in range(2): pass"), ("range(torch.len(x))", "torch.append(x, 1)"),
    ):  # fmt: skip
        with refused(LONG):
            check(f"for i in {first}:", f"  {second}")


def test_a_parameter_has_the_values_that_the_function_is_called_with():
    method = "  def turn(self: m.N, x: Tensor, k: int, l: int) -> Tensor:\n    "
    method += "for n in range(k):\n      pass\n    return x\n"
    check(
        "_0 = (self).turn(x, 64, 65)",
        "_0 = (self).turn(x, torch.dim(x), 3)",
        more=method,
    )
    for calls in (["x, 65, 3"], ["x, 64, 3", "x, 65, 3"], ["x"], []):
        with refused(LONG):
            check(*(f"_0 = (self).turn({values})" for values in calls), more=method)


def test_each_convolution_makes_a_network():
    kinds = "conv1d conv2d conv3d conv_transpose2d _convolution _convolution_mode"
    for name in kinds.split():
        check_purpose({"code/a.py": "\n", "code/b.py": f"y = torch.{name}(x)"})
        for other in (f"torch.{name}s(x)", f"self.{name}(x)", f"torch.{name}"):
            with refused(
                "its code has no convolution, so it is not a network for images"
            ):
                check_purpose({"code/a.py": other})


def work(*lines, n=1):
    """Check the work of a method of these lines, where `big` and `run` are n calls."""
    hundreds, rest = divmod(n - 1, 100)
    lines_of_big = ["_0 = __torch__.m.hundred(x)"] * hundreds + [
        "_0 = torch.neg(x)"
    ] * rest

    def function(name, parameters, body, indent=""):
        body = "".join(f"{indent}  {line}\n" for line in (*body, "return x"))
        return f"{indent}def {name}({parameters}):\n{body}"

    text = (
        function("hundred", "x", ["_0 = torch.neg(x)"] * 99)
        + function("big", "x", lines_of_big)
        + function("g", "x", [])
        + "class P(Module):\n  inner : __torch__.m.P\n"
        + function("run", "self, x", lines_of_big, "  ")
        + 'class N(Module):\n  __annotations__["0"] = __torch__.m.P\n'
        + "  part : __torch__.m.P\n"
        + function("forward", "self, x, p: __torch__.m.P", lines, "  ")
    )
    check_work({"__torch__.m": ast.parse(text)})


@pytest.mark.parametrize(
    "lines",
    [
        ["_0 = __torch__.m.big(x)"], ["_0 = (self.part).run(x)"], ["_0 = (p).run(x)"],
        ["_0 = (self.part.inner.inner).run(x)"], ["q = self.part", "_0 = (q).run(x)"],
        ["q, r = self.part, x", "_0 = (q).run(x)"], ["f = __torch__.m.big", "_0 = f(x)"],
        ["f = __torch__.m.big", "f = __torch__.m.g", "_0 = f(x)"],
        ["q = self.part", "q = self.part.inner", "_0 = (q).run(x)"],
        ["if x:", "  _0 = (self.part).run(x)"],
    ],
)  # fmt: skip
def test_all_calls_of_a_run_count(lines):
    work(*lines, n=49_999)
    with refused(r"its code would run for too long \(forward\)"):
        work(*lines, n=50_000)
    work(*lines, "_0 = torch.neg(x)", n=49_998)
    for more in ("torch.neg(x)", "int(x)"):
        with refused(r"its code would run for too long \(forward\)"):
            work(*lines, f"_0 = {more}", n=49_999)


def test_parts_with_numbers_for_names_are_followed():
    lines = ['q = getattr(self, "0")', "_0 = (q).run(x)"]  # getattr is a call itself
    work(*lines, n=49_998)
    with refused(r"its code would run for too long \(forward\)"):
        work(*lines, n=49_999)
    with refused(r"its code would run for too long \(run\)"):
        work(n=50_001)


def test_code_that_calls_itself_or_is_nested_deeply_is_named():
    with refused("its code calls forward from within forward"):
        work("_0 = (self).forward(x)")
    loop = "".join(f"def {a}(x):\n  return m.{b}(x)\n" for a, b in ("fg", "gh", "hf"))
    with refused(r"its code calls m\.f from within m\.f"):
        check_work({"m": ast.parse(loop)})
    chain = ["q0 = self.part", *(f"q{i} = q{i - 1}" for i in range(1, 50))]
    work(*chain, "_0 = (q48).run(x)")
    with refused("its code is nested too deep"):
        work(*chain, "_0 = (q49).run(x)")


def test_names_are_what_they_are_set_to():
    text = "def f():\n  a = b = 1\n  c, d = 2, 3\n  e, g = h\n  a.i = 4\n  a = 5\n"
    known = assigned(ast.parse(text).body[0])
    found = {name: [*map(ast.unparse, values)] for name, values in known.items()}
    assert found == {
        "a": ["1", "5"],
        "b": ["1"],
        "c": ["2"],
        "d": ["3"],
        "e": ["h"],
        "g": ["h"],
    }


def test_names_that_are_nested_deeply_are_refused():
    with refused("its code is nested too deep"):
        check(f"y = torch{'.a' * 700}(x)")
    with refused("its code is nested too deep"):
        check(more=f"  n : a{'.a' * 700}\n")
