"""F1 integral of all bundled models on the same scenes, into `src/blinkcore/models/about.json`.

    python benchmarks/models.py

60 scenes of 256 x 256 px, those of `--preset general`, a seed that no training used; each model with its own
threshold. `blinkcore models` shows the numbers beside what each model is for.
"""

import json
from pathlib import Path

import numpy as np
from timing import machine, table

from blinkcore import predict
from blinkcore.evaluation.scores import evaluate
from blinkcore.network.model import bundled_models, load_model
from blinkcore.simulation.scenes import simulate

N_SCENES, SEED = 60, 90_000
ABOUT = Path(__file__).parents[1] / "src/blinkcore/models/about.json"


def main():
    machine()
    scenes = [
        simulate((256, 256), np.random.default_rng(SEED + i)) for i in range(N_SCENES)
    ]
    about = json.loads(ABOUT.read_text("utf-8"))
    rows = []
    for name in bundled_models():
        model = load_model(name, device="cpu", amp=False)
        scores = [
            evaluate(s.points, predict(s.image, model)[["y", "x"]].to_numpy())
            for s in scenes
        ]
        mean = float(np.mean([score.f1_integral for score in scores]))
        about[name]["f1_integral_on_general_scenes"] = round(mean, 3)
        rows.append((name, about[name]["for"], f"{mean:.3f}"))
    ABOUT.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    table(("model", "for", "F1 integral on the same scenes"), rows)


if __name__ == "__main__":
    main()
