"The attacks against independent implementations, on a small network; the parameters of a run."

import copy
import json

import pytest
import skimage.data
import torch
from conftest import ROOT
from PIL import Image
from torch import nn

from voc_cv.attack import (
    apgd,
    as_png,
    dlr_loss,
    fgsm,
    is_right,
    margin,
    mi_fgsm,
    pgd,
    square,
    train_adversarially,
)

foolbox = pytest.importorskip('foolbox')


def code_cells(stage):
    "{id: source} of a notebook's code cells, in order."
    cells = json.loads((ROOT / 'nbs' / f'{stage}.ipynb').read_text())['cells']
    return {c['id']: ''.join(c['source']) for c in cells if c['cell_type'] == 'code'}


@pytest.fixture(scope='module')
def trained():
    "Digits as images of 3 channels, and a network that reads them."
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (
        torch.from_numpy(digits.images / 16).float()[:, None].expand(-1, 3, -1, -1).contiguous(),
        torch.from_numpy(digits.target).long(),
    )
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    train_adversarially(net, x[:1400], y[:1400], epochs=6)
    right = is_right(net, x[1400:], y[1400:])
    return net, x[1400:][right][:200], y[1400:][right][:200]


@pytest.mark.parametrize('norm, eps', [('linf', 0.1), ('l2', 0.8)])
@pytest.mark.parametrize('targeted', [False, True])
def test_pgd_is_foolbox_pgd(trained, norm, eps, targeted):
    "Else what is called PGD here is not what papers mean, and its figures compare with nobody's."
    net, x, y = (
        copy.deepcopy(trained[0]).double(),
        trained[1].double(),
        trained[2],
    )  # in float32 seven L2 steps add up to 1.4e-6
    goal = (y + 1) % 10 if targeted else y
    attack = {'linf': foolbox.attacks.LinfPGD, 'l2': foolbox.attacks.L2PGD}[norm](
        abs_stepsize=eps / 4, steps=7, random_start=False
    )
    criterion = (
        foolbox.criteria.TargetedMisclassification
        if targeted
        else foolbox.criteria.Misclassification
    )(goal)
    theirs = attack.run(
        foolbox.PyTorchModel(net, bounds=(0, 1), device='cpu'), x, criterion, epsilon=eps
    )
    torch.testing.assert_close(
        pgd(net, x, goal, eps, eps / 4, 7, targeted, random_start=False, norm=norm),
        theirs,
        atol=1e-6,
        rtol=0,
    )


def test_fgsm_is_foolbox_fgsm(trained):
    "Else what is called FGSM here is not what papers mean, and its figures compare with nobody's."
    net, x, y = trained
    theirs = foolbox.attacks.LinfFastGradientAttack().run(
        foolbox.PyTorchModel(net, bounds=(0, 1), device='cpu'), x, y, epsilon=0.05
    )
    torch.testing.assert_close(fgsm(net, x, y, 0.05), theirs, atol=1e-6, rtol=0)


def test_attacks_are_those_of_torchattacks_or_as_strong(trained):
    "Else a defence looks stronger here than anybody else's attacks would find it."
    torchattacks = pytest.importorskip('torchattacks')
    net, x, y = trained
    torch.testing.assert_close(
        fgsm(net, x, y, 0.05), torchattacks.FGSM(net, 0.05)(x, y), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        pgd(net, x, y, 0.1, 0.02, 6, random_start=False),
        torchattacks.PGD(net, 0.1, 0.02, 6, random_start=False)(x, y),
        atol=1e-6,
        rtol=0,
    )
    torch.testing.assert_close(
        mi_fgsm(net, x, y, 0.1, 5),
        torchattacks.MIFGSM(net, 0.1, 0.1 / 5, 5)(x, y),
        atol=1e-6,
        rtol=0,
    )
    for loss, name in ((None, 'ce'), (dlr_loss, 'dlr')):
        theirs = torchattacks.APGD(net, eps=0.06, steps=40, loss=name, seed=0)(x, y)
        ours = apgd(net, x, y, 0.06, 40, **({'loss': loss} if loss else {}))
        kept = [is_right(net, adv, y).float().mean().item() for adv in (ours, theirs)]
        assert 0.02 < kept[1] < 0.98 and abs(kept[0] - kept[1]) <= 0.0101, kept
    theirs = torchattacks.Square(net, eps=0.1, n_queries=300, seed=0)(x, y)
    kept = [
        is_right(net, adv, y).float().mean().item()
        for adv in (square(net, x, y, 0.1, 300)[0], theirs)
    ]
    assert kept[0] <= kept[1] + 0.05, kept


