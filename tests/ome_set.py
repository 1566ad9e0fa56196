"""An OME-TIFF of two files."""

import numpy as np
import tifffile


def ome_set(folder):
    """Two files, each with one channel; both describe the whole."""
    data = np.arange(2 * 16 * 24, dtype=np.uint16).reshape(2, 16, 24)
    names = ["set_c0.ome.tif", "set_c1.ome.tif"]
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in (1, 2)]
    tiffdata = "".join(
        f'<TiffData IFD="0" FirstC="{i}" FirstT="0" FirstZ="0" PlaneCount="1">'
        f'<UUID FileName="{names[i]}">{uuids[i]}</UUID></TiffData>'
        for i in (0, 1)
    )
    for i, name in enumerate(names):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME '
            'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[i]}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYCZT" Type="uint16" SizeX="24" SizeY="16" SizeC="2" '
            'SizeZ="1" SizeT="1" PhysicalSizeX="0.2" PhysicalSizeY="0.2">'
            '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            '<Channel ID="Channel:0:1" SamplesPerPixel="1"/>'
            f"{tiffdata}</Pixels></Image></OME>"
        )
        tifffile.imwrite(
            folder / name, data[i], photometric="minisblack", description=xml,
            metadata=None,
        )  # fmt: skip
    return data, [folder / name for name in names]
