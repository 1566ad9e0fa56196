"""Model files that would do harm are refused before PyTorch sees them."""

import io
import pickle
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from blinkcore.model_files.archive import checked
from blinkcore.model_files.script_code import check_code, check_purpose
from blinkcore.network.model import (
    bundled_models,
    load_model,
    read_metadata,
)
from blinkcore.plain_pickle import parse

GENERAL = bundled_models()["general"]
HEAD = "class N(Module):\n  network : __torch__.M\n"


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist()}


def packed(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def changed(tmp_path):
    """Function that changes a file in the archive of a bundled model."""

    def change(end, edit):
        members = [
            (name, edit(data) if name.endswith(end) else data)
            for name, data in members_of(GENERAL).items()
        ]
        path = tmp_path / "changed.pt"
        path.write_bytes(packed(members))
        return path

    return change


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_pass_and_keep_their_numbers(name):
    content = bundled_models()[name].read_bytes()
    network, metadata = checked(content, "blinkcore.json")
    assert metadata.startswith(b"{")
    assert len(network) < len(content)


def body(*lines):
    indented = "".join(f"    {line}\n" for line in lines)
    return (
        f"{HEAD}  def forward(self: __torch__.N,\n    x: Tensor) -> Tensor:\n{indented}"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (body('torch.save(x, "a")', "return x"), "calls torch.save"),
        (body('y = torch.from_file("a")', "return y"), "calls torch.from_file"),
        (body("y = torch.ones([1000])", "return y"), "calls torch.ones"),
        (body("y = ops.aten.save(x)", "return y"), "calls ops.aten.save"),
        (body('print("hello")', "return x"), "calls print"),
        (body("f = torch.save", "y = f(x, x)", "return y"), "hands torch on"),
        (body("f = __torch__.g", "f = torch.save", "y = f(x)", "return y"), "hands __torch__ on"),
        (body("while True:", "  pass", "return x"), "loop without a bound"),
        (
            body("for i in range(1000):", "  y = torch.add(i, 1)", "return x"),
            "loop that may run for long",
        ),
        (
            body("for i in range(2):", "  y = torch.conv2d(x, x)", "return x"),
            "loop that may run for long",
        ),
        (
            body("l = [x]", "for i in range(torch.len(l)):", "  _ = torch.append(l, x)",
                 "return x"),
            "loop that may run for long",
        ),
        (
            body("y = __torch__.torch.classes.quantized.Conv2d(x)", "return y"),
            "torch.classes",
        ),
        (
            HEAD + "  def __setstate__(self: __torch__.N,\n    s: int) -> NoneType:\n    pass\n",
            "__setstate__, which runs by itself",
        ),
        (body("return (self).forward(x, )"), "calls forward from within forward"),
        ("import os\n", "an import"),
        ("def f(:", "is damaged"),
    ],
)  # fmt: skip
def test_code_that_no_network_needs_is_named(code, words):
    with pytest.raises(ValueError, match=words):
        check_code({"code/__torch__.py": code})


def test_a_file_without_a_convolution_is_no_network():
    check_purpose({"code/a.py": body("return torch.conv2d(x, x)"), "code/b.py": "\n"})
    with pytest.raises(ValueError, match="no convolution"):
        check_purpose({"code/a.py": body("return torch.relu(x)"), "code/b.py": "\n"})


def test_calls_that_double_thirty_times_are_refused():
    functions = ["def f0(x: Tensor) -> Tensor:\n  return torch.relu(x)\n"]
    functions += [
        f"def f{i}(x: Tensor) -> Tensor:\n  y = __torch__.f{i - 1}(x, )\n"
        f"  return __torch__.f{i - 1}(y, )\n"
        for i in range(1, 31)
    ]
    with pytest.raises(ValueError, match="would run for too long"):
        check_code({"code/__torch__.py": "".join(functions)})


def test_loops_over_dimensions_are_allowed():
    code = body(
        "dim = torch.sub(torch.dim(x), 2)",
        "sizes = annotate(List[int], [])",
        "for i in range(dim):",
        "  _0 = torch.append(sizes, torch.size(x, torch.add(i, 2)))",
        "return x",
    )
    check_code({"code/__torch__.py": code})


def test_a_tensor_may_not_reach_beyond_its_numbers(changed):
    """PyTorch would read past the end of the memory."""
    path = changed("/data/0", lambda data: data[:-4])
    with pytest.raises(ValueError, match="bytes in the place of"):
        load_model(path)


def test_pickles_that_construct_other_things_are_named(changed):
    path = changed("/data.pkl", lambda _: pickle.dumps(subprocess.run))
    with pytest.raises(ValueError, match=r"constructs subprocess\.run"):
        load_model(path)


def test_two_files_of_one_name_are_refused(tmp_path):
    """Two programs would read different ones."""
    members = list(members_of(GENERAL).items())
    code = next(name for name, _ in members if name.endswith("networks.py"))
    twin = code.replace("networks.py", "NETWORKS.py")
    (tmp_path / "m.pt").write_bytes(packed([*members, (twin, "pass")]))
    with pytest.raises(ValueError, match="two files named"):
        load_model(tmp_path / "m.pt")


