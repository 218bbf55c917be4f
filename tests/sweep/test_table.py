"""The table of a sweep, from the results of its jobs."""

import csv
import io
import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from zf_lightning.report.sweep_page import plotted, wilson, write_sweep_report
from zf_lightning.results.per_image import read_per_image, write_per_image
from zf_lightning.sweep import Job, SweepTable, build_table
from zf_lightning.sweep.paired import tango_interval


def job(folder: Path, overrides: str, *, exit_code: int = 0, **figures: Any) -> Job:
    """A finished job with the figures of a training run; `top1` is its ten-crop error."""
    name = overrides.replace(" ", ",")
    (folder / name / "report").mkdir(parents=True)
    (folder / name / "report" / "index.html").write_text("a report")
    found = Job(folder / name, tuple(overrides.split()), "start", 0, exit_code)
    if exit_code == 0:
        values = dict(o.split("=", 1) for o in found.overrides)
        top1 = figures.pop("top1", 50.0)
        result = {
            "task": "train",
            "model": values.get("model", "zfnet"),
            "ablation": values.get("ablation", "none").strip("[]").split(","),
            "data": "imagenet",
            "classes": 1000,
            "width": 1.0,
            "epochs": 70,
            "parameters": 62_357_608,
            "train/seconds": 3661.0,
            "train/top1_error_centre_crop": top1 - 10,
            "val/top1_error": top1 + 2,
            "val/top5_error": top1 / 2 + 1,
            "val/top1_error_tencrop": top1,
            "val/top5_error_tencrop": top1 / 2,
            "test/top1_error": 1.0,
            **figures,
        }
        (found.folder / "result.json").write_text(json.dumps(result))
    return found


def lines(sweep: SweepTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sweep.table.csv())))


def test_each_ablation_has_its_difference_and_the_papers(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "ablation=none", top1=40.0),
        job(tmp_path, "ablation=fc_2048", top1=42.5),
        job(tmp_path, "ablation=drop_fc7", top1=39.0),
    ]
    table = build_table(jobs, ["ablation"])
    assert table.table.name == "ablation"
    assert [row.label for row in table.rows] == ["none", "fc_2048", "drop_fc7"]
    none, smaller, dropped = lines(table)
    assert none["difference"] == "" and none["paper/difference"] == "0.0"
    assert float(smaller["difference"]) == 2.5
    assert float(smaller["paper/val/top1_error"]) == 40.2
    assert float(smaller["paper/difference"]) == 1.8
    assert float(smaller["val/top1_error_tencrop_minus_paper"]) == pytest.approx(2.3)
    # The paper removed layer 7 from its replication only: 40.0 against 40.5.
    assert dropped["paper/network"] == "alexnet"
    assert float(dropped["paper/difference"]) == -0.5
    shown = table.table.text()
    assert "zfnet of width 1.0 on imagenet, 1000 classes, 70 epochs" in shown
    assert "only a full-width network trained on ImageNet compares" in shown
    assert "40.0†" in shown and "† The paper ran this row on its replication" in shown
    assert "1:01:01" in shown
    assert "40.2 " in shown and "40.2†" not in shown


def test_a_sweep_without_an_unablated_network_compares_with_its_first_row(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, f"ablation={name} seed={seed}", top1=top1 + seed)
        for name, top1 in (("drop_fc6_fc7", 45.0), ("drop_conv34", 44.0))
        for seed in (0, 1)
    ]
    sweep = build_table(jobs, ["ablation", "seed"])
    first, second = lines(sweep)
    assert first["difference"] == "" and float(second["difference"]) == -1.0
    # The paper's rows: 44.8 and 45.4.
    assert float(first["paper/difference"]) == 0.0
    assert float(second["paper/difference"]) == 0.6
    assert "minus that of drop_fc6_fc7 with the same seed" in sweep.table.text()
    assert "add none to the ablations" in sweep.table.text()
    assert plotted(sweep.rows)[1].quantity.startswith("top-1 error minus that of drop_fc6_fc7")


def test_a_baseline_that_failed_leaves_no_differences(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "ablation=none", exit_code=1),
        job(tmp_path, "ablation=drop_fc7", top1=41.0),
        job(tmp_path, "ablation=fc_2048", top1=42.0),
    ]
    sweep = build_table(jobs, ["ablation"])
    assert all(row.difference is None for row in sweep.rows)
    assert [row.paper and row.paper.difference for row in sweep.rows[1:]] == pytest.approx(
        [-0.5, 1.8]
    )


