"""U-FISH and Big-FISH on a set of images or stacks, for `real.py` and `objects.py`.

In a Python of their own:

    python -m venv PEERS
    PEERS/bin/pip install "numpy<2" loguru matplotlib mrc onnxruntime pandas scikit-image scikit-learn
    PEERS/bin/pip install --no-deps ufish big-fish
    PEERS/bin/python benchmarks/real_peers.py METHOD IN.npz OUT.npz [WIDTHS]

Both are installed without their pinned requirements, which exclude each other. IN.npz
holds image_0, image_1, ...; OUT.npz gets spots_0, ... (n, 2 or 3), (z,) y and x in px.
U-FISH runs with the weights that its wheel ships and its default threshold, in stacks
also with its blending of the three directions; Big-FISH with its automatic threshold,
for spots of a radius of 150 nm at 100 nm px, in stacks of the widths (z, y, x) that
WIDTHS gives in px.
"""

import sys
import warnings
from pathlib import Path

import numpy as np


def ufish(_):
    import ufish
    from loguru import logger
    from ufish.api import UFish

    logger.remove()
    detector = UFish(cuda=False)
    weights = Path(ufish.__file__).parent / "model/weights"
    detector.load_weights_from_path(weights / detector.default_weights_file)

    def find(image):
        spots, _ = detector.predict(image, axes="zyx"[-image.ndim :])
        names = [n for n in spots.columns if n.startswith("axis")]
        return spots[names].to_numpy(float)

    return find


def bigfish(widths):
    from bigfish.detection import detect_spots

    radius = tuple(100 * float(width) for width in widths.split(","))
    pixel = (100,) * len(radius)

    def find(image):
        try:
            return detect_spots(image, voxel_size=pixel, spot_radius=radius)
        except (ValueError, IndexError):  # no threshold to be found
            return np.empty((0, image.ndim))

    return find


def main():
    method, given, found, *widths = sys.argv[1:]
    warnings.simplefilter("ignore")
    find = {"ufish": ufish, "bigfish": bigfish}[method](*widths or ["1.5,1.5"])
    with np.load(given) as images:
        spots = [find(images[f"image_{i}"]) for i in range(len(images.files))]
    np.savez(found, **{f"spots_{i}": s for i, s in enumerate(spots)})


if __name__ == "__main__":
    main()
