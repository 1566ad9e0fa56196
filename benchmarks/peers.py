"""Detectors of others and our own behind one interface: train for a time, then find.

Each has `train(train, valid, seconds, folder)`, with samples of a
`blinkcore.datasets.dataset`, which may return the seconds that the training really
took, and `find(image)`, which returns points (n, 2), y and x in px. Time is the
processor time of all cores, divided by their number, so that other work of the machine
does not count.
"""

import logging
import shutil
import time
import warnings
from dataclasses import replace

import numpy as np
import tifffile
import torch
from detnet import DetNet, dice_loss, mask_of, spots_of
from log_detector import log_maxima

from blinkcore.datasets.dataset import Dataset
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate
from blinkcore.network.model import load_model
from blinkcore.network.normalize import normalized, plane_scaling
from blinkcore.training.recipe import TrainConfig
from blinkcore.training.train import train

CORES = torch.get_num_threads()


def spent():
    """Seconds of this process so far, all cores together, divided by their number."""
    return time.process_time() / CORES


def score(found, samples):
    """Mean F1 integral."""
    pairs = zip(found, samples, strict=True)
    return float(np.mean([evaluate(s.points, f).f1_integral for f, s in pairs]))


def standardized(image):
    return normalized(image, plane_scaling(image, "standard"))


class Log:
    """TrackMate's LoG by the paper's protocol: diameters x 20 quantiles of the quality.

    The quality is divided by its median in the image, because exposures of a preset differ:
    this improves its scores.
    """

    name = "LoG"
    diameters = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)

    def train(self, train, valid, seconds, folder):
        best = -1.0
        for diameter in self.diameters:
            sigma = diameter / 2 / np.sqrt(2)  # as TrackMate: radius / sqrt(dimensions)
            found = [self.maxima(s.image, sigma) for s in train]
            quality = np.concatenate([f[:, 2] for f in found])
            for threshold in np.quantile(quality, np.linspace(0.5, 0.999, 20)):
                kept = [f[f[:, 2] > threshold, :2] for f in found]
                reached = score(kept, train)
                if reached > best:
                    best, self.setting = reached, (sigma, threshold)

    def find(self, image):
        spots = self.maxima(image, self.setting[0])
        return spots[spots[:, 2] > self.setting[1], :2]

    def maxima(self, image, sigma):
        spots = log_maxima(image, sigma)
        spots[:, 2] /= max(float(np.median(spots[:, 2])), 1e-9)
        return spots


