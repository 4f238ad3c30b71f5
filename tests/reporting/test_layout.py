"""Where evidence stands: side by side where it fits, above or below where it does not."""

from auditkit.records import Estimate, Message, Note, Table
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.evidence.evidence import evidence_view
from auditkit.reporting.view.layout import Columns, evidence_block, two_columns

EN = texts_for("en")


def block_of(*rows):
    columns = tuple(Message(text=f"column {number}") for number in range(len(rows[0])))
    return evidence_block(evidence_view(Table(title=Message(text="t"), columns=columns, rows=rows), EN))


SMALL = block_of(("income", Estimate(value=0.5, low=0.45, high=0.55)))


def test_table_of_many_columns_that_comes_first_stands_above_both_columns():
    table = block_of(tuple(Estimate(value=0.5, low=0.45678, high=0.55678) for _ in range(6)))
    assert two_columns([table, SMALL]) == Columns((table,), (SMALL,), (), ())


def test_table_of_many_columns_that_comes_later_stands_below_both_columns():
    table = block_of(tuple(Estimate(value=0.5, low=0.45678, high=0.55678) for _ in range(6)))
    assert two_columns([SMALL, table, SMALL]) == Columns((), (SMALL,), (SMALL,), (table,))


def test_table_of_texts_goes_below_where_they_would_be_narrow_strips():
    text = "a sentence of a good many words, which nobody wants to read three words to a line"
    table = block_of(("17", "positive", "negative", "0.0555", "probability", "454", text))
    assert two_columns([SMALL, table]).below == (table,)


def test_small_table_stays_in_a_column():
    assert two_columns([SMALL]) == Columns((), (SMALL,), (), ())


def test_chinese_text_breaks_anywhere_and_so_fits_a_column():
    table = block_of(("这是一句较长的话可以在任何地方换行", "通过", "不低于", "0.9"))
    assert two_columns([table]).left == (table,)


def test_chinese_table_of_many_short_columns_goes_below():
    columns = tuple(Message(text="概念") for _ in range(9))
    view = evidence_view(Table(title=Message(text="t"), columns=columns, rows=(("是",) * 9,)), EN)
    assert two_columns([SMALL, evidence_block(view)]).below


def test_text_outside_tables_fits_a_column_whatever_its_length():
    note = evidence_block(evidence_view(Note(title=Message(text="t"), body=Message(text="word " * 500)), EN))
    assert two_columns([note]) == Columns((), (note,), (), ())
