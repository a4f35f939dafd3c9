"Segmenters: the real one where it is at hand, tiny ones of all families, folders that load."

import json

import keras
import numpy as np
import pytest
import tensorflow
import torch
import transformers
from conftest import ROOT
from keras.layers import BatchNormalization

from voc_cv.data import open_voc, read_mask, toy_voc
from voc_cv.nets import MULTIPLES, load_backbone
from voc_cv.segment import (
    Decoder,
    LightDecoder,
    PyramidSegmenter,
    build_segmenter,
    build_unet,
    choose_network,
    decoder_segmenter,
    keras_segmenter,
    load_segmenter,
    predict_masks,
    save_decoder,
    save_keras,
    score_folder,
    segmentation_models,
    steering,
    train_keras,
)

SHARED = ROOT.parent / 'shared'
MODEL, PHOTOGRAPHS = SHARED / 'weights/deeplabv3_mobilenet_v2_voc', SHARED / 'data/voc'
AT_HAND = MODEL.is_dir() and PHOTOGRAPHS.is_dir()


@pytest.mark.skipif(not AT_HAND, reason='the real model and photographs are not at hand')
def test_a_real_segmenter_knows_photographs(tmp_path):
    "Else a good model paints worse masks here than elsewhere."
    data = open_voc(PHOTOGRAPHS, 'val', 24)
    model = load_segmenter(MODEL, device='cpu')
    predict_masks(data, model, tmp_path / 'one', batch=5)
    once = score_folder(data, tmp_path / 'one')[0]
    assert once['Dice'] > 0.78 and once['pixel accuracy'] > 0.9
    generic = {'keep_aspect': False, 'align_corners': False}
    squashed = load_segmenter(MODEL, device='cpu', **generic)
    predict_masks(data, squashed, tmp_path / 'squashed', batch=5)
    assert score_folder(data, tmp_path / 'squashed')[0]['mIoU'] < once['mIoU']
    alone = model([data.read_image(data.ids[7])])[0]
    # a batch changes nothing
    np.testing.assert_array_equal(alone, read_mask(tmp_path / 'one' / f'{data.ids[7]}.png'))
    maps = np.load(tmp_path / 'one' / f'{data.ids[7]}.npz')['maps']
    assert maps.dtype == np.uint8 and maps.shape[0] == 21 and max(maps.shape[1:]) == 64


NAMES = {0: 'wall', 1: 'couch', 2: 'person'}
LABELS = {'id2label': NAMES, 'label2id': {v: k for k, v in NAMES.items()}}
QUERIES = {
    'hidden_dim': 32,
    'encoder_feedforward_dim': 16,
    'dim_feedforward': 16,
    'num_attention_heads': 2,
    'encoder_layers': 1,
    'decoder_layers': 2,
    'num_queries': 5,
}
STAGES = [f'stage{i}' for i in range(1, 5)]
SQUARE = {'size': {'height': 64, 'width': 64}}


def tiny_swin():
    return transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=STAGES,
    )


def tiny_mask2former(folder):
    model = transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=tiny_swin(), feature_size=32, mask_feature_size=32, **QUERIES, **LABELS
        )
    )
    transformers.Mask2FormerImageProcessor(**SQUARE, num_labels=3).save_pretrained(folder)
    return model, model.class_predictor


