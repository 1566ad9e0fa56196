"""A model is tried in a process of its own, whatever it does there."""

import os
import signal
import subprocess
import sys
import time

import pytest

from blinkcore.model_files import sandbox
from blinkcore.model_files.sandbox import try_in_sandbox
from blinkcore.model_files.script_code import check_code
from blinkcore.network.model import save_model
from blinkcore.network.networks import Blink

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies its process")


def refuse():
    raise ValueError("its grid is wrong")


def test_what_passes_passes():
    before = os.getpid()
    try_in_sandbox(lambda: None)
    assert os.getpid() == before


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (refuse, "its grid is wrong"),
        (lambda: bytearray(3 << 30), "its network needs too much memory"),
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "its network ends the process in which it runs",
        ),
        (lambda: {}["none"], "its network fails: KeyError"),
    ],
)
def test_what_fails_is_a_sentence(check, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        try_in_sandbox(check)


def test_what_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr(sandbox, "_SECONDS", 0.5)
    with pytest.raises(ValueError, match="does not come back within"):
        try_in_sandbox(lambda: time.sleep(100))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('b = torch.format("{}{}", a, a)', "makes texts of texts"),
        ("b = torch.mul([1], 30000000)", "repeats a list"),
    ],
)
def test_what_doubles_with_each_line_is_refused(line, said):
    text = f'def f(x: Tensor) -> Tensor:\n  a = torch.format("{{}}", "x")\n  {line}\n  return x\n'
    with pytest.raises(ValueError, match=said):
        check_code({"code/m.py": text})


def test_trying_a_model_does_not_import_pytorchs_compiler(tmp_path, describe):
    """It takes seconds, and its copy of LLVM crashes beside the one of a graphics driver."""
    path = tmp_path / "m.pt"
    save_model(Blink(filters=4, depth=1, levels=1), describe(Blink(4, 1, 1)), path)
    code = (
        "import sys; from blinkcore import load_model; load_model(sys.argv[1], device='cpu');"
        "print(sorted({'triton', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
