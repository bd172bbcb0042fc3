"""A run's folder."""

from pathlib import Path

from lightning_app.run import identity, remove_partial

MARK = "0" * 32


def test_what_was_left_by_a_killed_process_goes_and_nothing_else() -> None:
    litter = [
        f".metrics.csv.{MARK}.partial",
        f"checkpoints/.last.ckpt.{MARK}.partial",
        f"figures/.a b.png.{MARK}.partial",
    ]
    others = [
        "metrics.csv",
        f".failed.json.{MARK}.partial",  # a sweep may be writing it
        f"metrics.csv.{MARK}.partial",
        ".metrics.csv.partial",
        f"checkpoints/.last.ckpt.{MARK}.partial.bak",
    ]
    for name in litter + others:
        Path("run", name).parent.mkdir(parents=True, exist_ok=True)
        Path("run", name).touch()
    remove_partial(Path("run"))
    left = {str(file.relative_to("run")) for file in Path("run").rglob("*") if file.is_file()}
    assert left == set(others)


def test_one_callback_counts_as_a_list_of_one() -> None:
    alone = {"class_path": "DatasetProperties", "init_args": {"k": 5, "cache_dir": "somewhere"}}
    elsewhere = {"class_path": "DatasetProperties", "init_args": {"k": 5, "cache_dir": None}}
    assert identity("fit", {"trainer": {"callbacks": alone}}) == identity("fit", {"trainer": {"callbacks": elsewhere}})
    assert identity("fit", {"trainer": {"callbacks": None}}) != identity("fit", {"trainer": {"callbacks": [alone]}})