def tiny_oneformer(folder):
    "It is told its task in words, so it has a tokenizer, too: here of single letters."
    words = ['<|startoftext|>', '<|endoftext|>']
    for letter in 'abcdefghijklmnopqrstuvwxyz':
        words += [letter, letter + '</w>']
    (folder / 'vocab.json').write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    about = {str(i): {'isthing': 1, 'name': n} for i, n in NAMES.items()}
    (folder / 'info.json').write_text(json.dumps(about))
    images = transformers.OneFormerImageProcessor(
        **SQUARE, repo_path=str(folder), class_info_file='info.json', num_text=2
    )
    files = [str(folder / name) for name in ('vocab.json', 'merges.txt')]
    tokenizer = transformers.CLIPTokenizer(*files, model_max_length=77)
    both = transformers.OneFormerProcessor(images, tokenizer, max_seq_length=77, task_seq_length=77)
    both.save_pretrained(folder)
    text = {
        'text_encoder_vocab_size': len(words),
        'text_encoder_width': 16,
        'text_encoder_proj_layers': 1,
        'text_encoder_num_layers': 1,
    }
    model = transformers.OneFormerForUniversalSegmentation(
        transformers.OneFormerConfig(
            backbone_config=tiny_swin(),
            conv_dim=32,
            mask_dim=32,
            query_dec_layers=1,
            is_training=False,
            **text,
            **QUERIES,
            **LABELS,
        )
    )
    return model, model.model.transformer_module.decoder.class_embed


def tiny_maskformer(folder):
    decoder = transformers.DetrConfig(
        **SMALL, d_model=16, encoder_attention_heads=2, decoder_attention_heads=2
    )
    model = transformers.MaskFormerForInstanceSegmentation(
        transformers.MaskFormerConfig(
            fpn_feature_size=32,
            mask_feature_size=32,
            backbone_config=tiny_swin(),
            decoder_config=decoder,
            **LABELS,
        )
    )
    transformers.MaskFormerImageProcessor(**SQUARE, num_labels=3).save_pretrained(folder)
    return model, model.class_predictor


SMALL = {
    'encoder_layers': 1,
    'decoder_layers': 1,
    'encoder_ffn_dim': 8,
    'decoder_ffn_dim': 8,
    'num_queries': 4,
}
SURE = torch.tensor([0.0, 100.0, 0.0, 0.0])  # every query is sure to see a couch


def values(masks):
    return {int(v) for m in masks for v in np.unique(m)}


@pytest.mark.parametrize('make', [tiny_mask2former, tiny_oneformer, tiny_maskformer])
def test_models_of_queries_say_what_their_queries_say(make, tmp_path):
    "Else Mask2Former and its like paint other classes than they mean."
    torch.manual_seed(0)
    model, classes = make(tmp_path)
    classes.bias.data = SURE
    model.save_pretrained(tmp_path)
    toys = toy_voc(2)
    masks = load_segmenter(tmp_path, device='cpu', flip=True)([s.image for s in toys])
    assert [m.shape for m in masks] == [s.image.shape[:2] for s in toys]
    assert values(masks) == {18}


