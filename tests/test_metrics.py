"The label metrics against an independent implementation."
import numpy as np
import pytest
import torch
from voc_cv.classify import average_precision, label_metrics

torchmetrics = pytest.importorskip('torchmetrics.functional.classification')


@pytest.mark.parametrize('seed', range(5))
def test_label_metrics_agree_with_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    y = rng.random((80, 20)) < rng.uniform(.03, .4, 20)
    y[0] = True  # each class has a positive: torchmetrics counts classes without one otherwise
    scores = (rng.random((80, 20)) + y * rng.uniform(0, 1, 20)).round(2) / 2  # with ties
    said = scores > .4
    ours, p, s, t = label_metrics(y, scores, said), *map(torch.from_numpy, (said.astype(int), scores, y.astype(int)))
    assert ours['mAP sklearn'] == pytest.approx(torchmetrics.multilabel_average_precision(s, t, 20, average='macro').item(), abs=1e-5)
    for k in range(20): assert average_precision(y[:, k], scores[:, k], 'sklearn') == pytest.approx(torchmetrics.binary_average_precision(s[:, k], t[:, k]).item(), abs=1e-5)
    for name, average in (('micro F1', 'micro'), ('macro F1', 'macro')):
        assert ours[name] == pytest.approx(torchmetrics.multilabel_f1_score(p, t, 20, average=average).item(), abs=1e-5)
    assert ours['label accuracy'] == pytest.approx(torchmetrics.multilabel_accuracy(p, t, 20, average='micro').item(), abs=1e-5)
    assert ours['exact match'] == pytest.approx(torchmetrics.multilabel_exact_match(p, t, 20).item(), abs=1e-5)
