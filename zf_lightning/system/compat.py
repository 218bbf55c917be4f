"""Private names of other libraries: used here only, each with the version that it was seen in.

Where a new version breaks one, this is the file to mend. Imports are inside the functions: most
callers need one library of these, and some of them are slow to import.
"""

import copy
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper as BasicSweeper
    from torch import Tensor, nn
    from torchmetrics import Metric


def __getattr__(name: str) -> Any:
    """`BasicSweeper`, Hydra's own sweeper, to derive from (hydra-core 1.3.8)."""
    if name != "BasicSweeper":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return BasicSweeper


def read_mode_from_command_line() -> None:
    """Let Hydra read `hydra.mode` where it is given (hydra-core 1.3.8).

    Hydra composes the whole configuration once more to look whether a file sets it.
    """
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    def get_mode(self: Any, config_name: str | None, overrides: list[str]) -> RunMode | None:
        given = [override for override in overrides if override.startswith("hydra.mode=")]
        return RunMode[given[-1].partition("=")[2]] if given else None

    Hydra.get_mode = get_mode  # type: ignore[method-assign]


def read_configurations_once() -> None:
    """Let Hydra read each file of `conf/` once a process (hydra-core 1.3.8).

    It reads them for each job of a sweep, three times, which is most of the time before the first,
    and copies the schema each time, which is a singleton, and of which it hands out copies only.
    """
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.config_store import ConfigStore
    from hydra.plugins.config_source import ConfigResult

    read: dict[tuple[object, ...], ConfigResult] = {}
    load = ConfigRepository.load_config
    if load.__module__ == __name__:
        return

    def load_once(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        places = tuple((source.provider, source.path) for source in self.get_sources())
        key = (places, config_path)
        if key not in read:
            found = load(self, config_path)
            # Other folders are the user's, who may write to them meanwhile.
            if found is None or not (found.provider == "hydra" or found.path.endswith("/conf")):
                return found
            read[key] = found
        # Hydra merges into what it has read.
        return copy.deepcopy(read[key])

    ConfigRepository.load_config = load_once  # type: ignore[method-assign]
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def serve_through(server: Any, wrap: Callable[[Any], Any]) -> None:
    """Let a running `moto.server.ThreadedMotoServer` answer through a wrapper (moto 5)."""
    server._server.app = wrap(server._server.app)


def is_compiled(module: "nn.Module") -> bool:
    """Whether `module.compile()` was called (torch 2.15.0)."""
    return module._compiled_call_impl is not None


def uncompiled(module: "nn.Module") -> "nn.Module":
    """The module that `torch.compile` has wrapped; any other itself (torch 2.15.0)."""
    inner: nn.Module = getattr(module, "_orig_mod", module)
    return inner


def has_hooks(module: "nn.Module") -> bool:
    """Whether hooks are called around the module's forward pass (torch 2.15.0)."""
    from torch.nn.modules import module as common

    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks or common._global_forward_hooks or common._global_forward_pre_hooks)


def hooks_of(module: "nn.Module", *, before: bool) -> "tuple[tuple[Callable[..., Any], bool], ...]":
    """The module's forward hooks, and whether each takes keyword arguments (torch 2.15.0)."""
    hooks = module._forward_pre_hooks if before else module._forward_hooks
    with_keywords = (
        module._forward_pre_hooks_with_kwargs if before else module._forward_hooks_with_kwargs
    )
    return tuple((hook, number in with_keywords) for number, hook in hooks.items())


def own_tensors(module: "nn.Module") -> "Iterator[Tensor]":
    """A module's weights and buffers, without those of its children (torch 2.15.0)."""
    for tensors in (module._parameters, module._buffers):
        yield from (tensor for tensor in tensors.values() if tensor is not None)


def is_compile_error(exception: BaseException) -> bool:
    """Whether `torch.compile` failed, rather than what it compiled (torch 2.15.0)."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(exception, TorchDynamoException)


def mark_updated(metric: "Metric", times: int) -> None:
    """Tell a metric how often its restored state was updated (torchmetrics 1.9.0).

    Otherwise `compute` warns of a metric that has seen nothing.
    """
    metric._update_count = times


def imagenette_names() -> dict[str, str]:
    """Names of Imagenette's ten classes by their wnids (torchvision 0.29.2)."""
    from torchvision.datasets.imagenette import Imagenette

    return {wnid: names[0] for wnid, names in Imagenette._WNID_TO_CLASS.items()}


def on_lost_process(call: Callable[[], None]) -> None:
    """Let Lightning call this when a process that it has started has ended with an error.

    Its observer (2.4 to 2.6) otherwise ends this process by SIGKILL, before it can say why.
    """
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            vars(thread)["_terminate_all"] = call


def keep_paths_relative(run: "wandb.Run", folder: Path) -> None:
    """Let an offline run's record name the files of its artifacts from `folder` (wandb 0.31.0).

    It names them by where they lie on this machine, so that a folder that has been moved to another
    one cannot be uploaded there. `wandb sync` is then called in `folder`.
    """
    interface: Any = run._interface
    publish = interface.publish_artifact

    def publish_artifact(of: Any, artifact: Any, *args: Any, **options: Any) -> None:
        for entry in artifact.manifest.entries.values():
            if entry.local_path:
                entry.local_path = os.path.relpath(entry.local_path, folder)
        publish(of, artifact, *args, **options)

    interface.publish_artifact = publish_artifact


def use_artifact_offline(run: "wandb.Run", artifact: "wandb.Artifact", aliases: list[str]) -> None:
    """Record that an offline run has used an artifact (wandb 0.31.0).

    `Run.use_artifact` refuses offline, but what it calls for an artifact that is not uploaded yet
    is recorded, and followed at the upload: files that the server has are not sent again.
    """
    run._log_artifact(artifact, aliases=aliases, is_user_created=True, use_after_commit=True)


def spec_of(view: Any) -> dict[str, Any]:
    """What a workspace or a report sends to wandb's server (wandb-workspaces 0.4.13)."""
    spec: dict[str, Any] = view._to_model().spec.model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    return spec
