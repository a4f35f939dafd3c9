"""A fine-tuning by two processes, which `accelerate launch` starts, is that of one process with the
same batch."""

import os
import sys
from functools import partial

import pandas as pd
import pytest
import torch
import transformers
from conftest import BIN, run, tiny_segformer
from safetensors.torch import load_file

from voc_cv.data import toy_voc
from voc_cv.segment import (
    TrainerData,
    class_pixels,
    class_weights,
    pixel_loss,
    share_of,
    to_tensors,
)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "A tiny segmenter of random weights, without dropout, which would differ by process."
    rates = ('hidden_dropout_prob', 'attention_probs_dropout_prob', 'classifier_dropout_prob')
    none = dict.fromkeys((*rates, 'drop_path_rate'), 0.0)
    return tiny_segformer(tmp_path_factory.mktemp('tiny'), **none)


# Two processes see two batches of 2 where one sees 4, and batch normalisation on a CPU counts each
# by itself. So in both it is held as it is; what then differs is the order of sums.
HELD = """
import sys, torch
torch.nn.BatchNorm2d.train = lambda self, mode=True: torch.nn.Module.train(self, False)
torch.set_num_threads(1)
from voc_cv.run import main
sys.exit(main())
"""
LAUNCH = '--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no'


def test_two_processes_train_as_one(tiny, tmp_path):
    "Else a training on two GPUs is another one than on one."
    (tmp_path / 'held.py').write_text(HELD)
    given = (
        f'segmenter={tiny}',
        'size=64',
        'batch=4',
        'epochs=3',
        'limit=16',
        'tune=0.25',
        'lr=1e-3',
    )
    more = [*('finetune', '--out'), *(f'-p{text}' for text in given)]
    port = f'--main_process_port={20000 + os.getpid() % 20000}'
    starts = {
        'one': [sys.executable, tmp_path / 'held.py'],
        'two': [BIN / 'accelerate', 'launch', *LAUNCH.split(), port, tmp_path / 'held.py'],
    }
    found = {}
    for name, start in starts.items():
        words = *start, *more[:2], tmp_path / name, *more[2:]
        done = run(*words, cwd=tmp_path, KERAS_BACKEND='torch')  # Keras has no part in it
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = pd.read_csv(tmp_path / name / 'history.csv')
        assert not (tmp_path / f'{name}-training').exists()
    one, two = found['one'], found['two']
    assert one['loss'].nunique() == 3, 'it learns'
    assert [*map(len, toy_voc(16).split(0.25, 0))] == [12, 4], 'whole batches: none is filled up'
    # measured: 2e-7 of the loss, 2e-7 of a weight
    pd.testing.assert_frame_equal(two, one, rtol=1e-5)
    weights = [load_file(tmp_path / name / 'model.safetensors') for name in starts]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-5)

    # what is kept is the best epoch, not the last
    best = one['tune mIoU'].argmax()
    assert best < 2 and one['tune loss'].nunique() == 3
    fit, tune = toy_voc(16).split(0.25, 0)
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(tmp_path / 'one').eval()
    processor = transformers.SegformerImageProcessorPil.from_pretrained(tmp_path / 'one')
    squares = TrainerData(tune, 64)
    batch = to_tensors([squares[i] for i in range(len(squares))], processor)
    labels = batch.pop('labels')
    with torch.inference_mode():
        balance = class_weights(class_pixels(fit), 0.25)
        loss = partial(pixel_loss, model, balance, None)(model(**batch), labels)
    assert float(loss) == pytest.approx(one['tune loss'][best], rel=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    "Else three images on two GPUs are a batch that nobody asked for."
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert share_of(8) == 4
    with pytest.raises(ValueError, match='batch: expected a multiple of the 2 processes, got 3'):
        share_of(3)
