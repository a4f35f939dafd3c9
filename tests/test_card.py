"A saved model with its card: it loads as without one, by the very lines that the card gives."

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import skimage.io
import torch
import yaml
from conftest import tiny_segformer

from voc_cv.data import VOC_CLASSES, toy_voc
from voc_cv.nets import load_backbone, model_digest, write_card

TOYS = toy_voc(6)


def with_card(folder, **more):
    "The card of a folder, and whether the folder's fingerprint is what it was."
    before = model_digest(folder)
    text = write_card(folder, TOYS[:4], TOYS[4:], **more).read_text()
    assert model_digest(folder) == before, 'a card makes another model of it'
    return text


def run_lines(text, folder, photo):
    "What the last of the lines gives that the card shows."
    lines = re.search(r'```python\n(.*?)```', text, re.S)[1]
    lines = lines.replace(f'path/to/{Path(folder).name}', str(folder)).replace('photo.jpg', photo)
    *first, last = lines.strip().splitlines()
    names: dict = {}
    exec('\n'.join(first), names)
    if last.startswith('mask'):
        exec(last, names)
        return names['mask']
    return eval(last, names)


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp('photo') / 'cat.jpg'
    skimage.io.imsave(path, skimage.data.chelsea())
    return str(path)


def test_a_classifier_is_loaded_by_its_card_s_lines(tmp_path, photo):
    "Else whoever is sent a model copies lines from its card that do not work."
    from voc_cv.classify import Classifier, Head, Heads, load_classifier, save_classifier

    torch.manual_seed(0)
    net = load_backbone('efficientnet-lite0')
    save_classifier(tmp_path / 'head', Classifier(net, Heads([Head(net.width)])))
    bare = load_classifier(tmp_path / 'head').scores([skimage.io.imread(photo)])
    text = with_card(tmp_path / 'head', scores={'mAP': .5})
    said = run_lines(text, tmp_path / 'head', photo)
    np.testing.assert_array_equal(np.asarray(said), np.asarray(bare))
    assert 'not in this folder' in text and '| mAP | 0.5 |' in text


def test_a_segmenter_of_transformers_is_loaded_by_its_card_s_lines(tmp_path, photo):
    "Else the card's lines do not work, or tell the world a folder of one's own machine."
    folder = tiny_segformer(tmp_path / 'tiny')
    text = with_card(folder, began_with='/data/ann/segformer')
    mask = run_lines(text, folder, photo)
    assert mask.shape == skimage.data.chelsea().shape[:2] and mask.max() <= len(VOC_CLASSES)
    assert 'It began as segformer' in text and 'ann' not in text, 'a folder of one\'s own machine'


def test_a_decoder_is_loaded_with_its_card(tmp_path, photo):
    "Else a decoder that has got a card can no longer be loaded."
    from voc_cv.segment import Decoder, PyramidSegmenter, load_decoder, save_decoder

    torch.manual_seed(0)
    net = load_backbone('efficientnet-lite0')
    with torch.inference_mode():
        channels = tuple(m.shape[1] for m in net.pyramid(torch.zeros(1, 3, 64, 64)))
    save_decoder(tmp_path / 'd', PyramidSegmenter(net, Decoder(channels), 64, 'efficientnet-lite0'))
    text = with_card(tmp_path / 'd', parameters={'epochs': 1, 'root': '/data/VOC'})
    assert load_decoder(tmp_path / 'd').size == 64
    assert '| `root` | VOC |' in text
    assert run_lines(text, tmp_path / 'd', photo).shape == skimage.data.chelsea().shape[:2]


def test_the_card_s_head_is_what_the_hub_reads(tmp_path):
    "Else the hub shows a published model without licence, data and score."
    folder = tiny_segformer(tmp_path / 'tiny')
    text = with_card(folder, scores={'Dice': .8, 'Dice 95 %': '0.7 to 0.9', 'images': 2},
                     license='mit', parameters={'a|b': 'x\ny'})
    head = yaml.safe_load(text.split('---')[1])
    assert head['license'] == 'mit' and head['library_name'] == 'transformers'
    assert head['datasets'] == ['toy-train'] and 'pascal-voc' in head['tags']
    metric, = head['model-index'][0]['results'][0]['metrics']
    assert metric == {'type': 'Dice', 'value': .8}
    assert '| Dice | 0.8 | 0.7 to 0.9 |' in text and 'x y' in text


def test_a_new_card_takes_the_place_of_the_old_one(tmp_path):
    "Else a model that was scored again goes on showing what its old card said."
    folder = tiny_segformer(tmp_path / 'tiny')
    with_card(folder)
    assert 'Nobody has measured any' not in with_card(folder, scores={'Dice': .1})
    assert [p.name for p in Path(folder).iterdir() if p.suffix == '.md'] == ['README.md']
