"""Digests of weights, files and other parts."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from zf_lightning.system.digests import digest_of, digest_of_file, digest_of_weights


def test_parts_are_digested_one_after_the_other(tmp_path: Path) -> None:
    expected = hashlib.sha256("größer".encode()).hexdigest()
    assert digest_of(["grö", "ßer".encode()]) == expected
    (tmp_path / "file").write_text("größer", encoding="utf-8")
    assert digest_of_file(tmp_path / "file") == expected


def test_names_and_values_of_weights_change_their_digest() -> None:
    network = nn.Sequential(nn.Linear(2, 1, bias=False)).to(torch.bfloat16)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
    # bfloat16: the upper half of a float32, least byte first.
    expected = b"also0.weight\x80\x3f\x00\x40"
    assert digest_of_weights(network, also="also") == hashlib.sha256(expected).hexdigest()
    assert digest_of_weights(network) != digest_of_weights(network[0])
    assert digest_of_weights(network, network) != digest_of_weights(network)
    before = digest_of_weights(network)
    with torch.no_grad():
        network[0].weight[0, 0] += 0.5
    assert digest_of_weights(network) != before
