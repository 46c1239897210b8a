"""Parquet files of several row groups as memory maps: the data set of the file in memory, or nothing at all."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from epsflow import InputError, read_parquet
from epsflow.problem import _parquet, _row_groups
from epsflow.problem._moments import Moments

N = 23
COLOURS = ["red", "green", "blue", "red", "grey"]


def columns() -> dict[str, object]:
    rng = np.random.default_rng(5)
    return {
        "speed": 1e3 + rng.standard_normal(N),
        "load": 1e-3 * rng.standard_normal(N),
        "count": rng.integers(0, 9, N),
        "still": np.full(N, 0.1),
        "colour": [COLOURS[k % 5] for k in range(N)],
        "wet": ["yes" if k % 3 else "no" for k in range(N)],
        "effect": rng.standard_normal(N),
    }


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Four rows of seven columns at a time, of row groups of six: neither divides 23."""
    monkeypatch.setattr(_parquet, "NUMBERS", 28)


def written(folder, held=None):
    path = folder / "trips.parquet"
    pq.write_table(pa.table(held or columns()), path, row_group_size=6)
    assert pq.ParquetFile(path).num_row_groups == 4
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"target": "effect", "one_hot": True},
        {"target": -1, "one_hot": ["colour", "wet", "count"]},
        {"target": "wet", "one_hot": "colour", "labels": True},
        {"target": "count", "one_hot": True, "labels": True},
    ],
    ids=str,
)
def test_row_groups_on_disk_are_the_file_in_memory(tmp_path, options):
    path = written(tmp_path)
    for standardise in (False, True):
        here = read_parquet(path, standardise=standardise, **options)
        there = read_parquet(path, standardise=standardise, memory_map=tmp_path / f"maps-{standardise}", **options)
        assert isinstance(there.x, np.memmap)
        assert not there.x.flags.writeable
        assert (there.name, there.features, there.target) == (here.name, here.features, here.target)
        assert there.classes == here.classes
        # Means of some 10³, of which a deviation of 1 is left: 10³ roundings.
        exact = {"rtol": 0.0, "atol": 1e-12 if standardise else 0.0}
        np.testing.assert_allclose(there.x, here.x, **exact)
        np.testing.assert_allclose(there.y, here.y, **exact)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["maps-False", "maps-True", "trips.parquet"]


@pytest.mark.parametrize(
    ("column", "bad", "message"),
    [
        ("load", np.nan, r"trips: feature 'load' is missing or infinite at point 14 \(2 such points\)"),
        ("effect", np.inf, r"trips: target 'effect' is missing or infinite at point 14 \(2 such points\)"),
        ("count", None, r"trips: feature 'count' is missing or infinite at point 14 \(2 such points\)"),
        ("colour", None, r"trips: point 14 has no 'colour' \(2 such points\)"),
    ],
)
def test_what_is_missing_in_the_third_row_group_is_named_and_nothing_is_left(tmp_path, column, bad, message):
    held = {name: list(values) for name, values in columns().items()}
    held[column][14] = held[column][20] = bad
    path = written(tmp_path, held)
    for place in ({}, {"memory_map": tmp_path / "maps"}):
        with pytest.raises(InputError, match=message):
            read_parquet(path, one_hot=True, **place)
    assert [file.name for file in tmp_path.iterdir()] == ["trips.parquet"]


def test_a_point_without_a_label(tmp_path):
    path = written(tmp_path, {"a": np.arange(23.0), "kind": [None if k == 15 else "uv"[k % 2] for k in range(N)]})
    with pytest.raises(InputError, match=r"trips: target 'kind': point 15 has no label \(1 such points\)"):
        read_parquet(path, labels=True, memory_map=tmp_path / "maps")


def test_labels_and_levels_of_too_many_values_end_the_reading(tmp_path, monkeypatch):
    path = written(tmp_path, {"a": np.arange(23.0), "kind": [f"k{k}" for k in range(N)]})
    place = {"labels": True, "memory_map": tmp_path / "maps"}
    with pytest.raises(InputError, match="has 23 different values among 23 points: a number to predict"):
        read_parquet(path, **place)
    monkeypatch.setattr(_row_groups, "MOST_CLASSES", 7)
    with pytest.raises(InputError, match="has 14 different values among 14 points"):  # the first 28 numbers
        read_parquet(path, **place)


