"""U-FISH and Big-FISH on a set of images, for `real.py`, in a Python of their own.

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" loguru matplotlib mrc onnxruntime pandas scikit-image scikit-learn
    PEERS/bin/pip install --no-deps ufish big-fish
    PEERS/bin/python benchmarks/real_peers.py METHOD IN.npz OUT.npz

Both come without their pins, which exclude each other. IN.npz holds image_0, image_1, ...;
OUT.npz gets spots_0, ... (n, 2), y and x in px. U-FISH runs with the weights that its wheel
ships and its default threshold; Big-FISH with its automatic threshold, for spots of a radius
of 150 nm at 100 nm px.
"""

import sys
import warnings
from pathlib import Path

import numpy as np


def ufish():
    import ufish
    from loguru import logger
    from ufish.api import UFish

    logger.remove()
    detector = UFish(cuda=False)
    weights = Path(ufish.__file__).parent / "model/weights"
    detector.load_weights_from_path(weights / detector.default_weights_file)

    def find(image):
        spots, _ = detector.predict(image)
        names = [n for n in spots.columns if n.startswith("axis")]
        return spots[names].to_numpy(float)

    return find


def bigfish():
    from bigfish.detection import detect_spots

    def find(image):
        try:
            return detect_spots(image, voxel_size=(100, 100), spot_radius=(150, 150))
        except (ValueError, IndexError):  # no threshold to be found
            return np.empty((0, 2))

    return find


def main():
    method, given, found = sys.argv[1:]
    warnings.simplefilter("ignore")
    find = {"ufish": ufish, "bigfish": bigfish}[method]()
    with np.load(given) as images:
        spots = [find(images[f"image_{i}"]) for i in range(len(images.files))]
    np.savez(found, **{f"spots_{i}": s[:, :2] for i, s in enumerate(spots)})


if __name__ == "__main__":
    main()
