"""One network of each family of torchvision and timm, projected at every layer beside autograd.

    python -m tests.deconv.families LOG [--only NAME …] [--layers 20] [--limit 200]
    python -m tests.deconv.families LOG --table

Each network has random weights in float64, a small input where it takes one, and a time limit in a
process of its own. At every layer that the Deconvnet offers, three units are projected: one inside
the feature maps, one at a border and one in a corner, of an image each, by every method, with whole
images and, where there are such, in crops of their receptive fields. They are compared with
autograd through the network's own forward pass (`autograd_of_network`). What was found is appended
to LOG, a line a network, and what stands there is not run again; `--table` writes it as Markdown.
"""

import argparse
import json
import multiprocessing
import re
import resource
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import Tensor, fx, nn

from tests.deconv.autograd_of_network import METHODS, Changed, outputs_of_modules
from tests.deconv.oracles import randomise, some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError
from zf_lightning.graph.inside import LayerInside
from zf_lightning.graph.network import Graph
from zf_lightning.graph.operations import BATCH_NORMS, RECTIFIERS, evaluate

#: The smallest of each family, by its parameters.
TORCHVISION = (
    *("alexnet", "vgg11", "vgg11_bn", "squeezenet1_1", "resnet18", "resnext50_32x4d"),
    *("wide_resnet50_2", "googlenet", "inception_v3", "densenet121", "mobilenet_v2"),
    *("mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0"),
    *("efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny", "vit_b_32"),
    *("swin_t", "swin_v2_t", "maxvit_t"),
)
#: A family of timm is what begins with the same letters, up to a digit or a `_` (1.0.31; two whose
#: smallest has more than 400 million parameters are left out).
TIMM = """
    bat_resnext26ts beit_base_patch16_224 beitv2_base_patch16_224 botnet26t_256 caformer_s18
    cait_xxs24_224 coat_tiny coatnet_pico_rw_224 coatnext_nano_rw_224 convformer_s18 convit_tiny
    convmixer_768_32 convnext_zepto_rms convnextv2_atto cpubone_nano crossvit_tiny_240
    cs3darknet_focus_s csatv2 cspdarknet53 cspnext_tiny cspresnet50 cspresnext50 darknet17
    darknetaa53 davit_tiny deit_tiny_patch16_224 densenet121 densenetblur121d dla46x_c
    dm_nfnet_f0 dpn48b eca_resnext26ts ecaresnet26t ecaresnetlight ecaresnext26t_32x4d
    edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_lite0
    efficientnetv2_rw_t efficientvim_m1 efficientvit_b0 ese_vovnet19b_slim_dw
    eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100 fbnetv3_b flexivit_small
    focalnet_tiny_srf gc_efficientnetv2_rw_t gcresnet33ts gcresnext26ts gcvit_xxtiny
    gemma4_vit_167m_enc gernet_s ghostnet_050 ghostnetv3_050 gmixer_12_224 gmlp_ti16_224
    halo2botnet50ts_256 halonet_h1 haloregnetz_b hardcorenas_b hgnet_tiny hgnetv2_b0
    hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t inception_next_atto lambda_resnet26t
    lamhalobotnet50ts_256 lcnet_035 lcnetv2_small legacy_seresnet18 levit_128s lowformer_b0
    mambaout_femto maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256 maxxvitv2_nano_rw_256
    mixer_s16_224 mixnet_s mnasnet_small mobilenet_edgetpu_100 mobilenetv2_035 mobileone_s1
    mobilevit_xxs mobilevitv2_050 mvitv2_tiny naflexvit_so150m2_patch16_reg1_gap nasnetalarge
    nest_tiny nextvit_small nf_regnet_b0 nfnet_l0 pit_ti_224 pnasnet5large poolformer_s12
    poolformerv2_s12 pvt_v2_b0 qwen3_vit_88m rdnet_tiny regnetv_040 regnetx_002 regnety_002
    regnetz_005 repghostnet_050 repvgg_a0 repvit_m1 res2next50 resmlp_12_224 resnest14d
    resnet10t resnetaa34d resnetblur18 resnetrs50 resnetv2_18 resnext26ts rexnet_100 rexnetr_100
    sam2_hiera_tiny samvit_base_patch16_224 sebotnet33ts_256 sedarknet21 sehalonet33ts
    selecsls42 semnasnet_050 senet154 sequencer2d_s seresnet18 seresnetaa50d seresnext26ts
    seresnextaa101d_32x8d shvit_s1 skresnet18 skresnext50_32x4d spnasnet_100 starnet_s050
    swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 test_vit
    tf_mobilenetv3_small_075 tiny_vit_5m_224 tinynet_e tnt_s_legacy_patch16_224 tresnet_m
    twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_dinov3_qkvb vitamin_small_224
    volo_d1_224 vovnet39a wide_resnet50_2 xception41p xcit_nano_12_p8_224
""".split()
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 384)
#: Relative to the largest value of a projection.
TOLERANCE = 1e-9
#: Crops may be larger than a small image; up to so many times its values they are compared too.
LARGEST_CROP = 3.0


