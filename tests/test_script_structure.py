"""Networks are all that a model's code may define; objects are of their declared types."""

import ast

import pytest

from blinkcore.model_files.script_code import check_code
from blinkcore.model_files.script_types import check_types
from blinkcore.plain_pickle import Call, Global

METHOD = "  def run(self: m.N, x: Tensor) -> Tensor:\n    {}\n    return x\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = g()\n", "calls a function outside of any"),
        ("class N(Module):\n  x : int = g()\n", "calls a function outside of any"),
        ("class N(g()):\n  pass\n", "calls a function outside of any"),
        ("def f(x=g()):\n  return x\n", "calls a function outside of any"),
        ("x = 1\n", "has more than networks in it"),
        ("class N:\n  pass\n", "its class N is not a network"),
        ("class N(Interface):\n  pass\n", "its class N is not a network"),
        ("class N(Module, Enum):\n  pass\n", "its class N is not a network"),
        ("class N(Module, a=Enum):\n  pass\n", "its class N is not a network"),
        ("class N(Module):\n  x = 1\n", "its class N is not a network"),
        ("class N(Module):\n  x.y : int\n", "its code sets x.y"),
        ("class N(Module):\n  x : int\n  x : Tensor\n", "defines x twice"),
        ("class N(Module):\n  pass\nclass N(Module):\n  pass\n", "defines N twice"),
        ('class N(Module):\n  x : int\n  __annotations__["x"] = str\n', "defines x twice"),
        ("class N(Module):\n" + METHOD.format("self.x = x"), "sets self.x"),
        ("class N(Module):\n" + METHOD.format("y.z, a = x, x"), "sets y.z"),
        ("def f(x):\n  def g(x):\n    pass\n", "defines g in a function"),
        ("def f(x):\n  return x\n", "its f has odd parameters"),
        ("def f(self: Tensor):\n  return self\n", "its f has odd parameters"),
        ("def f(*x: Tensor):\n  return x\n", "its f has odd parameters"),
        ("class N(Module):\n  def f(s: m.N, self):\n    return s\n", "odd parameters"),
        ("class N(Module):\n  def f(self: m.N, x):\n    return x\n", "odd parameters"),
        ("class N(Module):\n  def f(self: m.M):\n    return 1\n", "odd parameters"),
        ("class N(Module):\n  def f(s: m.M, x: int):\n    return 1\n", "odd parameters"),
        ("class N(Module):\n  def f():\n    return 1\n", "odd parameters"),
    ],
)  # fmt: skip
def test_code_is_made_of_networks_and_functions(text, said):
    with pytest.raises(ValueError, match=said):
        check_code({"code/m.py": text})


def test_networks_and_functions_pass():
    text = (
        'class N(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n  w : Tensor\n'
        '  n : Final[int] = 3\n  __annotations__["0"] = m.N\n' + METHOD.format("y = x")
    )
    check_code({"code/m.py": text + "def f(x: Tensor) -> Tensor:\n  return x\n"})


CODE = """
class N(Module):
  __parameters__ = ["w", ]
  w : Tensor
  training : bool
  part : m.P
  last : Final[int] = 3
  __annotations__["0"] = m.P
class P(Module):
  bias : Optional[Tensor]
  sizes : List[int]
  named : Dict[str, float]
  pair : Tuple[int, str]
  nothing : NoneType
"""
TENSOR = Call(Global("torch._utils", "_rebuild_tensor_v2"), ())
TAG = Global("torch.jit._pickle", "restore_type_tag")
INTS = Global("torch.jit._pickle", "build_intlist")


def part(**changed):
    state = {
        "bias": None,
        "sizes": Call(INTS, ([1, 2],)),
        "pair": (1, "a"),
        "nothing": None,
    }
    state["named"] = Call(TAG, ({"a": 1.5}, "Dict[str, float]"))
    return Call(Global("m", "P"), (), state | changed)


def network(**changed):
    state = {"w": TENSOR, "training": False, "part": part(), "0": part(bias=TENSOR)}
    return Call(Global("m", "N"), (), state | changed)


