"""The paper's numbers, each with its table and row (arXiv 1311.2901 v3), and only here."""

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

#: Table 1, by layer and by what is hidden: mean feature sign change and its spread.
TABLE_1: dict[str, dict[str, tuple[float, float]]] = {
    "layer 5": {
        "right_eye": (0.067, 0.007),
        "left_eye": (0.069, 0.007),
        "nose": (0.079, 0.017),
        "random": (0.107, 0.017),
    },
    "layer 7": {
        "right_eye": (0.069, 0.015),
        "left_eye": (0.068, 0.013),
        "nose": (0.069, 0.011),
        "random": (0.073, 0.014),
    },
}

#: The network of the paper that a model of ours is a version of.
BASE_NETWORK = {
    "zfnet": "zfnet",
    "zfnet_cuda_convnet": "zfnet",
    "zfnet_small": "zfnet",
    "alexnet": "alexnet",
}

#: Names of the two base networks in tables.
BASE_NETWORK_NAMES = {"zfnet": "its own network", "alexnet": "its replication of Krizhevsky et al."}

#: Stands beside values of Table 3.
COMPARABLE = (
    "The paper's values are for the full-width network on ImageNet 2012: only a full-width network "
    "trained on ImageNet compares with them."
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


@dataclass(frozen=True)
class ErrorRow:
    """A row of Table 2: errors on ImageNet 2012 in percent; None where the paper has no value."""

    row: str
    val_top1_error: float | None
    val_top5_error: float | None
    test_top5_error: float | None


#: Table 2. The starred networks were also trained on ImageNet 2011.
TABLE_2 = (
    ErrorRow("Gunji et al., 2012", None, None, 26.2),
    ErrorRow("Krizhevsky et al., 2012, 1 convnet", 40.7, 18.2, None),
    ErrorRow("Krizhevsky et al., 2012, 5 convnets", 38.1, 16.4, 16.4),
    ErrorRow("Krizhevsky et al., 2012*, 1 convnet", 39.0, 16.6, None),
    ErrorRow("Krizhevsky et al., 2012*, 7 convnets", 36.7, 15.4, 15.3),
    ErrorRow("our replication of Krizhevsky et al., 2012, 1 convnet", 40.5, 18.1, None),
    ErrorRow("1 convnet as per Fig. 3", 38.4, 16.5, None),
    ErrorRow("5 convnets as per Fig. 3 (a)", 36.7, 15.3, 15.3),
    ErrorRow("1 convnet as per Fig. 3, layers 3,4,5: 512,1024,512 maps (b)", 37.5, 16.0, 16.1),
    ErrorRow("6 convnets, (a) & (b) combined", 36.0, 14.7, 14.8),
)


@dataclass(frozen=True)
class Accuracy:
    """An accuracy in percent, and what the paper's ± gives with it, if anything."""

    mean: float
    spread: float | None = None


#: Tables 4 and 5: mean accuracy of the classes, by data, row and training images of each class.
TABLES_4_AND_5: dict[str, dict[str, dict[int, Accuracy]]] = {
    "caltech101": {
        "Bo et al., 2013": {30: Accuracy(81.4, 0.33)},
        "Jianchao et al., 2009": {15: Accuracy(73.2), 30: Accuracy(84.3)},
        "non-pretrained convnet": {15: Accuracy(22.8, 1.5), 30: Accuracy(46.5, 1.7)},
        "ImageNet-pretrained convnet": {15: Accuracy(83.8, 0.5), 30: Accuracy(86.5, 0.5)},
    },
    "caltech256": {
        "Sohn et al., 2011": {
            15: Accuracy(35.1),
            30: Accuracy(42.1),
            45: Accuracy(45.7),
            60: Accuracy(47.9),
        },
        "Bo et al., 2013": {
            15: Accuracy(40.5, 0.4),
            30: Accuracy(48.0, 0.2),
            45: Accuracy(51.9, 0.2),
            60: Accuracy(55.2, 0.3),
        },
        "non-pretrained convnet": {
            15: Accuracy(9.0, 1.4),
            30: Accuracy(22.5, 0.7),
            45: Accuracy(31.2, 0.5),
            60: Accuracy(38.8, 1.4),
        },
        "ImageNet-pretrained convnet": {
            15: Accuracy(65.7, 0.2),
            30: Accuracy(70.6, 0.2),
            45: Accuracy(72.7, 0.4),
            60: Accuracy(74.2, 0.3),
        },
    },
}
#: The table of each dataset.
TRANSFER_TABLE = {"caltech101": "Table 4", "caltech256": "Table 5"}

#: Table 6, PASCAL VOC 2012, by VOC's name of the class: Sande et al., Yan et al., the paper.
#: The table is headed accuracy; the values are average precisions.
TABLE_6: dict[str, tuple[float, float, float]] = {
    "aeroplane": (92.0, 97.3, 96.0),
    "bicycle": (74.2, 84.2, 77.1),
    "bird": (73.0, 80.8, 88.4),
    "boat": (77.5, 85.3, 85.5),
    "bottle": (54.3, 60.8, 55.8),
    "bus": (85.2, 89.9, 85.8),
    "car": (81.9, 86.8, 78.6),
    "cat": (76.4, 89.3, 91.2),
    "chair": (65.2, 75.4, 65.0),
    "cow": (63.2, 77.8, 74.4),
    "diningtable": (63.2, 77.8, 67.7),
    "dog": (68.9, 83.0, 87.8),
    "horse": (78.2, 87.5, 86.0),
    "motorbike": (81.0, 90.1, 85.1),
    "person": (91.6, 95.0, 90.9),
    "pottedplant": (55.9, 57.8, 52.2),
    "sheep": (69.4, 79.2, 83.6),
    "sofa": (65.4, 73.4, 61.1),
    "train": (86.7, 94.5, 91.8),
    "tvmonitor": (77.4, 80.7, 76.1),
}
#: As printed; the means of the first two columns above are 74.0 and 82.3.
TABLE_6_MEANS = (74.3, 82.2, 79.0)

#: Table 7: accuracy by classifier and layer, with 30 (Caltech-101) and 60 (Caltech-256) training
#: images of each class. There is no layer 6. Its softmax (7) is not the value of Tables 4 and 5,
#: though it reads as the same; the paper does not say why.
TABLE_7: dict[str, dict[tuple[str, int], Accuracy]] = {
    "caltech101": {
        ("svm", 1): Accuracy(44.8, 0.7),
        ("svm", 2): Accuracy(66.2, 0.5),
        ("svm", 3): Accuracy(72.3, 0.4),
        ("svm", 4): Accuracy(76.6, 0.4),
        ("svm", 5): Accuracy(86.2, 0.8),
        ("svm", 7): Accuracy(85.5, 0.4),
        ("softmax", 5): Accuracy(82.9, 0.4),
        ("softmax", 7): Accuracy(85.4, 0.4),
    },
    "caltech256": {
        ("svm", 1): Accuracy(24.6, 0.4),
        ("svm", 2): Accuracy(39.6, 0.3),
        ("svm", 3): Accuracy(46.0, 0.3),
        ("svm", 4): Accuracy(51.3, 0.1),
        ("svm", 5): Accuracy(65.6, 0.3),
        ("svm", 7): Accuracy(71.7, 0.2),
        ("softmax", 5): Accuracy(65.7, 0.5),
        ("softmax", 7): Accuracy(72.6, 0.1),
    },
}
#: Training images of each class in Table 7.
TABLE_7_PER_CLASS = {"caltech101": 30, "caltech256": 60}
