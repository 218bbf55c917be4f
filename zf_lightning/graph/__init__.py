"""A network as a graph of operations, and how its layers are named, chosen and captured."""

from zf_lightning.graph.capture import capture, compiled_capture, run
from zf_lightning.graph.layer_choice import find_layers
from zf_lightning.graph.network import Graph
from zf_lightning.graph.rerun import Rerun
from zf_lightning.graph.training_capture import TrainingCapture

__all__ = ["Graph", "Rerun", "TrainingCapture", "capture", "compiled_capture", "find_layers", "run"]
