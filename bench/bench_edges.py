"""The filters that `mask_ideas.py` tries on a segmenter's probabilities, in one thread.

    python bench/bench_edges.py

21 maps of 375 x 500 pixels. The peer is what every prediction does anyway: enlarging 21 maps of
33 x 33 to that size by torch, and the softmax of a pixel. Before anything is timed: a filter of a
constant map gives it back, and the CRF's probabilities add up to 1."""

import cv2
import numpy as np
import torch
from common import compare
from mask_ideas import guided, mean_field
from torch.nn import functional as F

cv2.setNumThreads(1)
torch.set_num_threads(1)


def main():
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.normal(size=(1, 21, 33, 33)).astype(np.float32)) * 3
    guide = cv2.GaussianBlur(rng.random((375, 500), np.float32), (0, 0), 2)

    def enlarged():
        return F.interpolate(small, (375, 500), mode='bilinear').softmax(1)

    p = enlarged()[0].numpy()
    even = np.full((1, 375, 500), 0.25, np.float32)
    np.testing.assert_allclose(guided(guide, even, 4, 1e-4), even, atol=1e-5)
    np.testing.assert_allclose(mean_field(guide, p).sum(0), 1, atol=1e-5)
    compare(
        **{
            'enlarging and softmax': enlarged,
            'guided filter, radius 4': lambda: guided(guide, p, 4, 1e-4),
            'guided filter, radius 8': lambda: guided(guide, p, 8, 1e-3),
            'CRF, three steps': lambda: mean_field(guide, p),
        }
    )


if __name__ == '__main__':
    main()
