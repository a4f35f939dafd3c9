"What an attack must not touch, and what it is given that is not quite what it wants."

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from voc_cv.attack import (
    Defended,
    apgd,
    as_jpeg,
    attack_loss,
    attack_report,
    attacked_map,
    dlr_loss,
    fgsm,
    flip_label,
    fooled,
    is_right,
    label_flips,
    loss_gradient,
    mi_fgsm,
    pgd,
    segpgd_loss,
    square,
    top5,
    train_adversarially,
)

ATTACKS = {
    'fgsm': lambda m, x, y: fgsm(m, x, y, 0.05),
    'pgd': lambda m, x, y: pgd(m, x, y, 0.05, 0.02, 3, restarts=2),
    'pgd, l2': lambda m, x, y: pgd(m, x, y, 0.5, 0.2, 3, norm='l2'),
    'mi_fgsm': lambda m, x, y: mi_fgsm(m, x, y, 0.05, 3),
    'apgd': lambda m, x, y: apgd(m, x, y, 0.05, 3, restarts=2),
    'square': lambda m, x, y: square(m, x, y, 0.05, 9)[0],
}
GRADIENTS = [name for name in ATTACKS if name != 'square']
attacks = pytest.mark.parametrize('attack', ATTACKS)
torch.manual_seed(0)
X = torch.rand(4, 3, 8, 8)
CLASSES = torch.tensor([0, 1, 2, 3])
LABELS = (torch.rand(4, 20) < 0.5).float()


def fresh():
    "A network as training leaves it, its first layer frozen in eval mode as in fine-tuning."
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)).eval(),
        nn.BatchNorm2d(6),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    net[0].training = net[0][1].training = False
    return net


def linear(classes, seed=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))


def state(net):
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    return [m.training for m in net.modules()], tensors, [p.grad for p in net.parameters()]


def check_same(before, after):
    assert before[0] == after[0] and before[2] == after[2]
    for name, tensor in before[1].items():
        assert torch.equal(tensor, after[1][name]), name


@attacks
def test_a_model_is_left_as_it_was(attack):
    "Else after an attack a model answers otherwise than before."
    net, y = fresh(), CLASSES
    before = state(net)
    first = ATTACKS[attack](net, X, y)
    check_same(before, state(net))
    assert torch.equal(first, ATTACKS[attack](net, X, y))  # dropout has no say
    assert torch.equal(first, ATTACKS[attack](fresh().eval(), X, y))
    assert net[0][1].training is False and net[1].training and net.training


@attacks
def test_a_model_is_left_as_it_was_after_an_error(attack):
    "Else after an attack that failed a model answers otherwise than before."
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.asked = fresh(), 0

        def forward(self, x):
            self.asked += 1
            if self.asked == 2:
                raise RuntimeError('out of memory')
            return self.net(x)

    net = Broken()
    if attack in ('fgsm', 'square'):
        net.asked = 1
    before = state(net)
    with pytest.raises(RuntimeError, match='out of memory'):
        ATTACKS[attack](net, X, CLASSES)
    check_same(before, state(net))


def test_looking_and_reporting_change_nothing_either():
    "Else after a report a model answers otherwise than before."
    net = fresh()
    before = state(net)
    first, again = is_right(net, X, CLASSES), is_right(net, X, CLASSES)
    assert torch.equal(first, again)
    top5(net, X)
    y = net.eval()(X).argmax(1)
    net.train()[0].eval()
    attack_report(net, X, y, (0.05,), {'FGSM': (fgsm, 1)})
    check_same(before, state(net))


@attacks
@pytest.mark.parametrize('kind', [torch.int32, torch.uint8, torch.int64])
def test_classes_of_any_whole_number_give_the_same_attack(attack, kind):
    "Else what numpy or a list gives is refused, or attacked as something else."
    net = linear(5)
    same = ATTACKS[attack](net, X, CLASSES)
    assert torch.equal(ATTACKS[attack](net, X, CLASSES.to(kind)), same)
    assert torch.equal(ATTACKS[attack](net, X, CLASSES.numpy()), same)
    assert torch.equal(ATTACKS[attack](net, X, CLASSES.tolist()), same)


@pytest.mark.parametrize('attack', GRADIENTS)
@pytest.mark.parametrize('kind', [torch.bool, torch.int32, torch.int64, torch.float64])
def test_labels_of_any_kind_give_the_same_attack(attack, kind):
    "Else yes and no as bool are attacked as classes 0 and 1."
    net = linear(20)
    same = ATTACKS[attack](net, X, LABELS)
    assert (same - X).abs().max() > 0.01
    assert torch.equal(ATTACKS[attack](net, X, LABELS.to(kind)), same)


