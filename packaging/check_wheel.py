"""Install a wheel into an empty environment without a compiler, and use it as people do.

    python packaging/check_wheel.py dist/blinkcore-0.2.0-cp312-cp312-linux_x86_64.whl

Finds the spots of the example image, copies the files for KNIME, and installs the macros for
Fiji; if Java, Xvfb and what the tests need are here, the real ImageJ runs one of them with
the program from the wheel. Ends with 1 if a step fails.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "examples" / "cells.tif"


def run(*words: object, **options: object) -> str:
    """Run a command and return what it printed; end if it fails."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False,
        **options,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def imagej(folder: Path, env: dict[str, str]) -> str:
    """Run Detect Spots in the real ImageJ from the plugins in a folder."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from real_imagej import IMAGEJ, bring_imagej

        jar, problem = bring_imagej(folder)
    except ImportError as error:
        jar, problem = None, str(error)
    if jar is None or shutil.which("xvfb-run") is None:
        return f"ImageJ was not run: {problem or 'there is no Xvfb'}"
    macro = folder / "drive.ijm"
    macro.write_text(
        f'open("{IMAGE}");\n'
        'run("Detect Spots", "model=general threshold=auto channel=0 measure=0 overlay");\n'
        'print("rows " + Table.size("Spots"));\n'
    )
    said = run(
        "xvfb-run", "-a", "java", f"-Duser.home={folder}", f"-Dplugins.dir={folder}",
        "-cp", jar, "ij.ImageJ", "-port0", "-batch", macro, env=env,
    )  # fmt: skip
    rows = [line for line in said.splitlines() if line.startswith("rows ")]
    if not rows:
        sys.exit(f"ImageJ found no spots:\n{said}")
    return f"{IMAGEJ}: {rows[0]}"


def check(wheel: Path) -> None:
    """Do all of it, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="blinkcore-wheel-") as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        run(programs / "python", "-m", "pip", "install", "-q", wheel.absolute())
        # Only these programs, and those of the system that a macro needs: no compiler.
        env = {
            "PATH": str(programs),
            "HOME": name,
            "BLINKCORE_CACHE": str(folder / "c"),
        }
        there = {"cwd": folder, "env": os.environ | env if os.name == "nt" else env}
        blinkcore = shutil.which("blinkcore", path=str(programs)) or "blinkcore"
        print(run(blinkcore, "--version", **there).strip())
        print(run(blinkcore, "predict", IMAGE, "-o", "out", **there).strip())
        rows = (folder / "out" / "cells.csv").read_text().count("\n") - 1
        (folder / "plugins").mkdir()
        print(run(blinkcore, "fiji", "install", folder, **there).strip())
        print(run(blinkcore, "knime", "bundle", "knime", **there).strip())
        said = imagej(folder, dict(os.environ))
        print(said)
        if "rows" in said and said.split()[-1] != str(rows):
            sys.exit(f"ImageJ shows other spots than the {rows} of the table")
    print(f"{wheel.name} works in an empty environment")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check(Path(sys.argv[1]))
