"The networks from scratch on TensorFlow and on torch: one epoch of training on each, and the same answers from the same weights."
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
