"""Convert deepBlink models: its Keras files (.h5) become blinkcore models.

TensorFlow is not needed: the layer graph is read from the file, compared layer by layer
with deepBlink's U-Net, and its weights are copied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import blinkcore
from blinkcore import limits
from blinkcore.files import check_readable, missing
from blinkcore.model_files.sandbox import try_in_sandbox
from blinkcore.network.metadata import Metadata
from blinkcore.network.model import save_model
from blinkcore.network.networks import DeepBlink

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray


def convert_deepblink(
    path: str | os.PathLike[str], output: str | os.PathLike[str]
) -> Metadata:
    """Rebuild a deepBlink model with its weights.

    Parameters
    ----------
    path : str or path
        Keras file (.h5) of a deepBlink U-Net with any number of filters and any cell size.
    output : str or path
        Model to write (.pt).

    Returns
    -------
    Metadata
        Of the written model, which works as deepBlink does: images scaled to zero mean
        and unit standard deviation, cells that begin at 0, no merging, threshold 0.5.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is not a Keras model, or a layer is not deepBlink's; the message names it.
    ImportError
        If h5py is not installed.
    """
    path = Path(path)
    layers, weights, keras = _read(path)
    try:
        network = _rebuilt(layers, weights, path)
    except (KeyError, IndexError, TypeError, RecursionError, RuntimeError) as error:
        raise ValueError(
            f"{path} is not a Keras model as deepBlink saves it"
        ) from error
    metadata = Metadata.of(
        network,
        cell_map="deepblink",
        threshold=0.5,
        merge_distance=0.0,
        spot_sigma=None,
        provenance={
            "data": "converted from a deepBlink model; its training data are not recorded",
            "source": path.name,
            "keras": keras,
            "blinkcore": blinkcore.__version__,
        },
    )
    save_model(network, metadata, output)
    return metadata


def _rebuilt(
    layers: list[Any], weights: dict[str, list[NDArray[Any]]], path: Path
) -> DeepBlink:
    """Build the network with its weights; ValueError if it is not deepBlink's."""
    _check_graph(layers, path)
    convolutions = [n for n in layers if n["class_name"] == "Conv2D"]
    blocks = [layer["config"]["filters"] for layer in convolutions[:-1:3]]
    filters = [int(n) for n in blocks[: _n_levels(layers) + 1]]
    dropouts = [n for n in layers if n["class_name"] == "SpatialDropout2D"]
    rate = float(dropouts[0]["config"]["rate"]) if dropouts else 0.0
    network = DeepBlink(filters, rate).eval()
    _copy(network, layers, weights, path)
    return network


def _read(path: Path) -> tuple[list[Any], dict[str, list[NDArray[Any]]], str]:
    """Read the layers in graph order, the weights by layer, and the Keras version."""
    try:
        import h5py
    except ImportError as error:
        raise missing("a model of deepBlink", "h5py", "deepblink") from error
    check_readable(path)
    # First elsewhere: the library may search a damaged file without an end.
    try_in_sandbox(lambda: _content(path, h5py), f"{path}")
    return _content(path, h5py)


def _content(
    path: Path, h5py: Any
) -> tuple[list[Any], dict[str, list[NDArray[Any]]], str]:
    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])
            groups = _within(file, "model_weights", h5py)
            layers = {name: _within(groups, name, h5py) for name in groups}
            found = {
                name: [_numbers(layer, n, h5py) for n in layer.attrs["weight_names"]]
                for name, layer in layers.items()
            }
            sizes = [int(one.nbytes) for own in found.values() for one in own]
            _check_size(sum(sizes), path)
            weights = {name: [one[()] for one in own] for name, own in found.items()}
            keras = str(file.attrs.get("keras_version", "unknown"))
        return config["config"]["layers"], weights, keras
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} is not a Keras model as deepBlink saves it"
        ) from error


def _check_size(n_bytes: int, path: Path) -> None:
    """Raise ValueError if the weights, unpacked, are larger than any model may be."""
    limits.check(n_bytes, limits.MODEL, f"{path} has {{}} bytes of weights in it")


def _within(group: Any, name: str, h5py: Any) -> Any:
    """Return what lies in a group of the file itself: a link would read another file."""
    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise KeyError(name)
        group = group[part]
    return group


def _numbers(group: Any, name: Any, h5py: Any) -> Any:
    """Return a data set of numbers that lie in the file itself."""
    name = name.decode() if isinstance(name, bytes) else str(name)
    found = _within(group, name, h5py)
    is_plain = isinstance(found, h5py.Dataset) and found.dtype.kind == "f"
    if not is_plain or found.external is not None or found.is_virtual:
        raise TypeError(name)
    return found


