"""The networks from scratch on every Keras backend that is installed.

One epoch of training on each, the same answers from the same weights; and every step that is
borrowed from Keras against a value worked out by hand, for a library can silently do something
else than its name says."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from conftest import run

BACKENDS = [b for b in ('tensorflow', 'torch', 'jax') if importlib.util.find_spec(b)]
MODELS = {
    'cnn': 'build_cnn(64, width=.05)',
    'vit': 'build_vit(24, 6, dim=16, heads=2, depth=2, mlp=(32, 16), augment=True)',
    'cnn-original': 'build_cnn(64, width=.05, norm=False)',
    'vit-stem': "build_vit(24, 6, dim=8, heads=2, depth=1, tokens='convolutions', pool='mean')",
}
HOW = {'vit-stem': 'mix=.5, average=.5'}
TRAIN = '''
import json, sys; import keras, numpy as np
from functools import partial
from voc_cv.augment import hflip, in_memory, resize
from voc_cv.classify import KerasClassifier, build_cnn, build_vit, fit_keras, save_classifier
from voc_cv.data import toy_voc
keras.utils.set_random_seed(0)
model = {model}
data = in_memory(toy_voc(12), partial(resize, size=model.input_shape[1:3]))
history = fit_keras(model, data[:8], data[8:], hflip, 1, batch=4, {how})
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


def python(backend, code, *args):
    "What a fresh process on a backend prints last."
    done = run(sys.executable, '-c', code, *args, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((done.stdout.splitlines() or ['null'])[-1])


@pytest.mark.parametrize('name', MODELS)
def test_all_backends_train_and_agree(name, tmp_path):
    for backend in BACKENDS:
        code = TRAIN.replace('{model}', MODELS[name]).replace('{how}', HOW.get(name, ''))
        used, loss = python(backend, code, tmp_path / backend)
        assert used == backend and np.isfinite(loss)
    answers = []
    for backend in BACKENDS:  # all read what the first has trained
        python(backend, ANSWER, tmp_path / BACKENDS[0], tmp_path / f'{backend}.npy')
        answers.append(np.load(tmp_path / f'{backend}.npy'))
    assert np.ptp(answers[0]) > 1e-3, 'constant answers would agree without meaning'
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, atol=1e-4)


SNAPSHOT = '''
import json; import keras, numpy as np
from voc_cv.nets import keras_weights
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile('adam', 'mse')
snapshot, restore = keras_weights(model)
kept = snapshot()
model.train_on_batch(np.ones((4, 3), np.float32), np.full((4, 2), 9, np.float32))
moved = np.abs(model.get_weights()[0] - kept[0]).min()
restore(kept)
print(json.dumps([float(moved), float(np.abs(model.get_weights()[0] - kept[0]).max())]))
'''


@pytest.mark.parametrize('backend', BACKENDS)
def test_weights_of_the_best_epoch_are_a_copy(backend):
    moved, apart = python(backend, SNAPSHOT)
    assert moved > 1e-4 and apart == 0  # a step of Adam is 1e-3


UNET = '''
import json, sys; import keras, numpy as np
from functools import partial
from voc_cv.augment import hflip, in_memory, pad_to
from voc_cv.data import toy_voc
from voc_cv.segment import build_unet, fit_masks, load_trained, named_loss, save_keras
rng = np.random.default_rng(0)
truth = rng.choice([*range(21), 255], (2, 8, 8))
logits = rng.normal(size=(2, 8, 8, 21)).astype(np.float32)
names = 'cross-entropy', 'weighted', 'dice', 'focal', 'tversky', 'focal-tversky'
losses = {n: float(named_loss(n, np.arange(21) / 10)(truth, logits)) for n in names}
how = {'size': 32, 'filters': [4, 8], 'bottleneck': 8}
model = build_unet(**how)
data = in_memory(toy_voc(8), partial(pad_to, size=32))
history = fit_masks(model, data[:6], data[6:], 1, 'weighted+dice', transform=hflip, batch=2)
save_keras(sys.argv[1], model, 'build_unet', **how)
image = rng.integers(0, 256, (40, 60, 3), np.uint8)
scores = load_trained(sys.argv[2]).look([image])[0]
found = losses, history.loss[0], scores.flatten().tolist()
print(json.dumps([keras.backend.backend(), *found]))
'''


def test_unet_and_losses_on_both_backends(tmp_path):
    found = []
    for backend in ('tensorflow', 'torch'):  # both read what TensorFlow has trained
        used, *rest = python(backend, UNET, tmp_path / backend, tmp_path / 'tensorflow')
        assert used == backend and np.isfinite(rest[1])
        found.append(rest)
    (losses, _, answers), (losses_too, _, answers_too) = found
    assert losses == pytest.approx(losses_too, abs=1e-5)
    assert len({round(v, 6) for v in losses.values()}) == len(losses)
    np.testing.assert_allclose(answers, answers_too, atol=1e-4)
    assert np.ptp(answers) > 1e-3, 'constant answers would agree without meaning'


PARTS = '''
import json, sys; import keras, numpy as np
from keras import layers, ops
from voc_cv.classify import (
    Shifted, build_vit, keras_scores, label_loss, learning_rate, probabilities, start_at)
as_array = ops.convert_to_numpy
logits, labels, start, given = (np.array(a, np.float32) for a in json.loads(sys.argv[1]))

def one_step(loss, **how):
    "The gradient of a loss by the logits as training finds it: an SGD step of 1, negated."
    classes = layers.Dense(logits.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((len(logits),)), classes])
    model.set_weights([logits])  # with unit vectors as images the outputs are the weights
    model.compile(keras.optimizers.SGD(1.), loss, **how)
    model.fit(np.eye(len(logits), dtype=np.float32), labels, len(logits), verbose=0)
    return logits - model.get_weights()[0]

def adamw(steps):
    w = keras.Variable(start)
    optimizer = keras.optimizers.AdamW(.01, weight_decay=.1)
    optimizer.build([w])
    for _ in range(steps): optimizer.apply([ops.convert_to_tensor(given)])
    return as_array(w)

found = {}
for recipe in ('sigmoid', 'softmax'):
    found[f'chances {recipe}'] = as_array(probabilities(ops.convert_to_tensor(logits), recipe))
    found[f'loss {recipe}'] = as_array(label_loss(recipe)(labels, logits))
    found[f'gradient {recipe}'] = one_step(label_loss(recipe))
    found[f'eager gradient {recipe}'] = one_step(label_loss(recipe), run_eagerly=True)
images = np.random.default_rng(1).random((6, 24, 24, 3), np.float32)
model = build_vit(24, 12, dim=8, heads=2, depth=1, mlp=(16,))
start_at(model, images, np.eye(6, 20, dtype=np.float32), 'sigmoid')
found['normalised'] = as_array(model.get_layer('pixels')(images))
found['bias'] = model.get_layer('logits').get_weights()[1]
found['by the model'] = keras_scores(model, images, 'softmax', 4)
found['its logits'] = model.predict_on_batch(images)
found['shifted'] = as_array(Shifted(2)(images[:2]))
found['rates'] = [float(learning_rate(1e-3, 100)(i)) for i in range(101)]
found['weights'] = [adamw(n) for n in (1, 2)]
norm = layers.BatchNormalization(momentum=.9)
found['batch'] = as_array(norm(images[:, 0, 0], training=True))
found['moving'] = [as_array(norm.moving_mean), as_array(norm.moving_variance)]
patches = images[:1, :3, 0, :2]
attend = layers.MultiHeadAttention(2, 3, dropout=.1)
attend.build(patches.shape, patches.shape)
draw = np.random.default_rng(2)
attend.set_weights([draw.normal(size=w.shape) for w in attend.weights])
found['attention'] = as_array(attend(patches, patches))
found['matrices'] = np.concatenate([as_array(w).ravel() for w in attend.weights])
found = {k: np.asarray(v).tolist() for k, v in found.items()}
print(json.dumps([keras.backend.backend(), found]))
'''
LOGITS = np.random.default_rng(0).normal(size=(6, 5)).round(3)
LABELS = (np.random.default_rng(1).random((6, 5)) < 0.4).astype(float)
IMAGES = np.random.default_rng(1).random((6, 24, 24, 3), np.float32)
START, GIVEN = np.array([1.0, 2.0, -3.0]), np.array([1.0, 200.0, -4.0])


def chances(logits, recipe):
    "Probabilities in double precision, with numpy alone."
    if recipe == 'sigmoid':
        return 1 / (1 + np.exp(-logits))
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def cross_entropy(logits, recipe):
    p = chances(logits, recipe)
    return -(LABELS * np.log(p) + (1 - LABELS) * np.log(1 - p)).mean()


def slope(recipe, step=1e-5):
    "The gradient of the cross-entropy by finite differences."
    found = np.zeros_like(LOGITS)
    for i in np.ndindex(LOGITS.shape):
        one = np.zeros_like(LOGITS)
        one[i] = step
        rise = cross_entropy(LOGITS + one, recipe) - cross_entropy(LOGITS - one, recipe)
        found[i] = rise / (2 * step)
    return found


@pytest.fixture(scope='module', params=BACKENDS)
def borrowed(request):
    "What one backend finds, name -> array."
    given = json.dumps([a.tolist() for a in (LOGITS, LABELS, START, GIVEN)])
    used, found = python(request.param, PARTS, given)
    assert used == request.param
    return {k: np.array(v) for k, v in found.items()}


@pytest.mark.parametrize('recipe', ['sigmoid', 'softmax'])
def test_loss_is_the_one_that_its_name_says(borrowed, recipe):
    np.testing.assert_allclose(borrowed[f'chances {recipe}'], chances(LOGITS, recipe), rtol=1e-4)
    np.testing.assert_allclose(borrowed[f'loss {recipe}'], cross_entropy(LOGITS, recipe), rtol=1e-5)
    for how in ('gradient', 'eager gradient'):
        np.testing.assert_allclose(borrowed[f'{how} {recipe}'], slope(recipe), atol=2e-6)


def test_recipes_differ(borrowed):
    assert abs(borrowed['loss softmax'] - borrowed['loss sigmoid']) > 0.01
    assert np.abs(borrowed['gradient softmax'] - borrowed['gradient sigmoid']).max() > 0.01


def test_training_starts_and_steps_as_by_hand(borrowed):
    by_hand = (IMAGES - IMAGES.mean((0, 1, 2))) / IMAGES.std((0, 1, 2))
    np.testing.assert_allclose(borrowed['normalised'], by_hand, atol=1e-4)
    odds = [1.5 / 5.5] * 6 + [0.5 / 6.5] * 14  # one of six images, or none, and a half
    np.testing.assert_allclose(borrowed['bias'], np.log(odds), rtol=1e-5)
    by_hand = chances(borrowed['its logits'], 'softmax')
    np.testing.assert_allclose(borrowed['by the model'], by_hand, rtol=1e-4)
    i = np.arange(101)
    rates = np.where(i < 5, 1 / 20 + 19 / 20 * i / 5, (1 + np.cos(np.pi * (i - 5) / 95)) / 2)
    np.testing.assert_allclose(borrowed['rates'], rates * 1e-3, rtol=1e-4, atol=1e-9)
    once = START * (1 - 0.01 * 0.1) - 0.01 * np.sign(GIVEN)
    twice = once * (1 - 0.01 * 0.1) - 0.01 * np.sign(GIVEN)
    np.testing.assert_allclose(borrowed['weights'], [once, twice], rtol=1e-5)


def test_layers_do_what_their_names_say(borrowed):
    stack = np.split(borrowed['shifted'], 5, axis=-1)
    np.testing.assert_allclose(stack[0], IMAGES[:2], atol=1e-6)
    moved = np.zeros_like(IMAGES[:2])
    moved[:, 2:, :-2] = IMAGES[:2, :-2, 2:]  # two pixels down and to the left
    np.testing.assert_allclose(stack[3], moved, atol=1e-6)
    x = IMAGES[:, 0, 0]
    by_hand = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    np.testing.assert_allclose(borrowed['batch'], by_hand, atol=1e-4)
    moving = [0.1 * x.mean(0), 0.9 + 0.1 * x.var(0)]
    np.testing.assert_allclose(borrowed['moving'], moving, rtol=1e-4)
    shapes = [(2, 2, 3), (2, 3)] * 3 + [(2, 3, 2), (2,)]  # queries, keys, values, output
    cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]
    parts = np.split(borrowed['matrices'], cuts)
    parts = [a.reshape(s) for a, s in zip(parts, shapes, strict=True)]
    patches = IMAGES[0, :3, 0, :2]
    query, key, value = (
        np.einsum('td,dhk->thk', patches, parts[i]) + parts[i + 1] for i in (0, 2, 4)
    )
    shares = np.exp(np.einsum('qhk,thk->hqt', query, key) / np.sqrt(3))
    shares /= shares.sum(2, keepdims=True)
    heads = np.einsum('hqt,thk->qhk', shares, value)
    by_hand = np.einsum('qhk,hkd->qd', heads, parts[6]) + parts[7]
    np.testing.assert_allclose(borrowed['attention'][0], by_hand, atol=1e-4)
