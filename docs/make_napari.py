"""Make pictures/napari.png: the widget beside the example image, in napari's window."""

from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

HERE = Path(__file__).parent
viewer = napari.Viewer(show=True)
viewer.window.resize(1200, 800)
viewer.open(str(HERE.parent / "examples" / "cells.tif"))
_, detection = viewer.window.add_plugin_dock_widget("blinkcore", "Spot Detection")
detection.start.changed.emit(True)
while detection.start.text == "Stop":
    QApplication.processEvents()
viewer.camera.zoom *= 2.5
for _ in range(50):
    QApplication.processEvents()
viewer.screenshot(HERE / "pictures" / "napari.png", canvas_only=False)
viewer.close()
