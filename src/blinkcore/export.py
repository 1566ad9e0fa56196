"""Export models to other programs: BioImage.IO (deepImageJ, QuPath, ilastik) and ONNX.

The network of a package takes a raw image and normalizes it itself, because no host
program knows how; it outputs the grid that `blinkcore predict` would decode.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import blinkcore
from blinkcore.detection import overlay
from blinkcore.detection.predict import predict
from blinkcore.files import atomic_write, missing
from blinkcore.network import onnx_format
from blinkcore.network.metadata import METADATA_FILE
from blinkcore.network.model import Model, load_model, load_weights
from blinkcore.network.networks import AnyNetwork, network_of
from blinkcore.network.torchscript import save_with_normalization

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from blinkcore.network.metadata import Metadata

_CHANNELS = ("probability", "y_offset", "x_offset")
_PAPER = ("Eichenberger et al., Nucleic Acids Research 2021", "10.1093/nar/gkab546")
_TEST_SIDE = 256  # px: larger test images are cut to it
_SAME = 1e-4  # largest accepted difference of onnxruntime's grids from PyTorch's


def export_bioimageio(
    name: str | os.PathLike[str],
    output: str | os.PathLike[str],
    image: NDArray[Any],
    *,
    authors: Sequence[str],
    license_: str,
) -> Path:
    """Write a package of BioImage.IO (0.5) with weights as TorchScript and as ONNX.

    Parameters
    ----------
    name : str or path
        Of a bundled model, or path of a `.pt` file.
    output : str or path
        Of the package (.zip).
    image : ndarray, shape (height, width)
        Of the kind that the model is for: the test image and, with its spots, the cover.
    authors : sequence of str
        Names.
    license_ : str
        SPDX identifier, for example "MIT".

    Returns
    -------
    Path
        The package; `bioimageio.core` reproduced the test output from the test image.

    Raises
    ------
    ImportError, ValueError
        If bioimageio.core or onnx is not installed, if the image is too small, or if
        bioimageio.core refuses the package; the message says why.
    """
    try:
        from bioimageio.core import test_description
        from bioimageio.spec import save_bioimageio_package
    except ImportError as error:
        raise missing("BioImage.IO", "bioimageio.core", "bioimageio") from error

    _check_license(license_)
    model = load_model(name, device="cpu")
    network = _network(name, model.metadata)
    pixels = _test_image(image, model.metadata.stride)
    output = Path(output)
    with tempfile.TemporaryDirectory() as folder, _silence_bioimageio():
        parts = _write_parts(network, model, pixels, Path(folder))
        opset = onnx_format.save_with_normalization(network, parts["onnx"])
        description = _describe(model, parts, opset, authors, license_)
        summary = test_description(description)
        if summary.status != "passed":
            raise ValueError(f"bioimageio.core refuses the package: {_reason(summary)}")
        with atomic_write(output) as temporary:
            save_bioimageio_package(
                description, output_path=temporary, allow_invalid=False
            )
    return output


def export_onnx(name: str | os.PathLike[str], output: str | os.PathLike[str]) -> float:
    """Write a model as ONNX and check that onnxruntime reproduces its output.

    Parameters
    ----------
    name : str or path
        Of a bundled model, or path of a `.pt` file.
    output : str or path
        Of the file (.onnx).

    Returns
    -------
    float
        Largest difference between its grids and those of PyTorch, on noise images of
        three sizes.

    Raises
    ------
    ImportError, ValueError
        If the libraries are not installed, or the grids differ by more than 1e-4.
    """
    model = load_model(name, device="cpu", amp=False)
    extra = {METADATA_FILE: model.metadata.to_json()}
    onnx_format.save(_network(name, model.metadata), output, extra)
    other = load_model(output, device="cpu")
    stride, rng = model.metadata.stride, np.random.default_rng(0)
    largest = 0.0
    for n, height, width in ((1, 1, 1), (2, 3, 5), (1, 20, 9)):
        shape = (n, 1, height * stride, width * stride)
        tiles = rng.normal(0.0, 3.0, shape).astype(np.float32)
        largest = max(largest, float(np.abs(model(tiles) - other(tiles)).max()))
    if not largest < _SAME:
        Path(output).unlink()
        raise ValueError(f"onnxruntime gives other grids: they differ by {largest:.2g}")
    return largest


def _network(name: str | os.PathLike[str], about: Metadata) -> AnyNetwork:
    """Build the network of a model with its weights."""
    network = network_of(about.architecture, about.arguments)
    network.load_state_dict(load_weights(name))
    return network.eval()


def _test_image(image: NDArray[Any], stride: int) -> NDArray[np.float32]:
    """Cut the middle of an image to a square of a multiple of the stride."""
    side = min(*image.shape, _TEST_SIDE) // stride * stride
    if side < onnx_format.MIN_SIDE:
        raise ValueError(
            f"the image for the test must be at least {onnx_format.MIN_SIDE} x {onnx_format.MIN_SIDE} px, got "
            f"{image.shape[0]} x {image.shape[1]}"
        )
    top, left = ((n - side) // 2 for n in image.shape)
    return image[top : top + side, left : left + side].astype(np.float32)


def _write_parts(
    network: AnyNetwork,
    model: Model,
    pixels: NDArray[np.float32],
    folder: Path,
) -> dict[str, Path]:
    names = ("network.pt", "input.npy", "output.npy", "cover.png", "README.md")
    parts = {Path(name).stem: folder / name for name in names}
    parts["onnx"] = folder / "network.onnx"
    run = save_with_normalization(network, parts["network"])
    np.save(parts["input"], pixels[None, None])
    np.save(parts["output"], run(pixels[None, None]))
    spots = predict(pixels, model)
    picture = overlay.draw_overlay(pixels, spots[["y", "x"]])
    # The format wants a cover of 1:1 or 2:1, below 500 kB.
    picture.quantize(64).save(parts["cover"], optimize=True)
    parts["README"].write_text(_readme(model), encoding="utf-8")
    return parts


def _check_license(license_: str) -> None:
    from bioimageio.spec.model import v0_5 as zoo

    try:
        zoo.LicenseId(license_)
    except ValueError as error:  # its message lists hundreds
        raise ValueError(
            f"license must be an SPDX identifier, like MIT or CC-BY-4.0, got {license_!r}"
        ) from error


def _describe(
    model: Model,
    parts: dict[str, Path],
    opset: int,
    authors: Sequence[str],
    license_: str,
) -> Any:
    from bioimageio.spec.model import v0_5 as zoo

    inputs, outputs = _tensors(model.metadata, parts)
    return zoo.ModelDescr(
        name=f"blinkcore {model.name}",
        description="Finds fluorescent spots: probability and sub-pixel position.",
        authors=[zoo.Author(name=name) for name in authors],
        cite=[zoo.CiteEntry(text=_PAPER[0], doi=zoo.Doi(_PAPER[1]))],
        license=zoo.LicenseId(license_),
        documentation=zoo.FileDescr(source=parts["README"]),
        covers=[zoo.FileDescr(source=parts["cover"])],
        tags=["spot-detection", "fluorescence", "single-molecule", "2d", "pytorch"],
        inputs=[inputs],
        outputs=[outputs],
        weights=zoo.WeightsDescr(
            torchscript=zoo.TorchscriptWeightsDescr(
                source=parts["network"], pytorch_version=zoo.Version(_torch_version())
            ),
            onnx=zoo.OnnxWeightsDescr(
                source=parts["onnx"], opset_version=opset, parent="torchscript"
            ),
        ),
        config=zoo.Config.model_validate(
            {"blinkcore": json.loads(model.metadata.to_json())}
        ),
    )


def _tensors(about: Metadata, parts: dict[str, Path]) -> tuple[Any, Any]:
    """Describe the input and output tensors of the packaged network."""
    from bioimageio.spec.model import v0_5 as zoo

    size = zoo.ParameterizedSize(min=onnx_format.MIN_SIDE, step=about.stride)
    sides = zoo.AxisId("y"), zoo.AxisId("x")
    inputs = zoo.InputTensorDescr(
        id=zoo.TensorId("image"),
        description="One plane, in counts as the camera gave them.",
        axes=[
            zoo.BatchAxis(size=1),
            zoo.ChannelAxis(channel_names=[zoo.Identifier("intensity")]),
            *(zoo.SpaceInputAxis(id=axis, size=size) for axis in sides),
        ],
        test_tensor=zoo.FileDescr(source=parts["input"]),
        data=zoo.IntervalOrRatioDataDescr(type="float32"),
    )
    outputs = zoo.OutputTensorDescr(
        id=zoo.TensorId("grid"),
        description=(
            f"For each cell of {about.cell_size} x {about.cell_size} px: probability of a "
            "spot, and where in the cell it is."
        ),
        axes=[
            zoo.BatchAxis(size=1),
            zoo.ChannelAxis(channel_names=[zoo.Identifier(c) for c in _CHANNELS]),
            *(
                zoo.SpaceOutputAxis(
                    id=axis,
                    size=zoo.SizeReference(tensor_id=inputs.id, axis_id=axis),
                    scale=float(about.cell_size),
                )
                for axis in sides
            ),
        ],
        test_tensor=zoo.FileDescr(source=parts["output"]),
        data=zoo.IntervalOrRatioDataDescr(type="float32"),
    )
    return inputs, outputs


def _torch_version() -> str:
    from importlib.metadata import version

    return version("torch").partition("+")[0]


def _readme(model: Model) -> str:
    about = model.metadata
    a, b = about.calibration[:2]
    population = (
        " blinkcore also weighs in how likely the image's other candidates of the same "
        "height, and of the same class of brightness, are."
        if about.calibration != about.calibration.alone()
        else ""
    )
    return f"""# blinkcore {model.name}

