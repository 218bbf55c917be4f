"""Legal values of options that no dataclass of ours declares: the Trainer's, and those of targets.

What is not named here is checked by its own code, when the object is made.
"""

from typing import Any

from zf_lightning.config.legal import FLAG, OBJECT, TEXT, Kind, Number, Several, several, whole
from zf_lightning.results.metric_names import MONITORS, TRAIN_LOSS, TRAIN_TOP1

SHARE = Number(above=0, most=1)
#: Of the batches of an epoch: a number of them, or a share (1.0: all).
BATCHES = (whole(1), SHARE)
EPOCHS = whole(1, 1_000_000)
NONE_OR_COUNT = (whole(1), None)
MONITOR = (*MONITORS, TRAIN_LOSS, TRAIN_TOP1)
#: A stretch of time, as Lightning reads it.
TIME = (
    Kind(str, "DD:HH:MM:SS", pattern=r"(?=.*[1-9])\d+:\d\d:\d\d:\d\d"),
    Several((whole(),), mapping=True),
)

#: Of `lightning.Trainer`.
TRAINER_OPTIONS: dict[str, tuple[Any, ...]] = {
    "accelerator": (TEXT, OBJECT),
    "strategy": (TEXT, OBJECT),
    "devices": (whole(1, 10_000), -1, several(whole()), TEXT),
    "num_nodes": (whole(1, 100_000),),
    "precision": (TEXT, 16, 32, 64, None),
    "max_epochs": (EPOCHS, -1, None),
    "min_epochs": (whole(0, 1_000_000), None),
    "max_steps": (whole(1), -1),
    "min_steps": (whole(), None),
    "max_time": (*TIME, None),
    "limit_train_batches": (*BATCHES, None),
    "limit_val_batches": (*BATCHES, None),
    "limit_test_batches": (*BATCHES, None),
    "limit_predict_batches": (*BATCHES, None),
    "overfit_batches": (whole(), Number(0, 1)),
    "val_check_interval": (*BATCHES, *TIME, None),
    "check_val_every_n_epoch": (EPOCHS, None),
    "num_sanity_val_steps": (whole(-1),),
    "log_every_n_steps": NONE_OR_COUNT,
    "accumulate_grad_batches": (whole(1),),
    "gradient_clip_val": (Number(above=0), None),
    "gradient_clip_algorithm": ("norm", "value", None),
    "deterministic": (FLAG, "warn", None),
    "fast_dev_run": (FLAG, whole()),
    "benchmark": (FLAG, None),
    "inference_mode": (FLAG,),
    "use_distributed_sampler": (FLAG,),
    "detect_anomaly": (FLAG,),
    "barebones": (FLAG,),
    "sync_batchnorm": (FLAG,),
    "enable_checkpointing": (FLAG, None),
    "enable_progress_bar": (FLAG, None),
    "enable_model_summary": (FLAG, None),
    "enable_autolog_hparams": (FLAG,),
    "reload_dataloaders_every_n_epochs": (whole(),),
    "profiler": ("simple", "advanced", "pytorch", "xla", OBJECT, None),
    "default_root_dir": (TEXT, None),
    "model_registry": (TEXT, None),
}

_SCHEDULE = {
    "factor": (Number(above=0, most=1),),
    "gamma": (Number(above=0, most=1),),
    "patience": (whole(),),
    "cooldown": (whole(),),
    "threshold": (Number(0),),
    "min_lr": (Number(0),),
    "mode": ("min", "max"),
    "milestones": (several(whole(1)),),
    "step_size": (whole(1),),
    "total_iters": (whole(),),
    "T_max": (whole(1),),
}
_OPTIMIZER = {
    "lr": (Number(0, 1e6),),
    "momentum": (Number(0, below=1),),
    "dampening": (Number(0, 1),),
    "weight_decay": (Number(0, 1e6),),
    "eps": (Number(above=0),),
    "alpha": (Number(0, below=1),),
    "betas": (several(Number(0, below=1), least=2, most=2),),
    "nesterov": (FLAG,),
    "maximize": (FLAG,),
    "amsgrad": (FLAG,),
    "fused": (FLAG, None),
    "foreach": (FLAG, None),
}
_CHECKPOINT: dict[str, tuple[Any, ...]] = {
    "dirpath": (TEXT,),
    "filename": (TEXT,),
    "monitor": (*MONITOR, None),
    "mode": ("min", "max"),
    "enable_version_counter": (FLAG,),
    "save_top_k": (whole(-1),),
    "every_n_epochs": (EPOCHS, None),
}
#: Of targets whose names begin so.
TARGET_OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "torch.optim.lr_scheduler.": _SCHEDULE,
    "torch.optim.": _OPTIMIZER,
    "zf_lightning.training.schedules.one_cycle": {"warmup_share": (Number(0, 1),)},
    "zf_lightning.callbacks.FastNetwork": {"channels_last": (FLAG,), "compile": (FLAG,)},
    "zf_lightning.callbacks.LastCheckpoint": {
        "folder": (TEXT,),
        "minutes": (Number(above=0), None),
        "steps": NONE_OR_COUNT,
    },
    "zf_lightning.callbacks.Finite": {"every_n_steps": (whole(1),)},
    "zf_lightning.callbacks.Stall": {
        "tolerance": (Number(above=0, below=1),),
        "patience_epochs": (EPOCHS,),
        "patience_steps": (whole(),),
        "stop": (FLAG,),
    },
    "zf_lightning.callbacks.FirstFailure": {"folder": (TEXT,)},
    "zf_lightning.callbacks.FilterRenormalisation": {"rms_limit": (Number(above=0),)},
    "zf_lightning.callbacks.WandbArtifacts": {
        "folder": (TEXT,),
        "atlas": (FLAG,),
        "checkpoint": (FLAG,),
    },
    "lightning.pytorch.callbacks.ModelCheckpoint": _CHECKPOINT,
    "zf_lightning.callbacks.BestCheckpoint": _CHECKPOINT,
    "lightning.pytorch.callbacks.Timer": {
        "duration": (*TIME, None),
        "interval": ("step", "epoch"),
    },
    "zf_lightning.training.loggers.MetricsFile": {"path": (TEXT,)},
    "zf_lightning.training.loggers.wandb_logger": {
        "folder": (TEXT,),
        "project": (TEXT,),
        "entity": (TEXT, None),
        "group": (TEXT, None),
        "name": (TEXT, None),
        "tags": (several(TEXT, least=0),),
        "job_type": (TEXT, None),
        "notes": (TEXT, None),
        "mode": ("auto", "online", "offline", "disabled"),
        "finish_timeout": (Number(0),),
    },
    "lightning.pytorch.loggers.TensorBoardLogger": {
        "save_dir": (TEXT,),
        "name": (TEXT, None),
        "version": (whole(), Kind(str, "text", pattern=r"[\w.-]*"), None),
    },
    "zf_lightning.models.torchvision_network": {"name": (TEXT,)},
    "zf_lightning.data.": {
        "root": (TEXT, None),
        "cache": (TEXT,),
        "dataset": (TEXT,),
        "download": (FLAG,),
        "image_sets": (Several((TEXT,), least=3, mapping=True),),
        "year": (2007, 2012, "2007", "2012"),
    },
}
