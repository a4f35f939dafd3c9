"The networks from scratch on TensorFlow and on torch: one epoch of training on each, the same answers from the same weights, the same losses."
import json
import sys

import numpy as np
import pytest
from conftest import run

MODELS = {'cnn': 'build_cnn(64, width=.05)', 'vit': 'build_vit(24, 6, dim=16, heads=2, depth=2, mlp=(32, 16))'}
TRAIN = '''
import json, sys; import keras, numpy as np
from functools import partial
from voc_cv.augment import hflip, in_memory, resize
from voc_cv.classify import KerasClassifier, build_cnn, build_vit, fit_keras, save_classifier
from voc_cv.data import toy_voc
keras.utils.set_random_seed(0)
model = {model}
data = in_memory(toy_voc(12), partial(resize, size=model.input_shape[1:3]))
history = fit_keras(model, data[:8], data[8:], hflip, 1, batch=4)
save_classifier(sys.argv[1], KerasClassifier(model))
print(json.dumps([keras.backend.backend(), history.loss[0]]))
'''
ANSWER = '''
import sys; import keras, numpy as np
from voc_cv.classify import load_classifier
model = load_classifier(sys.argv[1]).model
images = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
np.save(sys.argv[2], keras.ops.convert_to_numpy(model(images)))
'''


@pytest.mark.parametrize('name', MODELS)
def test_both_backends_train_and_agree(name, tmp_path):
    for backend in ('tensorflow', 'torch'):
        done = run(sys.executable, '-c', TRAIN.replace('{model}', MODELS[name]), tmp_path / backend, KERAS_BACKEND=backend)
        assert done.returncode == 0, done.stderr[-3000:]
        used, loss = json.loads(done.stdout.splitlines()[-1])
        assert used == backend and np.isfinite(loss)
    answers = []
    for backend in ('tensorflow', 'torch'):  # both read what TensorFlow trained
        done = run(sys.executable, '-c', ANSWER, tmp_path / 'tensorflow', tmp_path / f'{backend}.npy', KERAS_BACKEND=backend)
        assert done.returncode == 0, done.stderr[-3000:]
        answers.append(np.load(tmp_path / f'{backend}.npy'))
    assert np.ptp(answers[0]) > 1e-3, 'constant answers would agree without meaning'
    np.testing.assert_allclose(*answers, atol=1e-4)


UNET = '''
import json, sys; import keras, numpy as np
from functools import partial
from voc_cv.augment import hflip, in_memory, pad_to
from voc_cv.data import toy_voc
from voc_cv.segment import build_unet, fit_masks, load_trained, named_loss, save_keras
rng = np.random.default_rng(0)
truth, logits = rng.choice([*range(21), 255], (2, 8, 8)), rng.normal(size=(2, 8, 8, 21)).astype(np.float32)
losses = {n: float(named_loss(n, np.arange(21) / 10)(truth, logits)) for n in ('cross-entropy', 'weighted', 'dice', 'focal', 'tversky', 'focal-tversky')}
how = {'size': 32, 'filters': [4, 8], 'bottleneck': 8}
model = build_unet(**how)
data = in_memory(toy_voc(8), partial(pad_to, size=32))
history = fit_masks(model, data[:6], data[6:], 1, 'weighted+dice', transform=hflip, batch=2)
save_keras(sys.argv[1], model, 'build_unet', **how)
image = rng.integers(0, 256, (40, 60, 3), np.uint8)
scores = load_trained(sys.argv[2]).look([image])[0]
print(json.dumps([keras.backend.backend(), losses, history.loss[0], scores.flatten().tolist()]))
'''


def test_unet_and_losses_on_both_backends(tmp_path):
    found = []
    for backend in ('tensorflow', 'torch'):
        done = run(sys.executable, '-c', UNET, tmp_path / backend, tmp_path / 'tensorflow', KERAS_BACKEND=backend)  # both read what TensorFlow trained
        assert done.returncode == 0, done.stderr[-3000:]
        used, *rest = json.loads(done.stdout.splitlines()[-1])
        assert used == backend and np.isfinite(rest[1])
        found.append(rest)
    (losses, _, answers), (losses_too, _, answers_too) = found
    assert losses == pytest.approx(losses_too, abs=1e-5) and len({round(v, 6) for v in losses.values()}) == len(losses)
    np.testing.assert_allclose(answers, answers_too, atol=1e-4)
    assert np.ptp(answers) > 1e-3, 'constant answers would agree without meaning'
