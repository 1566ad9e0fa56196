"""Make scenes.jpg: what `blinkcore simulate --seed 0` draws, the first 24 scenes."""

from pathlib import Path

import numpy as np
import PIL.Image

from blinkcore.simulation.scenes import simulate

SIDE, COLUMNS, ROWS = 192, 6, 4
sheet = PIL.Image.new("L", (COLUMNS * SIDE, ROWS * SIDE))
for number in range(COLUMNS * ROWS):
    scene = simulate((SIDE - 4, SIDE - 4), np.random.default_rng([0, number]))
    low, high = np.percentile(scene.image, [0.5, 99.8])
    grey = np.clip((scene.image - low) / max(high - low, 1) * 255, 0, 255)
    place = (number % COLUMNS * SIDE, number // COLUMNS * SIDE)
    sheet.paste(PIL.Image.fromarray(grey.astype(np.uint8)), place)
sheet.save(Path(__file__).with_name("scenes.jpg"), quality=85)
