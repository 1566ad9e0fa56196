"""The napari plugin: points layers of spots, and the widget that makes them."""
