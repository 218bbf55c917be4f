"""The paper's numbers, spot-checked against its tables."""

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
