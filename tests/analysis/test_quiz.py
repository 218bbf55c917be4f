"""The forced choice where the answer is known, and controls that must give chance."""

import torch
from torch import Tensor, nn

from zf_lightning.analysis.intervals import mean_interval
from zf_lightning.analysis.quiz import OTHER, SHUFFLED, Questions, answer, askable, questions
from zf_lightning.deconv import Deconvnet, Units


def colour_maps() -> nn.Sequential:
    """Three maps, of red, green and blue, over 5 by 5 pixels."""
    network = nn.Sequential(nn.Conv2d(3, 3, 5), nn.ReLU())
    weight = torch.eye(3)[:, :, None, None].expand(3, 3, 5, 5) - 0.4
    network[0].load_state_dict({"weight": weight.contiguous(), "bias": torch.zeros(3)})
    return network


def asked(trials: int = 6, k: int = 4) -> list[Questions]:
    """Of each colour, in pictures of one colour each and a little noise."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(40, 3, 1, 1, generator=generator)
    noise = torch.randn(40, 3, 12, 12, generator=generator)
    display = (255 * colours + 5 * noise).clamp(0, 255).to(torch.uint8)
    images = display.float() / 255 - 0.5
    deconvnet = Deconvnet(colour_maps())
    top = deconvnet.top_activations([images], layers=["0"], k=40)["0"]
    assert askable(top.activations, k=k, trials=trials).all()
    field = deconvnet.receptive_fields(["0"], (12, 12))["0"]
    order = (top.indices, top.rows, top.columns)
    return [
        questions(
            deconvnet,
            images,
            display,
            Units("0", order[0][m], torch.full((40,), m), order[1][m], order[2][m]),
            field,
            k=k,
            trials=trials,
        )
        for m in range(3)
    ]


def mean_colour(pictures: Tensor) -> Tensor:
    return pictures.float().mean((2, 3)) - 128


def test_who_sees_colours_answers_rightly_from_patches_and_from_projections() -> None:
    found = answer(asked(), mean_colour)
    for kind in ("patches", "projections", "both"):
        assert found[kind].shape == (3, 6) and found[kind].mean() == 1
        assert found[OTHER.format(kind)].mean() < 0.5
    # In random order it is chance, of the same answers.
    assert 0 < found[SHUFFLED].mean() < 1


def test_shuffled_queries_and_an_encoder_that_sees_nothing_are_chance() -> None:
    generator = torch.Generator().manual_seed(0)

    def blind(pictures: Tensor) -> Tensor:
        return torch.randn(len(pictures), 8, generator=generator)

    pictures = torch.zeros(200, 12, 2, 3, 4, 4, dtype=torch.uint8)
    many = [Questions(one[:4, 0], one[:4, 1], one) for one in pictures]
    for values in answer(many, blind).values():
        assert abs(values.mean() - 0.5) < 3.3 * 0.5 / values.numel() ** 0.5
    # Where all queries look the same there is no difference.
    assert (answer(many, mean_colour)["patches"] == 0.5).all()
    shuffled = answer(asked() * 20, mean_colour)[SHUFFLED]
    assert mean_interval(shuffled.mean(1).tolist()).contains(0.5)


def test_the_weak_query_is_cut_where_the_strong_one_is() -> None:
    one = asked()[0]
    assert one.queries.shape == (6, 2, 3, 5, 5) and one.projections.dtype == torch.uint8
    # Red first, and not second; the projection of red is red.
    assert (mean_colour(one.queries[:, 0])[:, 0] > mean_colour(one.queries[:, 1])[:, 0]).all()
    assert (mean_colour(one.projections).argmax(1) == 0).all()


def test_maps_without_a_right_answer_are_not_asked_about() -> None:
    activations = torch.tensor([[5.0, 4, 3, 2, 1, 0], [5, 0, 0, 0, 0, 0], [5, 3, 3, 3, 3, 3]])
    assert askable(activations, k=1, trials=2).tolist() == [True, False, False]
    assert not askable(activations, k=3, trials=2).any()
