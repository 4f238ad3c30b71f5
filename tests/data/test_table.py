"""Reading CSV, TSV and Parquet."""

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.data.table import read_table, unique_names
from auditkit.errors import DataError


def written(folder, text, name="rows.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_numbers_are_told_from_texts_by_all_values(tmp_path):
    table = read_table(written(tmp_path, "a,b,c\n1,x,2\n 2.5 ,3,NA\n,y,4\n"))
    assert table.numeric == {"a", "c"}
    assert table.numbers("a").tolist()[:2] == [1.0, 2.5]
    assert np.isnan(table.numbers("a")[2])
    assert np.isnan(table.numbers("c")[1])
    assert table.texts("b").tolist() == ["x", "3", "y"]


def test_second_column_of_the_same_name_gets_a_suffix(tmp_path):
    table = read_table(written(tmp_path, "score,age,score\n1,2,3\n"))
    assert table.names == ("score", "age", "score.1")
    assert table.numbers("score.1").tolist() == [3.0]


def test_names_that_differ_by_case_are_two_columns(tmp_path):
    table = read_table(written(tmp_path, "Age,age\n1,2\n"))
    assert (table.numbers("Age")[0], table.numbers("age")[0]) == (1.0, 2.0)


@given(st.lists(st.sampled_from(["a", "a.1", "b", "", "A"]), max_size=8))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_unique_names_are_unique_and_keep_the_first(names):
    found = unique_names(names)
    assert len(set(found)) == len(names)
    for position, name in enumerate(names):
        if name and name not in names[:position]:
            assert found[position].startswith(name)


def test_leading_zeros_survive_as_text(tmp_path):
    assert read_table(written(tmp_path, "zip\n02139\n10115\n")).texts("zip").tolist() == ["02139", "10115"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_the_header(tmp_path, delimiter):
    table = read_table(
        written(tmp_path, delimiter.join(["a", "b"]) + "\n" + delimiter.join(["1", "x"]) + "\n")
    )
    assert table.names == ("a", "b")
    assert table.texts("b").tolist() == ["x"]


def test_tsv_keeps_commas_in_values(tmp_path):
    table = read_table(written(tmp_path, "text\tlabel\nwell, yes, no\t1\n", "rows.tsv"))
    assert table.texts("text").tolist() == ["well, yes, no"]


def test_quoted_delimiters_and_line_breaks_stay_in_the_value(tmp_path):
    table = read_table(written(tmp_path, 'a,"b, or c"\n"x\ny","1, 2"\n'))
    assert table.names == ("a", "b, or c")
    assert table.texts("a").tolist() == ["x\ny"]


def test_byte_order_mark_and_windows_lines_are_read(tmp_path):
    table = read_table(written(tmp_path, "\ufeffa,b\r\n1,2\r\n"))
    assert table.names == ("a", "b")
    assert table.numbers("b").tolist() == [2.0]


def test_a_file_name_with_wildcards_is_that_file_alone(tmp_path):
    written(tmp_path, "a\n1\n", "rows1.csv")
    table = read_table(written(tmp_path, "a\n7\n", "rows[1]*.csv"))
    assert table.numbers("a").tolist() == [7.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "no lines"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "Line: 3"),
        ("a,b\n1,2,3\n", "Expected Number of Columns: 2"),
        ('a,b\n"1,2\n', "quote"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, text, said):
    with pytest.raises(DataError, match=said) as caught:
        read_table(written(tmp_path, text))
    assert "rows.csv" in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_that_is_not_utf8_is_refused_with_the_remedy(tmp_path, encoding):
    with pytest.raises(DataError, match="UTF-8"):
        read_table(written(tmp_path, "name,x\nJosé,1\n", encoding=encoding))


def test_absent_files_folders_and_unknown_formats_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, said in (("none.csv", "no such file"), ("rows.xlsx", "Known: .csv"), ("folder.csv", "folder")):
        with pytest.raises(DataError, match=said):
            read_table(tmp_path / name)


def test_an_unknown_column_is_answered_with_the_closest(tmp_path):
    table = read_table(written(tmp_path, "income,age\n1,2\n"))
    with pytest.raises(DataError, match="Did you mean 'income'"):
        table.texts("incme")


def test_parquet_types_are_kept(tmp_path):
    path = tmp_path / "rows.parquet"
    duckdb.sql(
        "SELECT 9007199254740993::BIGINT id, true yes, 1.5::DECIMAL(5,2) price, DATE '2020-01-31' AS day, "
        "NULL::DOUBLE nothing, '' blank"
    ).write_parquet(str(path))
    table = read_table(path)
    assert table.numeric == {"id", "price", "nothing"}
    assert table.texts("id").tolist() == ["9007199254740993"]
    assert table.texts("yes").tolist() == ["true"]
    assert table.texts("day").tolist() == ["2020-01-31"]
    assert table.texts("blank").tolist() == [None]
    assert np.isnan(table.numbers("nothing")[0])


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    duckdb.sql("SELECT range a FROM range(1000)").write_parquet(str(path))
    content = path.read_bytes()
    for length in (1, 50, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"Parquet|parquet|magic"):
            read_table(path)


def test_fifty_flipped_bytes_give_an_error_or_a_table(tmp_path):
    rng = np.random.default_rng(5)
    path = tmp_path / "rows.parquet"
    duckdb.sql("SELECT range a, 'x' || range b FROM range(300)").write_parquet(str(path))
    content = path.read_bytes()
    outcomes = set()
    for position in rng.integers(0, len(content), 50):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            table = read_table(path)
            outcomes.add(len(table.texts(table.names[0])) == table.n_rows)
        except DataError:
            outcomes.add("refused")
    assert False not in outcomes
