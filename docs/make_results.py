"""Make the pictures of docs/results.md, from simulated files and the installed program.

python docs/make_results.py FOLDER    # a new folder for the files; Chromium for the report
"""

import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import tifffile

from blinkcore.simulation.stacks import scattered, simulate_stack

mpl.use("Agg")
import matplotlib.pyplot as plt

PICTURES = Path(__file__).parent / "pictures"
RECIPE = """\
images: movie.tif
output: study
samples: samples.csv
predict:
  radius: 3
link:
  radius: 0.4um
  min-spots: 5
colocalize:
  distance: 0.15um
  shift: translation
report:
  contrast: run
"""


def make_stack(folder):
    """Sixty spots in a z-stack, and a label image of two cells."""
    rng = np.random.default_rng(7)
    shape = (21, 192, 192)
    stack = simulate_stack(shape, scattered(shape, 60, 12.0, rng), rng)
    tifffile.imwrite(
        folder / "stack.tif", stack.pixels, imagej=True, resolution=(10, 10),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 0.3},
    )  # fmt: skip
    cells = np.zeros(shape[1:], np.uint16)
    y, x = np.indices(shape[1:])
    cells[np.hypot(y - 95, (x - 50) * 1.3) < 60] = 1
    cells[np.hypot(y - 95, (x - 142) * 1.3) < 55] = 2
    tifffile.imwrite(folder / "stack_masks.tif", cells, photometric="minisblack")
    return stack.points


def make_movie(folder):
    """Spots that diffuse in two channels, half of them together, shifted by 2 px."""
    rng = np.random.default_rng(3)
    n_frames, n, shared = 30, 30, 15
    start = scattered((5, 256, 256), 2 * n - shared, 20.0, rng)[:, 1:]
    steps = rng.normal(0, 0.6, (n_frames, len(start), 2))
    steps[0] = 0
    places = start + steps.cumsum(axis=0)
    movie = np.empty((n_frames, 2, 256, 256), np.uint16)
    for t in range(n_frames):
        for c, own in enumerate((places[t, :n], places[t, n - shared :] + (1.5, -2.0))):
            points = np.column_stack([np.zeros(len(own)), own])
            movie[t, c] = simulate_stack((1, 256, 256), points, rng).pixels[0]
    tifffile.imwrite(
        folder / "movie.tif", movie, imagej=True, resolution=(10, 10),
        metadata={"axes": "TCYX", "unit": "um", "finterval": 2.0},
    )  # fmt: skip


def run(folder, *words):
    """Run a command as the page shows it."""
    print("    $ blinkcore", *words)
    done = subprocess.run(
        ["blinkcore", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    print("    " + "\n    ".join(done.stderr.strip().splitlines()))


def picture_of_objects(folder):
    pixels = tifffile.imread(folder / "stack.tif")
    spots = pd.read_csv(folder / "results" / "stack.csv")
    figure, (top, side) = plt.subplots(1, 2, figsize=(9, 4.4))
    top.imshow(pixels.max(axis=0), cmap="gray")
    colors = mpl.colormaps["plasma"](spots["z"] / pixels.shape[0])
    top.scatter(
        spots["x"],
        spots["y"],
        s=90,
        facecolors="none",
        edgecolors=colors,
        linewidths=1.5,
    )
    side.imshow(pixels.max(axis=1), cmap="gray", aspect=3)
    side.errorbar(spots["x"], spots["z"], yerr=spots["z_uncertainty"], fmt="o", ms=6, mfc="none",
                  color="orange", lw=1)  # fmt: skip
    top.set(title="maximum over z, colour: z", xlabel="x (px)", ylabel="y (px)")
    side.set(
        title="maximum over y, with the uncertainty",
        xlabel="x (px)",
        ylabel="z (planes)",
    )
    figure.tight_layout()
    figure.savefig(PICTURES / "objects.png", dpi=90)


def picture_of_cells(folder):
    pixels = tifffile.imread(folder / "stack.tif").max(axis=0)
    cells = tifffile.imread(folder / "stack_masks.tif")
    spots = pd.read_csv(folder / "results" / "stack.csv")
    counts = pd.read_csv(folder / "results" / "counts_by_cell.csv")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
    left.imshow(pixels, cmap="gray")
    left.contour(cells > 0, [0.5], colors="white", linewidths=0.8)
    for cell, own in spots.groupby("cell"):
        name = f"in cell {cell}" if cell else "outside"
        left.plot(own["x"], own["y"], "o", ms=7, mfc="none", label=name)
    left.set(title="spots and their cells", xlabel="x (px)", ylabel="y (px)")
    left.legend(loc="lower left", fontsize=8)
    inside = counts[counts["cell"] > 0]
    error = [inside["n"] - inside["low"], inside["high"] - inside["n"]]
    right.bar(
        inside["cell"].astype(str), inside["n"], yerr=error, capsize=5, color="orange"
    )
    right.set(title="with the interval of 95 %", xlabel="cell", ylabel="spots")
    figure.tight_layout()
    figure.savefig(PICTURES / "cells.png", dpi=90)


def picture_of_measures(folder):
    pixels = tifffile.imread(folder / "stack.tif")
    spots = pd.read_csv(folder / "measured" / "stack.csv")
    brightest = spots.loc[spots["intensity"].idxmax()]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.8))
    y, x = (round(brightest[name]) for name in ("fit_y", "fit_x"))
    left.imshow(pixels[round(brightest["z"])], cmap="gray")
    left.set(xlim=(x - 8.5, x + 8.5), ylim=(y + 8.5, y - 8.5))
    for n_sigma in (1, 2):
        at = (brightest["fit_x"], brightest["fit_y"])
        circle = plt.Circle(
            at, n_sigma * brightest["sigma"], fill=False, color="orange"
        )
        left.add_patch(circle)
    left.set(title="one and two sigma of a fit", xlabel="x (px)", ylabel="y (px)")
    for axes, name, unit in ((middle, "intensity", "counts"), (right, "sigma", "px")):
        order = spots.sort_values(name)
        axes.errorbar(np.arange(len(order)), order[name], order[f"{name}_uncertainty"], fmt=".",
                      color="orange", ecolor="0.6", lw=1)  # fmt: skip
        axes.axhline(order[name].median(), color="0.3", lw=1, label="median")
        axes.set(
            title=f"{name}, with its uncertainty", xlabel="spots in order", ylabel=unit
        )
        axes.legend()
    figure.tight_layout()
    figure.savefig(PICTURES / "measured.png", dpi=90)