def _n_levels(layers: list[Any]) -> int:
    """Count how often the resolution is halved from the image to a cell."""
    return sum(layer["class_name"] == "UpSampling2D" for layer in layers)


def _check_graph(layers: list[Any], path: Path) -> None:
    """Raise ValueError, naming the layer, unless the graph is deepBlink's."""
    number = {layer["name"]: i for i, layer in enumerate(layers)}
    expected = _Graph(_n_levels(layers)).layers
    for i, layer in enumerate(layers):
        found = (_kind(layer), [number.get(n, -1) for n in _inputs(layer)])
        if i >= len(expected) or found != expected[i]:
            raise ValueError(
                f"{path}: layer {layer['name']!r} ({layer['class_name']}) is not where "
                "deepBlink's U-Net has it; only its convolutional U-Net with "
                "squeeze-and-excitation can be converted"
            )
    if len(layers) < len(expected) or expected == [("InputLayer", [])]:
        raise ValueError(f"{path}: the network ends after layer {layers[-1]['name']!r}")


def _kind(layer: Any) -> str:
    kind = str(layer["class_name"])
    config = layer["config"]
    if kind == "Conv2D":
        size = list(config["kernel_size"])
        # A single pixel needs no padding, whatever it is called.
        return f"Conv2D {size} {config['padding'] if size != [1, 1] else 'same'}"
    if kind == "Activation":
        name = str(config["activation"])
        return "leaky_relu" if "leaky_relu" in name else name
    return kind


def _inputs(layer: Any) -> list[str]:
    nodes = layer["inbound_nodes"]
    if nodes and isinstance(nodes[0], dict):  # Keras 3
        return [history[0] for history in _histories(nodes[0]["args"])]
    return [node[0] for node in nodes[0]] if nodes else []


def _histories(argument: Any) -> list[Any]:
    if isinstance(argument, dict):
        config = argument.get("config", {})
        return [config["keras_history"]] if "keras_history" in config else []
    if isinstance(argument, list):
        return [h for item in argument for h in _histories(item)]
    return []


class _Graph:
    """deepBlink's layers as Keras lists them: kind, and numbers of the inputs."""

    def __init__(self, n_levels: int) -> None:
        self.layers: list[tuple[str, list[int]]] = [("InputLayer", [])]
        skips = []
        for _ in range(n_levels):
            self._block()
            skips.append(self._add("SpatialDropout2D"))
            pooled = self._add("MaxPooling2D")
        if n_levels == 0:
            return
        self._block()
        for skip in reversed(skips):
            up = self._add("UpSampling2D")
            self._add("Concatenate", skip, up)
            self._block()
        self._add("SpatialDropout2D")
        last = self._add("MaxPooling2D")
        for _ in range(n_levels - 1):
            self._block()
            self._add("SpatialDropout2D")
            last = self._add("MaxPooling2D")
        self._add("Concatenate", pooled, last)
        self._block()
        self._add("Conv2D [1, 1] same")
        self._add("sigmoid")

    def _add(self, kind: str, *inputs: int) -> int:
        self.layers.append((kind, list(inputs) or [len(self.layers) - 1]))
        return len(self.layers) - 1

    def _block(self) -> None:
        for _ in range(3):
            self._add("Conv2D [3, 3] same")
            features = self._add("leaky_relu")
        for kind in ("GlobalAveragePooling2D", "Dense", "leaky_relu", "Dense"):
            self._add(kind)
        weight = self._add("sigmoid")
        self._add("Multiply", weight, features)


def _copy(
    network: DeepBlink,
    layers: list[Any],
    weights: dict[str, list[NDArray[Any]]],
    path: Path,
) -> None:
    """Copy kernels and biases in the order of the graph."""
    blocks = [
        *network.encoder, network.bottleneck, *network.decoder, *network.second,
        network.last,
    ]  # fmt: skip
    modules = [m for block in blocks for m in block.children_in_order()]
    modules.append(network.head)
    names = [n["name"] for n in layers if n["class_name"] in ("Conv2D", "Dense")]
    for name, module in zip(names, modules, strict=True):
        try:
            kernel, bias = (torch.from_numpy(array) for array in weights[name])
            # Keras: (rows, cols, in, out) and (in, out)
            order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
            kernel = kernel.permute(order)
            if kernel.shape != module.weight.shape:
                raise ValueError(f"has weights of shape {tuple(kernel.shape)}")
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: layer {name!r} does not have deepBlink's weights: {error}"
            ) from error
        with torch.no_grad():
            module.weight.copy_(kernel)
            module.bias.copy_(bias)