def test_detr_panoptic_is_read_by_its_names(tmp_path):
    "Else a panoptic model's couches are painted as something else."
    torch.manual_seed(0)
    net = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 16],
        depths=[1] * 4,
        layer_type='basic',
        out_features=STAGES,
    )
    model = transformers.DetrForSegmentation(
        transformers.DetrConfig(
            **SMALL,
            d_model=128,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            backbone_config=net,
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            **LABELS,
        )
    )
    model.detr.class_labels_classifier.bias.data = SURE
    last = [m for m in model.mask_head.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    sizes = {'shortest_edge': 64, 'longest_edge': 96}
    transformers.DetrImageProcessor(size=sizes, format='coco_panoptic').save_pretrained(tmp_path)
    toys = toy_voc(3)
    for bias, answer in ((100.0, 18), (-100.0, 0)):  # the couch is everywhere, the couch is nowhere
        last.bias.data[:] = bias
        model.save_pretrained(tmp_path)
        masks = load_segmenter(tmp_path, device='cpu')([s.image for s in toys])
        assert [m.shape for m in masks] == [s.image.shape[:2] for s in toys]
        assert values(masks) == {answer}
    with pytest.raises(ValueError, match='DETR panoptic looks once'):
        load_segmenter(tmp_path, flip=True)


@pytest.mark.parametrize('architecture', MULTIPLES)
def test_the_four_architectures_build_and_their_folders_load(architecture, tmp_path):
    "Else a network that was trained all night cannot be loaded, or answers otherwise."
    how = {'architecture': architecture, 'backbone': 'mobilenetv2', 'size': 96}
    model = build_segmenter(**how)
    assert model.output_shape == (None, 96, 96, 21)
    inner = [x for x in model._flatten_layers() if isinstance(x, BatchNormalization)]
    assert inner and {x.momentum for x in inner} == {0.9}
    save_keras(tmp_path / 'saved', model, 'build_segmenter', **how)
    images = [s.image for s in toy_voc(2)]
    again = load_segmenter(tmp_path / 'saved')
    for a, b in zip(keras_segmenter(model)(images), again(images), strict=True):
        np.testing.assert_array_equal(a, b)


def test_folders_of_unet_and_decoders_load(tmp_path):
    "Else a network that was trained all night cannot be loaded, or answers otherwise."
    images, how = [s.image for s in toy_voc(2)], {'size': 32, 'filters': [4, 8], 'bottleneck': 8}
    unet, decoder = build_unet(**how), PyramidSegmenter(load_backbone(), Decoder().eval(), 64)
    save_keras(tmp_path / 'unet', unet, 'build_unet', **how)
    save_decoder(tmp_path / 'decoder', decoder)
    owns = {'unet': keras_segmenter(unet), 'decoder': decoder_segmenter(decoder, 'cpu')}
    light = PyramidSegmenter(load_backbone(), LightDecoder((112, 1600)).eval(), 64, kind='light')
    save_decoder(tmp_path / 'light', light)
    owns['light'] = decoder_segmenter(light, 'cpu')
    for name, own in owns.items():
        again = load_segmenter(tmp_path / name, device='cpu')
        for a, b in zip(own(images), again(images), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    'kind, loss, how',
    [
        ('unet-original', 'weighted', {'schedule': 'constant', 'augment': 'original'}),
        ('fcn', 'jaccard', {'optimizer': 'adamw', 'augment': 'none'}),
        ('unet', 'dice', {'precision': 'bf16', 'augment': 'flip-rotate-zoom'}),
    ],
)
def test_recipes_train_and_their_folders_load(kind, loss, how, tmp_path):
    "Else a recipe fails after the hours before it, or its network cannot be loaded."
    tensorflow.config.run_functions_eagerly(True)
    try:
        history = train_keras(
            toy_voc(2), toy_voc(2), tmp_path, kind, 32, 2, 0.0, '', loss, 1,
            np.ones(21, np.float32), 0, steering(batch=2, **how),
        )  # fmt: skip
    finally:
        tensorflow.config.run_functions_eagerly(False)
    assert np.isfinite(history).all(axis=None)
    about = json.loads((tmp_path / 'segmenter.json').read_text())
    if kind == 'unet-original':
        expected = {'norm': False, 'kernel': 3, 'initial': 'he_normal', 'dropout': 0.3}
        assert expected.items() <= about['arguments'].items()
    images = [s.image for s in toy_voc(2)]
    segmenter = load_segmenter(tmp_path)
    assert [m.shape for m in segmenter(images)] == [i.shape[:2] for i in images]
    assert keras.config.dtype_policy().name == 'float32'


def test_the_largest_network_of_the_original_can_be_built():
    "Else the sweep of the original's architectures is refused at its last one."
    build, how, _ = choose_network('PSPNet/senet154', 144, 16, 0.0)
    assert build is build_segmenter and how['backbone'] == 'senet154'
    assert how['size'] % MULTIPLES['PSPNet'] == 0
    assert 'senet154' in segmentation_models().Backbones.models


@pytest.mark.slow
def test_the_largest_network_of_the_original_builds():
    "Else the sweep of the original's architectures stops at its last one."
    build, how, _ = choose_network('PSPNet/senet154', 144, 16, 0.0)  # half a minute
    model = build(**how)
    scores = np.asarray(model(np.random.default_rng(0).random((1, 144, 144, 3), np.float32)))
    assert scores.shape == (1, 144, 144, 21) and np.isfinite(scores).all() and np.ptp(scores) > 0
