"""Runs that are killed, stopped, or meet another run: nothing is lost, nothing stays."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
import tifffile

from batches import run, write
from blinkcore import files, predict
from blinkcore.batch.lock import locked
from blinkcore.batch.options import Options
from blinkcore.batch.timeout import time_limit
from blinkcore.io import tables
from programs import BLINKCORE, run_blinkcore

posix = pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")


def test_a_second_run_into_one_result_is_told_who_writes_it(tmp_path):
    path = tmp_path / "all.csv"
    with (
        locked(path),
        pytest.raises(ValueError, match=f"process {os.getpid()}"),
        locked(path),
    ):
        pass
    with locked(path):  # free again
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("forged", [{}, {"started": "y"}, {"started": [1]}])
def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path, forged):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    owner = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "user": "a",
        "since": "b",
    }
    owner |= {"pid": os.getpid(), **forged} if forged else {}
    (tmp_path / ".all.csv.lock").write_text(json.dumps(owner))
    with locked(tmp_path / "all.csv"):
        pass


@pytest.mark.parametrize("content", ['{"host": "elsewhere", "pid": 1}', "", "[]"])
def test_locks_of_other_computers_are_kept(tmp_path, content):
    (tmp_path / ".all.csv.lock").write_text(content)
    with pytest.raises(ValueError, match="another run"), locked(tmp_path / "all.csv"):
        pass


def test_one_table_is_locked_for_the_whole_run(general, folder, tmp_path):
    path = tmp_path / "all.csv"
    own = path.with_suffix("")  # also of all.parquet, which shares its description
    with locked(own), pytest.raises(ValueError, match="another run is writing"):
        run([folder], Options(general, path))
    assert not path.exists()


def test_temporary_files_of_the_dead_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = tmp_path / f".blinkcore-{files._HOST}-{process.pid}-0.part"
    alive = tmp_path / f".blinkcore-{files._HOST}-{os.getpid()}-99.part"
    foreign = tmp_path / f".blinkcore-elsewhere-{process.pid}-0.part"
    for path in (dead, alive, foreign):
        path.write_text("x")
    files.write_json({}, tmp_path / "a.json")
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()


@posix
def test_an_image_that_takes_too_long_is_given_up(general, folder, tmp_path):
    options = Options(general, tmp_path / "out", timeout=1e-4)
    events = run([folder / "one", folder / "broken.tif"], options)
    assert [e.kind for e in events] == ["error", "error"]
    assert "longer than 0.0001 s (--timeout)" in events[0].message
    (event,) = run([folder / "one"], Options(general, tmp_path / "out", timeout=100.0))
    assert event.kind == "result"


def busy(kept, then=None):
    """Never end; keep exceptions of a kind to oneself, and raise another."""
    try:
        while True:
            pass
    except kept:
        if then is not None:
            raise then from None


@posix
@pytest.mark.parametrize("kept", [OSError, Exception, BaseException])
def test_no_handler_keeps_the_end_of_the_time_to_itself(kept):
    with pytest.raises(TimeoutError, match="longer than"), time_limit(0.01):
        busy(kept)
    with pytest.raises(TimeoutError, match="longer than"), time_limit(0.01):
        busy(kept, ValueError("the last decoder failed, too"))


@posix
def test_a_time_that_is_over_at_once_is_an_error_like_any_other():
    """Also where it ends on the way into the block, or out of it."""
    for number in range(5000):
        with suppress(TimeoutError), time_limit(1e-6 * (1 + number % 60)):
            sum(range(20))
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@posix
def test_an_error_within_the_time_stays_itself():
    with pytest.raises(ValueError, match="its own"), time_limit(100.0):
        raise ValueError("its own")


STUCK = """
import sys, torch, warnings
warnings.simplefilter("ignore")
from blinkcore.cli import interrupt
interrupt.GRACE = 1.0
interrupt.end_politely()
@torch.jit.script
def forever(x: torch.Tensor) -> torch.Tensor:
    while bool((x == x).all()):
        x = x + 1
    return x
