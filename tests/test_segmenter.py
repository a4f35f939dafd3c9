"Pretrained segmenters: the real one where it is at hand, and tiny ones of the families that the lesson does not show."
import json

import numpy as np
import pytest
import torch
import transformers
from conftest import ROOT
from voc_cv.data import open_voc, read_mask, toy_voc
from voc_cv.segment import load_segmenter, predict_masks, score_folder

MODEL, PHOTOGRAPHS = ROOT.parent / 'shared/weights/deeplabv3_mobilenet_v2_voc', ROOT.parent / 'shared/data/voc'


@pytest.mark.skipif(not (MODEL.is_dir() and PHOTOGRAPHS.is_dir()), reason='the real model and photographs are not at hand')
def test_real_segmenter_knows_photographs(tmp_path):
    data = open_voc(PHOTOGRAPHS, 'val', 24)
    model = load_segmenter(MODEL, device='cpu')
    predict_masks(data, model, tmp_path / 'one', batch=5)
    once = score_folder(data, tmp_path / 'one')[0]
    assert once['Dice'] > .78 and once['pixel accuracy'] > .9
    squashed = load_segmenter(MODEL, device='cpu', keep_aspect=False, align_corners=False)  # the generic way
    predict_masks(data, squashed, tmp_path / 'squashed', batch=5)
    assert score_folder(data, tmp_path / 'squashed')[0]['mIoU'] < once['mIoU']
    alone = model([data.read_image(data.ids[7])])[0]
    np.testing.assert_array_equal(alone, read_mask(tmp_path / 'one' / f'{data.ids[7]}.png'))  # a batch changes nothing
    maps = np.load(tmp_path / 'one' / f'{data.ids[7]}.npz')['maps']
    assert maps.dtype == np.uint8 and maps.shape[0] == 21 and max(maps.shape[1:]) == 64


NAMES = {0: 'wall', 1: 'couch', 2: 'person'}
QUERIES = {'hidden_dim': 32, 'encoder_feedforward_dim': 16, 'dim_feedforward': 16, 'num_attention_heads': 2, 'encoder_layers': 1, 'decoder_layers': 2, 'num_queries': 5,
           'id2label': NAMES, 'label2id': {v: k for k, v in NAMES.items()}}


def tiny_mask2former(folder, swin):
    model = transformers.Mask2FormerForUniversalSegmentation(transformers.Mask2FormerConfig(backbone_config=swin, feature_size=32, mask_feature_size=32, **QUERIES))
    transformers.Mask2FormerImageProcessor(size={'height': 64, 'width': 64}, num_labels=3).save_pretrained(folder)
    return model, model.class_predictor


def tiny_oneformer(folder, swin):
    "It is told its task in words, so it has a tokenizer, too: here of single letters."
    words = [c + end for end in ('', '</w>') for c in 'abcdefghijklmnopqrstuvwxyz'] + ['<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    (folder / 'info.json').write_text(json.dumps({str(i): {'isthing': 1, 'name': n} for i, n in NAMES.items()}))
    images = transformers.OneFormerImageProcessor(size={'height': 64, 'width': 64}, repo_path=str(folder), class_info_file='info.json', num_text=2)
    tokenizer = transformers.CLIPTokenizer(str(folder / 'vocab.json'), str(folder / 'merges.txt'), model_max_length=77)
    transformers.OneFormerProcessor(images, tokenizer, max_seq_length=77, task_seq_length=77).save_pretrained(folder)
    text = {'text_encoder_vocab_size': len(words), 'text_encoder_width': 16, 'text_encoder_proj_layers': 1, 'text_encoder_num_layers': 1}
    model = transformers.OneFormerForUniversalSegmentation(transformers.OneFormerConfig(backbone_config=swin, conv_dim=32, mask_dim=32, query_dec_layers=1, is_training=False, **text, **QUERIES))
    return model, model.model.transformer_module.decoder.class_embed


@pytest.mark.parametrize('make', [tiny_mask2former, tiny_oneformer])
def test_models_of_queries_say_what_their_queries_say(make, tmp_path):
    torch.manual_seed(0)
    swin = transformers.SwinConfig(image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=[f'stage{i}' for i in range(1, 5)])
    model, classes = make(tmp_path, swin)
    classes.bias.data = torch.tensor([0., 100., 0., 0.])  # every query is sure to see a couch
    model.save_pretrained(tmp_path)
    toys = toy_voc(2)
    masks = load_segmenter(tmp_path, device='cpu')([s.image for s in toys])
    assert [m.shape for m in masks] == [s.image.shape[:2] for s in toys] and {int(v) for m in masks for v in np.unique(m)} == {18}
