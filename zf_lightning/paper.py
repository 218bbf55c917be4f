"""The paper's numbers, each with its table and row (arXiv 1311.2901 v3). Nothing else holds any."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AblationRow:
    """A row of Table 3: errors on ImageNet 2012 in percent."""

    row: str
    train_top1_error: float
    val_top1_error: float
    val_top5_error: float


#: Table 3, by base network and name in `conf/ablation`.
TABLE_3: dict[str, dict[str, AblationRow]] = {
    "alexnet": {
        "none": AblationRow("our replication of Krizhevsky et al., 2012", 35.1, 40.5, 18.1),
        "drop_conv34": AblationRow("removed layers 3,4", 41.8, 45.4, 22.1),
        "drop_fc7": AblationRow("removed layer 7", 27.4, 40.0, 18.4),
        "drop_fc6_fc7": AblationRow("removed layers 6,7", 27.4, 44.8, 22.4),
        "drop_conv34_fc67": AblationRow("removed layers 3,4,6,7", 71.1, 71.3, 50.1),
        "fc_2048": AblationRow("adjust layers 6,7: 2048 units", 40.3, 41.7, 18.8),
        "fc_8192": AblationRow("adjust layers 6,7: 8192 units", 26.8, 40.0, 18.1),
    },
    "zfnet": {
        "none": AblationRow("our model (as per Fig. 3)", 33.1, 38.4, 16.5),
        "fc_2048": AblationRow("adjust layers 6,7: 2048 units", 38.2, 40.2, 17.6),
        "fc_8192": AblationRow("adjust layers 6,7: 8192 units", 22.0, 38.8, 17.0),
        "maps_512_1024_512": AblationRow(
            "adjust layers 3,4,5: 512,1024,512 maps", 18.8, 37.5, 16.0
        ),
        "maps_512_1024_512_fc_8192": AblationRow(
            "adjust layers 6,7: 8192 units and layers 3,4,5: 512,1024,512 maps", 10.0, 38.3, 16.9
        ),
    },
}

#: Which of the paper's two networks a model of ours is a version of.
BASE_NETWORK = {
    "zfnet": "zfnet",
    "zfnet_cuda_convnet": "zfnet",
    "zfnet_small": "zfnet",
    "alexnet": "alexnet",
}


#: How a table calls the two base networks.
BASE_NETWORK_NAMES = {"zfnet": "its own network", "alexnet": "its replication of Krizhevsky et al."}

#: What must stand beside figures of Table 3.
COMPARABLE = (
    "The paper's figures are for the full-width network on ImageNet 2012: only those of a "
    "full-width network trained on ImageNet compare with them."
)


def table_3(model: str, ablation: str) -> AblationRow | None:
    """The row of Table 3 for a model and an ablation of ours; None where the paper has none."""
    return TABLE_3.get(BASE_NETWORK.get(model, ""), {}).get(ablation)


def table_3_of_other_network(model: str, ablation: str) -> tuple[str, AblationRow] | None:
    """The other base network and its row, for a row that the paper ran on that network only."""
    base = BASE_NETWORK.get(model)
    if base is None or table_3(model, ablation) is not None:
        return None
    for other, rows in TABLE_3.items():
        if other != base and ablation in rows:
            return other, rows[ablation]
    return None