def test_more_effort_fools_at_least_as_many(trained):
    "Else the hours of a stronger attack are spent on a weaker one."
    net, x, y = trained
    kept = {
        name: is_right(net, adv, y).float().mean().item()
        for name, adv in {
            'fgsm': fgsm(net, x, y, 0.06),
            'pgd': pgd(net, x, y, 0.06, 0.015, 20),
            'restarts': pgd(net, x, y, 0.06, 0.015, 20, restarts=4),
            'apgd': apgd(net, x, y, 0.06, 40, restarts=2),
            'square': square(net, x, y, 0.06, 300)[0],
        }.items()
    }
    assert (
        kept['restarts'] <= kept['pgd'] <= kept['fgsm']
        and kept['apgd'] <= kept['fgsm']
        and kept['pgd'] < kept['square'] < 1
    ), kept


def test_early_stopping_fools_as_many_and_stays_nearer(trained):
    "Else images are changed more than they have to be to fool."
    net, x, y = trained
    stop, go = (pgd(net, x, y, 0.1, 0.01, 20, random_start=False, stop=s) for s in (True, False))
    assert not (is_right(net, stop, y) & ~is_right(net, go, y)).any(), (
        'the way is the same up to where it stops'
    )
    assert (stop - x).abs().mean() < (go - x).abs().mean()
    assert (margin(net(stop), y) >= 0).float().mean() <= (
        margin(net(go), y) >= 0
    ).float().mean() + 0.02
    assert (as_png(stop) - stop).abs().max() <= 0.5 / 255 + 1e-6


def run_cells(out, *ids, **values):
    "What the cells of Run leave, as a run would execute them."
    import matplotlib.pyplot as plt

    cells, scope = code_cells('05_attack'), {}
    exec(cells['lesson-imports'] + '\nfrom voc_cv import attack', scope)
    scope |= vars(scope['attack'])
    exec(cells['parameters'], scope)
    plt.close('all')
    scope |= {'out': str(out), 'limit': 3, 'steps': 1, **values}
    for id in ids:
        exec(cells[id], scope)
    return scope


def test_a_photograph_and_a_class_of_ones_own_are_attacked(tmp_path, monkeypatch):
    "Else one names a photograph and a class, and the figures show others."
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, 'show', lambda: None)
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / 'mine.jpg')
    mine = {'image': str(tmp_path / 'mine.jpg'), 'target': 'Tabby', 'eps': 1.5, 'step': 0.5}
    scope = run_cells(tmp_path, 'run', 'run-show', **mine)
    figure = plt.figure(plt.get_fignums()[-1])
    assert figure.get_suptitle() == 'efficientnet-lite0: mine.jpg'
    titles = [' '.join(ax.get_title().split()) for ax in figure.axes[::3]]
    assert titles == [
        'clean',
        'FGSM, 1.5/255',
        'PGD, 1.5/255',
        'FGSM to tabby, 6/255',
        'PGD to tabby, 6/255',
    ]
    clean = figure.axes[2].get_yticklabels()[-1].get_text()
    assert clean == 'Egyptian cat'  # the likeliest on top: it is the photograph that is shown
    change = (scope['attacked']['PGD, 1.5/255'] - scope['a']).abs().max()
    assert change <= 1.5 / 255 + 1e-6
    line = json.loads((tmp_path / 'scores.json').read_text())['05_attack'][
        'efficientnet-lite0: sure images'
    ]
    assert {'tabby, FGSM at 8/255', 'tabby, PGD-4 at 8/255'} < {*line}
    assert not any('goldfish' in name for name in line)


@pytest.mark.parametrize(
    'value, error, says',
    [
        ({'target': 'goldfisch'}, ValueError, "did you mean 'goldfish'"),
        ({'image': 'no/such.jpg'}, FileNotFoundError, 'no/such.jpg'),
        ({'eps': -2.0}, ValueError, 'eps: expected'),
        ({'eps': float('nan')}, ValueError, 'eps: expected'),
        ({'step': 300.0}, ValueError, 'step: expected'),
        ({'steps': 0}, ValueError, 'steps: expected'),
        ({'images': 0}, ValueError, 'images: expected'),
        ({'queries': float('inf')}, ValueError, 'queries: expected'),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(tmp_path, value, error, says):
    "Else a mistyped parameter of an attack ends in nonsense that looks like a result."
    with pytest.raises(error, match=says):
        run_cells(tmp_path, 'run', **value)
    assert not (tmp_path / 'scores.json').exists()