def test_two_classes_as_bool_give_the_same_attack():
    "Else yes and no as bool are attacked as something else."
    net, y = linear(2), torch.tensor([True, False, True, True])
    assert torch.equal(fgsm(net, X, y, 0.1), fgsm(net, X, y.long(), 0.1))


def test_a_single_logit_is_attacked_as_a_label_and_refused_as_a_class():
    """Else an attack moves nothing, and the model seems robust.

    The cross-entropy of one class is 0; as a label, yes or no, the best attack is known exactly."""
    net, inner = linear(1), 0.25 + X / 2
    with pytest.raises(ValueError, match=r'one logit.*labels\s\(N,1\)'):
        fgsm(net, inner, torch.zeros(4, dtype=torch.long), 0.1)
    with pytest.raises(ValueError, match='one logit'):
        attack_report(net, inner, torch.zeros(4, dtype=torch.long), (0.1,), {'FGSM': (fgsm, 1)})
    yes = torch.ones(4, 1, dtype=torch.bool)
    best = net(inner) - 0.1 * net[1].weight.abs().sum()
    torch.testing.assert_close(net(fgsm(net, inner, yes, 0.1)), best)
    torch.testing.assert_close(net(pgd(net, inner, yes, 0.1, 0.05, 6)), best)


@pytest.mark.parametrize('attack', GRADIENTS)
def test_masks_with_void_are_attacked_where_they_are_known(attack):
    "Else void is attacked as a class, or makes the gradient NaN."
    net = nn.Conv2d(3, 21, 3, padding=1)
    y = net(X).argmax(1)
    y[:, :2] = 255
    adv = ATTACKS[attack](net, X, y.byte())
    assert torch.equal(adv, ATTACKS[attack](net, X, y))
    known = (net(adv).argmax(1) != y)[y != 255]
    assert known.any() and (adv - X).abs().max() > 0
    y[0] = 255  # nothing is known of the first image: there is nothing to climb
    assert torch.isfinite(ATTACKS[attack](net, X, y)).all()


def test_void_is_in_nobodys_way():
    "Else an attack counts as failed because of pixels that nobody knows."
    logits = torch.tensor([[[[2.0, 0.0, 0.0]], [[0.0, 2.0, 2.0]]]])  # says 0, 1, 1
    reached, void = torch.tensor([[[0, 1, 255]]]), torch.full((1, 1, 3), 255)
    assert fooled(logits, reached, targeted=True).tolist() == [True]
    assert fooled(logits, torch.tensor([[[1, 0, 255]]])).tolist() == [True]
    assert fooled(logits, torch.tensor([[[1, 1, 255]]])).tolist() == [False]
    assert attack_loss(logits, void).tolist() == segpgd_loss(logits, void).tolist() == [0]


@pytest.mark.parametrize(
    'y, says',
    [
        (LABELS, 'one class an image'),
        (torch.zeros(4, 8, 8, dtype=torch.long), 'one class an image'),
    ],
    ids=['labels', 'masks'],
)
def test_attacks_of_classes_refuse_labels_and_masks(y, says):
    "Else labels or masks are attacked by what knows classes only, and seem robust."
    net = linear(20) if y.ndim == 2 else nn.Conv2d(3, 21, 3, padding=1)
    with pytest.raises(ValueError, match=says):
        square(net, X, y, 0.1, 5)
    with pytest.raises(ValueError, match=says):
        apgd(net, X, y, 0.1, 3, dlr_loss)
    with pytest.raises(ValueError, match='attack_masks gives the mean IoU'):
        attack_report(net, X, y, (0.1,), {'FGSM': (fgsm, 1)})
    with pytest.raises(ValueError, match='SegPGD is of masks'):
        pgd(linear(5), X, CLASSES, 0.1, 0.1, 1, loss=segpgd_loss)


@attacks
def test_an_empty_batch_stays_one(attack):
    "Else the last batch, empty, stops a report."
    found = ATTACKS[attack](linear(5), X[:0], CLASSES[:0])
    assert found.shape == (0, 3, 8, 8)
    assert square(linear(5), X[:0], CLASSES[:0], 0.1)[1].shape == (0,)
    assert as_jpeg(X[:0]).shape == (0, 3, 8, 8)
    with pytest.raises(ValueError, match='no image to attack'):
        attack_report(linear(5), X[:0], CLASSES[:0])


@attacks
def test_a_rounding_error_beyond_the_border_is_cut(attack):
    "Else a picture that is off by 1e-8 is refused, or one from 0 to 255 is attacked."
    near = X.clone()
    near[0, 0, 0, 0], near[1, 0, 0, 0] = -3e-8, 1 + 1e-7
    found, net = ATTACKS[attack](linear(5), near, CLASSES), linear(5)
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(found, ATTACKS[attack](net, near.clamp(0, 1), CLASSES))
    assert near[0, 0, 0, 0] < 0  # what was given is not changed
    for wrong in (X - 0.01, X * 1.02 / X.max(), X * 2 - 1):
        with pytest.raises(ValueError, match='expected pixels in 0..1'):
            ATTACKS[attack](net, wrong, CLASSES)
    for wrong in ((X > 0.5).byte(), (X * 255).int(), X.numpy(), X > 0.5):
        with pytest.raises(ValueError, match='expected a tensor of floats'):
            ATTACKS[attack](net, wrong, CLASSES)