def check(data, constants=()):
    check_types({"m": ast.parse(CODE)}, data, constants)


def test_objects_of_their_classes_pass():
    shared = part()
    check(network(part=shared, **{"0": shared}), (TENSOR,))
    check(network(part=part(sizes=[1, 2], named={})))


@pytest.mark.parametrize(
    ("data", "constants", "said"),
    [
        (3, (), "it holds no network"),
        (Call(Global("m", "Other"), (), {}), (), "the network is not of the type m.Other"),
        (network(), [], "its constants are no tensors"),
        (network(), (3,), "a constant is not of the type Tensor"),
        (network(part=network()), (), "part of m.N is not of the class m.P"),
        (network(part=Call(Global("m", "P"), (1,), part().state)), (), "not of the class m.P"),
        (network(part=Call(Global("m", "P"), (), None)), (), "not of the class m.P"),
        (network(part=None), (), "part of m.N is not of the class m.P"),
        (network(w=3), (), "w of m.N is not of the type Tensor"),
        (network(w=part()), (), "w of m.N is not of the type Tensor"),
        (network(training=1), (), "training of m.N is not of the type bool"),
        (network(more=1), (), "is of the class m.N, but for more"),
        (network(part=part(sizes=[1, True])), (), "sizes of m.P"),
        (network(part=part(sizes=[part()])), (), "sizes of m.P"),
        (network(part=part(sizes=Call(TAG, ([1], "List[float]")))), (), "sizes of m.P"),
        (network(part=part(sizes=Call(Global("os", "x"), ([1],)))), (), "sizes of m.P"),
        (network(part=part(named={1: 1.5})), (), "named of m.P"),
        (network(part=part(named={"a": 1})), (), "named of m.P"),
        (network(part=part(pair=(1, "a", 2))), (), "pair of m.P"),
        (network(part=part(pair=(1,))), (), "pair of m.P"),
        (network(part=part(pair=("a", 1))), (), "pair of m.P"),
        (network(part=part(bias=0)), (), "bias of m.P"),
        (network(part=part(nothing=0)), (), "nothing of m.P"),
    ],
)  # fmt: skip
def test_values_of_other_types_are_named(data, constants, said):
    """Where an object is another one, PyTorch would read the memory behind it."""
    with pytest.raises(ValueError, match=said):
        check(data, constants)


def test_lists_that_are_shared_are_looked_at_once():
    """Their numbers would be as many as 2 to the power of their depth, or more."""
    tree = ast.parse("class N(Module):\n  a : " + "List[" * 40 + "int" + "]" * 40)
    value = [7]
    for _ in range(39):
        value = [value] * 9
    check_types({"m": tree}, Call(Global("m", "N"), (), {"a": value}), ())
    bad = Call(Global("m", "P"), (), part(sizes=[1]).state | {"named": {}})
    bad.state["sizes"].append("x")
    with pytest.raises(ValueError, match=r"sizes of m\.P"):
        check(network(part=bad, **{"0": bad}))


def test_an_attribute_whose_type_pytorch_changes_is_refused():
    tree = ast.parse("class N(Module):\n  _packed_params : Tensor\n")
    with pytest.raises(ValueError, match="it is quantized"):
        check_types(
            {"m": tree}, Call(Global("m", "N"), (), {"_packed_params": TENSOR}), ()
        )


def test_an_object_without_an_attribute_is_named():
    data = network()
    del data.state["training"]
    with pytest.raises(ValueError, match=r"is of the class m\.N, but for training"):
        check(data)


@pytest.mark.parametrize(
    "type_", ["Any", "List[m.P]", "__torch__.other.C", "Future[int]"]
)
def test_types_that_are_not_known_are_refused(type_):
    tree = ast.parse(f"class N(Module):\n  a : {type_}\n")
    with pytest.raises(ValueError, match=r"a of m\.N is not of the type"):
        check_types({"m": tree}, Call(Global("m", "N"), (), {"a": None}), ())
    with pytest.raises(ValueError, match=r"a of m\.N is not of the type"):
        check_types({"m": tree}, Call(Global("m", "N"), (), {"a": []}), ())
