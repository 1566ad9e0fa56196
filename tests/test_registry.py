"""Models of a lab's registry, from a real server on this machine."""

import http.server
import json
import shutil
import threading

import pytest

from blinkcore.files import sha256_of
from blinkcore.network import registry
from blinkcore.network.model import bundled_models, load_model
from programs import call_blinkcore


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files; one that is `broken` ends in the middle."""

    broken, asked = (), []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.lstrip("/") not in self.broken:
            super().do_GET()
            return
        content = (self.server.folder / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder that a server shows, with a model and a registry in it."""
    folder = tmp_path / "lab"
    folder.mkdir()
    shutil.copy(bundled_models()["general"], folder / "beads.pt")
    digest = sha256_of(folder / "beads.pt")
    (folder / "registry.txt").write_text(f"# ours\nbeads.pt {digest}\n")

    class Ours(Handler):
        broken, asked = set(), []

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ours)
    server.folder, server.handler = folder, Ours
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.stop = lambda: (server.shutdown(), thread.join(), server.server_close())
    monkeypatch.setenv(registry.REGISTRY, server.url + "registry.txt")
    monkeypatch.setenv(registry.CACHE, str(tmp_path / "cache"))
    yield server
    if thread.is_alive():
        server.stop()


def run(*arguments):
    return call_blinkcore(*arguments)


def test_a_model_is_downloaded_once(lab):
    assert registry.registered_models() == {"beads": None}
    model = load_model("beads")
    assert model.sha256 == sha256_of(lab.folder / "beads.pt")
    assert model.name == "beads"
    load_model("beads")
    assert lab.handler.asked.count("/beads.pt") == 1
    assert registry.registered_models()["beads"].exists()


def test_without_a_network_what_is_there_goes_on(lab):
    load_model("beads")
    lab.stop()
    assert load_model("beads").name == "beads"
    assert "beads" in registry.registered_models()


@pytest.mark.slow
def test_the_program_lists_and_uses_it(lab, examples, tmp_path):
    listed = run("models")
    assert "beads       in the registry, downloaded when it is used" in listed.stdout
    assert json.loads(run("models", "--format", "json").stdout)["beads"] == {
        "downloaded": False
    }
    done = run("predict", examples / "cells.tif", "-m", "beads", "-o", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 2
    assert "beads       blink" in run("models").stdout


@pytest.mark.slow
def test_what_goes_wrong_is_said_and_nothing_is_kept(lab, examples, tmp_path):
    def fails(*words):
        done = run("predict", examples / "cells.tif", "-m", "beads", "-o", tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        for word in words:
            assert word in done.stderr
        assert not (tmp_path / "cache" / "beads.pt").exists()

    lab.handler.broken = {"beads.pt"}
    fails("beads.pt cannot be downloaded")
    lab.handler.broken = set()
    content = (lab.folder / "beads.pt").read_bytes()
    (lab.folder / "beads.pt").write_bytes(content[:-1] + b"?")
    fails("beads.pt is not the file that the registry describes", "SHA-256")
    (lab.folder / "beads.pt").unlink()
    fails("beads.pt cannot be downloaded (HTTP 404)")
    (lab.folder / "registry.txt").write_text("a line of four words\n")
    fails("registry.txt is not a registry of models")
    lab.stop()
    shutil.rmtree(tmp_path / "cache")
    fails("registry.txt cannot be downloaded", "is there a network?")


@pytest.mark.parametrize("name", ["../mine", "/tmp/mine", "..\\mine", ".mine"])
def test_a_model_is_kept_in_the_cache_only(lab, tmp_path, name):
    """A name such as `../mine.pt` would replace a file of the user's."""
    own = tmp_path / "mine.pt"
    own.write_text("my weights")
    digest = sha256_of(lab.folder / "beads.pt")
    line = f"{name}.pt {digest} {lab.url}beads.pt\n"
    (lab.folder / "registry.txt").write_text(line)
    for words in (["show", name], []):
        done = call_blinkcore("models", *words)
        assert done.returncode == 2
        assert "names a model" in done.stderr
    assert own.read_text() == "my weights"


def test_bundled_models_need_no_registry(lab):
    lab.stop()
    assert load_model("general").name == "general"


def test_models_may_lie_beside_a_registry_on_a_shared_drive(lab, monkeypatch):
    monkeypatch.setenv(registry.REGISTRY, str(lab.folder / "registry.txt"))
    assert registry.registered_models() == {"beads": lab.folder / "beads.pt"}
    assert load_model("beads").name == "beads"
    (lab.folder / "beads.pt").write_bytes(b"other")
    with pytest.raises(ValueError, match="is not the file that the registry"):
        load_model("beads")


def test_an_unknown_name_lists_all(lab):
    with pytest.raises(FileNotFoundError, match=r"no model 'x'.*general.*beads"):
        load_model("x")


def test_without_a_registry_there_is_none(monkeypatch):
    monkeypatch.delenv(registry.REGISTRY, raising=False)
    assert registry.registered_models() == {}
    assert registry.fetch("x") is None


def test_a_registry_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(registry.REGISTRY, str(tmp_path / "none.txt"))
    with pytest.raises(FileNotFoundError, match="none"):
        registry.registered_models()
