"""The networks from scratch on every Keras backend that is installed.

One epoch of training on each, the same answers from the same weights; trainings that are killed go
on to the same weights; and every step that is borrowed from Keras against a value worked out by
hand, for a library can silently do something else than its name says."""

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
HOW = {  # the other ones are compiled, which takes seconds
    'cnn-original': 'run_eagerly=True',
    'vit-stem': 'run_eagerly=True, mix=.5, average=.5',
}
# Each of these texts runs in a process of its backend, one after the other; all backends read the
# models that the first has trained. `given` holds what a text needs, `found` what it finds.
TRAIN = '''
from functools import partial
from voc_cv.augment import hflip, in_memory, resize
from voc_cv.classify import KerasClassifier, build_cnn, build_vit, fit_keras, load_classifier
from voc_cv.classify import save_classifier
from voc_cv.data import toy_voc
keras.utils.set_random_seed(0)
model = {model}
data = in_memory(toy_voc(12), partial(resize, size=model.input_shape[1:3]))
history = fit_keras(model, data[:8], data[8:], hflip, 1, batch=4, {how})
save_classifier(f'{given["folder"]}/{given["backend"]}/{name}', KerasClassifier(model))
model = load_classifier(f'{given["folder"]}/{given["first"]}/{name}').model
images = np.random.default_rng(0).random((3, *model.input_shape[1:]), np.float32)
found = [history.loss[0], keras.ops.convert_to_numpy(model(images)).tolist()]
'''
SNAPSHOT = '''
from voc_cv.nets import keras_weights
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile('adam', 'mse')
snapshot, restore = keras_weights(model)
kept = snapshot()
model.train_on_batch(np.ones((4, 3), np.float32), np.full((4, 2), 9, np.float32))
moved = np.abs(model.get_weights()[0] - kept[0]).min()
restore(kept)
found = [float(moved), float(np.abs(model.get_weights()[0] - kept[0]).max())]
'''
UNET = '''
from functools import partial
from voc_cv.augment import hflip, in_memory, pad_to
from voc_cv.data import toy_voc
from voc_cv.segment import (
    build_unet, fit_masks, load_trained, named_loss, presence_loss, save_keras)
rng = np.random.default_rng(0)
truth = rng.choice([*range(21), 255], (2, 8, 8))
logits = rng.normal(size=(2, 8, 8, 21)).astype(np.float32)
names = 'cross-entropy', 'weighted', 'dice', 'focal', 'tversky', 'focal-tversky'
losses = {n: float(named_loss(n, np.arange(21) / 10)(truth, logits)) for n in names}
shown = rng.integers(0, 2, (2, 20)).astype(np.float32)
losses['presence'] = float(presence_loss(shown, logits[:, 0, 0, 1:]))
how = {'size': 32, 'filters': [4, 8], 'bottleneck': 8}
model = build_unet(**how)
data = in_memory(toy_voc(8), partial(pad_to, size=32))
history = fit_masks(model, data[:6], data[6:], 1, 'weighted+dice', transform=hflip, batch=2,
                    labels=.5)
save_keras(f'{given["folder"]}/{given["backend"]}/unet', model, 'build_unet', **how)
image = rng.integers(0, 256, (40, 60, 3), np.uint8)
scores = load_trained(f'{given["folder"]}/{given["first"]}/unet').look([image])[0]
found = losses, history.loss[0], scores.flatten().tolist()
'''
PARTS = '''
from keras import layers, ops
from voc_cv.classify import (
    Shifted, build_vit, keras_scores, label_loss, learning_rate, probabilities, start_at)
as_array = ops.convert_to_numpy
logits, labels, start, given = (np.array(a, np.float32) for a in given['arrays'])

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
'''
BORROWED = '''
from keras import layers, ops
from voc_cv.segment import (
    PixelCounts,
    dice_loss, focal_loss, focal_tversky_loss, jaccard_loss, named_loss, tversky_loss,
    weighted_cross_entropy,
)
answers = {}
array = lambda x: np.asarray(ops.convert_to_numpy(x), float).tolist()

# two pixels and a void one, three classes
p = np.array([[.5, .25, .25], [.5, .25, .25], [.1, .1, .8]])
truth, logits = np.array([[[0, 1, 255]]]), np.log(p).astype(np.float32)[None, None]
losses = {
    'cross-entropy': weighted_cross_entropy, 'dice': dice_loss, 'focal': focal_loss,
    'tversky': tversky_loss, 'focal-tversky': focal_tversky_loss, 'jaccard': jaccard_loss,
}
answers['losses'] = {name: array(f(truth, logits)) for name, f in losses.items()}
answers['losses']['weighted'] = array(weighted_cross_entropy(truth, logits, [1, 3, 1]))
answers['sum'] = array(named_loss('weighted+dice', [1, 3, 1])(truth, logits))

# all is void: nothing is lost, and a step, momentum and all, moves nothing
names = ['cross-entropy', 'weighted', 'focal', 'dice', 'jaccard', 'tversky', 'focal-tversky']
void = np.full_like(truth, 255)
answers['void'] = [array(named_loss(n, [1, 3, 1])(void, logits)) for n in names]
class Moved(layers.Layer):
    def build(self, shape): self.s = self.add_weight(shape=(1, 3, 3), initializer='zeros')
    def call(self, x): return x + self.s
everything = '+'.join(names)
def trained(x, y, loss):
    "What one step down a loss's slope moves the logits by."
    model = keras.Sequential([keras.Input((1, 3, 3)), Moved()])
    model.compile(keras.optimizers.SGD(1.), loss=loss)
    history = model.fit(x, y, batch_size=1, verbose=0).history['loss']
    return history + array(model.layers[-1].s)
answers['void step'] = trained(logits, void, named_loss(everything, [1, 3, 1]))
# a network that is certain: 1 - p is 0, and a power of it below 1 has no slope there
certain = np.where(np.arange(3) == truth[..., None] % 254, 100., -100.).astype(np.float32)
answers['certain'] = [
    trained(certain, truth, lambda t, z, g=g: focal_loss(t, z, gamma=g)) for g in (0., .5, 2.)]

# the same loss out of Keras' own training, which might swap what a loss is given
inputs = keras.Input((1, 3, 3))
model = keras.Model(inputs, layers.Identity()(inputs))
model.compile(loss=named_loss('weighted+dice', [1, 3, 1]), run_eagerly=True)
answers['evaluated'] = model.evaluate(logits, truth, verbose=0)
model.compile(loss=named_loss('weighted+dice', [1, 3, 1]))
answers['evaluated in a graph'] = model.evaluate(logits, truth, verbose=0)

counts = PixelCounts(3)
scores = np.array([[[2., 1, 0], [1, 2, 0], [1, 2, 0], [9, 0, 0]]])
counts.update_state(np.array([[0, 0, 1, 255]]), scores)
counts.update_state(np.array([[1]]), np.array([[[2., 1, 0]]]))
answers['counts'], answers['mIoU'] = array(counts.counts), float(counts.result())

rate = keras.optimizers.schedules.CosineDecay(2e-3, 8)
answers['rates'] = [float(rate(k)) for k in range(9)]

grow = layers.Conv2DTranspose(1, 2, strides=2)
grow.build((None, 1, 2, 1))
kernel = np.array([[1, 2], [10, 20]], np.float32).reshape(2, 2, 1, 1)
grow.set_weights([kernel, np.array([.5], np.float32)])
answers['grown'] = array(grow(np.array([1, 3], np.float32).reshape(1, 1, 2, 1)))

norm = layers.BatchNormalization(momentum=.9)
norm.build((None, 1))
answers['normalised'] = array(norm(np.array([[0.], [4.]], np.float32), training=True))
answers['statistics'] = [array(norm.moving_mean), array(norm.moving_variance)]

pool = layers.MaxPooling2D()(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1))
answers['pooled'] = array(pool)

# a gradient: of the mean over two known pixels of -w ln p it is (p - one-hot) w / 2
class Scores(layers.Layer):
    def build(self, shape): self.s = self.add_weight(shape=(1, 3, 3), initializer='zeros')
    def call(self, x): return x + self.s
moved = keras.Sequential([keras.Input((1, 3, 3)), Scores()])
moved.compile(keras.optimizers.SGD(1.), loss=named_loss('weighted', [1, 3, 1]))
moved.fit(logits, truth, batch_size=1, verbose=0)
answers['step'] = array(moved.layers[-1].s)
found = answers
'''
RESUMED = '''
import torch
from functools import partial
from pathlib import Path
from unittest.mock import patch
from keras import layers
from voc_cv import classify, nets
from voc_cv.augment import hflip, in_memory, resize
from voc_cv.data import toy_voc
nets.CHECKPOINT_PAUSE = 0
EPOCHS, folder = 3, Path(given['folder']) / given['backend']
class Killed(Exception): pass

def graph():
    "With dropout and momentum, compiled as a graph."
    return keras.Sequential([
        keras.Input((24, 24, 3)), layers.Normalization(name='pixels'), layers.Flatten(),
        layers.Dense(8, activation='relu'), layers.BatchNormalization(), layers.Dropout(.5),
        layers.Dense(20, name='logits')], name='graph')

def warm(killed_at=None, file=''):
    "A warm-up by rotations, whose network is used by another one."
    np.random.rand(3), torch.rand(3)
    keras.utils.set_random_seed(0)
    pixels = keras.Input((24, 24, 3))
    x = layers.Flatten()(layers.Normalization(name='pixels')(pixels))
    x = layers.Dropout(.5)(layers.BatchNormalization()(layers.Dense(8)(x)))
    model = keras.Model(pixels, layers.Dense(20, name='logits')(x))
    data = in_memory(toy_voc(14), partial(resize, size=(24, 24)))
    with patch.object(classify, 'augment_dataset', dies(killed_at)):
        history = classify.fit_rotations(model, data[:10], data[10:], hflip, EPOCHS, batch=4,
                                         checkpoint=file, jit_compile=False)
    return history, [np.array(w) for w in model.get_weights()]

def dies(killed_at):
    "`augment_dataset` that is killed at the beginning of an epoch."
    def augment(data, transform, seed, epoch):
        if epoch == killed_at: raise Killed
        return classify_augment(data, transform, seed, epoch)
    return augment
classify_augment = classify.augment_dataset

def judge_finely(ask, learned, tune):
    "Also the sum of all answers, which other weights change where a mAP of four toys stays."
    return judge_both(ask, learned, tune) | {'answers': float(ask(tune[0]).sum())}
judge_both, classify.judge_both = classify.judge_both, judge_finely

def train(make, recipe, how, file='', killed_at=None):
    np.random.rand(3), torch.rand(3)  # another process would stand elsewhere, too
    keras.utils.set_random_seed(0)
    model = make()
    squash = partial(resize, size=model.input_shape[1:3])
    data = in_memory(toy_voc(14), squash)
    with patch.object(classify, 'augment_dataset', dies(killed_at)):
        history = classify.fit_keras(model, data[:10], data[10:], hflip, EPOCHS, recipe, batch=4,
                                     checkpoint=file, **how)
    assert int(model.optimizer.iterations.numpy()) == EPOCHS * 3  # every batch, once
    return history, [np.array(w) for w in model.get_weights()]

def apart(one, other):
    "The largest difference of two trainings' histories and weights."
    weights = zip(one[1], other[1], strict=True)
    history = np.abs(one[0].to_numpy() - other[0].to_numpy()).max()
    return float(max(history, *(np.abs(a - b).max() for a, b in weights)))

vit = partial(classify.build_vit, 24, 12, dim=8, heads=2, depth=1, mlp=(16,), augment=True)
eager = {'run_eagerly': True}
trainings = {
    'graph': (graph, 'sigmoid', {'jit_compile': False, 'optimizer': 'adam'}),
    'averaged': (graph, 'sigmoid', {'jit_compile': False, 'average': .6, 'mix': .7}),
    'cnn': (partial(classify.build_cnn, 64, width=.02), 'sigmoid', eager),
    'vit': (vit, 'softmax', eager | {'schedule': 'constant'}),
}
found = {}
for name, how in trainings.items():
    unbroken = train(*how)
    found[name] = {}
    for k in range(1, EPOCHS):
        file = folder / f'{name}-{k}.pt'
        try: train(*how, file, k)
        except Killed: found[name][k] = apart(unbroken, train(*how, file))
unbroken, found['warm'] = warm(), {}
for k in range(1, EPOCHS):
    try: warm(k, folder / f'warm-{k}.pt')
    except Killed: found['warm'][k] = apart(unbroken, warm(file=folder / f'warm-{k}.pt'))
found['graph']['finished'] = apart(train(*trainings['graph']), train(
    *trainings['graph'], folder / 'graph-1.pt', 0))  # killed if anything were run again
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


ALL = """
import json, sys, traceback; import keras, numpy as np
given = json.loads(sys.argv[1])
told = {}
for name, text in json.loads(sys.argv[2]).items():
    scope = {'keras': keras, 'np': np, 'given': given, 'name': name}
    try:
        exec(text, scope)
        told[name] = scope['found']
    except Exception:
        told[name] = traceback.format_exc()
print(json.dumps([keras.backend.backend(), told]))
"""
TEXTS = {
    name: TRAIN.replace('{model}', model).replace('{how}', HOW.get(name, ''))
    for name, model in MODELS.items()
}
TEXTS |= {'snapshot': SNAPSHOT, 'unet': UNET, 'parts': PARTS, 'borrowed': BORROWED}
TEXTS |= {'resumed': RESUMED}  # it lets checkpoints be written without a pause


@pytest.fixture(scope='module')
def told(tmp_path_factory):
    "What each backend finds in a process of its own, backend -> text's name -> what it found."
    given = {'folder': str(tmp_path_factory.mktemp('models')), 'first': BACKENDS[0]}
    given['arrays'] = [a.tolist() for a in (LOGITS, LABELS, START, GIVEN)]
    told = {}
    for backend in BACKENDS:
        words = json.dumps(given | {'backend': backend}), json.dumps(TEXTS)
        more = {'KERAS_BACKEND': backend, 'TQDM_DISABLE': '1'}
        done = run(sys.executable, '-c', ALL, *words, **more)
        assert done.returncode == 0, done.stderr[-3000:]
        used, told[backend] = json.loads(done.stdout.splitlines()[-1])
        assert used == backend
    return told


def found(told, name):
    "What each backend has found, in order; the error of one that found none."
    for backend, all_of_it in told.items():
        assert not isinstance(all_of_it[name], str), f'{backend}: {all_of_it[name]}'
    return [all_of_it[name] for all_of_it in told.values()]


@pytest.mark.parametrize('name', MODELS)
def test_networks_train_on_all_backends_and_a_saved_one_answers_alike(name, told):
    "Else a network that was trained on one backend answers otherwise on another."
    losses, answers = zip(*found(told, name), strict=True)
    assert np.isfinite(losses).all()
    assert np.ptp(answers[0]) > 1e-3, 'constant answers would agree without meaning'
    for other in answers[1:]:
        np.testing.assert_allclose(answers[0], other, atol=1e-4)


def test_weights_of_the_best_epoch_are_a_copy(told):
    "Else what is kept is the last epoch and not the best."
    for moved, apart in found(told, 'snapshot'):
        assert moved > 1e-4 and apart == 0  # a step of Adam is 1e-3


def test_unet_and_losses_are_the_same_on_both_backends(told):
    "Else losses and masks depend on which of Keras' backends is installed."
    (losses, loss, answers), *others = found(told, 'unet')
    assert len({round(v, 6) for v in losses.values()}) == len(losses)
    assert np.ptp(answers) > 1e-3, 'constant answers would agree without meaning'
    assert np.isfinite(loss) and others
    for losses_too, loss, answers_too in others:
        assert losses == pytest.approx(losses_too, abs=1e-5) and np.isfinite(loss)
        np.testing.assert_allclose(answers, answers_too, atol=1e-4)


@pytest.fixture(scope='module', params=BACKENDS)
def borrowed(request, told):
    "What one backend finds of what is borrowed from Keras, name -> array."
    of_one = {request.param: told[request.param]}
    (parts,) = found(of_one, 'parts')
    return {k: np.array(v) for k, v in parts.items()}


@pytest.mark.parametrize('recipe', ['sigmoid', 'softmax'])
def test_a_loss_is_the_one_that_its_name_says(borrowed, recipe):
    "Else a training goes down another slope than its name says, and only the scores tell."
    np.testing.assert_allclose(borrowed[f'chances {recipe}'], chances(LOGITS, recipe), rtol=1e-4)
    np.testing.assert_allclose(borrowed[f'loss {recipe}'], cross_entropy(LOGITS, recipe), rtol=1e-5)
    for how in ('gradient', 'eager gradient'):
        np.testing.assert_allclose(borrowed[f'{how} {recipe}'], slope(recipe), atol=2e-6)


def test_recipes_differ(borrowed):
    "Else softmax and sigmoid are compared, and are one and the same."
    assert abs(borrowed['loss softmax'] - borrowed['loss sigmoid']) > 0.01
    assert np.abs(borrowed['gradient softmax'] - borrowed['gradient sigmoid']).max() > 0.01


def test_a_training_starts_and_steps_as_worked_out_by_hand(borrowed):
    "Else a release of Keras changes every training, and only the scores tell."
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
    "Else a release of Keras changes what a layer does, and saved models answer otherwise."
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


def flat(nested):
    "The numbers of lists in lists."
    return np.concatenate([np.ravel(part) for part in nested])


@pytest.mark.parametrize('backend', BACKENDS)
def test_losses_and_layers_are_those_worked_out_by_hand(backend, told):
    "Else a release of Keras changes what is trained, and only the scores tell."
    (got,) = found({backend: told[backend]}, 'borrowed')
    # class 0: TP .5, FN .5, FP .5; class 1: TP .25, FN .75, FP .25; class 2 does not occur
    weighted, dice = (np.log(2) + 3 * np.log(4)) / 2, (1 / 2 + 2 / 3) / 2
    by_hand = {
        'cross-entropy': (np.log(2) + np.log(4)) / 2,
        'weighted': weighted,
        'focal': 0.25 * (0.5**2 * np.log(2) + 0.75**2 * np.log(4)) / 2,
        'dice': dice,
        'jaccard': ((1 - 0.5 / 1.5) + (1 - 0.25 / 1.25)) / 2,
        'tversky': (0.5 + 1 - 0.25 / 0.85) / 2,
        'focal-tversky': (0.5**0.75 + (1 - 0.25 / 0.85) ** 0.75) / 2,
    }
    assert got['losses'] == pytest.approx(by_hand, rel=1e-5)
    for how in ('sum', 'evaluated', 'evaluated in a graph'):
        assert got[how] == pytest.approx(weighted + dice, rel=1e-5), how
    assert got['counts'] == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]  # rows truth, void nowhere
    assert got['mIoU'] == pytest.approx((1 / 3 + 1 / 3) / 2)  # nobody has class 2
    half_cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(9) / 8))
    np.testing.assert_allclose(got['rates'], half_cosine, atol=1e-9)
    grown = [[1.5, 2.5, 3.5, 6.5], [10.5, 20.5, 30.5, 60.5]]
    np.testing.assert_allclose(np.squeeze(got['grown']), grown)
    normalised = np.array([-2, 2]) / np.sqrt(4 + 1e-3)
    np.testing.assert_allclose(np.squeeze(got['normalised']), normalised, rtol=1e-5)
    # mean 2, variance 4 (divided by 2 values), with a tenth of the say; they began at 0 and 1
    np.testing.assert_allclose(np.squeeze(got['statistics']), [0.1 * 2, 0.9 + 0.1 * 4], rtol=1e-5)
    np.testing.assert_array_equal(np.squeeze(got['pooled']), [[5, 7], [13, 15]])
    assert got['void'] == [0] * 7
    assert np.abs(flat(got['void step'])).max() == 0
    assert all(np.isfinite(flat(c)).all() and np.abs(flat(c)).max() < 1e-3 for c in got['certain'])
    # down the gradient, from scores that are those of p
    step = np.array([[1 - 0.5, -0.25, -0.25], [-0.5 * 3, (1 - 0.25) * 3, -0.25 * 3], [0, 0, 0]]) / 2
    np.testing.assert_allclose(np.squeeze(got['step']), step, atol=1e-6)


@pytest.mark.parametrize('backend', BACKENDS)
def test_killed_networks_from_scratch_go_on_to_the_same_weights(backend, told):
    "Else a killed training is lost, or ends in another network."
    (apart,) = found({backend: told[backend]}, 'resumed')
    assert sum(map(len, apart.values())) == 11
    assert apart == {name: dict.fromkeys(each, 0) for name, each in apart.items()}