def test_groups_stand_above_their_columns(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "ablation=none"), job(tmp_path, "ablation=fc_2048")]
    table = build_table(jobs, ["ablation"]).table
    spans = dict(table.groups)
    assert spans["ten crops"] == 3 and spans["the paper"] == 4
    assert sum(span for _, span in table.groups) == len(table.headings) == len(table.body[0])
    above, below = table.lines()[:2]
    start = above.index("ten crops")
    assert below[start : start + len("ten crops")].strip().startswith(("top", "op", "p", "-", "1"))


def keep(job: Job, wrong: Iterable[int], images: int = 600) -> None:
    """What a job keeps of each validation image."""
    answers = dict.fromkeys(range(images), False) | dict.fromkeys(wrong, True)
    write_per_image(job.folder, {"val": answers})


def test_what_is_plotted_has_intervals_and_the_papers_values(tmp_path: Path) -> None:
    counts = {"val/images": 600, "val/images_tencrop": 600, "train/images_centre_crop": 3000}
    jobs = [
        job(tmp_path, "ablation=none", top1=40.0, **counts),
        job(tmp_path, "ablation=fc_2048", top1=42.0, **counts),
    ]
    keep(jobs[0], wrong=range(240))
    keep(jobs[1], wrong=range(12, 264))
    sweep = build_table(jobs, ["ablation"])
    errors, differences = plotted(sweep.rows)
    training, _, tencrop = errors.series
    assert training.published == [33.1, 38.2] and tencrop.published == [38.4, 40.2]
    assert tencrop.intervals is not None
    low, high = tencrop.intervals[0]
    # By hand: 240 of 600.
    assert (low, high) == pytest.approx((36.15, 43.97), abs=0.01)
    (own,) = differences.series
    assert own.published == pytest.approx([0.0, 1.8])
    # 24 images are wrong with the ablation alone, 12 without it alone: 2 points, of 600.
    paired = tango_interval(24, 12, 600)
    assert own.intervals is not None and own.intervals[1] == paired
    _, smaller = lines(sweep)
    assert (float(smaller["difference_from"]), float(smaller["difference_to"])) == pytest.approx(
        paired, abs=1e-4
    )
    assert float(smaller["difference_mcnemar_p"]) == pytest.approx(0.0652, abs=1e-3)
    assert "seeds_for_one_point" not in smaller and "(McNemar)" in sweep.table.text()
    seeds = [job(tmp_path, f"seed={n}", top1=40.0 + n, **counts) for n in range(3)]
    (several,) = plotted(build_table(seeds, ["seed"]).rows)
    assert several.series[2].intervals == [pytest.approx((40.0, 42.0))]
    assert wilson(0.0, 100)[0] == pytest.approx(0.0)


def test_seeds_are_compared_in_pairs_on_the_images_that_all_have_read(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, f"ablation={name} seed={seed}", top1=top1)
        for name, top1 in (("none", 40.0), ("drop_fc7", 41.0))
        for seed in (0, 1, 2)
    ]
    generator = random.Random(0)
    for number, one in enumerate(jobs):
        keep(one, wrong=generator.sample(range(1000), 400 + number), images=1000)
    scored, wrong = read_per_image(jobs[5].folder, "val") or ([], [])
    assert sum(scored) == 1000 and sum(wrong) == 405
    first, second = build_table(jobs, ["ablation", "seed"]).rows
    assert first.comparison is None and second.comparison is not None
    low, high = second.comparison.interval
    assert (low + high) / 2 == pytest.approx(0.3) and second.comparison.mcnemar is None
    text = build_table(jobs, ["ablation", "seed"]).table.text()
    assert "seeds / point" in text and "for further seeds and images" in text
    # An image that one of them could not read counts for none.
    write_per_image(jobs[0].folder, {"val": dict.fromkeys(range(999), True)})
    assert build_table(jobs, ["ablation", "seed"]).rows[1].comparison is None
    write_per_image(jobs[0].folder, {"val": dict.fromkeys([*range(500), 999], True)})
    fewer = build_table(jobs, ["ablation", "seed"]).rows[1].comparison
    assert fewer is not None and fewer.interval[0] < -15
    (jobs[0].folder / "per_image.json").write_text("{")
    assert build_table(jobs, ["ablation", "seed"]).rows[1].comparison is None


def test_seeds_are_averaged_and_compared_with_their_own_base(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, f"ablation={name} seed={seed}", top1=base + seed)
        for name, base in (("none", 40.0), ("drop_conv34", 43.0))
        for seed in (0, 1, 2)
    ]
    table = build_table(jobs, ["ablation", "seed"])
    assert [row.settings for row in table.rows] == [
        {"ablation": "none"},
        {"ablation": "drop_conv34"},
    ]
    error = table.rows[1].metrics["val/top1_error_tencrop"]
    assert error.mean == pytest.approx(44.0) and error.deviation == pytest.approx(1.0)
    # Each seed is three above its own base: the difference has no spread.
    assert table.rows[1].difference is not None
    assert table.rows[1].difference.mean == pytest.approx(3.0)
    assert table.rows[1].difference.deviation == pytest.approx(0.0)
    assert "44.00 ± 1.00" in table.table.markdown()
    assert "Means of 3 seeds" in table.table.text()


