"""Trainings of stage 02 that are killed and go on: history and weights must be the unbroken run's,
to the last bit. The networks from scratch, on every Keras backend, are in test_backends."""

from functools import partial
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn


class Killed(Exception):
    pass


class Small(nn.Module):
    "A backbone of one convolution and dropout."

    size, width = 16, 6

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3)

    def features(self, x):
        return self.conv(x).mean((2, 3))


@pytest.fixture(scope='module')
def classify():
    "The module, with checkpoints after every epoch."
    from voc_cv import classify, nets

    with patch.object(nets, 'CHECKPOINT_PAUSE', 0):
        yield classify


def dying(module, after):
    "`fit_best` in a module, killed before its epoch number `after`, counted over all trainings."
    from voc_cv.nets import fit_best

    begun = []

    def fit(epochs, run_epoch, *args, **how):
        def epoch_or_death(epoch):
            if len(begun) == after:
                raise Killed
            begun.append(epoch)
            return run_epoch(epoch)

        return fit_best(epochs, epoch_or_death, *args, **how)

    return begun, patch.object(module, 'fit_best', fit)


def killed_and_resumed(module, train, after):
    "The epochs that were run after death, and what the second try gives."
    _, dies = dying(module, after)
    with dies, pytest.raises(Killed):
        train()
    torch.rand(3)
    begun, lives = dying(module, 999)
    with lives:
        return begun, train()


def same(one, other):
    "Two modules with the same weights, to the last bit."
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize('after', [0, 1, 4, 7, 13])
def test_killed_heads_go_on_and_finished_folds_are_not_trained_again(classify, tmp_path, after):
    "Else a killed training is lost, or ends in other heads."
    draw = np.random.default_rng(0)
    views = draw.normal(size=(2, 40, 6)).astype(np.float32)
    labels = draw.random((40, 20)) < 0.2
    files = [tmp_path / f'{k}.pt' for k in range(5)]

    def train(checkpoints=()):
        return classify.fit_heads(views, labels, epochs=3, batch=8, checkpoints=checkpoints)

    begun, (heads, unseen, history) = killed_and_resumed(classify, partial(train, files), after)
    expected = train()
    assert len(begun) == 15 - after
    assert same(heads, expected[0])
    np.testing.assert_array_equal(unseen, expected[1])
    pd.testing.assert_frame_equal(history, expected[2], check_exact=True)


@pytest.mark.parametrize('how', [{}, {'optimizer': 'adam', 'batch': 16}])
@pytest.mark.parametrize('after', [0, 2, 4])
def test_a_killed_unfrozen_backbone_goes_on_to_the_same_weights(
    classify, tmp_path, monkeypatch, after, how
):
    "Else a killed training is lost, or ends in another network."
    monkeypatch.setenv('VOC_CV_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(classify, 'load_backbone', lambda name: Small().requires_grad_(False))
    parts = classify.open_parts('', 'val', 12, 0.25, 0)
    plan = classify.training_plan(**how)  # the first two epochs are the head's

    def train(out=''):
        return classify.unfrozen_witness('small', parts, 2, 3, 0, plan, out)

    begun, (model, told) = killed_and_resumed(classify, partial(train, tmp_path), after)
    expected, told_too = train()
    assert len(begun) == 5 - after
    assert same(model, expected)
    pd.testing.assert_frame_equal(told.history, told_too.history, check_exact=True)
    pd.testing.assert_frame_equal(told.reported, told_too.reported, check_exact=True)
    kept = [*(tmp_path / 'training/02_classify').glob('*[!e].pt')]
    assert len(kept) == 2, 'of head and backbone; others are those before them'


def test_results_do_not_depend_on_threads(classify, tmp_path, monkeypatch):
    "Else the same seed gives other scores on a machine with more cores."
    monkeypatch.setenv('VOC_CV_CACHE', str(tmp_path))
    monkeypatch.setattr(classify, 'load_backbone', lambda name: Small().requires_grad_(False))
    vit = partial(classify.build_vit, patch=12, dim=8, heads=2, depth=1, mlp=(16,))
    monkeypatch.setattr(classify, 'SCRATCH', {'vit': (vit, 24)})
    monkeypatch.setattr(classify, 'fit_keras', partial(classify.fit_keras, run_eagerly=True))
    parts, found = classify.open_parts('', 'val', 12, 0.25, 0), []
    for workers in (1, 3):
        plan = classify.training_plan(batch=3, workers=workers, copies=1)
        monkeypatch.setenv('VOC_CV_CACHE', str(tmp_path / str(workers)))
        told = [
            classify.scratch_witness('vit', parts, 1, 0, 0, plan)[1],
            classify.head_witness('small', parts, 1, 0, plan)[1],
            classify.unfrozen_witness('small', parts, 1, 1, 0, plan)[1],
        ]
        found.append(told)
    for one, other in zip(*found, strict=True):
        pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
        pd.testing.assert_frame_equal(one.reported, other.reported, check_exact=True)


def test_a_checkpoint_belongs_to_its_parameters(classify, tmp_path, monkeypatch):
    "Else a training goes on from what other parameters have trained."
    seen = []

    def fit(model, fit, tune, transform, epochs, recipe, checkpoint, **how):
        seen.append(checkpoint)
        return pd.DataFrame()

    def warm_up(*args, checkpoint, **how):
        warm.append(checkpoint)

    warm: list = []

    vit = partial(classify.build_vit, patch=12, dim=8, heads=2, depth=1, mlp=(16,))
    monkeypatch.setattr(classify, 'SCRATCH', {'vit': (vit, 24)})
    monkeypatch.setattr(classify, 'fit_keras', fit)
    monkeypatch.setattr(classify, 'fit_rotations', warm_up)
    parts = classify.open_parts('', 'val', 8, 0.25, 0)
    more = [
        {'batch': 3}, {'lr': 0.1}, {'optimizer': 'adam'}, {'schedule': 'constant'},
        {'augment': 'none'}, {'copies': 1}, {'precision': 'bf16'},
    ]  # fmt: skip
    scratch = [
        {'mix': 0.5}, {'average': 0.5}, {'rotations': 2}, {'decay': 0.1}, {'xla': False},
        {'tokens': 'shifted'}, {'vit_pool': 'mean'}, {'vit_patch': 8}, {'vit_depth': 2},
    ]  # fmt: skip
    plans = [classify.training_plan(**plan) for plan in [{}, {'workers': 5}, *more]]
    for plan in [*plans, *(classify.scratch_plan(**plan) for plan in scratch)]:
        classify.train_scratch('vit', parts.fit, parts.tune, 2, 0, 0, plan, tmp_path)
    for given in ((3, 0, 0), (2, 1, 0), (2, 0, 1)):
        classify.train_scratch('vit', parts.fit, parts.tune, *given, out=tmp_path)
    classify.train_scratch('vit', parts.tune, parts.fit, 2, 0, 0, out=tmp_path)
    classify.train_scratch('vit-softmax', parts.fit, parts.tune, 2, 0, 0, out=tmp_path)
    assert seen[0] == seen[1]
    assert len({*seen[1:]}) == len(seen) - 1
    assert {file.parent for file in seen} == {tmp_path / 'training/02_classify'}
    assert len(warm) == 1 and warm[0] not in seen, 'the warm-up has a checkpoint of its own'
    classify.train_scratch('vit', parts.fit, parts.tune, 2, 0, 0)
    assert seen[-1] == ''