def test_a_bomb_is_not_unpacked(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members_of(GENERAL).items():
            archive.writestr(name, data)
        with archive.open("archive/extra/more.json", "w", force_zip64=True) as file:
            for _ in range(1100):
                file.write(bytes(1 << 20))
    (tmp_path / "m.pt").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="unpacks to"):
        load_model(tmp_path / "m.pt")


def test_deep_metadata_are_one_sentence(changed):
    path = changed("blinkcore.json", lambda _: b"[" * 200_000 + b"]" * 200_000)
    with pytest.raises(ValueError, match="nested too deep"):
        read_metadata(path)


class Tensor:
    """Pickles as a tensor that has no storage."""

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, ((), 0, (1,), (1,), False, {})


def test_a_tensor_without_numbers_is_damaged(changed):
    """Found by the fuzzer: a tensor that is described by too few values."""
    path = changed("/data.pkl", lambda _: pickle.dumps(Tensor(), 2))
    with pytest.raises(ValueError, match="its pickles are damaged"):
        load_model(path)


def test_deep_pickles_are_refused():
    deep = b"\x80\x02)" + b"\x85" * 500 + b"."
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        parse(deep)


SHARED = b"".join(b"h\0h\0\x86q\0" for _ in range(60))  # a pair of it and itself


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02)q\0" + SHARED + b"}h\0Ns.",  # as a key, whose hash takes for ever
        b"\x80\x04)q\0" + SHARED + b"h\0h\0\x93.",  # as the name of a class
        b"\x80\x02}\x8a\x08" + b"\xff" * 7 + b"\x1fNs.",  # a number with a chosen hash
    ],
)
def test_keys_and_names_are_plain(content):
    with pytest.raises(
        ValueError, match=r"a key that is neither|a class without a name"
    ):
        parse(content)


def test_a_storage_has_a_plain_number(changed):
    """Its text would be longer than any memory."""
    key = b"(X\x07\0\0\0storagectorch\nFloatStorage\nh\0X\x03\0\0\0cpuK\1tQt."
    path = changed("/data.pkl", lambda _: b"\x80\x02()q\0" + SHARED + key)
    with pytest.raises(ValueError, match="a tensor that is not in it"):
        load_model(path)


def test_many_empty_files_are_read_at_once(tmp_path):
    """Each was compared with all before it."""
    members = [*members_of(GENERAL).items()]
    members += [(f"archive/data/x{n}", b"") for n in range(19_000)]
    (tmp_path / "m.pt").write_bytes(packed(members))
    load_model(tmp_path / "m.pt")


def test_a_memo_that_would_fill_the_memory_is_refused(changed):
    """Found by the fuzzer: one byte makes PyTorch reserve a billion places."""
    put = b"r" + (334).to_bytes(4, "little")

    def enlarge(data):
        assert data.count(put) == 1
        return data.replace(put, b"r" + (10**9).to_bytes(4, "little"))

    with pytest.raises(ValueError, match="memo index 1000000000"):
        load_model(changed("/data.pkl", enlarge))


def test_plain_pickles_are_read():
    value = {"a": [1, 2.5, None, True, (b"x", "y")], "b": []}
    for protocol in (3, 4, 5):  # before them, bytes are a call
        assert parse(pickle.dumps(value, protocol)) == value


@pytest.mark.slow
def test_files_that_did_harm_are_one_sentence(tmp_path, shared):
    """Loaded by the program, in a folder of their own, where nothing may appear."""
    for path in sorted((shared / "bad" / "models").glob("*.pt")):
        shutil.copy(path, tmp_path / "m.pt")
        done = subprocess.run(
            [sys.executable, "-m", "blinkcore", "models", "show", "./m.pt"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, path.name
        assert done.stderr.startswith("Error: m.pt cannot be used as a model: ")
        assert done.stderr.count("\n") == 1
        assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


ROOT = b"c__torch__.blinkcore.network.torchscript\n_ExportedWithError\n"
FLOATS = b"ctorch\nFloatStorage\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # A class of the file stands for another number of bytes.
        (FLOATS, b"c__torch__\nFloatStorage\n", "a tensor that is not in it"),
        (FLOATS, b"ctorch\nFloatStorage\t#\n", "an odd name"),
        (ROOT, ROOT[:-1] + b"\t#\n", "an odd name"),
        (ROOT, b"c__torch__.torch\t.classes\nC\n", "an odd name"),
        (ROOT, b"ccollections\nOrderedDict\n)R0" + ROOT, "damaged or unusual"),
    ],
)
def test_names_and_storages_are_what_they_seem(changed, old, new, said):
    """PyTorch reads names as types, in which blanks and comments do not count."""

    def edit(data):
        assert old in data
        return data.replace(old, new, 1)

    with pytest.raises(ValueError, match=said):
        load_model(changed("/data.pkl", edit))