def test_failed_and_stalled_jobs_are_marked(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "ablation=none", stalled=True),
        job(tmp_path, "ablation=drop_fc7", exit_code=-9),
    ]
    # What an earlier start left there does not count as this one's result.
    (jobs[1].folder / "result.json").write_text((jobs[0].folder / "result.json").read_text())
    table = build_table(jobs, ["ablation"])
    assert [row.marks for row in table.rows] == [("stalled",), ("FAILED (exit -9)",)]
    assert "FAILED (exit -9)" in table.table.text()
    assert lines(table)[1]["val/top1_error"] == ""
    several = [job(tmp_path, f"seed={n}", exit_code=n) for n in range(3)]
    assert build_table(several, ["seed"]).rows[0].marks == ("FAILED (2 of 3)",)


def test_layers_changed_one_by_one_and_combined_ablations_have_no_row_in_the_paper(
    tmp_path: Path,
) -> None:
    jobs = [
        job(tmp_path, "ablation=none model.convs.conv3.maps=500"),
        job(tmp_path, "ablation=[drop_fc7,fc_2048]"),
    ]
    table = build_table(jobs, ["ablation"])
    assert not any(row.paper for row in table.rows)
    assert "paper" not in table.table.text() + table.table.markdown() + table.table.csv()


def test_any_sweep_has_a_table_of_what_it_varies(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, f"optimizer.lr={lr} model.width={width} seed=4", top1=lr * 100)
        for lr in (0.1, 0.2)
        for width in (0.5, 1)
    ]
    table = build_table(jobs, ["optimizer.lr", "model.width"])
    assert table.table.name == "sweep"
    assert len(table.rows) == 4
    assert table.rows[1].label == "optimizer.lr=0.1, model.width=1"
    assert lines(table)[2]["optimizer.lr"] == "0.2"
    assert all(row.difference is None for row in table.rows)


def test_both_networks_are_compared_each_with_its_own_base(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, f"model={model} ablation={name}", top1=top1)
        for model, name, top1 in (
            ("alexnet", "none", 41.0),
            ("alexnet", "fc_8192", 40.0),
            ("zfnet", "none", 38.0),
            ("zfnet", "fc_8192", 39.0),
        )
    ]
    rows = build_table(jobs, ["model", "ablation"]).rows
    assert [row.difference and row.difference.mean for row in rows] == [None, -1.0, None, 1.0]
    assert [row.paper and row.paper.row.val_top1_error for row in rows] == [40.5, 40.0, 38.4, 38.8]


def test_the_folder_of_a_sweep_gets_table_plot_and_page(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "ablation=none", top1=40.0),
        job(tmp_path, "ablation=drop_fc7", exit_code=1),
        job(tmp_path, "ablation=fc_8192", top1=41.0, **{"val/loss": math.pi}),
    ]
    for epoch in (2, 12):
        figure = jobs[2].folder / "figures" / f"epoch={epoch:03}_conv5.webp"
        figure.parent.mkdir(exist_ok=True)
        figure.touch()
    page = write_sweep_report(tmp_path, build_table(jobs, ["ablation"]))
    for suffix in ("csv", "md", "json", "png"):
        assert (tmp_path / f"ablation.{suffix}").stat().st_size > 100
    html = page.read_text()
    assert '<a href="../ablation%3Dnone/report/index.html"' in html
    assert "FAILED (exit 1)" in html and html.count("<svg") == 2
    assert html.count("<img") == 1 and 'alt="conv5 of fc_8192"' in html
    assert 'src="../ablation%3Dfc_8192/figures/epoch%3D012_conv5.webp"' in html
    # Nothing is said twice.
    assert html.count("zfnet of width 1.0 on imagenet") == 1
    (tmp_path / "x").mkdir()
    nothing = write_sweep_report(tmp_path / "x", build_table([jobs[1]], ["ablation"]))
    assert "No job has finished." in nothing.read_text()


def test_tests_of_checkpoints_have_a_table_too(tmp_path: Path) -> None:
    found = job(tmp_path, "ckpt=a")
    result = {"task": "test", "model": "zfnet", "data": "d", "classes": 3, "parameters": 7}
    result |= {"test/top1_error": 12.5, "test/top5_error": 3.5, "test/loss": 1.0}
    (found.folder / "result.json").write_text(json.dumps(result))
    table = build_table([found], ["ckpt"])
    assert "12.50" in table.table.text()
    assert lines(table)[0]["test/top5_error"] == "3.5"
