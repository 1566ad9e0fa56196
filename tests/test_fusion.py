import numpy as np
import pytest
import torch
from torch import nn

from blinkcore.network.fusion import fuse
from blinkcore.network.model import load_model, load_weights
from blinkcore.network.networks import Blink

has_onednn = hasattr(torch.ops.mkldnn, "_convolution_pointwise")


@pytest.mark.parametrize("name", ["general", "precise"])
@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (2, 1, 32, 64), (1, 1, 480, 96)])
def test_a_fused_model_computes_the_same(name, shape):
    model = load_model(name, device="cpu", amp=False)
    network = Blink(**model.metadata.arguments).eval()
    network.load_state_dict(load_weights(name))
    x = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    with torch.inference_mode():
        raw = network(torch.from_numpy(x))
        expected = torch.cat(
            [network.activate(raw), network.log_error(raw).exp()[:, None]], dim=1
        ).numpy()
    for _ in range(3):  # nothing is overwritten that the next call reads
        np.testing.assert_allclose(model(x), expected, atol=2e-5)


@pytest.mark.parametrize("name", ["general", "precise"])
def test_the_bundled_models_are_fused(name):
    model = load_model(name, device="cpu")
    graph = str(model.network.with_error.graph)
    assert "aten::rsqrt_(" in graph
    arguments = model.metadata.arguments
    # Residuals, the compression and the last way up; the others enlarge in a loop.
    n_residuals = arguments["depth"] + arguments["levels"] - 1
    assert graph.count("aten::add_(") >= n_residuals + 2
    assert ("aten::relu(" not in graph) == has_onednn


class Shared(nn.Module):
    """What the ReLU gives is read twice."""

    def forward(self, x):
        positive = torch.relu(x)
        return x + positive, positive


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_values_that_are_read_again_are_not_overwritten():
    network = torch.jit.script(Shared().eval())
    fuse(network, ("forward",))
    x = torch.tensor([-1.0, 2.0])
    total, positive = network(x)
    assert total.tolist() == [-1.0, 4.0]
    assert positive.tolist() == [0.0, 2.0]
    assert x.tolist() == [-1.0, 2.0]


class Sum(nn.Module):
    """What it is given stays."""

    def forward(self, x):
        return x + torch.relu(x)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_sum_goes_into_the_relu_not_into_the_input():
    network = torch.jit.script(Sum().eval())
    fuse(network, ("forward",))
    assert "aten::add_(" in str(network.graph)
    x = torch.tensor([-1.0, 2.0])
    assert network(x).tolist() == [-1.0, 4.0]
    assert x.tolist() == [-1.0, 2.0]


def test_a_pytorch_that_cannot_rewrite_runs_the_network_as_it_is(monkeypatch, caplog):
    expected = load_model("general", device="cpu", amp=False)

    def missing(*arguments):
        raise RuntimeError("no such pass")

    name = "_jit_pass_custom_pattern_based_rewrite_graph"
    monkeypatch.setattr(torch._C, name, missing)
    model = load_model("general", device="cpu", amp=False)
    assert "they run slower: no such pass" in caplog.text
    x = np.random.default_rng(0).normal(0, 3, (1, 1, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(model(x), expected(x), atol=2e-5)
