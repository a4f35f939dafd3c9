"Folds and halves of few images: none is empty, and labels are labels."

import numpy as np
import pandas as pd
import pytest

from voc_cv.classify import (
    categorical_accuracy,
    confident_mistakes,
    detector_labels,
    fold_numbers,
    pool_weights,
)
from voc_cv.data import VOC_CLASSES, present, stratify, write_labels


def test_no_fold_is_ever_empty():
    "Else a small data set ends in an error, or in a head that has learned nothing."
    for seed in range(300):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 12))
        folds = int(rng.integers(2, n + 1))
        y = rng.random((n, int(rng.integers(1, 5)))) < rng.random()
        numbers = fold_numbers(y, folds, seed)
        assert np.bincount(numbers, minlength=folds).min() > 0
        np.testing.assert_array_equal(numbers, fold_numbers(y.astype(int), folds, seed))


def test_neither_half_is_ever_empty():
    "Else thresholds of a small data set are chosen on no image."
    for seed in range(500):
        rng = np.random.default_rng(seed)
        n, valid = int(rng.integers(2, 12)), rng.uniform(0.05, 0.95)
        y = rng.random((n, int(rng.integers(1, 5)))) < rng.random()
        if 0 < round(valid * n) < n:
            assert 0 < stratify(y, valid, seed).sum() < n


def test_folds_and_files_take_only_labels(tmp_path):
    "Else -1 for unknown counts as present, and scores as labels."
    rng = np.random.default_rng(0)
    y, scores = rng.random((9, 20)) < 0.3, rng.random((9, 20))
    ids = [f'i{k}' for k in range(9)]
    for wrong in (np.where(y, 1, -1), scores, np.where(y, np.nan, 0)):
        for f in (
            lambda t: fold_numbers(t, 3),
            lambda t: stratify(t, 0.5, 0),
            lambda t: pool_weights([scores], t),
            lambda t: confident_mistakes(t, scores),
            lambda t: categorical_accuracy(t, scores),
            lambda t: write_labels(tmp_path / 'labels.csv', ids, t),
            lambda t: present(t[0]),
        ):
            with pytest.raises(ValueError, match='expected True and False'):
                f(wrong)
    found = pd.DataFrame(columns=['Id', 'class', 'score', 'left', 'top', 'right', 'bottom'])
    with pytest.raises(ValueError, match='threshold: expected'):
        detector_labels(found, ids, 0)
    assert present(np.eye(20)[3]) == [VOC_CLASSES[3]]
