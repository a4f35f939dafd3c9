"""Several segmenters as one, objects before classes, and labels as a prior: what the lessons can't
show, which is forged folders, a whole run, and an independent implementation."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_segformer

from voc_cv.data import VOID, open_voc, read_mask, toy_voc
from voc_cv.photographs import run_settings
from voc_cv.postprocess import class_prior, find_model
from voc_cv.run import main
from voc_cv.segment import as_part, likeliest, load_segmenter, pool_logs, save_pool, voc_classes

WEIGHTS = np.array([[0.5, 1.5], [0.25, 0.5]])


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "Two tiny segmenters of random weights."
    import torch

    folders = []
    for seed in (1, 2):
        folder = tiny_segformer(tmp_path_factory.mktemp(f'tiny{seed}'))
        if seed == 2:  # the same network with other weights
            import transformers

            torch.manual_seed(seed)
            config = transformers.AutoConfig.from_pretrained(folder)
            transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
        folders.append(str(folder))
    return folders


@pytest.mark.parametrize(
    'wrong, said',
    [
        ({'weights': [[1, 1]]}, 'two numbers'),
        ({'weights': [[1, -1], [1, 1]]}, 'two numbers'),
        ({'weights': [[1, float('nan')], [1, 1]]}, 'two numbers'),
        ({'weights': 'much'}, 'two numbers'),
        ({'parts': []}, 'two to eight'),
        ({'parts': [{'name': 'a'}, {'name': 'b'}]}, 'two to eight'),
        ({'parts': [as_part('a') | {'scales': [1e9]}] * 2}, 'two to eight'),
        ({'parts': [as_part('a') | {'trust_remote_code': True}] * 2}, 'two to eight'),
    ],
)
def test_a_forged_combination_is_refused_before_anything_is_opened(wrong, said, tmp_path):
    "Else a folder from somebody opens what it likes, or answers nonsense."
    save_pool(tmp_path / 'pool', [as_part('a'), as_part('b')], WEIGHTS)
    file = tmp_path / 'pool/segmenter.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(ValueError, match=said):
        load_segmenter(tmp_path / 'pool')


def test_a_run_of_two_segmenters_hands_their_combination_on(tiny, tmp_path, capsys):
    "Else the next stages, or a prediction, take the masks of one of them alone."
    first, second = tiny
    out = tmp_path / 'run'
    given = ['segmenter=' + first, 'together=' + second, 'limit=6', 'tune=.34']
    given.append('objects_first=true')
    assert main(['run', '--out', str(out), '--only', '03_segment'] + [f'-p{g}' for g in given]) == 0
    lines = json.loads((out / 'scores.json').read_text())['03_segment']
    names = {path.name for path in (out / 'segment').iterdir()}
    assert {*lines} == names | {'all background'} and 'combination' in names and len(names) == 3
    assert find_model(out / 'segment').name == 'combination'
    pooled = load_segmenter(out / 'models/combination', objects_first=True, device='cpu')
    data = open_voc('', 'val', 6, 0)
    for id, mask in zip(data.ids, pooled([data.read_image(id) for id in data.ids]), strict=True):
        written = read_mask(out / 'segment/combination/val' / f'{id}.png')
        np.testing.assert_array_equal(written, mask)
    said = {'masks': None}
    (out / 'classify').mkdir()
    for part in ('tune', 'val'):
        table = pd.DataFrame(0.25, pd.Index(['a', 'b'], name='Id'), toy_voc(1).labels.columns)
        for name in ('head', 'probabilities', 'labels'):
            table.round().to_csv(out / 'classify' / f'{name}_{part}.csv')
    params = json.dumps({'parameters': {
        '02_classify': {}, '03_segment': {
            'segmenter': first, 'together': second, 'revision': 'main', 'keep_aspect': True,
            'flip': False, 'scales': '1', 'objects_first': True, 'seed': 0}}})
    (out / 'params.yaml').write_text(params)
    said = run_settings(out)['masks']
    assert said['model'] == str(out / 'models/combination') and said['objects_first']


def test_what_a_combination_says_is_worked_out_from_its_parts(tiny, tmp_path):
    "Else its weights are not the ones that were found."
    import torch

    save_pool(tmp_path / 'pool', [as_part(one, flip=True) for one in tiny], WEIGHTS)
    pooled = load_segmenter(tmp_path / 'pool', device='cpu')
    image = toy_voc(1)[0].image
    with torch.inference_mode():
        (said,) = pooled.probabilities([image])
        alone = [load_segmenter(one, flip=True, device='cpu') for one in tiny]
        logs = [voc_classes(next(s.probabilities([image])), s.table).log().double() for s in alone]
    total = np.zeros(said.shape)
    for log, (background, objects) in zip(logs, WEIGHTS, strict=True):
        total += log.numpy() * np.array([background] + [objects] * 20)[:, None, None]
    p = np.exp(total - total.max(0))
    np.testing.assert_allclose(said, p / p.sum(0), atol=1e-5)
    uneven = pool_logs(torch.stack(logs), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(uneven, logs[0].exp(), atol=1e-6, rtol=1e-5)
    assert (likeliest(said) != likeliest(logs[0].exp())).any(), 'the second is heard'


@pytest.mark.parametrize('strength', [0.5, 2.0])
def test_a_prior_changes_objects_only_and_as_pixel_by_pixel(strength):
    "Else a correction moves background, void, or pixels that the labels say nothing about."
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 256, (21, 12, 16), np.uint8)
    mask = rng.choice(np.array([0, 3, 7, 15, VOID], np.uint8), (24, 32))
    q = rng.random(20)
    found = class_prior(mask, maps, q, strength)
    large = np.stack([cv2.resize(m.astype(np.float32), (32, 24)) for m in maps]) / -20
    for y, x in np.ndindex(mask.shape):
        own = mask[y, x]
        if own in (0, VOID):
            assert found[y, x] == own
            continue
        best = 1 + int(np.argmax(large[1:, y, x] + strength * np.log(q.clip(1e-3))))
        assert found[y, x] == (best if q[best - 1] > q[own - 1] else own)
    assert (found != mask).any()
