"""KNIME's tables and views: columns of paths, the schema of spots, a page of pictures."""

import base64
import math

import blinkcore_cli as cli
import knime.extension as knext


def is_path_column(column: knext.Column) -> bool:
    """Tell whether a column can hold paths: String, or KNIME's Path."""
    if column.ktype == knext.string():
        return True
    return "FSLocationValue" in str(column.ktype)


def local_path(value) -> str:
    """Give the path of a cell; raise ValueError if it is not on this computer."""
    category_ = getattr(value, "fs_category", None)
    if category_ is None:
        return str(value)
    if str(category_).upper() != "LOCAL":
        raise ValueError(
            f"{value.path} is not on this computer ({category_}); transfer the files to a "
            "local folder first, for example with Transfer Files"
        )
    return str(value.path)


IMAGES = knext.Schema(
    [knext.string(), knext.int64(), knext.string()], ["image", "n", "error"]
)


def schema(columns: "dict[str, str]") -> knext.Schema:
    """Give columns, names with types, as KNIME wants them."""
    kinds = {
        "string": knext.string(),
        "int64": knext.int64(),
        "float64": knext.double(),
    }
    return knext.Schema([kinds[kind] for kind in columns.values()], list(columns))


def paths(table: knext.Table, column: str) -> "tuple[list[str], int]":
    """List the paths of a column, and how many cells were missing."""
    return _local(table[column].to_pandas()[column])


def _local(values) -> "tuple[list[str], int]":
    kept = [value for value in values if not _is_missing(value)]
    local = [path for path in map(local_path, kept) if path.strip()]
    return local, len(values) - len(local)


def searched(table: knext.Table, column: str):
    """Give what was searched: `image`, and `frame` and `channel` where the table has them.

    Rows that tell an error are left out.
    """
    import pandas as pd

    known = table.column_names
    places = [n for n in ("frame", "channel") if {"frame", "channel"} <= set(known)]
    rows = table[
        [column, *places, *(["error"] if "error" in known else [])]
    ].to_pandas()
    if "error" in rows:
        rows = rows[rows["error"].isna()]
    rows = rows[[not _is_missing(value) for value in rows[column]]]
    names = [local_path(value) for value in rows[column]]
    return pd.DataFrame({"image": names, **{n: rows[n].to_numpy() for n in places}})


def _is_missing(value) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or _is_nan(value)


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def page(found: cli.Found) -> str:
    """Make a page with the pictures."""
    style = (
        "body{font-family:sans-serif;margin:8px}img{max-width:100%;margin-bottom:8px}"
    )
    pictures = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(p).decode()}"/>'
        for p in found.pictures
    )
    text = f"<p>{len(found.spots)} spots</p>" if found.pictures else "<p>No image.</p>"
    return (
        f"<html><head><style>{style}</style></head><body>{text}{pictures}</body></html>"
    )
