"""From a model file to a network.

A network of blinkcore is built anew around the weights of the file, which are read as data:
nothing in the file is run. Code of other networks runs only if the user trusts it, and then
only if `blinkcore.model_files` finds nothing in it that no network needs.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from blinkcore import limits
from blinkcore.model_files import archive
from blinkcore.model_files.sandbox import try_in_sandbox
from blinkcore.model_files.weights import read_weights
from blinkcore.network.metadata import METADATA_FILE, Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from blinkcore.network.networks import AnyNetwork

# Parts of the networks of `blinkcore.network.networks`, known without PyTorch.
PARTS = {
    "blink": frozenset(
        (
            "contrast",
            "stem",
            "encoder",
            "down",
            "further_down",
            "below",
            "up",
            "middle",
            "reduce",
            "decoder",
            "head",
        )
    ),
    "deepblink": frozenset(
        ("encoder", "bottleneck", "decoder", "second", "last", "head")
    ),
}
TRUST = "BLINKCORE_TRUST_MODELS"  # environment variable: code of other networks may run


def _bundled_digests() -> dict[str, str]:
    """Read the SHA-256 of each bundled file, by name."""
    text = (resources.files("blinkcore") / "models" / "sha256.txt").read_text("utf-8")
    return dict(line.split() for line in text.splitlines())


def content_of(path: Path) -> bytes:
    """Read a model file, unless it is too large to be one."""
    limits.check_file(path, limits.MODEL)
    return path.read_bytes()


class ModelFile(NamedTuple):
    """A model file that was read as data."""

    content: bytes
    metadata: Metadata
    sha256: str  # of the file
    is_ours: bool  # bundled, known by its digest
    weights: dict[str, NDArray[Any]] | None  # if they may be those of a network of ours


def read_file(path: Path, content: bytes) -> ModelFile:
    """Read a model file without PyTorch; bundled ones are known by their digest.

    Raises
    ------
    ValueError
        If it is not a model of blinkcore, is damaged, or exceeds a limit.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest in _bundled_digests().values():
        about = archive.metadata_of(content, METADATA_FILE)
        metadata = Metadata.from_json(about.decode())
        return ModelFile(content, metadata, digest, True, None)
    read = partial(read_weights, content, METADATA_FILE)
    try:
        # First in a copy of this process: files can be made to take long to be read.
        try_in_sandbox(read, "a check of it", len(content))
        weights, about = read()
        if not about:
            raise ValueError(
                f"it is a TorchScript file but not a model of blinkcore: it has no "
                f"{METADATA_FILE}"
            )
        metadata = Metadata.from_json(about.decode())
        if not _may_be_own(metadata.architecture, weights):
            _check_code(content)  # before the seconds that PyTorch takes to be imported
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used as a model: {error}") from error
    return ModelFile(content, metadata, digest, False, weights)


def network_of_file(path: Path, file: ModelFile, device: str) -> tuple[Any, bool]:
    """Make the network of a model file; tell whether its code is blinkcore's own.

    Raises
    ------
    ValueError
        If it does not work on a small image, or is not blinkcore's own and not trusted.
    """
    from blinkcore.network import torchscript
    from blinkcore.network.networks import NETWORKS

    if file.is_ours:
        return torchscript.load(file.content, device), True
    try:
        if file.metadata.architecture not in NETWORKS:
            return _run_its_code(file, device), False
        build = partial(_rebuilt, file)
        try:
            # First in a copy of this process: its sizes may be any.
            try_in_sandbox(build, n_bytes=len(file.content))
        except ValueError:
            _check_code(file.content)  # if that is what is wrong, it is named
            raise
        return torchscript.scripted(build()).to(device), True
    except ValueError as error:
        raise ValueError(f"{path} cannot be used as a model: {error}") from error


def _rebuilt(file: ModelFile) -> AnyNetwork:
    """Build the network that a file names around its weights, and try it."""
    from blinkcore.model_files.probe import probe
    from blinkcore.network import torchscript
    from blinkcore.network.networks import network_with

    about = file.metadata
    if file.weights is None:
        raise ValueError(f"its weights are not those of a {about.architecture}")
    network = network_with(about.architecture, about.arguments, file.weights)
    for name in ("cell_size", "stride", "receptive_field"):
        stated, own = getattr(about, name), getattr(network, name)
        if stated != own:
            raise ValueError(f"its {name} is {own} and not {stated}")
    module = torchscript.exported(network)
    probe(module, about.cell_size, about.stride, is_whole_file=False)
    return network


def _may_be_own(architecture: str, weights: Mapping[str, Any] | None) -> bool:
    """Return whether weights belong to parts that this network of blinkcore has."""
    parts = {name.partition(".")[0] for name in weights or ()}
    return bool(parts) and parts <= PARTS.get(architecture, frozenset())


def _check_code(content: bytes) -> None:
    """Raise ValueError that names what the code of a file does and no network needs."""
    check = partial(archive.checked, content, METADATA_FILE)
    try_in_sandbox(check, "a check of it", len(content))


def _run_its_code(file: ModelFile, device: str) -> Any:
    """Load a network that is not blinkcore's own, if trusted; `read_file` checked its code."""
    from blinkcore.network import torchscript
    from blinkcore.network.networks import NETWORKS

    if os.environ.get(TRUST) != "1":
        raise ValueError(
            f"its network is not one of blinkcore's own ({', '.join(NETWORKS)}), and code "
            "of the file would run; if you trust whoever made it, set the environment "
            f"variable {TRUST}=1"
        )
    script, _ = archive.checked(file.content, METADATA_FILE)
    check = partial(_try, script, file.metadata)
    try_in_sandbox(check, n_bytes=len(file.content))
    return torchscript.load(script, device)


def _try(script: bytes, metadata: Metadata) -> None:
    """Load a network, run it, and run it as it is prepared to run fast."""
    from blinkcore.model_files.probe import probe
    from blinkcore.network import torchscript

    network = torchscript.load(script, "cpu")
    probe(network, metadata.cell_size, metadata.stride)
    try:
        frozen = torchscript.freeze(network, "cpu")
    except RuntimeError as error:
        raise ValueError("PyTorch cannot prepare its network") from error
    probe(frozen, metadata.cell_size, metadata.stride, is_whole_file=False)
