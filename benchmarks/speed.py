"""Time and memory: warm API beside the peers, cold program, a plane of 10,000 x 10,000.

    python benchmarks/speed.py [--ours]

The images are scenes of the preset smfish, full of spots. With --ours the networks of
others, which take minutes, are left out. deepBlink's network and the default networks
of Spotiflow and Piscis (from PyPI, where they are installed) have random weights, as
only their time is measured. It is that of the network on a normalized image, without
finding maxima (for deepBlink's network the whole prediction); ours and LoG's is that of
the whole prediction.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import torch
from log_detector import detect
from timing import machine, seconds, table

from blinkcore.detection.predict import find_spots, predict
from blinkcore.network.calibration import UNCALIBRATED
from blinkcore.network.model import Model, load_model, save_model
from blinkcore.network.networks import DeepBlink
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate
from blinkcore.training.provenance import describe
from blinkcore.training.recipe import TrainConfig
from blinkcore.training.validation import Validation

LARGE = 10_000
READ_AND_FIND = """
import sys, time
from blinkcore import load_model, predict, read_image

def peak():
    with open("/proc/self/status") as file:
        return next(int(x.split()[1]) for x in file if x.startswith("VmHWM")) / 2**20

model = load_model("general", device="cpu")
small = read_image(sys.argv[1])
predict(small, model); predict(small, model)
before = peak()
started = time.perf_counter()
spots = predict(read_image(sys.argv[2]), model)
took = time.perf_counter() - started
print(took, peak() - before, peak(), len(spots))
"""


def deepblink(filters: int) -> Model:
    sizes = [filters] * 3
    config = TrainConfig(network="deepblink", arguments={"filters": sizes})
    network = DeepBlink(sizes).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.pt"
        save_model(
            network,
            describe(network, config, 0, Validation(UNCALIBRATED, 0.5, None, {})),
            path,
        )
        return load_model(path, device="cpu")


def scene(side):
    rng = np.random.default_rng(12)
    return simulate((side, side), rng, ranges=PRESETS["smfish"]).image


def spotiflow():
    """The default network of Spotiflow, or None."""
    try:
        from spotiflow.model import Spotiflow, SpotiflowModelConfig
    except ImportError:
        return None
    return Spotiflow(SpotiflowModelConfig()).eval()


def piscis():
    """The default network of Piscis, or None."""
    try:
        from piscis.models.spots import SpotsModel
    except ImportError:
        return None
    return SpotsModel().eval()


def run_network(network, pixels):
    with torch.inference_mode():
        network(pixels)


def warm(image, methods) -> list[list[object]]:
    rows: list[list[object]] = []
    pixels = torch.zeros(1, 1, *image.shape)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        times = []
        for method in methods.values():
            if isinstance(method, Model):
                times.append(seconds(find_spots, image, method, threshold=0.5))
            elif method is detect:
                times.append(seconds(detect, image, 1.5, 10.0))
            elif method is None or image.size > 512 * 512:
                times.append(None)
            else:
                times.append(seconds(run_network, method, pixels))
        size = f"{image.shape[0]} x {image.shape[1]}"
        cells = ["–" if t is None else f"{1000 * t:.1f}" for t in times]
        rows.append([size, threads, *cells])
    return rows


def cold(path: Path) -> list[list[object]]:
    commands = {
        "blinkcore --help": [sys.executable, "-m", "blinkcore", "--help"],
        "python -c 'import torch, pandas'": [
            sys.executable,
            "-c",
            "import torch, pandas",
        ],
        "blinkcore predict, 512 x 512": [
            *(sys.executable, "-m", "blinkcore", "predict", str(path), "-o", "-"),
        ],
    }

    def run(command):
        subprocess.run(command, check=True, capture_output=True)

    return [
        [name, f"{seconds(run, command):.2f}"] for name, command in commands.items()
    ]


def main():
    machine()
    general = load_model("general", device="cpu")
    methods = {
        "blink (general)": general,
        "blink (precise)": load_model("precise", device="cpu"),
        "general, float32": load_model("general", device="cpu", amp=False),
        "precise, float32": load_model("precise", device="cpu", amp=False),
        "LoG": detect,
    }
    if "--ours" not in sys.argv:
        methods |= {
            "deepblink, 32 filters": deepblink(32),
            "deepblink, 64 filters": deepblink(64),
            "Spotiflow": spotiflow(),
            "Piscis": piscis(),
        }
    rows = []
    for side in (512, 2048):
        image = scene(side)
        rows += warm(image, methods)
    print(
        "Warm, normalize + network + decode, ms (LoG: scipy, one scale, always 1 thread):\n"
    )
    table(["image", "threads", *methods], rows)

    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.tif", Path(folder) / "large.tif"
        tile = scene(500)
        tifffile.imwrite(small, np.tile(tile, (2, 2))[:512, :512])
        print("Cold, s:\n")
        table(["command", "s"], cold(small))
        torch.set_num_threads(2)
        per_px = seconds(predict, small, general)
        per_px /= 512 * 512
        repeats = LARGE // 500
        tifffile.imwrite(large, np.tile(tile, (repeats, repeats)), bigtiff=True)
        done = subprocess.run(
            [sys.executable, "-c", READ_AND_FIND, str(small), str(large)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        took, more, peak, n = map(float, done.stdout.split())
        ratio = took / LARGE**2 / per_px
        print(
            f"{LARGE} x {LARGE} uint16 ({LARGE**2 * 2 / 2**30:.2f} GiB): {took:.1f} s, "
            f"{ratio:.2f} x the time per px of 512 x 512; peak {peak:.2f} GiB, {more:.2f} "
            "GiB more than for 512 x 512, both with the mapped pages of the file itself; "
            f"{n:.0f} spots\n"
        )


if __name__ == "__main__":
    main()