print("ready", flush=True)
forever(torch.zeros(3))
"""


@posix
@pytest.mark.slow
def test_a_library_that_does_not_come_back_cannot_keep_the_program(tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)  # TorchScript reads its source
    process = subprocess.Popen(
        [sys.executable, tmp_path / "stuck.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "Error: interrupted while a library did not answer\n"


@posix
@pytest.mark.slow
def test_a_closed_terminal_ends_the_run_and_keeps_what_is_done(tmp_path, scene):
    import fcntl  # these are not on Windows
    import pty
    import termios

    write(tmp_path / "in" / "0.tif", scene.image)
    movie = tmp_path / "in" / "a.tif"
    planes = np.stack([scene.image] * 400)
    tifffile.imwrite(movie, planes, imagej=True, metadata={"axes": "TYX"})
    out, status = tmp_path / "out", tmp_path / "status.json"
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [BLINKCORE, "predict", movie.parent, "-o", out, "--status", status],
        stdin=its, stdout=its, stderr=its, start_new_session=True,
        preexec_fn=lambda: (  # noqa: PLW1509
            fcntl.ioctl(0, termios.TIOCSCTTY, 0), signal.signal(signal.SIGHUP, signal.SIG_DFL)
        ),
    )  # fmt: skip
    os.close(its)
    while b"a.tif" not in os.read(ours, 1000):  # the bar of its planes
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 130
    assert "interrupted after 1 of 2 images" in status.read_text()
    assert len(tables.read(out / "0.csv"))
    assert [p.suffix for p in out.glob(".*")] == [".unfinished"]


@posix
def test_nohup_stays_in_force(tmp_path):
    code = "import signal; from blinkcore.cli.interrupt import end_politely; end_politely()"
    code += "; assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    assert done.returncode == 0


@posix
@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_ends_as_if_it_were_not(tmp_path, scene):
    """Killed three times at random moments, then resumed: the same tables, nothing else."""
    pictures = tmp_path / "in"
    for i in range(6):
        write(pictures / f"{i:02d}.tif", np.roll(scene.image, i, axis=1))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_blinkcore("predict", pictures, "-o", whole).returncode == 0
    rng = np.random.default_rng(int(time.time()))
    command = [BLINKCORE, "predict", pictures, "-o", cut, "--skip-existing"]
    for _ in range(3):
        process = subprocess.Popen(
            [*map(str, command), "--progress", "json"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        n_events = int(rng.integers(1, 5))
        for line in process.stderr:
            n_events -= '"result"' in line
            if n_events <= 0:
                break
        time.sleep(float(rng.uniform(0.0, 0.05)))
        process.kill()
        process.communicate()
    done = run_blinkcore(*command[1:])
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in whole.iterdir())
    assert sorted(p.name for p in cut.iterdir()) == names
    for path in whole.glob("[0-9]*.csv"):
        assert path.read_bytes() == (cut / path.name).read_bytes()


@posix
@pytest.mark.slow
def test_one_table_that_is_killed_can_be_resumed(tmp_path, scene):
    pictures = tmp_path / "in"
    for i in range(4):
        write(pictures / f"{i}.tif", np.roll(scene.image, i, axis=1))
    table = tmp_path / "all.csv"
    process = subprocess.Popen(
        [str(BLINKCORE), "predict", str(pictures), "-o", str(table), "--progress", "json"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr:
        if '"result"' in line:
            break
    process.kill()
    process.communicate()
    done = run_blinkcore("predict", pictures, "-o", table, "--skip-existing")
    assert done.returncode == 0, done.stderr
    assert tables.read(table)["image"].nunique() == 4
    assert {p.name for p in tmp_path.iterdir()} == {
        "in",
        "all.csv",
        "all.json",
        "all.counts.csv",
    }


def test_a_truncated_plane_is_read_when_asked(general, tmp_path, scene, caplog):
    path = write(tmp_path / "s.tif", scene.image)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    (event,) = run([path], Options(general, tmp_path / "a"))
    assert event.kind == "error"
    assert "--allow-truncated" in event.message
    (event,) = run([path], Options(general, tmp_path / "b", truncated=True))
    assert event.kind == "result"
    assert event.spots > 20
    assert len(predict(path, general, truncated=True)) == event.spots
    about = json.loads((tmp_path / "b" / "s.json").read_text("utf-8"))
    assert about["options"]["truncated"] is True
    assert about["images"][0]["truncated"] is True
    assert "s.tif is cut off: what is missing counts as empty" in caplog.text
    caplog.clear()
    path.write_bytes(content)
    run([path], Options(general, tmp_path / "c", truncated=True))
    about = json.loads((tmp_path / "c" / "s.json").read_text("utf-8"))
    assert "truncated" not in about["images"][0]
    assert "cut off" not in caplog.text


def test_names_that_spreadsheets_would_run_are_paths(
    general, tmp_path, scene, monkeypatch
):
    write(tmp_path / "=1+1.tif", scene.image)
    write(tmp_path / "+a.tif", scene.image)
    monkeypatch.chdir(tmp_path)
    run(["=1+1.tif", "+a.tif"], Options(general, tmp_path / "all.csv"))
    found = set(tables.read(tmp_path / "all.csv")["image"])
    assert found == {"./=1+1.tif", "./+a.tif"}


def test_pixels_that_do_not_fit_into_memory_are_refused(
    general, tmp_path, scene, monkeypatch
):
    tifffile.imwrite(
        tmp_path / "a.tif", scene.image, compression="zlib", photometric="minisblack"
    )
    monkeypatch.setenv("BLINKCORE_MAX_MEMORY", "1000")
    (event,) = run([tmp_path / "a.tif"], Options(general, tmp_path / "o"))
    assert event.kind == "error"
    assert "more than the 1,000 bytes that it may take (--max-memory, " in event.message
    monkeypatch.setenv("BLINKCORE_NO_LIMITS", "1")
    (event,) = run([tmp_path / "a.tif"], Options(general, tmp_path / "o"))
    assert event.kind == "result"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_inside_a_destructor_is_not_dropped(number):
    code = f"""
import os, time
from blinkcore.cli.interrupt import end_politely
class Closing:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(0.01)  # the handler runs here, where Python drops what it raises
end_politely()
try:
    closing = Closing()
    del closing
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.stdout == "interrupted\n"
    assert done.stderr == ""


def test_other_exceptions_of_destructors_are_still_reported():
    code = """
from blinkcore.cli.interrupt import end_politely
class Closing:
    def __del__(self):
        raise ValueError("half closed")
end_politely()
closing = Closing()
del closing
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "half closed" in done.stderr
