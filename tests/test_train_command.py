"""`blinkcore train` as a program: options, recipes, what is refused."""

import pytest

from blinkcore.cli.train import _sizes
from blinkcore.network.model import read_metadata
from blinkcore.simulation.presets import PRESETS
from programs import call_blinkcore


def run_train(*arguments, cwd):
    return call_blinkcore("train", *arguments, cwd=cwd)


def trained(words, cwd):
    """Metadata of what the command makes of a step."""
    short = "-o m.pt --steps 1 --batch-size 1 --crop 32 --workers 0"
    done = run_train(*short.split(), *words.split(), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return read_metadata(cwd / "m.pt")


@pytest.mark.slow
def test_the_command_fine_tunes_by_a_recipe(tmp_path, labelled):
    (tmp_path / "r.yaml").write_text(
        f"data: {labelled}\nfrom: general\nsteps: 4\nvalidate-every: 2\ncrop: 64\n"
        "batch_size: 2\noutput: tuned.pt\nworkers: 0\n"
    )
    done = run_train("r.yaml", "--seed", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metadata = read_metadata(tmp_path / "tuned.pt")
    assert metadata.provenance["recipe"]["start"] == "general"
    assert metadata.provenance["recipe"]["seed"] == 5
    assert (tmp_path / "tuned.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_command_trains_on_a_preset(tmp_path):
    metadata = trained("--preset suntag", tmp_path)
    assert tuple(metadata.spot_sigma) == PRESETS["suntag"].sigma
    assert metadata.provenance["recipe"]["ranges"]["snr"] == list(PRESETS["suntag"].snr)


@pytest.mark.slow
def test_the_command_sets_the_dropout_of_the_papers_network(tmp_path):
    words = "--network deepblink --filters 4 --dropout 0 --valid-scenes 3"
    assert trained(words, tmp_path).arguments == {"filters": [4, 4, 4], "dropout": 0.0}


@pytest.mark.slow
def test_the_command_sets_the_size_of_a_network(tmp_path):
    words = "--filters 4 --depth 1 --levels 2 --valid-scenes 3"
    metadata = trained(words, tmp_path)
    assert metadata.provenance["recipe"]["n_valid"] == 3
    assert metadata.arguments == {"filters": 4, "depth": 1, "levels": 2}
    assert metadata.stride == 8


@pytest.mark.parametrize(
    ("network", "given", "sizes"),
    [
        ("blink", {}, {"filters": 16}),
        ("blink", {"filters": 8, "levels": 2}, {"filters": 8, "levels": 2}),
        ("deepblink", {"filters": 8}, {"filters": [8, 8, 8]}),
        ("deepblink", {}, {"filters": [16, 16, 16]}),
        ("deepblink", {"dropout": 0.0}, {"filters": [16, 16, 16], "dropout": 0.0}),
    ],
)
def test_options_are_sizes_of_a_network(network, given, sizes):
    nothing = dict.fromkeys(("filters", "depth", "levels", "dropout"))
    assert _sizes(network, nothing | given) == sizes


def test_sizes_that_a_network_does_not_have_are_refused(tmp_path, labelled):
    for more, words in (
        (
            ["--network", "deepblink", "--depth", "3"],
            "--depth is an option of the network blink only",
        ),
        (
            ["--network", "deepblink", "--levels", "3"],
            "--levels is an option of the network blink only",
        ),
        (["--dropout", "0"], "--dropout is an option of the network deepblink only"),
        (
            ["--from", "general", "--dropout", "0"],
            "--dropout cannot be combined with --from",
        ),
        (
            ["--from", "general", "--filters", "8"],
            "--filters cannot be combined with --from general",
        ),
        (
            ["--from", "general", "--levels", "2"],
            "--levels cannot be combined with --from general",
        ),
        (
            ["--data", labelled, "--valid-scenes", "9"],
            "--valid-scenes has no effect with --data",
        ),
    ):
        done = run_train("-o", "m.pt", *more, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_a_wrong_preset_is_refused(tmp_path, labelled):
    done = run_train("-o", "m.pt", "--preset", "moon", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no preset" in done.stderr
    done = run_train(
        "-o", "m.pt", "--preset", "smfish", "--data", labelled, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "--simulated" in done.stderr


def test_a_wrong_recipe_names_its_key(tmp_path):
    for content, words in (
        ("stepps: 3", "'stepps' is not an option"),
        ("steps: many", "r.yaml: 'steps': "),
        ("amp: maybe", "'amp' takes true or false, got maybe"),
        ("patience: true", "'patience' takes one value, got true"),
        ("data:", "'data' takes one value, got nothing"),
        ("seed: -1", "r.yaml: 'seed': "),
        ("learning_rate: -1", "--learning-rate must be between 0 and 1"),
        ("- 3", "must hold options"),
        ("a: [", "not valid YAML (line"),
    ):
        (tmp_path / "r.yaml").write_text(content)
        done = run_train("r.yaml", "-o", "m.pt", cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
    assert "--output" in run_train(cwd=tmp_path).stderr
    done = run_train("-o", "m.pt", "--crop", "50", cwd=tmp_path)
    assert done.returncode == 2
    assert "--crop must be a multiple of 16" in done.stderr
    # Found among the words as it was written.
    done = run_train("./r.yaml", cwd=tmp_path)
    assert "not valid YAML" in done.stderr


@pytest.mark.slow
def test_files_of_the_user_beside_the_model_stay(tmp_path):
    """The log has the model's name; labels and images of a user may have it, too."""
    trained("", tmp_path)
    trained("--overwrite", tmp_path)  # its own log is replaced
    for name, content in (("m.csv", b"y,x\n1,2\n"), ("m.png", b"a picture")):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_bytes(content)
        done = run_train("-o", "m.pt", "--steps", "1", cwd=folder)
        assert done.returncode == 2
        assert f"{name} exists and is not the log of a training" in done.stderr
        assert (folder / name).read_bytes() == content
