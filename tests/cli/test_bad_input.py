"""Every mistake of a user ends in a clear message and exit code 2 (5 if unsafe); nothing is half-written."""

import pickle

import numpy as np
import pytest
import torch


def refuse(project, capsys, code: int = 2) -> str:
    """Run, expect the exit code, and return what was said."""
    assert project.auditkit("run", "loans.yaml") == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert not list((project.folder / "runs").glob("*/manifest.json"))
    assert not list(project.folder.rglob("*.tmp"))
    return said.err


def test_all_problems_of_a_config_are_reported_with_their_places(project, capsys):
    project.rewrite("version: 1", "version: 2")
    project.rewrite("  group-fairness: {}", "  group-fairnes: {}")
    project.rewrite("at_least: 0.6", "at_leest: 0.6")
    said = refuse(project, capsys)
    assert "loans.yaml:1:1" in said
    assert "'group-fairness'" in said
    assert "'at_least'" in said


def test_a_wrong_parameter_of_an_audit_is_reported_with_its_place(project, capsys):
    project.rewrite("attribution: {max_rows: 64}", "attribution: {max_row: 64}")
    said = refuse(project, capsys)
    assert "loans.yaml:19:" in said
    assert "'max_rows'" in said


def test_a_wrong_key_under_a_name_of_the_user_is_answered_with_the_keys_there_are(project, capsys):
    project.rewrite("attribution: {max_rows: 64}", "concepts: {concepts: {rich: {feature: income, abov: 3}}}")
    said = refuse(project, capsys)
    assert "audits.concepts.concepts.rich.abov: unknown key 'abov'. Did you mean 'above'?" in said


def test_a_duplicate_key_is_reported_with_its_place(project, capsys):
    project.rewrite("seed: 3", "seed: 3\nseed: 4")
    said = refuse(project, capsys)
    assert "loans.yaml:3:1" in said
    assert "seed" in said


def test_an_unknown_column_is_reported_with_the_closest_name(project, capsys):
    project.rewrite("sensitive_features: [sex]", "sensitive_features: [sez]")
    assert "'sex'" in refuse(project, capsys)


def test_an_empty_file_is_reported(project, capsys):
    (project.folder / "loans.csv").write_text("")
    assert "loans.csv" in refuse(project, capsys)


def test_a_header_without_rows_is_reported(project, capsys):
    (project.folder / "loans.csv").write_text("sex,income,job,granted\n")
    assert "rows" in refuse(project, capsys)


def test_a_missing_file_is_reported(project, capsys):
    (project.folder / "loans.csv").unlink()
    assert "loans.csv" in refuse(project, capsys)


def test_a_truncated_checkpoint_is_reported_with_the_remedy(project, capsys):
    path = project.folder / "checkpoints" / "loans" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    assert "model.safetensors" in refuse(project, capsys)


