"""A small fixed part of what `families` compares: some layers of the smallest networks."""

import pytest

from tests.deconv.families import Found, compare, table

SMALL = ("torchvision/squeezenet1_1", "torchvision/shufflenet_v2_x0_5", "torchvision/vit_b_32")
SMALL_OF_TIMM = ("test_vit", "lcnet_035", "starnet_s050", "resnet10t", "convnext_zepto_rms")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL, *(f"timm/{name}" for name in SMALL_OF_TIMM)])
def test_a_family_projects_as_its_oracle_does(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    found = compare(name, most_layers=4)
    assert found.outcome == "right"
    assert found.checked >= 4 and found.alive > found.units / 2


def test_a_table_says_what_came_of_each() -> None:
    refused = {"a.b": "deconvnet: Node sin_1 (function sin): sin has no backward rule, so that …"}
    lines = table(
        [
            Found("timm/c", failed="ended"),
            Found("torchvision/a", 64, 9, 9, 4, 3, 90, 90, 1e-15, 2.5, 9.0),
            Found("timm/b", 32, 5, 4, refused=refused),
        ]
    ).splitlines()
    assert lines[0] == "torchvision: 1 of 1 right; timm: 0 of 2 right."
    assert lines[4] == "| torchvision/a | 64 | 9 | 9 | 4 | 3 | 2.5 | right |"
    assert "1 refused, deconvnet: Node (function sin): sin has no backward rule |" in lines[5]
    assert lines[6].endswith("| ended |")
