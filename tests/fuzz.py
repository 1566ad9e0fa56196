"""Damaged files through every reader, and odd arrays through every C++ function.

    python tests/fuzz.py --seconds 60 [TARGET ...]

Each input is a sound file with some bytes changed. A reader may read it or raise ValueError or
OSError; anything else, a signal or more than 20 s is a finding, and the input is kept in
build/fuzz. Children do the work, so that one that dies costs nothing but itself.

With --keep, one small input for each way of being refused, and each finding, goes to
tests/corpus, which the tests read again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np

from fuzz_files import datasets, images, labels, models, others

CORPUS = Path(__file__).parent / "corpus"
SMALL = 3000  # bytes, of an input that is kept
FOUND = Path(__file__).parents[1] / "build" / "fuzz"
LIMIT = 20  # s, for one input
NASTY = [b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff",
         b"\x80\x00\x00\x00", b"-1", b"NaN", b"1e999", b"\"", b"<", b"{", b"[" * 50]  # fmt: skip


def mutated(data, rng):
    """Change, insert, remove, repeat or cut a few pieces."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(data) + 1))
        if rng.random() < 0.4:
            at = min(at, int(rng.integers(1, 512)))  # heads decide most
        kind = rng.integers(6)
        length = int(rng.integers(1, 9))
        if kind == 0 and at < len(data):
            data[at] = int(rng.integers(256))
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            piece = NASTY[int(rng.integers(len(NASTY)))]
            data[at : at + len(piece)] = piece
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def _in_archive(data, rng):
    """Damage one file in an archive, which then is sound as an archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        infos = old.infolist()
        ends = (".py", ".pkl", ".json", ".npy")
        names = [i for i in infos if i.filename.endswith(ends)]
        chosen = names[int(rng.integers(len(names)))].filename
        for info in infos:
            content = old.read(info)
            if info.filename == chosen:
                content = mutated(content, rng)
            new.writestr(info.filename, content)
    return target.getvalue()


# Targets: sound files, and what reads them.


def read_images(path):
    from blinkcore.io import read_image

    for plane in read_image(path).planes():
        np.asarray(plane.data).sum()


def read_labels(path):
    from blinkcore.io import read_labels as read

    read(path)


def read_dataset(path):
    from blinkcore.datasets.dataset import load_dataset

    load_dataset(path)


def read_model(path):
    from blinkcore.network.model import load_model

    load_model(path, device="cpu")


def read_other(path):
    """Read what is neither images nor labels: by its suffix."""
    from blinkcore import io as files
    from blinkcore.cli.recipe_file import read_yaml
    from blinkcore.convert import convert_deepblink
    from blinkcore.network.registry import REGISTRY, registered_models

    if path.suffix == ".h5":
        convert_deepblink(path, path.with_name("converted.pt"))
    elif path.suffix == ".yaml":
        read_yaml(path, "a recipe")
    elif path.suffix == ".json":
        files.read_sidecar(path)
    else:
        os.environ[REGISTRY] = str(path)
        registered_models()


def read_pickle(path):
    from blinkcore.plain_pickle import parse

    parse(path.read_bytes())


PICKLES = [
    ("a.pkl", pickle.dumps({"a": [1, 2.5, "x", np.zeros(3)]}, p)) for p in (2, 4)
]
TARGETS = {
    "images": (images, read_images),
    "labels": (labels, read_labels),
    "datasets": (datasets, read_dataset),
    "models": (models, read_model),
    "pickles": (lambda: PICKLES, read_pickle),
    "others": (others, read_other),
}


def numbers(rng):
    """Call the C++ functions with arrays of any shape, with infinity and NaN in them."""
    from blinkcore import _core

    def array(*shape):
        scale = 10.0 ** rng.integers(-320, 308, shape)
        values = rng.normal(size=shape) * scale
        if rng.random() < 0.5:
            values = rng.integers(-3, 9, shape).astype(float)
        special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
        return np.where(rng.random(shape) < 0.05, special, values)

    n, m, width = (int(v) for v in rng.integers(0, 8, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grid = np.abs(array(int(rng.choice([2, 3, 4, 4])), n, m)).astype(np.float32)
    if rng.random() < 0.7:
        grid = rng.random(grid.shape, dtype=np.float32)
    cutoff = float(abs(array(1)[0]))
    calls = [
        lambda: _core.decode(
            grid, cell_size=float(rng.choice([1, 2, 4])), origin=-0.5,
            threshold=float(rng.random()), merge_distance=float(abs(array(1)[0])),
        ),
        lambda: _core.match(array(n, 2), array(m, 2), cutoff=cutoff),
        lambda: _core.match(array(n, 3), array(m, 3), cutoff=cutoff),
        lambda: _core.count_matches(
            array(n, 2), array(m, 2), cutoffs=np.sort(np.abs(array(width)))
        ),
        lambda: _core.refine(
            array(n, m).astype(np.float32), array(width, 2),
            radius=int(rng.integers(0, 9)), sigma=float(abs(array(1)[0])),
        ),
        lambda: _core.fit(
            array(n, m).astype(np.float32), array(width, 2),
            radius=int(rng.integers(0, 9)), sigma=float(abs(array(1)[0])),
            poisson=bool(rng.random() < 0.5), offset=float(array(1)[0]),
            gain=float(abs(array(1)[0])), read_variance=float(abs(array(1)[0])),
            n_threads=1,
        ),
    ]  # fmt: skip
    calls[int(rng.integers(len(calls)))]()


def once(name, seeds, rng, folder):
    """Run one damaged input; gives the finding, how it was refused, and the file."""
    if name == "numbers":
        with np.errstate(all="ignore"):
            return *_outcome(lambda: numbers(rng)), None
    file, data = seeds[int(rng.integers(len(seeds)))]
    inside = file.endswith((".pt", ".npz")) and rng.random() < 0.7
    try:
        damaged = _in_archive(data, rng) if inside else mutated(data, rng)
    except (zipfile.BadZipFile, OSError):
        damaged = mutated(data, rng)
    path = folder / file
    path.write_bytes(damaged)
    return *_outcome(lambda: TARGETS[name][1](path)), path


def _outcome(call):
    """Give the finding, and how the input was refused: the message without its details."""
    try:
        call()
    except (ValueError, OSError) as error:
        words = [
            w for w in str(error).split() if w.isalpha() and w.islower() and len(w) > 3
        ]
        return None, f"{type(error).__name__} {' '.join(words[:3])}"
    except MemoryError:
        return None, "MemoryError"
    except BaseException as error:  # noqa: BLE001
        return traceback.format_exc(), f"finding {type(error).__name__}"
    return None, "read"


def keep(name, path, how):
    """Keep an input in the corpus if it is small and the first that is refused so."""
    digest = hashlib.sha256(how.encode()).hexdigest()[:8]
    kept = CORPUS / name / f"{digest}-{path.name}"
    if path.stat().st_size <= SMALL and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(path.read_bytes())


def child(name, seed, seconds, count, folder):
    """Work for some seconds; the input at work lies in the folder when this dies."""
    import logging

    logging.getLogger("tifffile").propagate = False  # its complaints are our sentences
    logging.getLogger("blinkcore").propagate = False
    warnings.simplefilter("ignore")
    seeds = [] if name == "numbers" else TARGETS[name][0]()
    end, n, findings = time.monotonic() + seconds, 0, []
    while time.monotonic() < end and (count is None or n < count):
        rng = np.random.default_rng([seed, n])
        (folder / "at").write_text(f"{seed} {n}")
        if hasattr(signal, "alarm"):
            signal.alarm(LIMIT)
        problem, how, path = once(name, seeds, rng, folder)
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        n += 1
        if "FUZZ_KEEP" in os.environ and path is not None:
            keep(name, path, how)
        if problem is not None:
            FOUND.mkdir(parents=True, exist_ok=True)
            kept = FOUND / f"{name}-{seed}-{n}{path.suffix if path else '.txt'}"
            kept.write_bytes(path.read_bytes() if path else str([seed, n]).encode())
            findings.append({"file": str(kept), "problem": problem[-600:]})
    (folder / "result.json").write_text(json.dumps({"n": n, "findings": findings}))


def run(name, *, seed=0, seconds=60.0, count=None):
    """Fuzz a target; gives the number of inputs and the findings."""
    total, findings = 0, []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and (count is None or total < count):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", name, str(seed), str(left),
                       str(count or -1), folder]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            result = Path(folder) / "result.json"
            if result.exists():
                content = json.loads(result.read_text())
                total += content["n"]
                findings += content["findings"]
                break
            place = Path(folder) / "at"
            at = place.read_text().split() if place.exists() else [str(seed), "0"]
            total += int(at[1])
            FOUND.mkdir(parents=True, exist_ok=True)
            for path in Path(folder).iterdir():
                if path.name != "at":
                    kept = FOUND / f"{name}-{'-'.join(at)}-died{path.suffix}"
                    kept.write_bytes(path.read_bytes())
            findings.append(
                {"file": f"{name} {at}", "problem": f"exit {done.returncode}: "
                 f"{done.stderr[-300:]}"}
            )  # fmt: skip
            seed += 1
    return total, findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help="images, labels, datasets, ...")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--count", type=int, help="inputs of each target, at most")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="add to tests/corpus")
    chosen = parser.parse_args()
    if chosen.keep:
        os.environ["FUZZ_KEEP"] = "1"
    failed = False
    print(f"seed {chosen.seed}\n\n| target | inputs | findings |\n|---|---|---|")
    for name in chosen.targets or [*TARGETS, "numbers"]:
        total, findings = run(
            name, seed=chosen.seed, seconds=chosen.seconds, count=chosen.count
        )
        print(f"| {name} | {total:,} | {len(findings)} |", flush=True)
        for finding in findings[:5]:
            print(f"\n{finding['file']}\n{finding['problem']}\n", file=sys.stderr)
        failed = failed or bool(findings)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, seed, left, count, folder = sys.argv[2:]
        child(
            name,
            int(seed),
            float(left),
            None if count == "-1" else int(count),
            Path(folder),
        )
        sys.stdout.flush()
        os._exit(0)
    main()
