"""Code is what PyTorch writes: what its parser and Python's read differently is refused."""

import pytest

from blinkcore.model_files.script_code import check_code

HEAD = "def f(x: Tensor) -> Tensor:\n"
QUOTES = '"' * 3


@pytest.mark.parametrize(
    "name", ["a.b.py", "a/../b.py", "a//b.py", "a\\b.py", "a\t#.py"]
)
def test_a_module_has_one_file(name):
    """`a.b.py` would stand for the module of `a/b.py`, and only one of them be checked."""
    with pytest.raises(ValueError, match="its code has an odd name"):
        check_code({f"code/{name}": ""})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # For Python a comment and a text; for PyTorch a comment and what is in the text.
        (["#\r" + QUOTES, "torch.save(x, 'e')", "#" + QUOTES], r"the character '\\r'"),
        (["for i in range(2):", "\f  y = x"], r"the character '\\x0c'"),
        (["y\t= x"], r"the character '\\t'"),
        (["y = 'ä'"], "the character 'ä'"),
        (["y = x \\", "+ 1"], "lines that go on"),
        (["y = 'a\\", "b'"], "lines that go on"),
        (["#  type: (List[int]) -> List[int]"], "a comment or a semicolon"),
        (["y = x; z = y"], "a comment or a semicolon"),
        ([QUOTES + "text" + QUOTES], "an odd text"),
        (["y = r'\\n'"], "an odd text"),
        (["y = 'a' 'b'"], "an odd text"),
        (["y = 0x4e"], "an odd number"),
        (["y = 1_0"], "an odd number"),
        (["y = 1j"], "an odd number"),
        (["y = unchecked_cast(m.Big, x)"], "casts to m.Big"),
        (["y = annotate(List[m.Big], [])"], r"casts to List\[m.Big\]"),
        (["y = uninitialized(Any)"], "casts to Any"),
    ],
)
def test_what_two_parsers_read_differently_is_refused(lines, said):
    with pytest.raises(ValueError, match=f"its code (has )?{said}"):
        check_code({"code/m.py": HEAD + "".join(f"  {line}\n" for line in lines)})


def test_what_pytorch_writes_passes():
    lines = [
        r"y = 'a \'b\' \n'", r'z = "a \"b\" {}"', "a = 1.0000000000000001e-05", "b = 9.",
        "c = unchecked_cast(Optional[Tensor], x)", "d = annotate(Dict[str, List[int]], {})",
        "e = [1,", "  2]", "return x",
    ]  # fmt: skip
    check_code({"code/m.py": HEAD + "".join(f"  {line}\n" for line in lines)})
