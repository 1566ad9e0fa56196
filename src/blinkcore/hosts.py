"""Install the files for Fiji, ImageJ and KNIME that come with the package."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import blinkcore
from blinkcore.files import atomic_write, files_in

logger = logging.getLogger(__name__)
# In the macros: the program that they call if no setting names it.
_DEFAULT = 'program = "blinkcore";'
# Folders that people have.
_FIJI = ("Fiji", "Fiji.app", "ImageJ", "ImageJ.app")
_PLACES = (
    "~",
    "~/Applications",
    "~/Desktop",
    "~/Downloads",
    "/Applications",
    "/opt",
    "C:/",
)


def install_fiji(folder: Path | None = None) -> Path:
    """Copy the macros into Fiji or ImageJ, set to call the program of this Python.

    A file that is there already and has other contents is kept with `.old` after its name.

    Parameters
    ----------
    folder : Path, optional
        Of Fiji or ImageJ, or its folder `plugins`; if not given, the usual places.

    Returns
    -------
    Path
        The folder that was written.

    Raises
    ------
    OSError
        If nothing can be written there, or the program `blinkcore` of this Python cannot be found.
    ValueError
        If there is no such folder, or Fiji is in none of the usual places.
    """
    target = _plugins(folder) / "Blinkcore"
    command = _in_macro(str(_program()).replace("\\", "/"))
    sources = files_in(_source("fiji") / "plugins" / "Blinkcore", (".ijm", ".py"))
    kept = []
    for source in [*sources, _source("fiji") / "blinkcore_fiji.py"]:
        text = source.read_text("utf-8")
        if _keep_old(target / source.name, text):
            kept.append(f"{source.name}.old")
        with atomic_write(target / source.name) as temporary:
            temporary.write_text(
                text.replace(_DEFAULT, f"program = {command};"), "utf-8"
            )
    if kept:
        logger.warning(
            "files of another version, or changed by you, are kept as %s",
            ", ".join(kept),
        )
    return target


def bundle_knime(folder: Path) -> Path:
    """Copy the KNIME extension, ready for KNIME's bundling tool.

    Parameters
    ----------
    folder : Path
        The folder to create; it must be empty or not exist yet.

    Returns
    -------
    Path
        Its `knime.yml`.

    Raises
    ------
    OSError
        If nothing can be written there.
    ValueError
        If it exists and is not an empty folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already and is not empty")
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_source("knime"), folder, dirs_exist_ok=True, ignore=compiled)
    return folder / "knime.yml"


def _source(host: str) -> Path:
    """Find the files of a host in the installed package."""
    checkout = Path(blinkcore.__file__).parents[2]
    places = [Path(place) / "hosts" for place in blinkcore.__path__]
    if (checkout / "pyproject.toml").exists():  # an editable installation
        places.insert(0, checkout)
    for place in places:
        if (place / host).is_dir():
            return place / host
    raise FileNotFoundError(2, "this installation lacks it", f"blinkcore/hosts/{host}")


def _keep_old(path: Path, text: str) -> bool:
    """Rename a file that differs from a text in more than the program that it calls."""
    if not path.is_file():
        return False
    old = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
    if re.sub(r"\bprogram = .*;", _DEFAULT, old) == text:
        return False
    path.replace(path.with_name(f"{path.name}.old"))
    return True


def _plugins(folder: Path | None) -> Path:
    if folder is not None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give that of Fiji or ImageJ")
        if folder.name == "plugins":
            return folder
        if not (folder / "plugins").is_dir():
            raise ValueError(
                f"{folder} has no folder 'plugins': it is not Fiji or ImageJ"
            )
        return folder / "plugins"
    homes = [os.environ.get("FIJI_HOME", "")]
    homes += [f"{place}/{name}" for place in _PLACES for name in _FIJI]
    for home in homes:
        found = Path(home).expanduser() / "plugins"
        if home and found.is_dir():
            return found
    raise ValueError(
        "Fiji is in none of the usual places; say where: blinkcore fiji install FOLDER"
    )


def _in_macro(text: str) -> str:
    """Write a text in ImageJ's macro language, which reads files in its own encoding."""
    parts = re.findall(r"[ !#-~]+|[^ !#-~]", text)
    return " + ".join(
        f'"{part}"' if re.fullmatch("[ !#-~]+", part) else _code_of(part)
        for part in parts
    )


def _code_of(character: str) -> str:
    units = character.encode("utf-16-be")  # Java's characters have 16 bits
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return " + ".join(f"fromCharCode({code})" for code in codes)


def _program() -> Path:
    """Find the path of the program `blinkcore` of this Python."""
    name = "blinkcore.exe" if sys.platform == "win32" else "blinkcore"
    user = sysconfig.get_preferred_scheme("user")
    started = Path(sys.argv[0])
    folders = [
        Path(sys.executable).parent,
        Path(sysconfig.get_path("scripts")),
        Path(sysconfig.get_path("scripts", user)),
        *([started.absolute().parent] if started.name == name else []),
    ]
    found = [folder / name for folder in folders if (folder / name).is_file()]
    on_path = shutil.which("blinkcore")
    if not found and on_path is None:
        raise FileNotFoundError(
            f"the program {name} is neither in {folders[0]} nor in {folders[1]}"
        )
    return found[0] if found else Path(str(on_path))