@dataclass
class Found:
    """What came of one network."""

    name: str
    input_size: int = 0
    layers: int = 0
    checked: int = 0
    in_crops: int = 0
    compared_in_crops: int = 0
    #: Units whose projection is not zero, and all.
    alive: int = 0
    units: int = 0
    largest_difference: float = 0.0
    milliseconds: float = 0.0
    seconds: float = 0.0
    #: Of a layer that is refused the sentence, of a difference how large it is.
    refused: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    failed: str = ""

    @property
    def outcome(self) -> str:
        """In a few words."""
        if self.failed:
            return self.failed.splitlines()[0]
        if self.wrong:
            return f"differs: {self.wrong[0]}"
        if self.refused:
            sentence = re.sub(r"^(\w+: Node )\S+ ", r"\1", next(iter(self.refused.values())))
            return f"{len(self.refused)} refused, {sentence.split(', so that')[0]}".rstrip(".")
        return "right"


def made(name: str) -> nn.Module:
    """The network `torchvision/NAME` or `timm/NAME`, in float64 with random weights."""
    source, _, name = name.partition("/")
    # Weights are drawn below; as they are drawn for a training takes longer than all that follows.
    undrawn = dict.fromkeys(
        ("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "normal_", "uniform_"),
        lambda values, *_, **__: values,
    )
    with mock.patch.multiple(nn.init, **undrawn):
        network = _built(source, name)
    network = network.double().eval().requires_grad_(False)
    randomise(network.named_parameters())
    randomise((n, b) for n, b in network.named_buffers() if "running" in n)
    return network


def _built(source: str, name: str) -> nn.Module:
    network: nn.Module
    if source == "torchvision":
        options: dict[str, Any] = {"vit_b_32": {"image_size": 64}}.get(name, {})
        if name in ("googlenet", "inception_v3"):
            options = {"aux_logits": False, "init_weights": False}
        network = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    else:
        import timm

        for options in ({"img_size": 64}, {}):
            with suppress(TypeError, ValueError, AssertionError, RuntimeError):
                network = timm.create_model(name, num_classes=10, **options).eval()
                images_for(network)
                return network
        raise ValueError(f"timm cannot make {name}.")
    return network


def images_for(network: nn.Module) -> Tensor:
    """Three images of the least size that a network takes."""
    last: Exception = ValueError("No size of images was tried.")
    for size in SIZES:
        images = some_images(3, size=size).to(next(network.parameters()).dtype)
        try:
            with torch.no_grad():
                network(images)
        except (RuntimeError, AssertionError, ValueError, IndexError, TypeError) as problem:
            last = problem
        else:
            return images
    raise last


def expected_outputs(
    graph: Graph, layers: Sequence[str], pixels: Tensor, method: str
) -> dict[str, Tensor]:
    """The outputs of layers by the oracle, as they are laid out in the network."""
    chains: dict[str, tuple[fx.Node, list[fx.Node]]] = {}
    for layer in layers:
        node, chain = graph.node(layer), []
        while node.op != "call_module" and any(
            graph.is_kind(node, kinds) for kinds in (RECTIFIERS, BATCH_NORMS)
        ):
            chain.insert(0, node)
            node = graph.sources(node)[0]
        chains[layer] = node, chain
    calls = {}
    for layer, (node, _) in chains.items():
        if node.op == "call_module":
            calls[node] = str(node.target), graph.calls(node).index(node)
        elif isinstance(node.target, LayerInside):
            calls[node] = layer, 0
    of_modules = outputs_of_modules(graph.network, pixels, calls.values(), method)
    values: dict[fx.Node, Any] = {node: of_modules[call] for node, call in calls.items()}
    with Changed(method):
        others = [node for node, _ in chains.values() if node not in values]
        if others:
            # Layers that are functions: the graph as it was traced.
            values |= graph.walk(pixels.clone(), others, partial(_copied, graph))
        found = {}
        for layer, (node, chain) in chains.items():
            value = values[node].clone()
            for after in chain:
                source = graph.sources(after)[0]
                value = evaluate(graph.network, after, {**values, source: value})
            found[layer] = value
    return found


def _copied(graph: Graph, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """A node's value, computed from copies of what it may change in place."""
    given = {
        source: values[source].clone()
        for source in graph.sources(node)
        if source in graph.overwritten and isinstance(values[source], Tensor)
    }
    return evaluate(graph.network, node, {**values, **given})


def as_maps(value: Tensor, maps: Tensor) -> Tensor:
    """As `[N, C, H, W]` or `[N, C]`, of the values of `maps`: channels may be last."""
    shapes: list[Tensor] = [value]
    if value.dim() in (3, 4):
        last = value.movedim(-1, 1)
        shapes = [last.unsqueeze(-1)] if value.dim() == 3 else [value, last]
    if len(value) != len(maps):
        # Windows of each image, one below the other.
        shapes = [s.unflatten(0, (len(maps), -1)).movedim(1, 2).flatten(2, 3) for s in shapes]
    for one in shapes:
        if one.shape == maps.shape and torch.allclose(one.detach(), maps, 1e-6, 1e-6):
            return one
    return shapes[0]


def units_of(layer: str, maps: Tensor) -> list[Unit]:
    """The strongest maps' units inside, at a border and in a corner, each of its own image."""
    if maps.dim() == 2:
        return [Unit(image, layer, int(maps[image].argmax())) for image in range(3)]
    height, width = maps.shape[2:]
    places = ((height // 2, width // 2), (0, width // 2), (height - 1, width - 1))
    return [
        Unit(image, layer, int(maps[image, :, row, column].argmax()), row, column)
        for image, (row, column) in enumerate(places)
    ]


def compare(name: str, *, most_layers: int = 10**6) -> Found:
    """Project units of each layer of a network by every method, and compare with the oracle."""
    started, found = time.process_time(), Found(name)
    network = made(name)
    images = images_for(network)
    found.input_size = images.shape[-1]
    every = Deconvnet(network).layers
    found.layers = len(every)
    if not every:
        found.failed = "it has no layer by name, because it cannot be traced"
        return found
    step = max(1.0, found.layers / most_layers)
    layers = [every[int(n * step)] for n in range(min(found.layers, most_layers))]
    layers = list(dict.fromkeys([*layers, every[-1]]))
    for method in METHODS:
        _compare_method(found, network, images, layers, method)
    if found.checked:
        found.milliseconds = _milliseconds(network, images, layers, found)
    found.seconds = time.process_time() - started
    return found


def _compare_method(
    found: Found, network: nn.Module, images: Tensor, layers: list[str], method: str
) -> None:
    deconvnet = Deconvnet(
        network,
        method=method,  # type: ignore[arg-type]
        norm="jacobian" if method == "gradient" else "identity",
        crops=False,
        cross_check=method == "gradient",
    )
    size = images.shape[2], images.shape[3]
    left = layers
    try:
        deconvnet.shapes(layers, size)
    except UserError:
        left = _without_refused(deconvnet, size, layers, method, found)
    found.checked = len(left)
    if not left:
        return
    maps = deconvnet.feature_maps(images, left)
    units = {layer: units_of(layer, maps[layer]) for layer in left}
    projected = deconvnet.project(images, [unit for layer in left for unit in units[layer]])
    ours = dict(zip(left, projected.pixels.split(3), strict=True))
    pixels = images.clone().requires_grad_()
    outputs = expected_outputs(deconvnet.graph, left, pixels, method)
    theirs = {}
    for layer in left:
        output = as_maps(outputs.pop(layer), maps[layer])
        torch.testing.assert_close(output.detach(), maps[layer], rtol=1e-8, atol=1e-8)
        seed = torch.zeros_like(output)
        for unit in units[layer]:
            at = (unit.image, unit.feature_map, unit.row, unit.column)[: output.dim()]
            seed[at] = output.detach()[at]
        (theirs[layer],) = torch.autograd.grad(output, pixels, seed, retain_graph=True)
        _compare(found, f"{layer}, {method}", ours[layer], theirs[layer])
    deconvnet.crops = True
    plans = {layer: deconvnet.crop_plan(layer, (images.shape[1], *size)) for layer in left}
    cropped = {layer: plan.share for layer, plan in plans.items() if plan is not None}
    small = [layer for layer, share in cropped.items() if share <= LARGEST_CROP]
    found.in_crops = max(found.in_crops, len(cropped))
    found.compared_in_crops = max(found.compared_in_crops, len(small))
    for layer in small:
        in_crops = deconvnet.project(images, units[layer]).pixels
        _compare(found, f"{layer}, {method}, in crops", in_crops, theirs[layer])


def _without_refused(
    deconvnet: Deconvnet, size: tuple[int, int], layers: list[str], method: str, found: Found
) -> list[str]:
    """The layers that can be projected; what is said of the others is noted."""
    left = []
    for layer in layers:
        try:
            deconvnet.shapes([layer], size)
            left.append(layer)
        except UserError as problem:
            # Such are no layers of the image: those of attention biases, say.
            if "never called with values of the image" not in str(problem):
                found.refused.setdefault(layer, f"{method}: {problem}")
    return left


def _compare(found: Found, what: str, ours: Tensor, theirs: Tensor) -> None:
    for mine, own in zip(ours, theirs, strict=True):
        scale = float(own.abs().max())
        found.units += 1
        found.alive += scale > 0
        difference = float((mine - own).abs().max()) / (scale or 1.0)
        found.largest_difference = max(found.largest_difference, difference)
        if not difference <= TOLERANCE:
            found.wrong.append(f"{what}: {difference:.2g}")


def _milliseconds(network: nn.Module, images: Tensor, layers: list[str], found: Found) -> float:
    """Processor time a unit, of three in as many images, at the middle layer, in float32."""
    left = [layer for layer in layers if layer not in found.refused]
    layer = left[len(left) // 2]
    deconvnet, images = Deconvnet(network.float(), cross_check=False), images.float()
    maps = deconvnet.feature_maps(images, [layer])[layer]
    units = units_of(layer, maps)
    times = []
    for _ in range(3):
        started = time.process_time()
        deconvnet.project(images, units)
        times.append(time.process_time() - started)
    return 1e3 * min(times[1:]) / len(units)


def _run(name: str, most_layers: int, limit: int, log: Path) -> None:
    warnings.filterwarnings("ignore")
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + limit, used + limit))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        found = compare(name, most_layers=most_layers)
    except UserError as problem:
        found = Found(name, failed=str(problem))
    except Exception as problem:  # Whatever it is, it is what came of this network.
        found = Found(name, failed=f"{type(problem).__name__}: {str(problem)[:500]}")
    with log.open("a") as file:
        file.write(json.dumps(asdict(found)) + "\n")


def table(networks: Sequence[Found]) -> str:
    """What was found, as Markdown: counts, and a row a network."""
    counts = []
    for source in ("torchvision", "timm"):
        of_source = [one for one in networks if one.name.startswith(source)]
        right = sum(one.outcome == "right" for one in of_source)
        counts.append(f"{source}: {right} of {len(of_source)} right")
    rows = [
        f"| {one.name} | {one.input_size or ''} | {one.layers or ''} | {one.checked or ''} "
        f"| {one.in_crops} | {one.compared_in_crops} | {one.milliseconds:.1f} | {one.outcome} |"
        for one in sorted(networks, key=lambda one: (one.name[:2] != "to", one.name))
    ]
    head = "| network | input | layers | compared | in crops | compared so | ms a unit | outcome |"
    return "\n".join(
        ["; ".join(counts) + ".", "", head, "|---|---|---|---|---|---|---|---|", *rows]
    )


def main() -> None:
    """Run what LOG does not hold yet, or write its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--layers", type=int, default=10**6, help="most layers, evenly spaced")
    parser.add_argument("--limit", type=int, default=200, help="processor seconds a network")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = {}
    if options.log.exists():
        known = {one["name"]: one for one in map(json.loads, options.log.read_text().splitlines())}
    if options.table:
        print(table([Found(**one) for one in known.values()]))
        return
    names = options.only or [
        *(f"torchvision/{name}" for name in TORCHVISION),
        *(f"timm/{name}" for name in TIMM),
    ]
    # Once, for all that are forked from here; it takes longer than most comparisons.
    import timm

    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    )
    processes = multiprocessing.get_context("fork")
    for name in names:
        if name in known:
            continue
        arguments = (name, options.layers, options.limit, options.log)
        process = processes.Process(target=_run, args=arguments)
        process.start()
        process.join()
        if process.exitcode:
            failed = f"ended by signal {-process.exitcode}"
            if process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL):
                failed = f"not compared: it takes more than {options.limit} s of processor time"
            with options.log.open("a") as file:
                file.write(json.dumps(asdict(Found(name, failed=failed))) + "\n")
        print(options.log.read_text().splitlines()[-1][:300], flush=True)


if __name__ == "__main__":
    main()
