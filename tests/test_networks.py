import numpy as np
import pytest
import torch

from blinkcore.network.networks import NETWORKS, Blink, DeepBlink


@pytest.mark.parametrize(
    "network",
    [*(made() for made in NETWORKS.values()), DeepBlink((4, 4, 4)), DeepBlink((4, 6))],
)
def test_grids_have_one_cell_for_each_square_of_the_image(network):
    raw = network.eval()(torch.zeros(2, 1, 48, 32))
    grid = network.activate(raw)
    assert grid.shape == (2, 3, 48 // network.cell_size, 32 // network.cell_size)
    assert ((grid >= 0) & (grid <= 1)).all()


def test_cell_sizes_follow_the_levels():
    assert [DeepBlink((4,) * n).cell_size for n in (2, 3, 4)] == [2, 4, 8]
    assert Blink().cell_size == 2


@pytest.mark.parametrize(("depth", "levels"), [(3, 1), (1, 2), (2, 3), (4, 4)])
def test_receptive_field_is_what_it_says(depth, levels):
    torch.manual_seed(0)
    network = Blink(8, depth, levels).double().eval()
    reach = network.receptive_field
    side = 32 * ((2 * reach + 60) // 32)
    x = torch.randn(1, 1, side, side, requires_grad=True, dtype=torch.float64)
    raw = network(x)
    cells = network.stride // network.cell_size
    first = side // 4 - cells // 2
    far = 0.0
    for i in range(first, first + cells):  # those of a pixel of the lowest level
        (gradient,) = torch.autograd.grad(raw[0, :, i, i].sum(), x, retain_graph=True)
        seen = gradient[0, 0].nonzero()
        far = max(far, float((seen - (2 * i + 0.5)).abs().max()))
    assert far <= reach + 0.5
    assert far > reach - 4.5  # not more than a stride too careful


def test_deepblink_has_the_reference_models_parameters():
    assert sum(p.numel() for p in DeepBlink((8, 16, 32)).parameters()) == 79195


def keras_blocks(network):
    return [
        *network.encoder,
        network.bottleneck,
        *network.decoder,
        *network.second,
        network.last,
    ]


def load_keras(network, weights):
    """Copy the layers of a deepBlink model, in the order that Keras counts them."""

    def layers(kind):
        names = [name for name in weights if name.startswith(kind)]
        names.sort(key=lambda name: int(name.partition("_")[2] or 0))
        return [weights[name][name] for name in names]

    blocks = keras_blocks(network)
    convolutions = [c for b in blocks for c in b.convolutions] + [network.head]
    dense = [d for b in blocks for d in (b.squeeze, b.excite)]
    with torch.no_grad():
        for source, target in zip(layers("conv2d"), convolutions, strict=True):
            kernel = torch.from_numpy(source["kernel:0"][()])  # (H, W, in, out)
            target.weight.copy_(kernel.permute(3, 2, 0, 1))
            target.bias.copy_(torch.from_numpy(source["bias:0"][()]))
        for source, target in zip(layers("dense"), dense, strict=True):
            target.weight.copy_(torch.from_numpy(source["kernel:0"][()]).T)
            target.bias.copy_(torch.from_numpy(source["bias:0"][()]))


def test_deepblink_computes_what_the_package_computes(shared):
    h5py = pytest.importorskip("h5py")
    network = DeepBlink((8, 16, 32)).eval()
    with h5py.File(shared / "deepblink" / "model_small.h5") as file:
        load_keras(network, file["model_weights"])
    expected = np.load(shared / "deepblink" / "model_small_expected.npz")
    for name in ("crop128", "scene256", "example512"):
        image = expected[f"{name}_input"].astype(np.float32)
        image = (image - image.mean()) / image.std()
        with torch.inference_mode():
            grid = network.activate(network(torch.from_numpy(image)[None, None]))[0]
        # float32 sums in another order; TensorFlow's own grids differ by 1e-6
        np.testing.assert_allclose(
            grid.permute(1, 2, 0).numpy(), expected[f"{name}_grid"], atol=1e-5
        )


def test_a_fresh_deepblink_hears_its_input():
    # With PyTorch's own start 0.001 comes through, and training does not begin.
    torch.manual_seed(0)
    with torch.inference_mode():
        raw = DeepBlink((16, 16, 16)).eval()(torch.randn(2, 1, 64, 64))
    assert (raw.std(dim=(0, 2, 3)) > 0.01).all()


def test_predicted_errors_have_a_range():
    network = Blink(filters=4, depth=1, levels=1)
    raw = torch.full((1, 4, 2, 2), 99.0)
    assert float(network.log_error(raw).max()) == pytest.approx(1.1)
    assert float(network.log_error(-raw).min()) == pytest.approx(-4.6)