def picture_of_tracks(folder):
    pixels = tifffile.imread(folder / "movie.tif")
    spots = pd.read_csv(folder / "tracks" / "movie.csv")
    msd = pd.read_csv(folder / "tracks" / "movie.channel0.msd.csv")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4))
    left.imshow(pixels[0, 0], cmap="gray")
    for _, own in spots[spots["channel"] == 0].groupby("track"):
        left.plot(own["x"], own["y"], lw=1.2)
    left.set(title="tracks of channel 0", xlabel="x (px)", ylabel="y (px)")
    right.errorbar(msd["lag"], msd["msd"], yerr=msd["standard_error"], fmt="o", ms=4)
    right.plot(msd["lag"], msd["msd_corrected"], "-", label="less the localization")
    right.set(title="mean squared displacement", xlabel="lag (s)", ylabel="µm²")
    right.legend()
    figure.tight_layout()
    figure.savefig(PICTURES / "tracks.png", dpi=90)


def picture_of_pairs(folder):
    pixels = tifffile.imread(folder / "movie.tif")[0].astype(float)
    one, other = (
        pd.read_csv(folder / "pairs" / f"movie.{side}.csv")
        for side in ("first", "second")
    )
    one, other = (table[table["frame"] == 0] for table in (one, other))
    low, high = np.quantile(pixels, (0.01, 0.999))
    grey = np.clip((pixels - low) / (high - low), 0, 1)
    rgb = np.stack([grey[1], grey[0], grey[1]], axis=-1)
    figure, axes = plt.subplots(figsize=(5, 4.6))
    axes.imshow(rgb)
    paired = one["partner"] >= 0
    axes.plot(one["x"][paired], one["y"][paired], "o", ms=12, mfc="none", color="white")
    axes.set(
        title="channel 0 green, 1 magenta; pairs circled",
        xlabel="x (px)",
        ylabel="y (px)",
    )
    figure.tight_layout()
    figure.savefig(PICTURES / "pairs.png", dpi=90)


def picture_of_page(page, name):
    """Photograph a report in Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for word in ("headless=new", "no-sandbox", "window-size=1150,1250", "hide-scrollbars",
                 "use-angle=swiftshader", "enable-unsafe-swiftshader"):  # fmt: skip
        options.add_argument(f"--{word}")
    browser = webdriver.Chrome(
        options=options, service=Service("/usr/bin/chromedriver")
    )
    browser.get(page.absolute().as_uri())
    time.sleep(5)
    browser.save_screenshot(str(PICTURES / name))
    browser.quit()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    make_stack(folder)
    make_movie(folder)
    run(folder, "predict", "stack.tif", "-o", "results", "--labels", "stack_masks.tif")
    run(folder, "predict", "stack.tif", "-o", "planes", "--z", "planes")
    run(folder, "predict", "movie.tif", "-o", "results", "--radius", "3")
    run(folder, "link", "results/movie.csv", "-o", "tracks", "--radius", "0.4um", "--min-spots", "5",
        "--format", "csv,xml,geff")  # fmt: skip
    run(folder, "colocalize", "results/movie.csv", "-o", "pairs", "--distance", "0.15um",
        "--shift", "translation")  # fmt: skip
    run(folder, "report", "results", "-o", "report.html")
    run(folder, "predict", "stack.tif", "-o", "measured", "--measure", "poisson")
    (folder / "experiment.yaml").write_text(RECIPE)
    (folder / "samples.csv").write_text("image,condition\nmovie.tif,control\n")
    run(folder, "run", "experiment.yaml")
    picture_of_objects(folder)
    picture_of_tracks(folder)
    picture_of_pairs(folder)
    picture_of_page(folder / "report.html", "report.png")
    picture_of_page(folder / "study" / "report.html", "run.png")
    picture_of_cells(folder)
    picture_of_measures(folder)


if __name__ == "__main__":
    main()
