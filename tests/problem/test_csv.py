"""CSV files: what is read, and the one line that a bad file gets."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from epsflow._core import InputError
from epsflow.problem import read_csv


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "points.csv"
        path.write_bytes(text.encode())
        return path

    return write


def test_header_and_last_column(write):
    data = read_csv(write("a, b ,price\n1,2,3\n4,5.5,-6e1\n"), standardise=False)
    assert data.features == ("a", "b")
    assert (data.target, data.name) == ("price", "points")
    assert data.x.tolist() == [[1.0, 2.0], [4.0, 5.5]]
    assert data.y.tolist() == [3.0, -60.0]


@pytest.mark.parametrize("target", ["a", 0, "0", -3])
def test_target_by_name_or_number(write, target):
    data = read_csv(write("a,b,c\n1,2,3\n4,5,6\n"), target=target, standardise=False)
    assert (data.target, data.features) == ("a", ("b", "c"))
    assert data.y.tolist() == [1.0, 4.0]


def test_without_header(write):
    data = read_csv(write("1,2\n3,4\n"), standardise=False)
    assert (data.features, data.target) == (("x0",), "x1")
    assert data.n == 2


def test_a_name_that_looks_like_a_number_wins_over_the_column_number(write):
    """A header of years is all numbers, hence data; with one word in quotes beside them nothing changes."""
    data = read_csv(write("1,2,3\n4,5,6\n7,8,9\n"), target="1", standardise=False)
    assert data.n == 3
    assert data.y.tolist() == [2.0, 5.0, 8.0]


def test_spreadsheet_habits(write):
    """A byte-order mark, Windows line ends, blank lines, quotes, and no newline at the end."""
    data = read_csv(write('\ufeff"size","y"\r\n\r\n"1","2"\r\n,\r\n3,4'), standardise=False)
    assert data.features == ("size",)
    assert data.x.ravel().tolist() == [1.0, 3.0]


def test_standardised_by_default(write):
    data = read_csv(write("a,y\n1,10\n3,30\n"))
    assert data.x.ravel().tolist() == [-1.0, 1.0]
    assert data.y.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"points\.csv is empty: it needs a header or numbers"),
        ("\n \n", r"points\.csv is empty"),
        ("a,y\n", r"has 0 line\(s\) of numbers; at least two points"),
        ("a,y\n1,2\n", r"has 1 line\(s\) of numbers"),
        ("y\n1\n2\n", "has one column; a target and at least one feature are needed"),
        ("a y\n1 2\n3 4\n", r"one column.*separated by commas, semicolons or tabs"),
        ("a,y\n1,2\n3\n", "line 3: 1 fields where the first line has 2"),
        ("a,y\n1,2\n\n3,4,5\n", "line 4: 3 fields where the first line has 2"),
        ("a,y\n1,2\n3,four\n", "line 3, column 'y': 'four' is not a number"),
        ("a,y\n1,2\n,4\n", "line 3, column 'a': '' is not a number"),
        ("a,y\n1,2\nnan,4\n", "line 3, column 'a': NaN or infinity. Remove or impute it"),
        ("a,y\n1,inf\n3,4\n", "line 2, column 'y': NaN or infinity"),
        ("a,y\n1,1e999\n3,4\n", "line 2, column 'y': NaN or infinity"),
        ("1,2\n3,NaN\n", "line 2, column 'x1': NaN or infinity"),
        ("a,b, a\n1,2,3\n4,5,6\n", "two columns are called 'a'"),
        ("1,two\n3,4\n", "line 1, column 'x1': 'two' is not a number"),
    ],
)
def test_bad_files(write, text, message):
    with pytest.raises(InputError, match=message) as refusal:
        read_csv(write(text))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,y\n1,2\n3,4\n", "z", r"unknown target 'z' in .*points\.csv: its columns are a, y"),
        ("1,2\n3,4\n", "y", "it has no header line, so give a column number"),
        ("a,y\n1,2\n3,4\n", 2, "target column 2 is outside .* whose 2 columns are numbered from 0"),
        ("a,y\n1,2\n3,4\n", -3, "target column -3 is outside"),
    ],
)
def test_unknown_targets(write, text, target, message):
    with pytest.raises(InputError, match=message):
        read_csv(write(text), target=target)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nothing\.csv: No such file"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match=r"cannot read .*directory"):
        read_csv(tmp_path)


def test_a_spreadsheet_is_not_a_text_file(tmp_path):
    path = tmp_path / "book.csv"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x80\x81")
    with pytest.raises(InputError, match=r"book\.csv is not a text file"):
        read_csv(path)


@given(table=arrays(float, (3, 2), elements=st.floats(-1e300, 1e300)))
def test_every_finite_double_is_read_exactly(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    path.write_text("\n".join(",".join(map(repr, row)) for row in table.tolist()))
    data = read_csv(path, standardise=False)
    np.testing.assert_array_equal(np.column_stack([data.x, data.y]), table)


@given(cells=st.lists(st.lists(st.text("0aé,;. \"'-", max_size=3), max_size=3), max_size=4))
def test_any_text_is_data_or_one_refusal(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text("\n".join(",".join(row) for row in cells), encoding="utf-8")
    try:
        outcome = np.isfinite(read_csv(path).x).all()
    except InputError as refusal:
        outcome = len(str(refusal).splitlines()) == 1
    assert outcome


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;b;y\n1;2;3\n4;5,5;6\n", {}),
        ("a\tb\ty\n1\t2\t3\n4\t5.5\t6\n", {}),
        ("a|b|y\n1|2|3\n4|5.5|6\n", {"separator": "|"}),
        ("a;b;y\n1;2;3\n4;5,5;6\n", {"separator": "semicolon"}),
        ("1;2;3\n4;5,5;6\n", {"header": False}),
        ("\ufeffa;b;y\r\n1,0;2;3\r\n4;5.5;6\r\n", {}),
    ],
)
def test_other_separators(write, text, options):
    data = read_csv(write(text), standardise=False, **options)
    assert data.x.tolist() == [[1.0, 2.0], [4.0, 5.5]]
    assert data.y.tolist() == [3.0, 6.0]


def test_compressed_and_piped(tmp_path, monkeypatch):
    text = b"a,y\n1,2\n3,4\n"
    path = tmp_path / "points.csv.gz"
    path.write_bytes(gzip.compress(text))
    assert read_csv(path, standardise=False).x.tolist() == [[1.0], [3.0]]
    assert read_csv(path).name == "points"
    path.write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(InputError, match=r"points\.csv\.gz is a damaged gzip file"):
        read_csv(path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    data = read_csv("-", standardise=False)
    assert (data.name, data.y.tolist()) == ("stdin", [2.0, 4.0])


def test_words_in_a_text_file(write):
    text = "colour,size,kind\nred,1,cat\nblue,2,dog\nred,3,cat\ngreen,4,dog\n"
    with pytest.raises(InputError, match=r"line 2, column 'colour': 'red' is not a number\. .* one_hot="):
        read_csv(write(text))
    data = read_csv(write(text), one_hot=["colour"], labels=True, standardise=False)
    assert data.features == ("colour=blue", "colour=green", "colour=red", "size")
    assert (data.classes, data.y.tolist()) == (("cat", "dog"), [0.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize("separator", ["", "ab", "\n"])
def test_no_separator(write, separator):
    with pytest.raises(InputError, match="one character is needed, or comma, semicolon or tab"):
        read_csv(write("a,y\n1,2\n3,4\n"), separator=separator)
