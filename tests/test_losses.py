"What segmentation borrows from Keras and torch, against values by hand, on each backend here."

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from conftest import run

from voc_cv.segment import (
    Decoder,
    class_weights,
    fit_decoder,
    known_classes,
    more_than_one,
    own_size,
    pixel_cross_entropy,
)

BACKENDS = [b for b in ('tensorflow', 'torch', 'jax') if importlib.util.find_spec(b)]
ANSWERS = '''
import json, keras, numpy as np
from keras import layers, ops
from voc_cv.segment import (
    PixelCounts,
    dice_loss, focal_loss, focal_tversky_loss, jaccard_loss, named_loss, tversky_loss,
    weighted_cross_entropy,
)
answers = {'backend': keras.backend.backend()}
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
print(json.dumps(answers))
'''


def flat(nested):
    "The numbers of lists in lists."
    return np.concatenate([np.ravel(part) for part in nested])


@pytest.mark.parametrize('backend', BACKENDS)
def test_losses_and_layers_are_those_worked_out_by_hand(backend):
    "Else a release of Keras changes what is trained, and only the scores tell."
    done = run(sys.executable, '-c', ANSWERS, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr[-3000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert got['backend'] == backend
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


@pytest.mark.parametrize(
    'aligned, row', [(True, [0, 1 / 3, 2 / 3, 1]), (False, [0, 0.25, 0.75, 1])]
)
def test_scores_are_enlarged_as_worked_out_by_hand(aligned, row):
    "Else a model's masks lie beside the objects."
    grown = own_size(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), (4, 4), 2, (2, 2), aligned)
    np.testing.assert_allclose(grown[0], [row] * 4, atol=1e-6)


def test_torch_divides_by_the_weights():
    "Else a release of torch changes how strongly a rare class counts, and nobody notices."
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    truth, weights = torch.tensor([0, 1, 255]), torch.tensor([1.0, 3, 1])
    loss = torch.nn.functional.cross_entropy(logits, truth, weights, ignore_index=255)
    assert float(loss) == pytest.approx((np.log(2) + 3 * np.log(4)) / (1 + 3), rel=1e-6)


def test_a_decoder_s_statistics_take_a_tenth_of_a_new_batch():
    """Else a release of torch turns momentum round, and decoders forget all but their last batch.

    Torch's momentum is the weight of the new batch: .1 of it, .9 of what was."""
    norm = next(m for m in Decoder((4, 6, 8), 10).modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.train()(torch.tensor([0.0, 4.0]).view(2, 1, 1, 1).expand(2, 10, 1, 1))
    np.testing.assert_allclose(norm.running_mean, np.full(10, 0.1 * 2), rtol=1e-6)
    # the variance is divided by 1 less than the number of values, unlike Keras'
    np.testing.assert_allclose(norm.running_var, np.full(10, 0.9 + 0.1 * 8), rtol=1e-6)


def test_a_batch_of_which_nothing_counts_costs_and_moves_nothing():
    """Else one unlabelled image makes a network of NaN.

    An unlabelled frame, and one of a class that weighs nothing: 0 and no slope, and no NaN."""
    z = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 0.0])
    for truth, w in ((255, None), (255, weights), (2, weights)):
        z.grad = None
        loss = pixel_cross_entropy(z, torch.full((2, 4, 4), truth), w)
        loss.backward()
        assert loss.item() == 0 and z.grad.abs().max() == 0
    some = torch.full((2, 4, 4), 255)
    some[0, 1, 2] = 1
    loss = pixel_cross_entropy(z, some, weights)
    assert loss.item() == pytest.approx(-z[0, :, 1, 2].log_softmax(0)[1].item(), rel=1e-6)


def test_a_training_with_an_unlabelled_frame_keeps_its_figures():
    "Else one unlabelled image makes the whole history NaN."
    draws = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(5, c, s, s, generator=draws).half() for c, s in ((40, 8), (112, 4), (320, 2))
    ]
    masks = torch.randint(0, 3, (5, 16, 16), generator=draws, dtype=torch.uint8)
    masks[0] = 255
    weights = class_weights(np.bincount(masks[1:].numpy().ravel(), minlength=21))
    history = fit_decoder((maps, masks), (maps, masks), weights, 2, batch=1, device='cpu')[1]
    assert np.isfinite(history.to_numpy()).all()


def test_truth_of_the_losses_is_classes():
    "Else probabilities or wrong numbers given as truth train nonsense."
    logits = np.zeros((1, 1, 2, 3), np.float32)
    for wrong in ([[[0, 3]]], [[[0, -1]]], [[[0.0, 1.0]]]):
        with pytest.raises(ValueError, match='truth: expected'):
            known_classes(np.array(wrong), logits)


def test_one_image_a_step_is_said_in_our_words():
    "Else a batch of one image ends in a riddle of batch normalisation."
    norm = torch.nn.BatchNorm2d(3).train()
    for images, name in (([1, 2], 'batch'), ([1], 'fit')):
        with pytest.raises(ValueError, match=f'^{name}: .* 2 or more'), more_than_one(images):
            norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match='^another$'), more_than_one([1]):
        raise ValueError('another')
