"The original's recipes, `params/original.yaml`, end to end on toys: every network is tiny."

import json

import pandas as pd
import pytest
import transformers
from conftest import ROOT

from voc_cv.classify import COCO_CLASSES


def save_vit(folder):
    "A Vision Transformer of 2 layers that sees 32 pixels, with ImageNet's number of classes."
    names = dict(enumerate(['tench', 'goldfish', *(f'class {k}' for k in range(2, 20))]))
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8, id2label=names, label2id={v: k for k, v in names.items()})
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={'height': 32, 'width': 32}).save_pretrained(folder)


def save_detr(folder):
    "A DETR of 2 + 2 layers on a small ResNet, with COCO's 80 names."
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], layer_type='basic',
        out_features=['stage4'])
    names = dict(enumerate(COCO_CLASSES))
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=backbone, d_model=16, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=5, id2label=names,
        label2id={v: k for k, v in names.items()})
    transformers.DetrForObjectDetection(config).save_pretrained(folder)
    sizes = {'shortest_edge': 64, 'longest_edge': 96}
    transformers.DetrImageProcessor(size=sizes).save_pretrained(folder)


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    "The arguments of the run; its folder is the last."
    folder = tmp_path_factory.mktemp('original')
    save_vit(folder / 'vit')
    save_detr(folder / 'detr')
    small = {
        'limit': 16, 'backbone': folder / 'vit', 'targets': 'efficientnet-lite0',
        'detector': folder / 'detr', 'cnn_epochs': 1, 'vit_epochs': 1, 'width': 4,
        '03_segment.size': 64, '03_segment.epochs': 1, 'steps': 2, 'queries': 3,
        'models': 'cnn-original vit-original head-softmax'}
    given = [word for name, value in small.items() for word in ('-p', f'{name}={value}')]
    return [*given, '--params', ROOT / 'params/original.yaml', '--out', folder / 'run']


@pytest.fixture(scope='module')
def original(command, words):
    "The folder of a run of the two stages that have recipes of the original."
    done = command('run', *words, '--only', '02', '--only', '03')
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return words[-1]


def test_every_recipe_of_the_original_gets_its_line_of_scores(original):
    "Else `params/original.yaml` promises a comparison that a run does not make."
    scores = json.loads((original / 'scores.json').read_text())
    assert {
        'cnn-original', 'cnn-original, half of the best', 'vit-original', 'head-softmax',
        'detector, threshold .9', 'no to everything'} <= scores['02_classify'].keys()
    assert {'precision', 'recall', 'label accuracy'} <= scores['02_classify']['cnn-original'].keys()
    assert {'Dice', 'Dice at 64'} <= scores['03_segment']['unet-original'].keys()


def test_a_quarter_is_held_back_and_no_checkpoint_is_left(original):
    "Else thresholds are chosen on what was learned from, and old checkpoints fill the disk."
    tune = pd.read_csv(original / 'classify/cnn-original_tune.csv')
    assert 3 <= len(tune) <= 5  # of 16, with each class in proportion
    assert not (original / 'training').exists() or not any((original / 'training').rglob('*.pt'))


@pytest.mark.slow
def test_the_original_s_run_goes_through_to_its_submission(original, command, words):
    "Else who repeats the original is left with a run that fails at an attack."
    done = command('run', *words)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert done.stdout.count('unchanged, kept') == 2 and (original / 'submission.csv').is_file()
    scores = json.loads((original / 'scores.json').read_text())
    assert {'before', 'after'} <= scores['04_postprocess'].keys()