def test_single_precision(tmp_path):
    held = {"a": np.arange(23, dtype=np.float32), "b": 1e39 * np.arange(23.0), "y": np.arange(23.0)}
    path = written(tmp_path, held)
    with pytest.raises(InputError, match="feature 'a' holds numbers in single precision"):
        read_parquet(path, memory_map=tmp_path / "maps")
    with pytest.raises(InputError, match="feature 'b' is beyond the numbers of float32; standardise"):
        read_parquet(path, standardise=False, memory_map=tmp_path / "maps", dtype="float32")
    assert not (tmp_path / "maps").exists()
    data = read_parquet(path, memory_map=tmp_path / "maps", dtype="float32")
    assert data.x.dtype == data.y.dtype == np.float32
    assert data.x.mean(axis=0) == pytest.approx(0.0, abs=1e-6)  # 23 roundings of 6e-8


def test_a_folder_is_overwritten_only_where_that_is_said_and_safe(tmp_path):
    path, maps = written(tmp_path), tmp_path / "maps"
    options = {"one_hot": True, "memory_map": maps}
    first = read_parquet(path, standardise=False, **options)
    before = first.x.copy()
    with pytest.raises(InputError, match=r"maps exists; .*overwrite=True"):
        read_parquet(path, **options)
    second = read_parquet(path, overwrite=True, **options)
    np.testing.assert_array_equal(first.x, before)  # the old files live as long as they are mapped
    assert np.abs(second.x).max() < 5.0 < np.abs(first.x).max()
    assert sorted(file.name for file in maps.iterdir()) == ["x.npy", "y.npy"]
    with pytest.raises(InputError, match="'colour' holds strings"):
        read_parquet(path, overwrite=True, memory_map=maps)
    np.testing.assert_array_equal(np.load(maps / "x.npy"), second.x)  # what was there is lost to no error
    (maps / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"maps holds other files, such as notes\.txt"):
        read_parquet(path, overwrite=True, **options)
    for place, message in (
        (path, "is a file; a folder is needed"),
        (tmp_path / "no" / "maps", "cannot write .*No such"),
    ):
        with pytest.raises(InputError, match=message):
            read_parquet(path, one_hot=True, memory_map=place)


def test_what_does_not_go_together(tmp_path):
    path = written(tmp_path)
    with pytest.raises(InputError, match="dtype and overwrite are about the files of a memory map"):
        read_parquet(path, dtype="float32")
    with pytest.raises(InputError, match="unknown dtype 'float16'"):
        read_parquet(path, memory_map=tmp_path / "maps", dtype="float16")
    with pytest.raises(InputError, match="feature 'colour' holds strings"):
        read_parquet(path, memory_map=tmp_path / "maps")
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"a": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}), empty)
    with pytest.raises(InputError, match="empty has no rows"):
        read_parquet(empty, memory_map=tmp_path / "maps")


def test_no_more_of_a_file_is_held_than_the_rows_at_hand(tmp_path, monkeypatch):
    rows = 2**17
    path, held, whole = tmp_path / "long.parquet", [], 4 * 8 * rows
    table = pa.table({name: np.random.default_rng(1).random(rows) for name in "abcy"})
    pq.write_table(table, path, row_group_size=rows // 2, compression="none", use_dictionary=False)
    before = pa.total_allocated_bytes()
    batches = _parquet._batches

    def watched(*arguments):
        for columns in batches(*arguments):
            held.append(pa.total_allocated_bytes() - before)
            yield columns

    monkeypatch.setattr(_parquet, "_batches", watched)
    monkeypatch.setattr(_parquet, "NUMBERS", 2**15)
    read_parquet(path, memory_map=tmp_path / "maps", dtype="float32")
    assert len(held) == 2 * 16  # twice, in sixteenths
    # A page of 1 MB may be decoded for each column, where a row group is 2 MB and the file 4.
    assert max(held) < whole / 2


def test_moments_of_parts_are_those_of_the_whole(rng):
    rows = rng.standard_normal((40, 3)) * [1.0, 1e200, 1e-200] + [1e6, 0.0, 0.0]
    rows[:10] /= 1e9  # another power of two
    whole, parts = Moments.of(rows), Moments.of(rows[:10]).joined(Moments.of(rows[10:13])).joined(Moments.of(rows[13:]))
    np.testing.assert_array_equal(parts.peak, whole.peak)
    # Means of numbers below 1, and their squares: a rounding each.
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-15)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-13)
    assert np.isfinite(parts.standardise(rows)).all()
