"""A store as a table: pandas, xarray, CSV, Parquet, netCDF. The libraries come with the extra `studies`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import InputError, extra_library
from ._store import Store

if TYPE_CHECKING:
    import pandas
    import xarray

FORMATS = (".csv", ".parquet", ".nc")

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets compute."""


def to_pandas(store: Store) -> "pandas.DataFrame":
    """One row per run; its place in the plan is the index.

    Raises:
        InputError: pandas is not installed.
    """
    library = extra_library("pandas", "this")
    rows = [
        {
            "place": row.place,
            **row.inputs,
            "status": row.status,
            **row.outputs,
            "error": row.error,
            "seconds": row.seconds,
            "method": row.method,
            "attempts": row.attempts,
            "key": row.key,
        }
        for row in store.rows()
    ]
    return library.DataFrame(rows).set_index("place") if rows else library.DataFrame()


def to_xarray(store: Store) -> "xarray.Dataset":
    """Columns as variables along `run`; arrays (curves) along a second dimension, NaN where a run failed.

    Raises:
        InputError: xarray is not installed.
    """
    library = extra_library("xarray", "this")
    data = library.Dataset.from_dataframe(to_pandas(store)).rename({"place": "run"})
    rows = list(store.rows())
    names = sorted({name for row in rows for name in row.arrays})
    for name in names:
        length = max(len(row.arrays[name]) for row in rows if name in row.arrays)
        curves = [row.arrays.get(name, np.full(length, np.nan)) for row in rows]
        data[name] = (("run", "point"), np.stack(curves))
    return data.assign_attrs(specification=store.specification.to_json(), provenance=json.dumps(store.created))


def check_files(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse what cannot be written, or is there already, before anything is.

    Raises:
        InputError: an ending other than .csv, .parquet or .nc, or a file that exists and must not be overwritten.
    """
    for path in paths:
        if path.suffix not in FORMATS:
            raise InputError(f"cannot write {path}: the name must end in {', '.join(FORMATS)}.")
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists; name another file, or overwrite it with --overwrite (overwrite=True).")


def write_table(store: Store, path: Path) -> Path:
    """The table as a file; whole or not at all.

    Raises:
        InputError: a folder that cannot be written to, or a library that is not installed.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".nc":
            to_xarray(store).to_netcdf(temporary, engine="scipy")
        elif path.suffix == ".csv":
            _without_formulas(to_pandas(store)).to_csv(temporary)
        else:
            extra_library("pyarrow", "this")
            to_pandas(store).to_parquet(temporary)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _without_formulas(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Texts that a spreadsheet would compute (=…, +…, -…, @…) behind an apostrophe, which marks a text there."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value

    return table.map(plain).rename(columns=plain)
