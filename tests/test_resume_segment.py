"""Trainings of masks that are killed and go on: history and weights are those of the unbroken one.
And how many threads or processes read changes nothing."""

import shutil
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from safetensors.torch import load_file

from voc_cv import nets
from voc_cv.augment import in_memory, pad_to
from voc_cv.data import toy_voc
from voc_cv.segment import (
    build_segmenter,
    build_unet,
    fine_tune_segmenter,
    fit_decoder,
    fit_masks,
    load_segmenter,
    steering,
    train_keras,
)

EVEN = np.ones(21, np.float32)
EPOCHS = 3


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    monkeypatch.setattr(nets, 'CHECKPOINT_PAUSE', 0)


@pytest.fixture(autouse=True, scope='module')
def eager():
    "Without graphs, which take TensorFlow longer to make than these steps."
    if keras.backend.backend() != 'tensorflow':
        yield
        return
    import tensorflow

    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@cache
def toys():
    return in_memory(toy_voc(6), partial(pad_to, size=32))


def killed(train, at, monkeypatch):
    "Begin a training, and let it die at the end of the epoch `at`, before that is written down."
    score, seen = nets.watched, []

    def watched(*given):
        seen.append(0)
        if len(seen) == at + 1:
            raise Killed
        return score(*given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(nets, 'watched', watched)
        train()
    return len(seen) - 1


def same(one, other):
    "History and weights, to the last bit."
    pd.testing.assert_frame_equal(one[0], other[0], check_exact=True)
    assert len(one[1]) == len(other[1]) > 0
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@cache
def random_maps(n, seed):
    "Feature maps and masks in which there is nothing to see."
    luck = torch.Generator().manual_seed(seed)
    masks = torch.randint(0, 21, (n, 16, 16), generator=luck).to(torch.uint8)
    levels = [(4, 8), (6, 4), (8, 2)]
    return [torch.randn(n, c, s, s, generator=luck).half() for c, s in levels], masks


@cache
def trained_decoder(file='', **more):
    how = {'epochs': EPOCHS, 'batch': 4, 'device': 'cpu', 'checkpoint': file} | more
    decoder, history = fit_decoder(random_maps(10, 0), random_maps(4, 1), EVEN, **how)
    return history, [*decoder.state_dict().values()]


@cache
def trained_net(kind='unet', file='', epochs=EPOCHS, **how):
    keras.utils.set_random_seed(0)
    if kind == 'unet':
        model = build_unet(32, (4, 8), 16, dropout=0.3)
    else:
        model = build_segmenter(*kind.split('/'), 32)
    how = {'batch': 2, 'checkpoint': file} | how
    history = fit_masks(model, toys()[:4], toys()[4:], epochs, 'weighted+dice', EVEN, **how)
    return history, model.get_weights()


averaged_decoder = partial(trained_decoder, kind='light', average=0.9, mix=0.5)


@pytest.mark.parametrize('at', range(EPOCHS))
@pytest.mark.parametrize('train', [trained_decoder, averaged_decoder, trained_net])
def test_a_killed_training_goes_on_to_the_same_weights(train, at, tmp_path, monkeypatch):
    "Else a killed night is lost, or ends in another network."
    resumed = partial(train, file=tmp_path / 'a.pt')
    assert killed(resumed, at, monkeypatch) == at
    assert (tmp_path / 'a.pt').is_file() == (at > 0)
    same(train(), resumed())


@pytest.mark.parametrize('labels', [0.0, 0.5])
def test_a_killed_training_by_adamw_goes_on_to_the_same_weights(labels, tmp_path, monkeypatch):
    "Else a killed night is lost, or ends in another network."
    how = {'optimizer': 'adamw', 'schedule': 'constant', 'lr': 1e-3, 'labels': labels}
    train = partial(trained_net, epochs=2, **how)
    resumed = partial(train, file=tmp_path / 'a.pt')
    killed(resumed, 1, monkeypatch)
    same(train(), resumed())


def test_a_killed_net_of_segmentation_models_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    "Else a killed night is lost, or ends in another network."
    resumed = partial(trained_net, 'Linknet/resnet18', tmp_path / 'a.pt', 2)
    killed(resumed, 1, monkeypatch)
    same(trained_net('Linknet/resnet18', epochs=2), resumed())


def test_more_threads_change_nothing():
    "Else the same seed gives other masks on a machine with more cores."
    same(trained_net(workers=1, epochs=1), trained_net(workers=3, epochs=1))


def test_a_run_keeps_a_checkpoint_for_each_training(tmp_path, monkeypatch):
    "Else a training goes on from what other parameters have trained."
    fit, tune = toys()[:4], toys()[4:]
    given = {'encoder_weights': '', 'loss': 'dice', 'epochs': 2, 'weights': EVEN, 'seed': 0}

    def train(lr, name):
        how = steering(lr=lr, batch=2)
        return train_keras(
            fit, tune, tmp_path / name, 'unet', 32, 2, 0.0, how=how, out=tmp_path, **given
        )

    assert killed(partial(train, 1e-3, 'mine'), 1, monkeypatch) == 1
    (kept,) = tmp_path.glob('training/03_segment/*.pt')
    assert killed(partial(train, 1e-2, 'other'), 1, monkeypatch) == 1  # begins at its beginning
    assert len([*tmp_path.glob('training/03_segment/*.pt')]) == 2
    assert killed(partial(train, 1e-3, 'mine'), 0, monkeypatch) == 0, 'epoch 1 is the next'
    assert torch.load(kept, weights_only=True)['history'][0]['loss'] == train(1e-3, 'mine').loss[0]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, monkeypatch):
    "Else a kill in the middle of writing costs the whole training."
    file = tmp_path / 'a.pt'
    resumed = partial(trained_net, file=file)
    assert killed(resumed, 2, monkeypatch) == 2
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.warns(UserWarning, match='a.pt: is no whole checkpoint'):
        assert killed(resumed, 1, monkeypatch) == 1, 'the second epoch is made again'
    same(trained_net(), resumed())


