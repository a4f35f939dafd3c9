"""PGD of ten steps on EfficientNet-Lite0, the same images, network, start, thread count and
batch for all.

    python bench/bench_attack.py [folder of photographs in VOCdevkit's layout]

Peers: torchattacks and foolbox. Equal results (without a random start) are asserted first. The
second table is end to end, with our early stopping, on a batch of which most images fall at the
first steps; foolbox and torchattacks do all the steps."""

import sys

import foolbox
import torch
import torchattacks
from common import compare

from voc_cv.attack import load_target, pgd
from voc_cv.data import open_voc
from voc_cv.nets import to_batch

torch.set_num_threads(2)
data = open_voc(sys.argv[1] if len(sys.argv) > 1 else '', 'val', 8)
net, eps, steps = load_target(), 2 / 255, 10
x = to_batch([data.read_image(id) for id in data.ids], 224)
with torch.no_grad():
    y = net(x).argmax(1)
theirs = torchattacks.PGD(net, eps, eps / 4, steps, random_start=False)
model, fool = (
    foolbox.PyTorchModel(net, bounds=(0, 1), device='cpu'),
    foolbox.attacks.LinfPGD(abs_stepsize=eps / 4, steps=steps, random_start=False),
)
ways = {
    'pgd': lambda: pgd(net, x, y, eps, eps / 4, steps, random_start=False),
    'torchattacks': lambda: theirs(x, y),
    'foolbox': lambda: fool.run(model, x, y, epsilon=eps),
}
ours = ways['pgd']()
for name in ('torchattacks', 'foolbox'):
    apart = (ways[name]() - ours).abs().max().item()
    print(f'{name}: {apart:.2g} apart at most')
    assert apart <= 1e-6
print(f'\nall {steps} steps of {len(x)} images')
medians = compare(rounds=7, **ways)
print(
    f'  of the faster peer: {medians["pgd"] / min(medians["torchattacks"], medians["foolbox"]):.3f}'
)
print('\nend to end')
compare(
    rounds=5,
    **{
        'pgd, stop=True': lambda: pgd(
            net, x, y, eps, eps / 4, steps, random_start=False, stop=True
        ),
        **{k: v for k, v in ways.items() if k != 'pgd'},
    },
)
