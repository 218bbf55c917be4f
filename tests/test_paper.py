"""The paper's numbers, spot-checked against its tables."""

from zf_lightning import paper
from zf_lightning.paper import TABLE_3, table_3


def test_table_3() -> None:
    assert sum(len(rows) for rows in TABLE_3.values()) == 12
    row = table_3("zfnet", "none")
    assert row is not None
    assert (row.train_top1_error, row.val_top1_error, row.val_top5_error) == (33.1, 38.4, 16.5)
    assert table_3("zfnet_small", "none") == row
    assert table_3("alexnet", "drop_conv34_fc67").val_top1_error == 71.3  # type: ignore[union-attr]
    assert table_3("zfnet", "drop_conv34") is None
    assert table_3("mine", "none") is None


def test_the_tables_of_transfer_are_complete() -> None:
    assert len(paper.TABLE_6) == 20
    # The paper's own column gives its printed mean, and it wins the five classes that it counts.
    ours = [row[2] for row in paper.TABLE_6.values()]
    assert round(sum(ours) / 20, 1) == paper.TABLE_6_MEANS[2]
    assert sum(row[2] > max(row[:2]) for row in paper.TABLE_6.values()) == 5
    for data, number in paper.TABLE_7_PER_CLASS.items():
        assert len(paper.TABLE_7[data]) == 8
        assert number in paper.TABLES_4_AND_5[data]["ImageNet-pretrained convnet"]
    best = min(paper.TABLE_2, key=lambda row: row.val_top1_error or 100)
    assert best.row.startswith("6 convnets") and best.test_top5_error == 14.8
