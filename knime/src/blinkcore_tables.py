"""KNIME's tables and views: columns of paths, the schema of spots, a page of pictures."""

import base64
import math

import blinkcore_cli as cli
import knime.extension as knext


def is_path_column(column: knext.Column) -> bool:
    """Whether a column can hold paths: String, or KNIME's Path."""
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


def schema(measured: bool) -> knext.Schema:
    """Give the columns of a spots table as KNIME wants them."""
    kinds = {
        "string": knext.string(),
        "int64": knext.int64(),
        "float64": knext.double(),
    }
    known = cli.columns(measured=measured)
    return knext.Schema([kinds[kind] for kind in known.values()], list(known))


def paths(table: knext.Table, column: str) -> "tuple[list[str], int]":
    """Paths of a column, and how many cells were missing."""
    return _local(table[column].to_pandas()[column])


def _local(values) -> "tuple[list[str], int]":
    import pandas as pd

    kept = [v for v in values if v is not None and v is not pd.NA and not _is_nan(v)]
    local = [path for path in map(local_path, kept) if path.strip()]
    return local, len(values) - len(local)


def readable(table: knext.Table, column: str) -> "list[str]":
    """Paths of a column, without those of rows that tell an error."""
    if "error" not in table.column_names:
        return paths(table, column)[0]
    rows = table[[column, "error"]].to_pandas()
    return _local(rows.loc[rows["error"].isna(), column])[0]


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def page(found: cli.Found) -> str:
    """A page with the pictures."""
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