Finds fluorescent spots in a plane of a microscopy image. Made by blinkcore
{blinkcore.__version__}.

## How to use it

`blinkcore predict image.tif -o spots.csv` does everything, on images of any size. In other
programs this package gives the grid that blinkcore decodes: one value for each cell of
{about.cell_size} x {about.cell_size} px in three channels.

1. `probability`: that a spot lies in the cell. Neighbouring cells that hold parts of one spot share its
   probability; merged within {about.merge_distance:g} px, their sum p becomes a calibrated one by
   1 / (1 + exp(-({a:.4g} + {b:.4g} log(p / (1 - p))))). Above {about.threshold:g} it counts.{population}
2. `y_offset`, 3. `x_offset`: where in the cell, from 0 to 1. The spot of the cell in row i and
   column j lies at y = (i + y_offset) * {about.cell_size} - 0.5,
   x = (j + x_offset) * {about.cell_size} - 0.5 px, where an integer is the centre of a pixel.

The network normalizes the image by itself. A host that cuts an image into tiles normalizes
each, so probabilities can differ a little from those of blinkcore, which also sharpens the positions
of bright spots by a Gaussian fit.

## Training

{about.provenance.get("data", "not known")}

## Validation

{_scores(about.scores)}
"""


def _scores(scores: dict[str, float]) -> str:
    if not scores:
        return "No scores are known."
    rows = "\n".join(f"- {name}: {value:.3f}" for name, value in scores.items())
    return f"On the validation split of the training:\n\n{rows}"


def _reason(summary: Any) -> str:
    errors = [e.msg for d in summary.details for e in d.errors]
    return "; ".join(errors) or str(summary.status)


@contextmanager
def _silence_bioimageio() -> Iterator[None]:
    """Keep bioimageio's log and warnings off the user's screen; errors are raised."""
    import warnings

    from loguru import logger

    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")
