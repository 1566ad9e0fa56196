"""A network is tried on a small image: what it must give, in each way that it can be run."""

import pytest
import torch

from blinkcore.model_files.archive import checked
from blinkcore.model_files.probe import probe
from blinkcore.network import torchscript
from blinkcore.network.calibration import Calibration
from blinkcore.network.metadata import Metadata
from blinkcore.network.model import bundled_models


@pytest.fixture
def general():
    """The bundled network as it is loaded, and what it says about itself."""
    content = bundled_models()["general"].read_bytes()
    script, about = checked(content, "blinkcore.json")
    return torchscript.load(script, "cpu"), Metadata.from_json(about.decode())


def test_a_bundled_network_passes_as_it_is_and_frozen(general):
    network, metadata = general
    probe(network, metadata.cell_size, metadata.stride)
    frozen = torchscript.freeze(network, "cpu")
    probe(frozen, metadata.cell_size, metadata.stride, is_whole_file=False)


class Wrong(torch.nn.Module):
    """Right in `forward`, wrong in `with_error`."""

    def __init__(self, network: torch.nn.Module, shape: int) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 3, x.size(2) // 2, x.size(3) // 2), 0.5)

    @torch.jit.export
    def with_error(self, x: torch.Tensor) -> torch.Tensor:
        n = x.size(2) // 2
        return torch.full((1, self.shape, n, n), 0.5)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_errors_are_a_fourth_channel(general, n):
    _, metadata = general
    assert metadata.cell_size == 2
    with torchscript.SilencedDeprecation():
        network = torch.jit.script(Wrong(torch.nn.Conv2d(1, 1, 1), n))
    if n == 4:
        probe(network, metadata.cell_size, metadata.stride)
        return
    with pytest.raises(
        ValueError, match=rf"\(1, {n}, \d+, \d+\).*in the place of a grid"
    ):
        probe(network, metadata.cell_size, metadata.stride)


def test_light_alone_decides_without_a_population():
    alone = Calibration(0.0, 1.0, 2.0, 3.0).alone()
    assert (alone.population, alone.classes) == (0.0, 0.0)
