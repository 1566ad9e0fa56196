"""Code of a model file that would call a function of PyTorch by another name."""

import json
import re
import zipfile

import pytest

from blinkcore.model_files.script_code import check_code
from blinkcore.network.loading import TRUST
from blinkcore.network.metadata import Metadata
from blinkcore.network.model import bundled_models, load_model


def check(*lines):
    """Check a method of these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    head = "  def forward(self: m.N, x: Tensor) -> Tensor:\n"
    part = "  part : __torch__.m.N\n"
    g = "def g(x: Tensor) -> Tensor:\n  return x\n"
    check_code({"code/m.py": f"class N(Module):\n{part}{head}{body}{g}"})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["torch.autograd.save(x, 'e')"], "calls torch.autograd.save"),
        (["t = torch", "t.save(x, 'e')"], "hands torch on"),
        (["getattr(torch.autograd, 'save')(x, 'e')"], "calls what has no name"),
        (["o = ops.aten", "o.save(x, 'e')"], "hands ops on"),
        (["m = x", "m.N(x)"], "calls m.N, which is not in it"),
        (["m = x", "m.g(x)"], "calls m.g, which is not in it"),
        (["part = m.N(x)"], "calls m.N, which is not in it"),
        (["torch = x"], "sets torch"),
        (["float = x.cumsum", "y = float(x, 0)"], "sets float"),
        (["range = m.g", "for i in range(64):", "  pass"], "sets range"),
        (["for int in range(2):", "  pass"], "sets int"),
        (["x.save('e')"], "calls x.save, which is not in it"),
        (["y = x.repeat([3])"], "calls x.repeat, which is not in it"),
        (["m = __torch__", "m.g(x)"], "hands __torch__ on"),
        (["q = self.part", "q = x", "q.forward(x)"], "calls q.forward"),
        (["f : Any = torch.save", "f(x)"], "hands torch on"),
    ],
)
def test_functions_have_no_other_names(lines, said):
    """By another name, a function of PyTorch would write files."""
    with pytest.raises(ValueError, match=re.escape(said)):
        check(*lines)


@pytest.mark.parametrize(
    "turns",
    [
        "torch.sub(2, -100000)",
        "torch.__range_length(-100000, 2, 1)",
        "torch.__range_length(0, 2, -1)",
        "torch.__range_length(0)",
        "torch.sub()",
        "n",
    ],
)
def test_bounds_of_loops_are_known(turns):
    lines = [
        "n = torch.dim(x)",
        "n : int = 100000",
        f"for i in range({turns}):",
        "  y = torch.add(i, 1)",
    ]
    with pytest.raises(ValueError, match="has a loop that may run for long"):
        check(*lines)


def test_a_name_that_doubles_the_search_for_its_class_is_refused():
    lines = [f"a{n + 1} = a{n}\n    a{n + 1} = a{n}" for n in range(45)]
    with pytest.raises(ValueError, match="nested too deep"):
        check(*lines, "a45.g(x)")


@pytest.mark.parametrize("architecture", ["blink", "unet"])
def test_a_model_that_would_write_a_file_does_not(tmp_path, monkeypatch, architecture):
    """The bundled model with one line more: not run, and under another name refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TRUST, "1")
    line = '    _evil = torch.autograd.save(1, "evil")\n'
    with (
        zipfile.ZipFile(bundled_models()["general"]) as old,
        zipfile.ZipFile("m.pt", "w") as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("network/torchscript.py"):
                text = content.decode()
                start = text.index("-> Tensor:\n", text.index("def forward")) + 11
                content = (text[:start] + line + text[start:]).encode()
            if name.endswith("blinkcore.json"):
                about = json.loads(content) | {"architecture": architecture}
                content = json.dumps(about).encode()
            if not name.endswith(".debug_pkl"):
                new.writestr(name, content)
    if architecture == "blink":
        load_model("m.pt", device="cpu")
    else:
        with pytest.raises(ValueError, match=r"calls torch\.autograd\.save"):
            load_model("m.pt", device="cpu")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"spot_sigma": 5},
        {"threshold": "x"},
        {"threshold": None},
        {"cell_map": []},
        {"format_version": "1"},
        {"calibration": {"a": 1, "b": 2}},
    ],
)
def test_metadata_of_other_types_are_a_sentence(change, single):
    values = json.loads(single.metadata.to_json()) | change
    with pytest.raises(ValueError, match=r".+"):
        Metadata.from_json(json.dumps(values))
    assert Metadata.from_json(single.metadata.to_json()) == single.metadata
