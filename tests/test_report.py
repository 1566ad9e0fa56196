"""The report, in a real browser."""

import re
import shutil
import time

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import run, write
from blinkcore.batch.options import Options
from blinkcore.io.results import read_results
from blinkcore.report.collect import (
    contrast_of,
    nearest_neighbours,
    read_counts,
    read_panels,
)
from blinkcore.report.facts import run_facts
from blinkcore.report.figures import figures_of
from blinkcore.report.page import _panel, write_report
from programs import call_blinkcore, run_blinkcore


def test_there_is_a_panel_for_each_image_and_channel(reported):
    panels = read_panels(reported, {"a.tif": "control"})
    assert [(p.condition, p.pixels is not None) for p in panels] == [
        ("", True), ("", True), ("control", True),
    ]  # fmt: skip
    assert sorted(len(p.spots) > 0 for p in panels) == [False, True, True]
    low, high = contrast_of(panels)
    assert 0 < low < high


def test_the_page_needs_no_network_and_no_script_of_a_name(reported, tmp_path):
    evil = {"a.tif": "</script><script>alert(1)</script>"}
    n = write_report(reported, tmp_path / "r.html", conditions=evil)
    assert n == 3
    text = (tmp_path / "r.html").read_text("utf-8")
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    own = text[text.index('<script id="data"') :]
    assert own.count("</script>") == 2  # the data and the program end, no name does
    assert "alert(1)</script>" not in text
    assert "&lt;b&gt;&amp;" in text[: text.index("<script>")]


def test_distributions_are_of_all_frames(tmp_path, general, scene):
    movie = np.stack([scene.image] * 3)
    tifffile.imwrite(tmp_path / "m.tif", movie, imagej=True, metadata={"axes": "TYX"})
    run([tmp_path / "m.tif"], Options(general, tmp_path / "out"))
    (panel,) = read_panels(tmp_path / "out", None)
    assert len(panel.all_spots) == 3 * len(panel.spots) > 0
    assert len(nearest_neighbours([panel])) == len(panel.all_spots)