class Detnet:
    name = "DetNet"

    def train(self, train, valid, seconds, folder):
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.network = DetNet()
        rate = {"lr": 1e-3, "amsgrad": True}
        optimizer = torch.optim.Adam(self.network.parameters(), **rate)
        images = np.stack([standardized(s.image) for s in train])
        masks = np.stack([mask_of(s.points, s.image.shape) for s in train])
        started = spent()
        while spent() - started < seconds:
            batch = rng.choice(len(images), 8)
            x, y = (torch.from_numpy(a[batch])[:, None] for a in (images, masks))
            loss = dice_loss(self.network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.network.eval()
        logits = [self.logits(s.image) for s in valid]
        alphas = np.linspace(-1, 1, 20)
        scores = [score([spots_of(one, a) for one in logits], valid) for a in alphas]
        self.alpha = float(alphas[int(np.argmax(scores))])

    def logits(self, image):
        with torch.inference_mode():
            pixels = torch.from_numpy(standardized(image))[None, None]
            return self.network(pixels)[0, 0].numpy()

    def find(self, image):
        return spots_of(self.logits(image), self.alpha)


class Ours:
    """A network of `blinkcore train`, as the command trains it."""

    def __init__(self, name, network, arguments, *, start="", **recipe):
        self.name = name
        self.config = TrainConfig(
            network=network, arguments=arguments, start=start, **recipe
        )

    def train(self, train_samples, valid, seconds, folder):
        data = folder / "data.npz"
        parts = [("train", train_samples), ("valid", valid)]
        Dataset(
            tuple(replace(s, part=part) for part, samples in parts for s in samples)
        ).save(data)
        config = replace(self.config, data=str(data), validate_every=10**9)
        per_step, validation = self.pace(config, folder)
        steps = max(20, int((seconds - 2 * validation) / per_step))
        for _ in range(3):  # until it took about as long as requested
            config = replace(config, steps=steps, validate_every=-(-steps // 2))
            started = spent()
            train(config, folder / f"{self.name}.pt", workers=0)
            took = spent() - started
            if 0.8 * seconds < took < 1.2 * seconds:
                break
            steps = max(20, int(steps * seconds / took))
        self.model = load_model(folder / f"{self.name}.pt", device="cpu")
        return took

    def pace(self, config, folder):
        """Seconds of a step after warming up, and of a validation."""
        starts = []

        def timed(state):
            starts.append(spent())

        short = replace(config, steps=12)
        train(short, folder / "try.pt", workers=0, on_step=timed)
        per_step = float(np.median(np.diff(starts)[2:]))
        return per_step, spent() - starts[-1]

    def find(self, image):
        threshold = self.model.metadata.threshold
        return find_spots(image, self.model, threshold=threshold)[:, :2]


class Bundled:
    """A model that comes with blinkcore, as it is."""

    def __init__(self, name):
        self.name = f"{name} (bundled)"
        self.model = load_model(name, device="cpu")

    def train(self, train, valid, seconds, folder):
        pass

    find = Ours.find


class Spotiflow:
    """From PyPI, through its own API with its defaults."""

    name = "Spotiflow"

    def train(self, train, valid, seconds, folder):
        import lightning.pytorch as lightning
        from spotiflow.model import Spotiflow as Model
        from spotiflow.model import SpotiflowModelConfig

        class Stop(lightning.Callback):
            def on_train_start(self, trainer, module):
                self.started = spent()

            def on_train_batch_end(self, trainer, *_):
                trainer.should_stop = spent() - self.started > seconds

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        torch.manual_seed(0)
        self.model = Model(SpotiflowModelConfig())
        self.model.fit(
            [s.image for s in train], [s.points for s in train],
            [s.image for s in valid], [s.points for s in valid],
            save_dir=str(folder / "spotiflow"), device="cpu", logger=None,
            callbacks=[Stop()],
        )  # fmt: skip
        self.model.optimize_threshold(self.model.val_ds)
        self.model.eval()

    def find(self, image):
        points, _ = self.model.predict(image, verbose=False, device="cpu")
        return np.asarray(points)[:, :2]


class Piscis:
    """From PyPI, through its API with its defaults; as many epochs as fit the time."""

    name = "Piscis"

    def train(self, train, valid, seconds, folder):
        import piscis.core
        import piscis.training
        from piscis.training import train_model

        data = folder / "piscis"
        for part, samples in (("train", train), ("val", valid[:4]), ("test", ())):
            for kind in "xy":
                (data / part / kind).mkdir(parents=True, exist_ok=True)
            for i, sample in enumerate(samples):
                tifffile.imwrite(data / part / "x" / f"{i:03d}.tif", sample.image)
                target = data / part / "y" / f"{i:03d}.csv"
                np.savetxt(target, sample.points, delimiter=",")
        models = folder / "piscis-models"
        shutil.rmtree(models, ignore_errors=True)
        for module in (piscis.training, piscis.core):
            module.MODELS_DIR = module.CHECKPOINTS_DIR = models
        options = {"device": "cpu", "batch_size": 4}
        started = spent()
        few = folder / "piscis-few"
        shutil.rmtree(few, ignore_errors=True)
        shutil.copytree(data, few)
        # An epoch of all images may take longer than allowed: four images.
        for path in sorted((few / "train" / "x").iterdir())[4:]:
            path.unlink()
        train_model("try", str(few), epochs=1, **options)
        per_step = spent() - started
        steps = max(1, int((seconds - per_step) / per_step))
        per_epoch = len(train) // 4
        if steps < 2 * per_epoch:
            epochs = max(1, steps)
            train_model("made", str(few), epochs=epochs, **options)
        else:
            train_model("made", str(data), epochs=steps // per_epoch, **options)
        self.model = piscis.core.Piscis("made", device="cpu")

    def find(self, image):
        return np.asarray(self.model.predict(image))[:, -2:]


def quiet():
    warnings.filterwarnings("ignore")
    logging.getLogger("blinkcore").setLevel(logging.ERROR)
