"""What several processes find is one table of rows, in the order of the images."""

import numpy
import torch

from zf_lightning.data.sampler import EpochSampler
from zf_lightning.inspection.image_pass import RowsByImage


def test_rows_of_several_processes_come_in_the_order_of_the_images() -> None:
    dealt = [
        [
            key.index
            for key in EpochSampler(
                7, batch_size=4, rank=rank, processes=2, shuffle=False, in_order=True
            )
            if key.weight
        ]
        for rank in range(2)
    ]
    assert dealt == [[0, 2, 4, 6], [1, 3, 5]]
    whole = RowsByImage(2)
    for indices in dealt:
        part = RowsByImage(2)
        part.update(torch.tensor(indices), torch.tensor(indices)[:, None] * torch.tensor([1.0, 10]))
        whole.merge_state(part)
    indices, rows = whole.compute()
    assert indices.tolist() == list(range(7))
    numpy.testing.assert_array_equal(rows, numpy.arange(7)[:, None] * [1, 10])
    # One that has seen nothing has nothing to add; a single row stays a row.
    single = RowsByImage(1)
    single.update(torch.tensor([3]), torch.tensor([[5.0]]))
    indices, rows = single.compute()
    assert indices.tolist() == [3] and rows.tolist() == [[5.0]]