def test_weights_of_another_shape_are_reported(project, capsys):
    torch.save({"layers.0.weight": torch.zeros(3, 3)}, project.folder / "weights.pth")
    project.rewrite("checkpoint: checkpoints/loans", "checkpoint: weights.pth")
    assert "weights.pth" in refuse(project, capsys)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("container", ["zip", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_named_but_not_run(project, capsys, container):
    marker = project.folder / "executed"
    path = project.folder / "model.pth"
    if container == "zip":
        torch.save({"weights": torch.zeros(2), "bomb": Bomb(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(marker)))
    project.rewrite("checkpoint: checkpoints/loans", "checkpoint: model.pth")
    said = refuse(project, capsys, code=5)
    assert "system" in said
    assert not marker.exists()


def test_a_column_without_any_number_is_a_figure_or_a_clear_error(project, capsys):
    rows = (project.folder / "loans.csv").read_text().splitlines()
    broken = [rows[0], *(",".join([r.split(",")[0], "nan", *r.split(",")[2:]]) for r in rows[1:])]
    (project.folder / "loans.csv").write_text("\n".join(broken) + "\n")
    assert project.auditkit("run", "loans.yaml") in {0, 2, 4}
    assert "Traceback" not in capsys.readouterr().err


def test_one_class_only_gives_missing_figures_not_a_crash(project, capsys):
    rows = (project.folder / "loans.csv").read_text().splitlines()
    only = [rows[0], *(row for row in rows[1:] if row.endswith(",yes"))]
    (project.folder / "loans.csv").write_text("\n".join(only) + "\n")
    code = project.auditkit("run", "loans.yaml")
    assert code in {0, 2, 4}
    assert "Traceback" not in capsys.readouterr().err


def test_training_on_one_class_only_is_refused(project, capsys):
    rows = (project.folder / "loans.csv").read_text().splitlines()
    only = [rows[0], *(row for row in rows[1:] if row.endswith(",yes"))]
    (project.folder / "loans.csv").write_text("\n".join(only) + "\n")
    assert project.auditkit("train", "loans.yaml") == 2
    assert "class" in capsys.readouterr().err


def test_one_group_only_is_shown_without_a_disparity(project, capsys):
    rows = (project.folder / "loans.csv").read_text().splitlines()
    only = [rows[0], *(row for row in rows[1:] if row.startswith("male,"))]
    (project.folder / "loans.csv").write_text("\n".join(only) + "\n")
    project.rewrite(
        "{figure: performance/accuracy, at_least: 0.6}",
        '{figure: "group-fairness/selection_rate.difference[sex]", at_most: 0.1}',
    )
    assert project.auditkit("run", "loans.yaml", "--only", "group-fairness") == 4
    assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_idx_file_is_reported(tmp_path, monkeypatch, capsys):
    from auditkit.__main__ import main

    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (folder / name).write_bytes(
            b"\x00\x00\x08\x03" + np.array([5, 28, 28], ">i4").tobytes() + b"\x00" * 100
        )
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / name).write_bytes(b"\x00\x00\x08\x01" + np.array([5], ">i4").tobytes() + b"\x00" * 5)
    monkeypatch.setenv("AUDITKIT_DATA", str(tmp_path))
    config = tmp_path / "mnist.yaml"
    config.write_text(
        "version: 1\nsubject: {architecture: mlp, training: {epochs: 1}}\ndata: {source: mnist}\n"
        "audits: {performance: {}}\n"
    )
    assert main(["train", str(config)]) == 2
    assert "idx3" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_trained_with_other_settings_is_not_passed_off_as_this_one(project, capsys):
    project.rewrite("epochs: 4", "epochs: 5")
    said = refuse(project, capsys)
    assert "epochs 4 there, 5 here" in said
    assert "auditkit train" in said


def test_a_folder_with_other_files_is_not_taken_for_a_run(project, capsys):
    (project.folder / "mine").mkdir()
    (project.folder / "mine" / "thesis.txt").write_text("years of work")
    assert project.auditkit("run", "loans.yaml", "--out", "mine") == 2
    assert "--out" in capsys.readouterr().err
    assert [path.name for path in (project.folder / "mine").iterdir()] == ["thesis.txt"]


def test_cuda_without_a_device_is_reported(project, capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert project.auditkit("run", "loans.yaml", "--device", "cuda") == 2
    assert "cpu" in capsys.readouterr().err


def test_an_unknown_verb_gives_the_closest(project, capsys):
    assert project.auditkit("audti") == 2
    assert "audits" in capsys.readouterr().err


@pytest.mark.parametrize("added", ["early_stopping: {patience: 2}", "augmentation: {shift: 1}"])
def test_nested_training_that_was_added_later_is_told_as_a_mistake_of_the_config(project, added, capsys):
    project.rewrite("epochs: 4}", f"epochs: 4, {added}}}")
    assert project.auditkit("retrain", "loans.yaml", "--epsilon", "3") == 2
    assert "was trained with other settings" in capsys.readouterr().err
