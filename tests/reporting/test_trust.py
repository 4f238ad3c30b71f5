"""What is said of the trust in attributions before any of them is shown."""

from auditkit.records import Message, Table
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.chapters import chapters
from auditkit.reporting.view.trust import trust_view
from tests.reporting.sample_run import sample_run

EN, ZH = texts_for("en"), texts_for("zh")
TALLY = "{method}: {good} of {shown} checks pass, {bad} fail, {open} inconclusive"


def table_of(method: str, *rows: tuple[str, str]) -> Table:
    outcomes = [outcome for _, outcome in rows]
    counts = {"good": outcomes.count("passes"), "bad": outcomes.count("fails"), "shown": len(rows), "open": 1}
    return Table(
        title=Message(text=TALLY, values={"method": method, **counts}),
        columns=(Message(text="Check"), Message(text="Outcome")),
        rows=tuple((Message(text=name), Message(text=outcome)) for name, outcome in rows),
    )


def results_with(*tables: Table, methods: list[str]):
    shown = next(one for one in sample_run().results if one.audit == "attribution" and one.evidence)
    shown = shown.model_copy(update={"params": {"methods": methods}})
    checked = shown.model_copy(update={"audit": "attribution-quality", "evidence": tables})
    return (shown, checked) if tables else (shown,)


CHECKED = table_of(
    "integrated-gradients",
    ("Rows that add up (completeness)", "passes"),
    ("Change under noise left unexplained (infidelity)", "fails"),
    ("Sums over subsets follow the score (sensitivity-n)", "inconclusive; {n} rows would decide"),
)


def test_checks_that_are_not_passed_are_named():
    view = trust_view(results_with(CHECKED, methods=["integrated-gradients"]), EN)
    assert view is not None
    assert view.body == (
        "integrated-gradients: 1 of 3 checks pass, 1 fail, 1 inconclusive. "
        "Fails: Change under noise left unexplained (infidelity). "
        "Inconclusive: Sums over subsets follow the score (sensitivity-n)."
    )


def test_checks_that_are_not_passed_are_named_in_chinese():
    view = trust_view(results_with(CHECKED, methods=["integrated-gradients"]), ZH)
    assert view is not None
    assert "不通过：噪声下未被解释的变化（不忠实度）。" in view.body
    assert "Fails" not in view.body


def test_several_methods_share_one_heading():
    results = results_with(CHECKED, table_of("kernel-shap"), methods=["integrated-gradients", "kernel-shap"])
    view = trust_view(results, EN)
    assert view is not None
    assert [line.partition(":")[0] for line in view.body.splitlines()] == [
        "integrated-gradients",
        "kernel-shap",
    ]


def test_attributions_that_nobody_checked_are_called_unproven():
    view = trust_view(results_with(methods=["integrated-gradients"]), EN)
    assert view is not None
    assert view.body.startswith("Not checked in this run.")


def test_checks_of_another_method_prove_nothing_about_the_one_that_is_shown():
    view = trust_view(results_with(CHECKED, methods=["deep-lift"]), EN)
    assert view is not None
    assert view.body.startswith("Not checked in this run.")


def test_without_attributions_nothing_is_said_of_their_trust():
    assert trust_view(results_with(CHECKED, methods=["integrated-gradients"])[1:], EN) is None


def test_trust_comes_first_and_before_every_picture():
    run = sample_run(results=results_with(CHECKED, methods=["integrated-gradients"]), findings=())
    (chapter,) = chapters(run, EN)
    first = chapter.sections[1].columns.left[0].evidence
    assert first is not None
    assert first.title == "How far these attributions can be trusted"