@attacks
def test_no_gradient_mode_is_no_obstacle(attack):
    "Else an attack inside torch.no_grad() moves nothing, and the model seems robust."
    net = linear(5)
    wanted = ATTACKS[attack](net, X, CLASSES)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            x, y = X + 0, CLASSES + 0
            assert torch.equal(ATTACKS[attack](net, x, y), wanted)


@pytest.mark.parametrize('wrong', [0, -1, 1.5, float('nan')])
def test_tries_that_are_no_whole_numbers_are_refused(wrong):
    "Else no step at all is made, and the model seems robust."
    net = linear(5)
    for f, name in (
        (lambda n: apgd(net, X, CLASSES, 0.1, 3, restarts=n), 'restarts'),
        (lambda n: apgd(net, X, CLASSES, 0.1, n), 'steps'),
        (lambda n: pgd(net, X, CLASSES, 0.1, 0.1, n), 'steps'),
        (lambda n: mi_fgsm(net, X, CLASSES, 0.1, n), 'steps'),
        (lambda n: square(net, X, CLASSES, 0.1, n), 'queries'),
    ):
        with pytest.raises(ValueError, match=f'^{name}: expected'):
            f(wrong)
    with pytest.raises(ValueError, match='^restarts: expected'):
        pgd(net, X, CLASSES, 0.1, 0.1, 2, restarts=0)
    with pytest.raises(ValueError, match='^step: expected'):
        pgd(net, X, CLASSES, 0.1, -0.1, 2)


@pytest.mark.parametrize(
    'y',
    [
        torch.tensor([0.0, 1, 2, 3]),  # classes are whole numbers
        torch.tensor([0, 1, 2, 5]),
        torch.tensor([0, 1, 2, -1]),
        torch.tensor([0, 1]),
        torch.zeros(4, 1),
        torch.full((4, 5), 0.5),
        torch.full((4, 5), -1),
        torch.zeros(4, 5, 2, 2),
    ],
)
def test_truth_that_does_not_fit_is_refused(y):
    "Else the attack climbs a loss of nonsense, and the model seems robust."
    with pytest.raises(ValueError, match='^y: expected'):
        fgsm(linear(5), X, y, 0.1)


def test_models_that_give_no_gradient_are_refused_with_the_cure():
    "Else a model seems robust because no gradient reaches its pixels."
    net = linear(5)

    class Object(nn.Module):
        def forward(self, x):
            return {'logits': net(x)}

    class Blind(nn.Module):
        def forward(self, x):
            return net[1].bias.expand(len(x), 5)

    class Silent(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                return net(x)

    for model, says in (
        (Object(), 'a Target takes the logits'),
        (Blind(), 'no gradient reaches the pixels'),
        (Silent(), 'no gradient reaches the pixels'),
        (Defended(net, as_jpeg), 'straight=True'),
    ):
        with pytest.raises(ValueError, match=says):
            fgsm(model, X, CLASSES, 0.1)
    with pytest.raises(ValueError, match='leave out the mean'):
        loss_gradient(net, X, CLASSES, lambda z, y, done: F.cross_entropy(z, y))
    assert torch.equal(square(Silent(), X, CLASSES, 0.1, 5)[0], square(net, X, CLASSES, 0.1, 5)[0])


def test_training_on_masks_leaves_void_out():
    """Else adversarial training learns pixels that nobody knows.

    Void has no gradient: a network that only sees void is not moved, and one pixel counts alone."""
    net = nn.Conv2d(3, 21, 1)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    void = torch.full((4, 8, 8), 255)
    assert train_adversarially(net, X, void, epochs=2) == [0, 0]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    void[:, 3, 3] = 7
    wanted = F.cross_entropy(net(X)[:, :, 3, 3], void[:, 3, 3]).item()
    assert train_adversarially(net, X, void, epochs=1)[0] == pytest.approx(wanted)


def test_reports_of_attacks_take_only_labels():
    "Else probabilities given as labels make a report of nonsense."
    net = linear(20)
    for wrong in (LABELS.numpy() * 2 - 1, LABELS.numpy() * 0.9):
        for f in (label_flips, attacked_map):
            with pytest.raises(ValueError, match='truth: expected True and False'):
                f(net, X, wrong, 1, 0)
    for number in (-1, 20):
        with pytest.raises(ValueError, match='number: expected 0 to 19'):
            flip_label(LABELS, number)
