"""Find fluorescent spots in microscopy images with sub-pixel precision and no threshold to tune."""

import lazy_loader

__version__ = "0.2.0"

# The public names are listed in `__init__.pyi`; each is imported on first use, because
# importing torch takes seconds (Scientific Python's SPEC 1).
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
