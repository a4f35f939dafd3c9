"""The confusion matrix of a 375 x 500 mask with 21 classes and void, in one thread.

    python bench/bench_segment.py

Peers: numpy's bincount of the known pixels, torchmetrics, and scikit-learn. Equal tables are
asserted first."""

import numpy as np
import torch
from common import compare
from sklearn.metrics import confusion_matrix as by_sklearn
from torchmetrics.functional.classification import multiclass_confusion_matrix

from voc_cv.data import VOID, toy_voc
from voc_cv.measure import confusion_matrix

torch.set_num_threads(1)


def by_bincount(truth, pred):
    known = truth != VOID
    return np.bincount(21 * truth[known].astype(int) + pred[known], minlength=441).reshape(21, 21)


def by_torchmetrics(truth, pred):
    return multiclass_confusion_matrix(
        torch.from_numpy(pred).long(), torch.from_numpy(truth).long(), 21, ignore_index=VOID
    ).numpy()


def sklearn_known(truth, pred):
    known = truth != VOID
    return by_sklearn(truth[known], pred[known], labels=range(21))


rng = np.random.default_rng(0)
toy = next(s.mask for s in toy_voc(20) if s.mask.shape == (375, 500))
guess = np.where(toy == VOID, 0, np.roll(toy, 9, 1)).clip(0, 20).astype(np.uint8)
cases = {
    'a toy mask': (toy, guess),
    'noise': (
        rng.choice(np.array([*range(21), VOID], np.uint8), toy.shape),
        rng.integers(0, 21, toy.shape).astype(np.uint8),
    ),
}
for title, (truth, pred) in cases.items():
    for peer in (by_bincount, by_torchmetrics, sklearn_known):
        np.testing.assert_array_equal(peer(truth, pred), confusion_matrix(truth, pred))
    print(f'\n{title}')
    compare(
        **{
            'confusion_matrix': lambda: confusion_matrix(truth, pred),
            'bincount': lambda: by_bincount(truth, pred),
            'torchmetrics': lambda: by_torchmetrics(truth, pred),
            'scikit-learn': lambda: sklearn_known(truth, pred),
        }
    )
