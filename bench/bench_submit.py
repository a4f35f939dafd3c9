"""Run-length encoding of a 375 x 500 mask, as the contest's segmentation row.

    python bench/bench_submit.py

Peers: the same difference-based encoder in numpy on the (20,375,500) stack of planes, which is
the definition, and pycocotools' C encoder on those planes (COCO's own, column-major format; the
planes are given, and are not counted). Equal strings are asserted before anything is timed."""

import numpy as np
from common import compare
from pycocotools import mask as coco

from voc_cv.data import toy_voc
from voc_cv.submit import encode_mask, rle_decode, rle_encode


def planes(mask):
    return np.stack([mask == i + 1 for i in range(20)])


def plain_numpy(mask):
    pixels = np.concatenate([[0], planes(mask).ravel(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return ' '.join(map(str, runs))


def blobs():
    mask = np.zeros((375, 500), np.uint8)
    y, x = np.mgrid[:375, :500]
    mask[np.hypot(y - 150, x - 140) < 90] = 15
    mask[np.hypot(y - 250, x - 360) < 100] = 8
    return mask


toys = sorted(
    (s.mask for s in toy_voc(60) if s.mask.shape == (375, 500)),
    key=lambda m: (np.diff(m.ravel().astype(int)) != 0).sum(),
)
cases = {
    'two blobs': blobs(),
    f'the median of {len(toys)} toy masks': toys[len(toys) // 2],
    'the fullest of them': toys[-1],
    'empty': np.zeros((375, 500), np.uint8),
    'noise, every pixel another class': np.random.default_rng(0)
    .integers(0, 21, (375, 500))
    .astype(np.uint8),
}
for title, mask in cases.items():
    text = encode_mask(mask)
    assert text == plain_numpy(mask) == rle_encode(planes(mask))
    assert np.array_equal(rle_decode(text, (20, *mask.shape)), planes(mask))
    fortran = np.asfortranarray(planes(mask).transpose(1, 2, 0).astype(np.uint8))
    print(f'\n{title}: {len(text.split()) // 2} runs')
    medians = compare(
        **{
            'encode_mask': lambda: encode_mask(mask),
            'numpy on 20 planes': lambda: plain_numpy(mask),
            'pycocotools on 20 planes': lambda: coco.encode(fortran),
        }
    )
    print(
        f'  encode_mask is {medians["numpy on 20 planes"] / medians["encode_mask"]:.1f} times '
        'as fast as numpy on 20 planes'
    )
