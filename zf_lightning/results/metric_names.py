"""Names of all metrics, as they are logged and stand in `result.json`.

`split/value`, in percent and nats; a suffix says on which crops, where it is not the usual one:
random crops in training, else one centre crop. Nothing else but the YAML of `conf/` spells them.
"""

#: The mean of ten crops of each image, and the centre crop of training images.
TENCROP, CENTRE_CROP = "_tencrop", "_centre_crop"

#: What every row is of, counted from 1.
EPOCH = "epoch"
TRAIN_LOSS = "train/loss"
#: Of an epoch, while the weights change.
TRAIN_TOP1 = "train/top1_error"
TRAIN_TOP1_CENTRE_CROP = f"{TRAIN_TOP1}{CENTRE_CROP}"
LEARNING_RATE = "train/learning_rate"
#: 0 or 1, see `callbacks.Stall`.
STALLED = "train/stalled"
SECONDS = "train/seconds"
IMAGES_PER_SECOND = "train/images_per_second"
#: Share of the training time in which a batch was waited for, in percent.
DATA_WAIT = "data/wait"

VAL_LOSS = "val/loss"
VAL_TOP1 = "val/top1_error"
VAL_TOP5 = "val/top5_error"
#: What a schedule and the best checkpoint may go by.
MONITORS = (VAL_TOP1, VAL_TOP5, VAL_LOSS)
VAL_TOP1_TENCROP = f"{VAL_TOP1}{TENCROP}"
VAL_TOP5_TENCROP = f"{VAL_TOP5}{TENCROP}"

TEST_TOP1 = "test/top1_error"
TEST_TOP5 = "test/top5_error"
TEST_TOP1_TENCROP = f"{TEST_TOP1}{TENCROP}"
TEST_TOP5_TENCROP = f"{TEST_TOP5}{TENCROP}"
#: How many images were tested, could not be read, and are in the split.
TEST_IMAGES = "test/images"
TEST_BAD_FILES = "test/bad_files"
TEST_IMAGES_IN_SPLIT = "test/images_in_split"

#: What is logged of the images of a split: `f"{split}/{name}{suffix}"`.
OF_A_SPLIT = ("top1_error", "top5_error", "loss", "images")

#: Measured once an epoch: of the first, the lowest counts.
LOWEST = (*MONITORS, TRAIN_TOP1)
BY_EPOCH = (
    *(TEST_TOP1, TEST_TOP5, TEST_TOP1_TENCROP, TEST_TOP5_TENCROP),
    *(VAL_TOP1_TENCROP, VAL_TOP5_TENCROP, IMAGES_PER_SECOND, DATA_WAIT),
)
#: The same in every epoch of most runs: no curve is worth drawing.
CONSTANT = (
    *(EPOCH, STALLED, "train/bad_files", "val/images", "val/bad_files", TEST_IMAGES),
    *(TEST_BAD_FILES, f"val/images{TENCROP}", f"val/bad_files{TENCROP}"),
    *(f"train/images{CENTRE_CROP}", f"train/bad_files{CENTRE_CROP}"),
)


def filter_rms(layer: str) -> str:
    """The largest RMS of a layer's filters, see `callbacks.FilterRenormalisation`."""
    return f"filters/{layer}_rms"


def dead_maps(layer: str) -> str:
    """How many feature maps of a layer no image excites, see `callbacks.DeconvProbe`."""
    return f"dead_maps/{layer}"


def score(name: str, layer: str) -> str:
    """The mean of a score over the feature maps drawn of a layer, see `analysis.map_scores`."""
    return f"scores/{name}/{layer}"
