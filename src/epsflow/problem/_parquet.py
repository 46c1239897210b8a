"""Parquet files as data sets: in memory, or row group by row group into memory maps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import InputError, as_choice, as_flag, brief, check_file, install_command
from ._columns import Column, columns_of
from ._dataset import CHUNK_ROWS, Dataset
from ._row_groups import Reading, convert
from ._tables import from_table, number_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

NUMBERS = 2**21
"""Numbers (16 MB) of the file that are held at once."""

BUFFER = 2**16
"""Bytes of each column that are read at once. pyarrow reads row groups whole without that, and keeps all that it has
read of the file unless it is told not to buffer ahead (`pre_buffer`)."""


def read_parquet(
    path: str | Path,
    *,
    target: str | int = -1,
    standardise: bool = True,
    one_hot: Sequence[str] | bool = (),
    labels: bool = False,
    memory_map: str | Path | None = None,
    dtype: str = "float64",
    overwrite: bool = False,
) -> Dataset:
    """Read a Parquet file: into memory, or through it, for a file that is larger.

    Example:
        >>> ef.read_parquet("nowhere.parquet", memory_map="nowhere", dtype="float32")
        Traceback (most recent call last):
        epsflow.InputError: cannot read nowhere.parquet: No such file or directory.

    With `memory_map` the file is read twice, some rows at a time: first it is checked, and means, variances, levels and
    classes are found; then `x.npy` and `y.npy` are written to a folder that gets its name when both are whole. The data
    set is that of the file in memory, to the rounding of means and variances, but its arrays are these files: so are
    `np.load("folder/x.npy", mmap_mode="r")` and its like for y, of which `Dataset` makes it again, without names.

    Args:
        path: the file.
        target: the target's column, by its name or number. Default: the last.
        standardise: zero mean and unit variance for the features, and for a target that is no label.
        one_hot, labels: as in `from_table`.
        memory_map: a folder for the data, as `x.npy` and `y.npy`, from which networks are trained in batches. Default:
            they are held in memory.
        dtype: of a memory map, "float64" or "float32", which takes columns of single precision too.
        overwrite: whether a folder with an earlier such pair may be replaced.

    Raises:
        InputError: pyarrow is not installed, no such file, no Parquet file, what `from_table` refuses, a folder that is
            there, or that cannot be written to, or numbers beyond float32.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"path is {brief(path)}; the name of a file is needed.")
    as_flag(standardise, "standardise")
    as_flag(overwrite, "overwrite")
    as_choice(dtype, "dtype", ("float64", "float32"))
    if memory_map is None and (dtype != "float64" or overwrite):
        raise InputError('dtype and overwrite are about the files of a memory map: memory_map="folder" names one.')
    check_file(path)
    parquet, name = _pyarrow(), Path(path).stem
    if memory_map is None:
        try:
            table = parquet.read_table(path)
        except (OSError, ValueError) as error:  # pyarrow's own are of these kinds
            raise _no_parquet(path, error) from error
        data = from_table(table, target, name=name, one_hot=one_hot, labels=labels)
        return data.standardise(target=not labels) if standardise else data
    if not isinstance(memory_map, str | Path):
        raise InputError(f"memory_map is {brief(memory_map)}; the name of a folder is needed.")
    try:
        file = parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except (OSError, ValueError) as error:
        raise _no_parquet(path, error) from error
    with file:
        number = number_of(target, list(file.schema_arrow.names), name)
        reading = Reading(name, number, one_hot, as_flag(labels, "labels"), standardise, np.dtype(dtype))
        return convert(lambda: _batches(file, path), reading, Path(memory_map), overwrite=overwrite)


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError(f"Parquet files need pyarrow, which is an extra: {install_command('studies')}.") from error
    return parquet


def _batches(file: "ParquetFile", path: str | Path) -> Iterator[list[Column]]:
    """The columns of some rows after the other, never more than the constants above."""
    import pyarrow

    rows = min(CHUNK_ROWS, max(1, NUMBERS // max(1, len(file.schema_arrow.names))))
    try:
        for batch in file.iter_batches(batch_size=rows):
            yield columns_of(pyarrow.Table.from_batches([batch]))
    except (OSError, ValueError) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: str | Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a Parquet file ({str(error).splitlines()[0]}).")
