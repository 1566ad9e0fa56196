"""Make pictures/fiji.png, fiji_dialog.png and fiji_half_pixel.png in the real ImageJ.

python docs/make_fiji.py IJ.JAR    # net.imagej:ij:1.54p; on a display, for example Xvfb's
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.ImageGrab
import tifffile

from blinkcore import io
from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate

ROOT = Path(__file__).parents[1]
BLINKCORE = Path(sys.executable).with_name("blinkcore")
OPTIONS = "model=general threshold=auto channel=0 measure=3 overlay"
READY = f"""
newImage("first", "8-bit", 8, 8, 1); close();
call("ij.Prefs.set", "blinkcore.command", "{BLINKCORE}");
"""
SHOWN = """
open("{image}");
setLocation(20, 130);
run("Set... ", "zoom=300 x=80 y=70");
Stack.setFrame(2);
run("Enhance Contrast", "saturated=0.1");
{detect}
Table.setLocationAndSize(460, 130, 560, 330, "Spots");
"""


def picture(jar, macro, name, box, seconds):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drive.ijm"
        path.write_text(READY + macro)
        started = [
            "java", f"-Duser.home={folder}", f"-Dplugins.dir={ROOT / 'fiji'}",
            "-cp", jar, "ij.ImageJ", "-port0", "-macro", str(path),
        ]  # fmt: skip
        program = subprocess.Popen(started)
        time.sleep(seconds)
        screen = PIL.ImageGrab.grab(xdisplay=os.environ["DISPLAY"])
        screen.crop(box).save(ROOT / "docs" / "pictures" / name, optimize=True)
        program.kill()
        program.wait()


def main():
    with tempfile.TemporaryDirectory() as folder:
        stack = [
            simulate(
                (128, 140), np.random.default_rng([4, i]), ranges=PRESETS["particle"]
            )
            for i in range(3)
        ]
        image = Path(folder) / "beads.tif"
        tifffile.imwrite(
            image, np.stack([s.image for s in stack]), imagej=True,
            resolution=(1 / 0.1, 1 / 0.1), metadata={"axes": "TYX", "unit": "um"},
        )  # fmt: skip
        run = f'run("Detect Spots", "{OPTIONS}");'
        shown = SHOWN.format(image=image, detect=run)
        picture(sys.argv[1], shown, "fiji.png", (0, 0, 1040, 620), 25)
        asked = SHOWN.format(image=image, detect='run("Detect Spots");')
        picture(sys.argv[1], asked, "fiji_dialog.png", (0, 0, 1040, 620), 15)

        dot = np.zeros((12, 16), np.uint8)
        dot[7, 5] = 255
        image = Path(folder) / "dot.tif"
        tifffile.imwrite(image, dot)
        spots = pd.DataFrame({"y": [7.0], "x": [5.0]})
        io.write_spots(spots, Path(folder) / "dot.roi")
        drawn = f"""
            open("{image}"); setLocation(20, 130);
            open("{folder}/dot.roi");
            run("Set... ", "zoom=2400 x=8 y=6");
        """
        picture(sys.argv[1], drawn, "fiji_half_pixel.png", (0, 120, 440, 480), 8)


if __name__ == "__main__":
    main()
