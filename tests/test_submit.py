"Run lengths against pycocotools' own, which were written by other people."
import numpy as np
from pycocotools import mask as coco
from voc_cv.data import toy_voc
from voc_cv.submit import encode_mask, rle_decode, rle_encode


def to_coco(text, size):
    "Contest runs as COCO's: lengths of zeros and ones in turn, over a column of `size` pixels."
    numbers = list(map(int, text.split()))
    counts, at = [], 1
    for start, length in zip(numbers[::2], numbers[1::2]):
        counts += [start - at, length]
        at = start + length
    return coco.frPyObjects({'counts': [*counts, size + 1 - at], 'size': [size, 1]}, size, 1)


def test_pycocotools_reads_what_we_write():
    rng = np.random.default_rng(0)
    for _ in range(200):
        binary = rng.random(rng.integers(1, 20, 2)) < rng.random()
        read = coco.decode(to_coco(rle_encode(binary), binary.size)).reshape(binary.shape)
        np.testing.assert_array_equal(read.astype(bool), binary)


def test_pycocotools_and_we_agree_on_real_masks():
    for s in toy_voc(5):
        planes = s.mask == np.arange(1, 21)[:, None, None]
        flat = np.asfortranarray(planes.reshape(-1, 1).astype(np.uint8))
        ours = to_coco(encode_mask(s.mask), planes.size)
        assert ours == coco.encode(flat)  # their C encoder, on the planes themselves
        np.testing.assert_array_equal(rle_decode(encode_mask(s.mask), planes.shape), planes)
