"""Files for other programs that come out of the package."""

import shutil
import sys
from pathlib import Path

import pytest

from blinkcore import predict
from blinkcore.hosts import _in_macro, install_fiji
from blinkcore.network.model import bundled_models
from programs import BLINKCORE, call_blinkcore, run_blinkcore

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["", "plugins"])
def test_macros_go_into_the_plugins(name, tmp_path):
    (tmp_path / "plugins").mkdir()
    written = install_fiji(tmp_path / name)
    names = {path.name for path in written.iterdir()}
    folder = ROOT / "fiji" / "plugins" / "Blinkcore"
    source = {path.name for path in folder.iterdir() if path.is_file()}
    assert names == source | {"blinkcore_fiji.py"}
    macro = (written / "Detect_Spots.ijm").read_text()
    assert f'program = "{BLINKCORE}";' in macro


def test_files_that_differ_are_kept_when_macros_are_installed_again(tmp_path, caplog):
    (tmp_path / "plugins").mkdir()
    written = install_fiji(tmp_path)
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    assert install_fiji(tmp_path) == written
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before
    assert not caplog.records
    macro = written / "Detect_Spots.ijm"
    text = macro.read_text()
    # Of another installation, with line ends as Windows' editors write them.
    other = text.replace(str(BLINKCORE), "C:/other/blinkcore.exe")
    macro.write_bytes(other.replace("\n", "\r\n").encode())
    install_fiji(tmp_path)
    assert macro.read_text() == text
    assert not list(written.glob("*.old"))
    macro.write_text("// mine\n" + text)
    install_fiji(tmp_path)
    assert (written / "Detect_Spots.ijm.old").read_text() == "// mine\n" + text
    assert macro.read_text() == text
    assert "kept as Detect_Spots.ijm.old" in caplog.text


def test_fiji_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "Fiji.app" / "plugins").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("FIJI_HOME", raising=False)
    assert install_fiji() == tmp_path / "Fiji.app" / "plugins" / "Blinkcore"


def test_a_folder_that_is_not_fiji_is_a_sentence(tmp_path):
    done = call_blinkcore("fiji", "install", tmp_path)
    assert done.returncode == 2
    assert "has no folder 'plugins'" in done.stderr
    done = call_blinkcore("fiji", "install", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "is not a folder" in done.stderr


def test_the_knime_extension_comes_out_whole(tmp_path):
    done = run_blinkcore("knime", "bundle", tmp_path / "k")
    assert done.returncode == 0, done.stderr
    source = ROOT / "knime"
    wanted = {p.relative_to(source) for p in source.rglob("*") if p.is_file()}
    wanted = {path for path in wanted if "__pycache__" not in path.parts}
    found = {p.relative_to(tmp_path / "k") for p in (tmp_path / "k").rglob("*")}
    assert wanted <= found
    done = run_blinkcore("knime", "bundle", tmp_path / "k")
    assert done.returncode == 2
    assert "not empty" in done.stderr


@pytest.mark.slow
def test_installed_macros_know_their_program(run_macro, examples, tmp_path):
    home = tmp_path / "Fiji app"
    (home / "plugins").mkdir(parents=True)
    done = run_blinkcore("fiji", "install", home)
    assert done.returncode == 0, done.stderr
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        print("points " + Roi.size);
        """,
        command="",
        plugins=home,
    )
    n = len(predict(examples / "cells.tif", threshold=0.5))
    assert f"points {n}" in out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252"])
def test_names_need_not_be_ascii(run_macro, examples, tmp_path, monkeypatch, encoding):
    """Java 8 on Windows reads macros, and writes arguments, in the system's encoding.

    On Linux it would start a program by its name in that encoding, too; on Windows it
    does not.
    """
    home, folder = (
        tmp_path / "Fiji",
        tmp_path / ("Jörg" if encoding == "utf-8" else "J"),
    )
    (home / "plugins").mkdir(parents=True)
    folder.symlink_to(BLINKCORE.parent)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    macro = (install_fiji(home) / "Detect_Spots.ijm").read_text("ascii")
    assert '/J" + fromCharCode(246) + "rg/blinkcore";' in macro or encoding != "utf-8"
    image = tmp_path / "Zellkörper.tif"
    shutil.copy(examples / "cells.tif", image)
    out = run_macro(
        f"""
        open("{tmp_path}/Zellk" + fromCharCode(246) + "rper.tif");
        run("Detect Spots", "model=general threshold=0.5 channel=0 measure=0 overlay");
        print("points " + Roi.size);
        """,
        command="",
        plugins=home,
        encoding=encoding,
    )
    assert f"points {len(predict(image, threshold=0.5))}" in out


def test_arguments_may_be_in_the_encoding_of_windows(examples, tmp_path):
    image = tmp_path / "Zellkörper.tif"
    shutil.copy(examples / "cells.tif", image)
    words = tmp_path / "arguments.txt"
    for encoding, end in (("utf-8", "\n"), ("latin-1", "\r\n")):
        lines = ["predict", str(image), "-o", str(tmp_path / encoding), ""]
        words.write_bytes(end.join(lines).encode(encoding))
        assert call_blinkcore(f"@{words}").returncode == 0
        assert (tmp_path / encoding / "Zellkörper.csv").exists()


def test_a_path_may_hold_what_ends_a_text_in_a_macro():
    assert _in_macro('/a"b/ü') == '"/a" + fromCharCode(34) + "b/" + fromCharCode(252)'


def test_a_program_that_is_nowhere_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "plugins").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "argv", ["blinkcore"])
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"program blinkcore.* is neither in"):
        install_fiji(tmp_path)
    assert not (tmp_path / "plugins" / "Blinkcore").exists()
    program = tmp_path / "blinkcore"
    program.touch()  # as of `pip install --user`, or Windows' folder Scripts
    written = install_fiji(tmp_path) / "Detect_Spots.ijm"
    assert f'program = "{program}";' in written.read_text()


@pytest.mark.slow
def test_a_model_of_ones_own(run_macro, examples, tmp_path):
    path = tmp_path / "my model.pt"
    shutil.copy(bundled_models()["smfish"], path)
    out = run_macro(
        f"""
        open("{examples / "cells.tif"}");
        run("Detect Spots", "model=general model_file=[{path}] threshold=0.5 channel=0 "
            + "measure=0 overlay");
        print("points " + Roi.size);
        """
    )
    n = len(predict(examples / "cells.tif", path, threshold=0.5))
    assert f"points {n}" in out