# transformers' Trainer


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "A MobileNetV2 that has learned nothing, as a folder."
    folder = tmp_path_factory.mktemp('tiny')
    config = transformers.MobileNetV2Config(depth_multiplier=0.35, num_labels=3)
    transformers.MobileNetV2ForImageClassification(config).save_pretrained(folder)
    transformers.MobileNetV2ImageProcessor().save_pretrained(folder)
    return folder


def fine_tuned(tiny, folder, **how):
    how = {'size': 65, 'epochs': 2, 'batch': 2, 'device': 'cpu'} | how
    data = toy_voc(6)
    history = fine_tune_segmenter(folder, tiny, data[:4], data[4:], **how)
    return history, [*load_file(folder / 'model.safetensors').values()]


def stopped(monkeypatch, train):
    "Let a training die when it has written its first checkpoint."
    trainer = transformers.Trainer
    save = trainer._save_checkpoint

    def save_and_stop(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, '_save_checkpoint', save_and_stop)  # its last act
        train()


def counted(monkeypatch):
    "The steps that Trainers make from now on, in a list."
    trainer = transformers.Trainer
    step, steps = trainer.training_step, []

    def count_step(*args):
        steps.append(0)
        return step(*args)

    monkeypatch.setattr(trainer, 'training_step', count_step)
    return steps


def test_a_killed_fine_tuning_goes_on_and_processes_change_nothing(tiny, tmp_path, monkeypatch):
    "Else a killed night is lost, or more processes give another model."
    mine = tmp_path / 'mine'
    whole = fine_tuned(tiny, tmp_path / 'whole', workers=2)
    stopped(monkeypatch, partial(fine_tuned, tiny, mine))
    assert not mine.exists() and Path(f'{mine}-training').is_dir()
    (kept,) = Path(f'{mine}-training').glob('*/checkpoint-2')
    half = kept.with_name('checkpoint-4')  # what a kill in the middle of writing leaves
    shutil.copytree(kept, half, ignore=shutil.ignore_patterns('trainer_state.json', 'optim*'))
    steps = counted(monkeypatch)
    same(whole, fine_tuned(tiny, mine))
    assert len(steps) == 2, 'the second epoch has two steps, the first is not repeated'
    assert not Path(f'{mine}-training').exists()
    assert load_segmenter(mine, device='cpu').align_corners


def test_another_fine_tuning_does_not_go_on_from_it(tiny, tmp_path, monkeypatch):
    "Else a fine-tuning goes on from what other parameters have trained."
    mine = tmp_path / 'mine'
    stopped(monkeypatch, partial(fine_tuned, tiny, mine))
    steps = counted(monkeypatch)
    fine_tuned(tiny, mine, lr=2e-4)
    assert len(steps) == 4, 'two epochs of two steps'


def test_fine_tuning_ends_when_nothing_improves(tiny, tmp_path, monkeypatch):
    "Else a fine-tuning goes on for hours and only gets worse."
    # figures are asked for twice an epoch: of the images trained on, and of those held back
    figures = iter([0.1, 0.1, 0.3, 0.3, 0.2, 0.2, 0.25, 0.25, 0.9, 0.9])
    monkeypatch.setattr(
        'voc_cv.segment.overlap', lambda _: {'mIoU': next(figures), 'F-score': 0.0}
    )
    history, _ = fine_tuned(tiny, tmp_path / 'mine', epochs=5, patience=2)
    assert history['tune mIoU'].tolist() == [0.1, 0.3, 0.2, 0.25]