def test_tracks_are_lines_and_a_distribution(tmp_path, general, scene):
    movie = np.stack([np.roll(scene.image, t, axis=1) for t in range(4)])
    tifffile.imwrite(tmp_path / "m.tif", movie, imagej=True, metadata={"axes": "TYX"})
    run([tmp_path / "m.tif"], Options(general, tmp_path / "out"))
    done = call_blinkcore(
        "link", "out", "-o", "t", "--radius", "3", "--min-spots", "3", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "m.motion.png").read_bytes()[:4] == b"\x89PNG"
    done = call_blinkcore("report", "out", "--tracks", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (panel,) = read_panels(tmp_path / "out", None, tracks=tmp_path / "t")
    lines = _panel(panel, 0, 1)["tracks"]
    linked = pd.read_csv(tmp_path / "t" / "m.csv")
    sizes = linked.groupby("track").size()
    assert lines["x"].count(None) == (sizes > 1).sum() > 10
    assert len(lines["x"]) == len(lines["y"]) == (sizes[sizes > 1] + 1).sum()
    assert len(panel.all_spots) == len(pd.read_csv(tmp_path / "out" / "m.csv"))
    titles = [f["title"] for f in figures_of([panel], pd.DataFrame(), pd.DataFrame())]
    assert "Spots in a track" in titles


def test_each_channel_has_a_contrast_of_its_own(tmp_path, general, scene):
    pixels = np.stack([scene.image, scene.image * 100])
    tifffile.imwrite(tmp_path / "m.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    run([tmp_path / "m.tif"], Options(general, tmp_path / "out"))
    write_report(tmp_path / "out", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "One contrast for each channel" in text


def test_results_in_folders_and_images_without_spots_are_shown(
    tmp_path, general, scene
):
    write(tmp_path / "in" / "day1" / "a.tif", scene.image)
    write(tmp_path / "in" / "day2" / "a.tif", np.full_like(scene.image, 55))
    images = [tmp_path / "in" / day / "a.tif" for day in ("day1", "day2")]
    for output in ("out", "all.csv"):
        run(images, Options(general, tmp_path / output))
        panels = read_panels(tmp_path / output, None)
        assert [len(p.spots) > 0 for p in panels] == [True, False]
    names = {spots.name for spots in read_results(tmp_path / "out")}
    assert sorted(name.split("/")[0] for name in names) == ["day1", "day2"]


def test_an_image_called_counts_has_a_report(tmp_path, general, scene):
    write(tmp_path / "in" / "counts.tif", scene.image)
    run([tmp_path / "in"], Options(general, tmp_path / "out"))
    assert write_report(tmp_path / "out", tmp_path / "r.html") == 1
    counts = read_counts(tmp_path / "out")
    assert counts["n"].tolist() == [len(pd.read_csv(tmp_path / "out" / "counts.csv"))]


def test_what_a_report_lacks_is_said(reported, tmp_path, caplog):
    shutil.rmtree(reported.parent / "in")
    assert write_report(reported, tmp_path / "r.html") == 0
    assert "no picture of" in caplog.text
    assert "The images were not found." in (tmp_path / "r.html").read_text("utf-8")
    done = call_blinkcore("report", reported, "--tracks", "none", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no folder of tracks none" in done.stderr
    (tmp_path / "empty").mkdir()
    done = call_blinkcore("report", reported, "--tracks", "empty", cwd=tmp_path)
    assert done.returncode == 0
    assert "empty has no tracks" in caplog.text


def test_warnings_about_the_images_are_in_the_report(tmp_path, general, scene):
    clipped = np.where(scene.image < np.quantile(scene.image, 0.7), 0, scene.image)
    for name in ("a", "b"):
        write(tmp_path / "in" / f"{name}.tif", clipped)
    run([tmp_path / "in"], Options(general, tmp_path / "out"))
    facts = dict(run_facts(tmp_path / "out"))
    assert "its pixels have the smallest value" in facts["warning"]
    assert facts["warning"].endswith("(and 1 more image)")


def test_a_folder_of_tracks_has_a_report_of_its_own(tmp_path, general, scene):
    movie = np.stack([np.roll(scene.image, t, axis=1) for t in range(4)])
    about = {"axes": "TYX", "unit": "um"}
    tifffile.imwrite(
        tmp_path / "m.tif", movie, imagej=True, metadata=about, resolution=(10, 10)
    )
    run([tmp_path / "m.tif"], Options(general, tmp_path / "out"))
    done = call_blinkcore("link", "out", "-o", "out/tracks", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (panel,) = read_panels(tmp_path / "out" / "tracks", None)
    assert 0 < len(panel.spots) < len(panel.all_spots)  # those of the middle frame
    assert panel.pixel_size.x == pytest.approx(0.1)
    facts = dict(run_facts(tmp_path / "out" / "tracks"))
    assert "link" in facts["command"]
    assert len(read_panels(tmp_path / "out", None)) == 1  # the tracks are no results
    assert (
        "link"
        in dict(run_facts(tmp_path / "out", tmp_path / "out" / "tracks"))["tracks"]
    )


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("needs Chromium and its driver")
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    for word in ("headless=new", "no-sandbox", "window-size=1300,1600",
                 "use-angle=swiftshader", "enable-unsafe-swiftshader"):  # fmt: skip
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = selenium.Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


def until(condition):
    """Wait for a browser that may be busy; a minute is far more than it needs."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


def opened(browser, path):
    browser.get(path.as_uri())
    body = browser.find_element("css selector", "body")
    until(lambda: body.get_attribute("data-ready") == "yes")
    assert [
        line for line in browser.get_log("browser") if line["level"] == "SEVERE"
    ] == []


def move_slider(browser, value):
    """Move the slider; the page shows its value when all pictures are drawn again."""
    browser.execute_script(
        "const s = document.getElementById('threshold'); s.value = arguments[0];"
        "document.getElementById('value').textContent = '';"
        "s.dispatchEvent(new Event('input'));", value,
    )  # fmt: skip
    until(lambda: browser.find_element("id", "value").text != "")


@pytest.mark.slow
def test_the_slider_hides_spots_and_hovering_tells_of_one(browser, reported, tmp_path):
    from selenium.webdriver import ActionChains

    write_report(reported, tmp_path / "r.html")
    opened(browser, tmp_path / "r.html")
    spots = pd.read_csv(reported / "a.csv")
    assert browser.find_element("id", "count2").text == str(len(spots))
    move_slider(browser, 0.99)
    kept = (spots["probability"].round(3) >= 0.99).sum()
    assert 0 < kept < len(spots)
    assert browser.find_element("id", "count2").text == str(kept)
    shown = browser.execute_script("return document.getElementById('panel2').data[0].x")
    assert len(shown) == kept
    move_slider(browser, 0)
    place = browser.execute_script(
        "const p = document.getElementById('panel2'); const l = p._fullLayout;"
        "const r = p.querySelector('.nsewdrag').getBoundingClientRect();"
        "window.scrollBy(0, r.top - 200);"
        "const s = p.querySelector('.nsewdrag').getBoundingClientRect();"
        "return [s.left + l.xaxis.d2p(p.data[0].x[0]), s.top + l.yaxis.d2p(p.data[0].y[0])]"
    )
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(int(place[0]), int(place[1]))
    actions.perform()
    layer = browser.find_element("css selector", "#panel2 .hoverlayer")
    until(lambda: layer.text != "")
    hover = layer.text
    assert "probability" in hover
    assert "intensity" in hover


@pytest.mark.slow
def test_pictures_follow_keys_and_the_theme_and_stay_in_the_page(
    browser, reported, tmp_path
):
    write_report(reported, tmp_path / "r.html")
    opened(browser, tmp_path / "r.html")
    titles = browser.execute_script(
        "return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
    )
    assert len(titles) > 3
    assert not [title for title in titles if "Share" in title or "Cloud" in title]
    picture = browser.find_element("id", "panel2")
    assert "spots" in picture.get_attribute("aria-label")
    look = "return document.getElementById('panel2')._fullLayout.xaxis.range.slice()"
    before = browser.execute_script(look)
    for key, test in (
        ("+", lambda now: now[1] - now[0] < before[1] - before[0]),
        ("0", lambda now: now == pytest.approx(before)),
        ("\ue014", lambda now: now[0] > before[0]),  # arrow to the right
    ):
        picture.send_keys(key)
        until(lambda test=test: test(browser.execute_script(look)))
    colour = "return document.getElementById('figure0')._fullLayout.xaxis.color"
    for theme, text in (("dark", "#e4e7eb"), ("light", "#1d2127")):
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        until(lambda text=text: browser.execute_script(colour) == text)


@pytest.mark.slow
def test_fifty_thousand_spots_are_shown(browser, tmp_path):
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {"y": rng.uniform(0, 2000, 50_000), "x": rng.uniform(0, 2000, 50_000),
         "probability": rng.random(50_000)}
    ).to_csv(tmp_path / "s.csv", index=False)  # fmt: skip
    write_report(tmp_path / "s.csv", tmp_path / "r.html")
    opened(browser, tmp_path / "r.html")
    move_slider(browser, 0.5)
    n = int(browser.find_element("id", "count0").text)
    assert 24_000 < n < 26_000


def test_the_command_and_its_sample_sheet(reported, tmp_path):
    (tmp_path / "s.csv").write_text("image,condition\na.tif,control\n")
    done = run_blinkcore(
        "report", reported, "-o", tmp_path / "r.html", "--samples", tmp_path / "s.csv",
        "--contrast", "plane",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "(control)" in text
    assert "its own contrast" in text


def test_predict_writes_a_report(tmp_path, examples):
    done = run_blinkcore(
        "predict", examples / "cells.tif", "-o", tmp_path / "o",
        "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spots = pd.read_csv(tmp_path / "o" / "cells.csv")
    assert f"{len(spots)} spots in 1 image" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "none"], "none"),
        (["report", "empty"], "no table of spots"),
        (["report", "a.csv", "-o", "r.pdf"], "must end in .html"),
        (["report", "a.csv", "--contrast", "9,1"], "--contrast"),
        (["report", "a.csv", "--samples", "a.csv"], "no column 'condition'"),
        (["report", "a.csv", "--samples", "none.csv"], "none.csv"),
        (["predict", "a.tif", "--report", "r.txt"], "must end in .html"),
        (
            ["predict", "a.tif", "-o", "-", "--report", "r.html"],
            "needs results in files",
        ),
    ],
)
def test_wrong_use_of_report_is_one_sentence(tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    table = pd.DataFrame({"image": ["a"], "y": [1.0], "x": [1.0]})
    table.to_csv(tmp_path / "a.csv", index=False)
    done = call_blinkcore(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
