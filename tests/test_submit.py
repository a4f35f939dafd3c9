"Run lengths and scores against pycocotools, and texts that nobody meant to write."

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from voc_cv.data import VOID, VocDataset, toy_voc
from voc_cv.submit import (
    check_submission,
    encode_mask,
    expected_rows,
    rle_decode,
    rle_encode,
    score_submission,
)


def to_coco(text, size):
    "Contest runs as COCO's: lengths of zeros and ones in turn, over a column of `size` pixels."
    numbers = list(map(int, text.split()))
    counts, at = [], 1
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        counts += [start - at, length]
        at = start + length
    return coco.frPyObjects({'counts': [*counts, size + 1 - at], 'size': [size, 1]}, size, 1)


def column(binary):
    "An array of zeros and ones as COCO's encoder wants it: one column of pixels."
    return np.asfortranarray(binary.reshape(-1, 1).astype(np.uint8))


def test_pycocotools_reads_what_we_write():
    rng = np.random.default_rng(0)
    for _ in range(200):
        binary = rng.random(rng.integers(1, 20, 2)) < rng.random()
        read = coco.decode(to_coco(rle_encode(binary), binary.size)).reshape(binary.shape)
        np.testing.assert_array_equal(read.astype(bool), binary)


def test_pycocotools_and_we_agree_on_real_masks():
    for s in toy_voc(5):
        planes = s.mask == np.arange(1, 21)[:, None, None]
        ours = to_coco(encode_mask(s.mask), planes.size)
        assert ours == coco.encode(column(planes))  # their C encoder, on the planes themselves
        np.testing.assert_array_equal(rle_decode(encode_mask(s.mask), planes.shape), planes)


def test_the_score_is_that_of_pycocotools_areas():
    "Dice from COCO's runs alone: areas of what was submitted, of the truth, and of both."
    toys, rng = toy_voc(4), np.random.default_rng(0)
    masks = {s.id: np.where(rng.random(s.mask.shape) < 0.7, np.roll(s.mask, 9, 1), 0) for s in toys}
    texts = []
    for id in toys.ids:
        texts += ['', encode_mask(masks[id].astype(np.uint8))]
    table = pd.DataFrame({'Predicted': texts}, expected_rows(toys.ids))
    scores = score_submission(table, toys)
    for s in toys:
        known = column(np.broadcast_to(s.mask != VOID, (20, *s.mask.shape)))
        truth = coco.encode(column(s.mask == np.arange(1, 21)[:, None, None]))
        said = to_coco(table.Predicted[f'{s.id}_segmentation'], 20 * s.mask.size)
        said = coco.merge([said, coco.encode(known)], intersect=True)
        both = coco.area(coco.merge([said, truth], intersect=True))
        dice = 2 * both / (coco.area(said) + coco.area(truth))
        assert 0 < dice < 1
        assert scores.segmentation[s.id] == pytest.approx(dice)
        assert scores.classification[s.id] == 0  # nothing said, though something is there


WORDS = ['0', '1', '2', '3', '5', '9', '12', '-1', '1.5', 'nan', '٣']


def test_a_text_is_refused_or_means_one_array():
    "Whatever is not refused is the encoding of what it decodes to, but for runs that touch."
    rng, refused = np.random.default_rng(0), 0
    for _ in range(3000):
        words = rng.choice(WORDS, rng.integers(0, 6))
        text = ' '.join(words)
        try:
            array = rle_decode(text, (3, 4))
        except ValueError:
            refused += 1
            continue
        assert array.sum() == sum(map(int, words[1::2]))
        np.testing.assert_array_equal(rle_decode(rle_encode(array), (3, 4)), array)
    assert 1000 < refused < 2990


def test_a_submission_of_nothing_is_sound():
    "Images without objects, predicted so: two empty rows each, and full marks."
    black, nothing = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    empty = VocDataset(['a', 'b'], lambda id: black, lambda id: nothing)
    table = pd.DataFrame({'Predicted': [''] * 4}, expected_rows(empty.ids))
    assert not len(check_submission(table, empty))
    assert (score_submission(table, empty) == 1).all(axis=None)


def test_a_table_of_another_kind_is_refused():
    with pytest.raises(ValueError, match='column Predicted'):
        check_submission(pd.DataFrame({'Text': ['']}), toy_voc(1))
