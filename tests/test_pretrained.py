"""Models that others trained: each is fed what its own processor makes of a picture, and one that
is incomplete, damaged or of another kind is refused with a sentence. All are tiny and made here."""

import json
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
import transformers.models.auto.modeling_auto as auto
from safetensors.torch import load_file, save_file
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as KINDS

from voc_cv.attack import load_target
from voc_cv.classify import (
    Classifier,
    Head,
    Heads,
    KerasClassifier,
    build_cnn,
    detect,
    load_classifier,
    load_detector,
    save_classifier,
    voc_boxes,
)
from voc_cv.data import VOC_CLASSES, toy_voc, voc_name
from voc_cv.nets import (
    PLAIN,
    check_config,
    colour_rule,
    coloured,
    hub_commit,
    input_size,
    label_table,
    load_backbone,
    load_pixel_scores,
    say_missing,
    to_batch,
    to_pixels,
)
from voc_cv.segment import (
    Decoder,
    PyramidSegmenter,
    build_unet,
    load_segmenter,
    load_trainable,
    panoptic_to_voc,
    save_decoder,
    save_keras,
)

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
VOC = dict(enumerate(['background', *VOC_CLASSES]))
NUMBERS = {name: number for number, name in VOC.items()}
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


# what a processor does ---------------------------------------------------------------------------

TASKS = (
    auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
    auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
    auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES,
    auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
    auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
    auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)
FAMILIES = sorted({k['pil'] for m, k in KINDS.items() if 'pil' in k and any(m in t for t in TASKS)})
REFUSED = {  # patches in a row, tiles, clusters of colours, films, pages or borders of its own
    'DonutImageProcessorPil', 'ImageGPTImageProcessorPil', 'MllamaImageProcessorPil',
    'Siglip2ImageProcessorPil', 'Swin2SRImageProcessorPil', 'TimmWrapperImageProcessor',
    'VideoMAEImageProcessorPil',
}  # fmt: skip
VARIANTS = (
    {},
    {'rescale_factor': 1 / 127.5},
    {'do_normalize': False},
    {'do_rescale': False},
    {'image_mean': [0.1, 0.2, 0.3], 'image_std': [0.3, 0.2, 0.1]},
)


def made(processor, side, **how):
    "What a processor makes of a noise picture, and that picture."
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return processor([picture], return_tensors='pt', **how)['pixel_values'], picture


@pytest.mark.parametrize('family', FAMILIES)
def test_every_kind_of_processor_is_followed_or_refused(family):
    "Else a hub model sees other colours than it was trained on, and is only a little wrong."
    try:
        kind = getattr(transformers, family)
        kind()
    except ImportError:
        pytest.skip(f'{family} needs a package that is not here')
    refused = []
    for variant in VARIANTS:
        processor = kind(**variant)
        try:
            order, mean, std = colour_rule(processor)
            side = input_size(processor, 64)
        except ValueError as e:
            assert 'cannot feed such a network' in str(e) or 'can make nothing of' in str(e)
            refused.append(variant)
            continue
        theirs, picture = made(processor, side, do_resize=False)
        if theirs.shape[2:] != (side, side):  # the Perceiver cuts out a share of any picture
            theirs, picture = made(processor, side, do_resize=False, do_center_crop=False)
        ours = (to_pixels(picture[None])[:, order] - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        assert torch.equal(coloured(processor, picture[None]), theirs)
        if min(made(processor, 96)[0].shape[2:]) == min(made(processor, 160)[0].shape[2:]):
            assert min(made(processor, 96)[0].shape[2:]) == side
    assert len(refused) == (len(VARIANTS) if family in REFUSED else 0), refused


def test_the_list_of_families_is_not_empty():
    "Else a release of transformers leaves the check of processors nothing to check."
    assert len(FAMILIES) > 25 and REFUSED < {*FAMILIES}


SQUARE = {'height': 64, 'width': 64}
SMALL_VIT = {
    'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16,
    'image_size': 64, 'patch_size': 16,
}  # fmt: skip
MOBILEVIT = {
    'image_size': 64, 'hidden_sizes': [16] * 3, 'neck_hidden_sizes': [8, 8, 16, 16, 16, 16, 32],
    'num_attention_heads': 2,
}  # fmt: skip
SEGFORMER = {
    'hidden_sizes': [8] * 4, 'depths': [1] * 4, 'num_attention_heads': [1] * 4,
    'decoder_hidden_size': 8,
}  # fmt: skip
EFFICIENT = {
    'image_size': 64, 'width_coefficient': 0.2, 'depth_coefficient': 0.1, 'hidden_dim': 256,
}  # fmt: skip
CUT = {'size': {'shortest_edge': 73}, 'crop_size': SQUARE}


def saved(folder, model, processor):
    torch.manual_seed(0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def vit(folder, names=None, kind='ViTForImageClassification', **more):
    "A tiny vision transformer on disk."
    config = transformers.ViTConfig(**SMALL_VIT, **({'id2label': names} if names else {}), **more)
    model = getattr(transformers, kind)(config)
    return saved(folder, model, transformers.ViTImageProcessor(size=SQUARE))


def segformer(folder, names=VOC, processor=None):
    config = transformers.SegformerConfig(**SEGFORMER, id2label=names)
    model = transformers.SegformerForSemanticSegmentation(config)
    return saved(folder, model, processor or transformers.SegformerImageProcessor(size=SQUARE))


def yolos(folder):
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=[64, 64], patch_size=8, num_detection_tokens=5, initializer_range=0.3,
        id2label={0: 'cat', 1: 'tree'})  # fmt: skip
    sides = {'shortest_edge': 64, 'longest_edge': 128}
    return saved(
        folder,
        transformers.YolosForObjectDetection(config),
        transformers.YolosImageProcessor(size=sides),
    )


def fed(module, call):
    "The pixels that a module of transformers is called with."
    seen = {}

    def keep(m, given, named):
        seen['x'] = given[0] if given else named['pixel_values']

    hook = module.register_forward_pre_hook(keep, with_kwargs=True)
    call()
    hook.remove()
    return seen['x']


def pairs():
    "Configs with a body and a classifier, and a processor each."
    mobile = transformers.MobileViTConfig(**MOBILEVIT)
    blue_first = transformers.MobileViTImageProcessor(size={'shortest_edge': 64}, crop_size=SQUARE)
    twice = transformers.EfficientNetImageProcessor(size=SQUARE)
    offset = transformers.EfficientNetImageProcessor(
        size=SQUARE, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False
    )
    net = transformers.EfficientNetConfig(**EFFICIENT)
    small = transformers.ViTConfig(**SMALL_VIT)
    signed = transformers.ViTImageProcessor(
        size=SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3
    )
    bytes_ = transformers.ViTImageProcessor(size=SQUARE, do_rescale=False, do_normalize=False)
    return {
        'blue first': ('MobileViT', mobile, blue_first),
        'divided twice': ('EfficientNet', net, twice),
        'with an offset': ('EfficientNet', net, offset),
        'from -1 to 1': ('ViT', small, signed),
        'bytes': ('ViT', small, bytes_),
        'cut out': ('ViT', small, transformers.BitImageProcessor(**CUT)),
    }


@pytest.mark.parametrize('case', pairs())
def test_backbone_and_target_are_fed_what_the_processor_makes(case, tmp_path):
    "Else heads are fitted on, and attacks aimed at, colours that the network has never seen."
    kind, config, processor = pairs()[case]
    for part, load in (('Model', load_backbone), ('ForImageClassification', load_target)):
        model = getattr(transformers, kind + part)(config)
        net = load(saved(tmp_path / part, model, processor))
        assert net.size == 64
        want = transformers.AutoImageProcessor.from_pretrained(tmp_path / part)(
            [NOISE], do_resize=False, return_tensors='pt'
        )['pixel_values']
        call = net.features if part == 'Model' else net
        inner = net.net if part == 'Model' else net.model
        got = fed(inner, lambda call=call: call(to_batch([NOISE], 64)))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_segmenter_is_fed_what_its_processor_makes(tmp_path, monkeypatch):
    "Else masks are worse than the model can do, and nobody knows why."
    processor = transformers.SegformerImageProcessor(
        size=SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[0.5] * 3
    )
    folder = segformer(tmp_path, processor=processor)
    scores, size, _ = load_pixel_scores(folder, device='cpu')
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(folder)
    with torch.inference_mode():
        want = model.eval()(**processor([NOISE], return_tensors='pt')).logits
    assert size == 64
    np.testing.assert_allclose(scores(NOISE[None]), want, atol=1e-5)


def test_a_universal_segmenter_of_any_scale_is_not_padded(tmp_path):
    "Else a processor's black border is segmented with the photograph."
    backbone = transformers.SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, image_size=64,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'])  # fmt: skip
    config = transformers.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=transformers.DetrConfig(
            d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8,
            encoder_attention_heads=2, decoder_attention_heads=2, num_queries=5),
        fpn_feature_size=32, mask_feature_size=32, id2label=VOC)  # fmt: skip
    model = transformers.MaskFormerForInstanceSegmentation(config)
    limit = {'shortest_edge': 66, 'longest_edge': 264}
    processor = transformers.MaskFormerImageProcessor(size=limit)
    saved(tmp_path, model, processor)
    scores, size, _ = load_pixel_scores(str(tmp_path), device='cpu')
    assert size == 96  # MaskFormer's rounds up to multiples of 32
    assert coloured(processor, np.zeros((1, 70, 70, 3), np.uint8)).shape == (1, 3, 70, 70)
    segment = load_segmenter(str(tmp_path), device='cpu', scales=(0.75, 1.1))
    assert segment([NOISE])[0].shape == (64, 64)


def test_a_detector_sees_the_same_alone_and_in_company(tmp_path):
    "Else boxes depend on which photographs lie beside one."
    look, _ = load_detector(yolos(tmp_path), device='cpu')
    wide = np.random.default_rng(2).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    alone, (first, second, third) = look([NOISE])[0], look([NOISE, wide, NOISE])
    for mine, together, again in zip(alone, first, third, strict=True):
        np.testing.assert_allclose(mine, together, atol=1e-4)
        np.testing.assert_allclose(mine, again, atol=1e-4)
    np.testing.assert_allclose(second[2], look([wide])[0][2], atol=1e-3)
    assert abs(second[2] - alone[2]).max() > 1e-2  # they are two pictures


@pytest.mark.parametrize('shape', [(1, 1, 3), (1, 3, 3), (3, 1, 3), (3, 3, 3)])
def test_pictures_of_three_pixels_get_an_answer(shape, tmp_path):
    "Else one tiny picture stops an album."
    picture = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        look, _ = load_detector(yolos(tmp_path / 'yolos'), device='cpu')
        segment = load_segmenter(segformer(tmp_path / 'segformer'), device='cpu')
    boxes = look([picture])[0][2]
    assert np.isfinite(boxes).all()
    mask = segment([picture])[0]
    assert mask.shape == shape[:2] and mask.dtype == np.uint8
    net = load_backbone(vit(tmp_path / 'vit', kind='ViTModel'))
    assert torch.isfinite(net.features(to_batch([picture], net.size))).all()


def test_a_picture_of_impossible_shape_is_refused_with_its_size(tmp_path):
    "Else a strip of a picture ends in a library's own words."
    look, _ = load_detector(yolos(tmp_path / 'yolos'), device='cpu')
    assert '3 x 4000 pixels' in refusal(look, [np.zeros((3, 4000, 3), np.uint8)])


def test_rows_are_not_taken_for_colours(tmp_path):
    """Else a picture of three rows is seen in false colours.

    transformers reads a picture of 3 rows and 3 columns as colours first, unless it is told."""
    processor = transformers.YolosImageProcessor(size={'height': 3, 'width': 3})
    picture = np.zeros((3, 3, 3), np.uint8)
    picture[..., 0] = 255  # red
    red, green, blue = coloured(processor, picture[None])[0]
    assert (red > 2).all() and (green < -2).all() and (blue < -1.7).all()


# weights -----------------------------------------------------------------------------------------


def spoil_weights(folder, change):
    file = Path(folder) / 'model.safetensors'
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={'format': 'pt'})


def spoil_json(folder, file='config.json', **changes):
    path = Path(folder) / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(load, *args, **named):
    "What a refusal says; it is a sentence of a page at most, and comes at once."
    start = time.monotonic()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(*args, **named)
    said = str(caught.value)
    assert time.monotonic() - start < 10
    assert len(said) < 900, said
    return said


def test_one_missing_weight_is_too_many(tmp_path):
    "Else a model with a random layer answers as if it were whole."
    folder = vit(tmp_path)
    spoil_weights(folder, lambda weights: weights.pop('vit.layernorm.weight'))
    for load in (load_backbone, load_target):
        assert 'has no weights for' in refusal(load, folder)
    assert 'has no weights for' in refusal(load_trainable, segment_less(tmp_path / 'body'), 64)


def segment_less(folder):
    "A segmenter whose body lacks a weight."
    segformer(folder)
    spoil_weights(folder, lambda weights: weights.pop(min(weights)))
    assert min(load_file(folder / 'model.safetensors')).startswith('decode_head')
    key = min(k for k in load_file(folder / 'model.safetensors') if k.startswith('segformer.'))
    spoil_weights(folder, lambda weights: weights.pop(key))
    return str(folder)


def test_a_folder_for_something_else_is_no_segmenter(tmp_path):
    "Else a classifier with a random head paints masks."
    classifier = vit(tmp_path / 'vit')
    body = saved(
        tmp_path / 'body',
        transformers.SegformerModel(transformers.SegformerConfig(**SEGFORMER)),
        transformers.SegformerImageProcessor(size=SQUARE),
    )
    mobile = saved(
        tmp_path / 'mobile',
        transformers.MobileNetV2ForImageClassification(
            transformers.MobileNetV2Config(depth_multiplier=0.35)
        ),
        transformers.MobileNetV2ImageProcessor(),
    )
    assert 'has no weights for' in refusal(load_segmenter, body, device='cpu')
    assert 'has no weights for' in refusal(load_segmenter, mobile, device='cpu')
    assert 'cannot be loaded' in refusal(load_segmenter, classifier, device='cpu')
    assert 'cannot be loaded' in refusal(load_detector, classifier, device='cpu')
    assert 'has no weights for' in refusal(load_target, vit(tmp_path / 'b', kind='ViTModel'))
    load_trainable(mobile, 65)  # a new head is what it is for
    load_trainable(body, 64)


def test_weights_of_another_shape_are_refused_with_the_cause(tmp_path):
    "Else a changed list of names leaves a random head."
    folder = vit(tmp_path, {0: 'cat', 1: 'dog', 2: 'cow'})
    spoil_json(folder, id2label={'0': 'cat', '1': 'dog'}, label2id={'cat': 0, 'dog': 1})
    said = refusal(load_target, folder)
    assert 'other shapes' in said and 'id2label' in said


@pytest.mark.parametrize(
    'names',
    [
        {'0': 'cat', '1': 'dog', '3': 'cow'},
        {'1': 'cat', '2': 'dog', '3': 'cow'},
        {'0': 'cat', '1': 'dog', '-1': 'cow'},
        {'0': 'cat', '1': 'dog', '2': ['cow']},
        {'cat': 0, 'dog': 1, 'cow': 2},
    ],
)
def test_classes_that_are_not_numbered_through_are_refused(names, tmp_path):
    "Else cats are called dogs because the list of names has a gap."
    folder = vit(tmp_path, {0: 'cat', 1: 'dog', 2: 'cow'})
    spoil_json(folder, id2label=names)
    refusal(load_target, folder)


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(value, tmp_path):
    "Else a training that went to NaN answers with the first class everywhere."
    folder = vit(tmp_path)
    spoil_weights(folder, lambda weights: weights['classifier.bias'].fill_(value))
    assert 'NaN or infinite' in refusal(load_target, folder)


@pytest.mark.parametrize(
    'changes',
    [
        {'num_hidden_layers': 10**9},
        {'hidden_size': 10**9},
        {'image_size': 10**6},
        {'hidden_size': '16'},
        {'hidden_size': -16},
        {'num_attention_heads': 0},
        {'model_type': 'no such model'},
        {'model_type': ['vit']},
        {'auto_map': {'AutoConfig': 'x.Y'}, 'model_type': 'mine'},
        {'hidden_act': 'x' * 10_000},
    ],
)
def test_a_config_that_cannot_be_built_is_refused_at_once(changes, tmp_path):
    "Else a forged model takes all the memory, or runs its own code."
    folder = vit(tmp_path)
    spoil_json(folder, **changes)
    refusal(load_target, folder)
    refusal(load_backbone, folder)


def test_the_largest_models_that_see_are_not_taken_for_forged():
    "Else the best models there are are refused for their size."
    for config in (
        transformers.ViTConfig(
            hidden_size=6144, num_hidden_layers=48, intermediate_size=24576, num_attention_heads=48
        ),
        transformers.SiglipConfig(),
        transformers.Mask2FormerConfig(),
        transformers.DetrConfig(
            backbone_config=transformers.ResNetConfig(out_features=['stage4'])
        ),
        transformers.CLIPConfig(),
    ):
        check_config(config, 'a/b')


@pytest.mark.parametrize(
    'file, content',
    [
        ('config.json', b''),
        ('config.json', b'[]'),
        ('config.json', b'{"a":' * 100_000),
        ('config.json', b'\xff\xfe\x00'),
        ('model.safetensors', b'abc'),
        ('model.safetensors', (2**60).to_bytes(8, 'little') + b'{}'),
        ('preprocessor_config.json', b'{"image_processor_type": "NoSuch"}'),
        ('preprocessor_config.json', b'{"image_processor_type": "ViTImageProcessor", "size": "x"}'),
        ('preprocessor_config.json', b'{'),
    ],
)
def test_damaged_files_of_a_model_are_named(file, content, tmp_path):
    "Else a download that was cut off ends in a library's own words."
    folder = vit(tmp_path)
    Path(folder, file).write_bytes(content)
    said = refusal(load_target, folder)
    assert str(tmp_path) in said and 'target' in said
    refusal(load_backbone, folder)


@pytest.mark.parametrize('file', ['config.json', 'model.safetensors', 'preprocessor_config.json'])
def test_missing_files_of_a_model_are_named(file, tmp_path):
    "Else a half-copied model ends in a library's own words."
    folder = vit(tmp_path)
    Path(folder, file).unlink()
    assert str(tmp_path) in refusal(load_backbone, folder)


@pytest.mark.parametrize('sides', [{'height': 10**7, 'width': 10**7}, {'height': 0, 'width': 0}])
def test_a_processor_of_no_reasonable_size_is_refused(sides, tmp_path):
    "Else a forged size takes all the memory."
    folder = vit(tmp_path)
    spoil_json(folder, 'preprocessor_config.json', size=sides)
    refusal(load_backbone, folder)
    refusal(load_target, folder)


def test_names_that_are_no_folders_are_refused_by_what_they_are(tmp_path):
    "Else a mistyped path is asked for at the hub."
    file = tmp_path / 'model.safetensors'
    file.touch()
    assert 'is a file' in refusal(load_backbone, str(file))
    assert 'there is no folder' in refusal(load_backbone, './' + 'x' * 5000)
    assert 'no folder' in refusal(load_backbone, '/no/such')


# towers and other backbones ----------------------------------------------------------------------

TOWER = {
    'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16,
}  # fmt: skip
WORDS = {**TOWER, 'vocab_size': 50, 'bos_token_id': 1, 'eos_token_id': 2, 'pad_token_id': 1}


@pytest.mark.parametrize('kind', ['CLIP', 'Siglip', 'ChineseCLIP', 'Blip'])
def test_text_and_image_models_give_their_vision_tower(kind, tmp_path):
    "Else CLIP and its like cannot serve as backbones, or answer from the wrong layer."
    size = 64
    config = getattr(transformers, f'{kind}Config')(
        text_config=WORDS, vision_config={**TOWER, 'image_size': size, 'patch_size': 16}
    )
    model = getattr(transformers, f'{kind}Model')(config).eval()
    processor = transformers.CLIPImageProcessor(size={'shortest_edge': size}, crop_size=SQUARE)
    net = load_backbone(saved(tmp_path, model, processor))
    x = to_batch([NOISE], size)
    want = processor([NOISE], return_tensors='pt')['pixel_values']
    with torch.inference_mode():
        tokens = model.vision_model(pixel_values=want).last_hidden_state
        found = net.features(x)
    summary = tokens.mean(1) if kind == 'Siglip' else tokens[:, 0]  # it has no class token
    assert (net.width, net.size) == (16, size)
    np.testing.assert_allclose(found, summary, atol=1e-5)


def test_backbones_that_give_no_features_are_refused(tmp_path):
    "Else a head is fitted on numbers that differ each time."
    masked = transformers.ViTMAEConfig(
        **SMALL_VIT, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=16)  # fmt: skip
    folder = saved(
        tmp_path / 'mae',
        transformers.ViTMAEModel(masked),
        transformers.ViTImageProcessor(size=SQUARE),
    )
    assert 'something else each time' in refusal(load_backbone, folder)
    text = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        vocab_size=50)  # fmt: skip
    folder = saved(
        tmp_path / 'bert',
        transformers.BertModel(text),
        transformers.ViTImageProcessor(size=SQUARE),
    )
    assert 'images' in refusal(load_backbone, folder)


# names -------------------------------------------------------------------------------------------

SAME_NAMES = {
    'COCO': {'airplane': 'aeroplane', 'motorcycle': 'motorbike', 'potted plant': 'pottedplant',
             'dining table': 'diningtable', 'couch': 'sofa', 'tv': 'tvmonitor', 'cow': 'cow',
             'truck': None, 'hot dog': None, 'teddy bear': None, 'kite': None, 'bench': None,
             'cat': 'cat', 'wine glass': None, 'sheep': 'sheep', 'table-merged': None},
    'ADE20K': {'person, individual, someone, somebody, mortal, soul': 'person',
               'plant, flora, plant life': 'pottedplant', 'sofa, couch, lounge': 'sofa',
               'car, auto, automobile, machine, motorcar': 'car', 'armchair': 'chair',
               'swivel chair': 'chair', 'boat': 'boat', 'ship': 'boat', 'van': 'car',
               'airplane, aeroplane, plane': 'aeroplane', 'minibike, motorbike': 'motorbike',
               'television receiver, television, television set, tv': 'tvmonitor',
               'monitor, monitoring device': 'tvmonitor', 'crt screen': 'tvmonitor',
               'table': 'diningtable', 'coffee table, cocktail table': None, 'stool': None,
               'pool table, billiard table, snooker table': None, 'seat': None, 'desk': None,
               'bus, autobus, coach, charabanc': 'bus', 'bicycle, bike, wheel, cycle': 'bicycle',
               'truck, motortruck': None, 'animal, animate being, beast': None, 'bottle': 'bottle',
               'screen, silver screen, projection screen': None, 'horse': 'horse'},
    'Objects365': {'Dinning Table': 'diningtable', 'Monitor/TV': 'tvmonitor', 'Wild Bird': 'bird',
                   'SUV': 'car', 'Sports Car': 'car', 'Van': 'car', 'Sailboat': 'boat',
                   'Potted Plant': 'pottedplant', 'Motorcycle': 'motorbike', 'Couch': 'sofa',
                   'Pigeon': 'bird', 'Duck': 'bird', 'Donkey': 'horse', 'Coffee Table': None,
                   'Pickup Truck': None, 'Stool': None, 'Fire Truck': None, 'Hot-air balloon': None,
                   'Other Fish': None, 'Cabinet/shelf': None, 'Stuffed Toy': None, 'Crane': None},
    'Open Images': {'Houseplant': 'pottedplant', 'Kitchen & dining room table': 'diningtable',
                    'Television': 'tvmonitor', 'Computer monitor': 'tvmonitor', 'Man': 'person',
                    'Woman': 'person', 'Girl': 'person', 'Boy': 'person', 'Cattle': 'cow',
                    'Sofa bed': 'sofa', 'Studio couch': 'sofa', 'Loveseat': 'sofa', 'Taxi': 'car',
                    'Limousine': 'car', 'Canoe': 'boat', 'Owl': 'bird', 'Human hand': None,
                    'Goat': None, 'Tiger': None, 'Ambulance': None, 'Helicopter': None},
    'Cityscapes': {'person': 'person', 'rider': 'person', 'car': 'car', 'truck': None, 'bus': 'bus',
                   'train': 'train', 'motorcycle': 'motorbike', 'bicycle': 'bicycle',
                   'caravan': None, 'trailer': None, 'vegetation': None},
    'ImageNet': {'tabby, tabby cat': 'cat', 'Egyptian cat': 'cat', 'golden retriever': 'dog',
                 'Chihuahua': 'dog', 'dingo, warrigal, warragal, Canis dingo': None,
                 'tiger, Panthera tigris': None, 'hen': 'bird', 'king penguin': 'bird',
                 "plane, carpenter's plane, woodworking plane": None, 'crane': None,
                 'airliner': 'aeroplane', 'cab, hack, taxi, taxicab': 'car', 'sorrel': 'horse',
                 'moped': 'motorbike', 'studio couch, day bed': 'sofa', 'monitor': 'tvmonitor',
                 'passenger car, coach, carriage': None, 'cardigan': None, 'zebra': None,
                 'Cardigan, Cardigan Welsh corgi': None, 'ambulance': None, 'wine bottle': 'bottle',
                 'dining table, board': 'diningtable', 'hotdog, hot dog, red hot': None},
}  # fmt: skip


@pytest.mark.parametrize('source', SAME_NAMES)
def test_other_data_sets_names_are_understood_or_left_alone(source):
    "Else a model's couches are no sofas, or its hot dogs are dogs."
    for theirs, ours in SAME_NAMES[source].items():
        assert voc_name(theirs) == ours, theirs


def test_voc_names_are_their_own_names():
    "Else a model of VOC itself is not understood."
    for name in VOC_CLASSES:
        assert voc_name(name) == voc_name(name.upper()) == name
    for name in ('', '7', ' , ', 'background', 'void', 'N/A', 'LABEL_3'):
        assert voc_name(name) is None


@pytest.mark.parametrize(
    'names',
    [{}, {-1: 'cat'}, {'x': 'cat'}, {10**12: 'cat'}, {'9' * 400: 'cat'}, {0: 7}, {0: 'tree'}],
)
def test_tables_of_names_that_are_none_are_refused(names):
    "Else a model without names answers with classes at random."
    refusal(label_table, names)


def test_a_loader_says_what_a_model_cannot_give(tmp_path):
    "Else nobody says that a model knows no sofas, and the score of sofas is 0."
    assert say_missing(VOC, 'x') == []
    with pytest.warns(UserWarning, match='has no class for aeroplane, bicycle, .*, sofa'):
        load_detector(yolos(tmp_path / 'a'), device='cpu')
    with pytest.warns(UserWarning, match='no class for sofa, and so'):
        load_segmenter(
            segformer(tmp_path / 'b', {k: 'bed' if v == 'sofa' else v for k, v in VOC.items()}),
            device='cpu',
        )
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        load_segmenter(segformer(tmp_path / 'c'), device='cpu')


# what a detector says ----------------------------------------------------------------------------


def test_labels_that_are_no_class_are_dropped_and_the_order_of_the_rest_kept():
    """Else a detector's "no object" becomes a cat."""
    table = label_table({0: 'cat', 1: 'tree', 2: 'dog'})
    found = [-1, -2, 0, 1, 2, 3, 80], np.linspace(0.9, 0.3, 7), np.zeros((7, 4))
    assert [row[1] for row in voc_boxes('a', found, table, 0.05)] == ['cat', 'dog']
    floats = np.array([0.0, 2.0]), np.array([0.5, 0.6]), np.zeros((2, 4))
    assert [row[1] for row in voc_boxes('a', floats, table, 0.05)] == ['dog', 'cat']
    none = np.zeros(0, int), np.zeros(0), np.zeros((0, 4))
    assert voc_boxes('a', none, table, 0.05) == []


@pytest.mark.parametrize('score', [-0.1, 1.5, 12.0, np.nan, np.inf])
def test_scores_that_are_no_probabilities_are_refused(score):
    "Else logits are taken for probabilities, and everything is sure."
    def look(images):
        return [([1], np.array([score]), np.ones((1, 4))) for _ in images]

    said = refusal(detect, toy_voc(2), (look, {0: 'tree', 1: 'cat'}))
    assert 'scores from 0 to 1' in said


def test_boxes_that_are_none_are_refused():
    "Else boxes of another form are drawn and counted as nonsense."
    table = label_table({0: 'cat'})
    for boxes in (np.zeros((2, 4)), np.zeros((1, 3)), np.full((1, 4), np.nan)):
        refusal(voc_boxes, 'a', ([0], [0.5], boxes), table, 0.05)


def test_segments_that_are_no_class_are_background():
    "Else a panoptic model's unknown stuff becomes a class."
    where = np.array([[1, 2, 3]])
    segments = [{'id': i, 'label_id': label} for i, label in ((1, -1), (2, 0), (3, 9))]
    assert panoptic_to_voc(where, segments, {0: 'cat', 1: 'dog'}).tolist() == [[0, 8, 0]]


# our own folders ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def heads(tmp_path_factory):
    "A classifier of a backbone and heads, saved."
    folder = tmp_path_factory.mktemp('heads') / 'mine'
    both = Heads([Head(2560), Head(2560)]).eval()
    save_classifier(folder, Classifier(load_backbone(), both, 0.4))
    return folder


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    "A Keras classifier, saved."
    folder = tmp_path_factory.mktemp('network') / 'mine'
    save_classifier(folder, KerasClassifier(build_cnn(63, width=0.1), 'sigmoid', 0.3))
    return folder


@pytest.fixture(scope='module')
def unet(tmp_path_factory):
    "A U-Net, saved."
    folder = tmp_path_factory.mktemp('unet') / 'mine'
    how = {'size': 32, 'filters': [8], 'bottleneck': 8}
    save_keras(folder, build_unet(**how), 'build_unet', **how)
    return folder


@pytest.fixture(scope='module')
def decoder(tmp_path_factory):
    "A decoder, saved."
    folder = tmp_path_factory.mktemp('decoder') / 'mine'
    save_decoder(folder, PyramidSegmenter(load_backbone(), Decoder().eval(), 64))
    return folder


def copy(folder, tmp_path, file=None, content=None, drop=(), **changes):
    "A copy of a saved model with a JSON or a file that is changed."
    new = shutil.copytree(folder, tmp_path / 'copy')
    about = next(p for p in new.glob('*.json'))
    old = json.loads(about.read_text())
    about.write_text(json.dumps({k: v for k, v in (old | changes).items() if k not in drop}))
    if file:
        (new / file).write_bytes(content)
    return new


def test_whole_folders_are_read(heads, network, unet, decoder):
    "Else the checks of damaged models refuse sound ones, too."
    assert load_classifier(heads).threshold == 0.4
    assert load_classifier(network).scores([NOISE]).shape == (1, 20)
    assert load_segmenter(unet)([NOISE])[0].shape == (64, 64)
    assert load_segmenter(decoder, device='cpu')([NOISE])[0].shape == (64, 64)


def test_a_network_of_keras_as_target_is_refused_in_words(network):
    "Else an attack on it ends in a traceback after everything else was made."
    assert 'network of Keras' in refusal(load_target, str(network))


WRONG = [
    {'threshold': 40},
    {'threshold': '0.4'},
    {'threshold': float('nan')},
    {'threshold': True},
    {'threshold': None},
    {'threshold': [0.4]},
    {'drop': ['threshold']},
    {'classes': [*reversed(VOC_CLASSES)]},
    {'classes': 20},
    {'drop': ['classes']},
    {'recipe': 'guess'},
    {'recipe': ['sigmoid']},
]


@pytest.mark.parametrize('changes', WRONG)
@pytest.mark.parametrize('kind', ['heads', 'network'])
def test_classifier_json_is_checked_whole(kind, changes, request, tmp_path):
    "Else an edited classifier.json gives labels by a threshold or an order that nobody chose."
    folder = copy(request.getfixturevalue(kind), tmp_path, **changes)
    assert 'classifier.json' in refusal(load_classifier, folder)


@pytest.mark.parametrize('content', [b'', b'[1]', b'{"a":' * 100_000, b'\xff', b'{' + b' ' * 2**21])
def test_json_that_is_none_is_refused_by_name(content, heads, unet, tmp_path):
    "Else a file that was cut off ends in a traceback."
    folder = copy(heads, tmp_path, 'classifier.json', content)
    assert 'cannot be read as JSON' in (
        said := refusal(load_classifier, folder)
    ) or 'expected names' in said
    folder = copy(unet, tmp_path / 'unet', 'segmenter.json', content)
    assert 'segmenter.json' in refusal(load_segmenter, folder)


@pytest.mark.parametrize(
    'changes', [{'backbone': 7}, {'backbone': ''}, {'weights': None}, {'weights': 'another'}]
)
def test_heads_of_another_backbone_are_refused(changes, heads, tmp_path):
    "Else heads answer from features that they have never seen."
    refusal(load_classifier, copy(heads, tmp_path, **changes))


def test_damaged_heads_are_refused_by_name(heads, tmp_path):
    "Else a classifier with lost or random weights answers as if it were whole."
    assert 'head.safetensors' in refusal(
        load_classifier, copy(heads, tmp_path / 'a', 'head.safetensors', b'abc')
    )
    weights = load_file(heads / 'head.safetensors')
    key = min(weights)
    for name, other in {
        'nan': weights | {key: torch.full_like(weights[key], torch.nan)},
        'lost': {k: v for k, v in weights.items() if k != key},
        'narrow': {k: v[..., :7].contiguous() for k, v in weights.items()},
        'strange': {'x': torch.ones(2)},
    }.items():
        folder = copy(heads, tmp_path / name)
        save_file(other, folder / 'head.safetensors')
        assert 'head.safetensors' in refusal(load_classifier, folder), name
    folder = copy(heads, tmp_path / 'none')
    (folder / 'head.safetensors').unlink()
    assert 'head.safetensors' in refusal(load_classifier, folder)


def test_damaged_keras_files_are_refused_by_name(network, unet, tmp_path):
    "Else a network with lost weights or other classes answers as if it were whole."
    folder = copy(network, tmp_path / 'a', 'model.keras', b'x')
    assert 'model.keras' in refusal(load_classifier, folder)
    other = KerasClassifier(build_cnn(63, 7, 0.1), 'sigmoid', 0.3)
    save_classifier(tmp_path / 'seven', other)
    assert 'must take pictures' in refusal(load_classifier, tmp_path / 'seven')
    broken = KerasClassifier(build_cnn(63, width=0.1), 'sigmoid', 0.3)
    broken.model.set_weights([np.full_like(w, np.nan) for w in broken.model.get_weights()])
    save_classifier(tmp_path / 'nan', broken)
    assert 'NaN' in refusal(load_classifier, tmp_path / 'nan')
    folder = copy(network, tmp_path / 'gone')
    (folder / 'model.keras').unlink()
    assert 'model.keras' in refusal(load_classifier, folder)
    for content in (b'', b'not HDF5' * 99):
        folder = copy(unet, tmp_path / f'h5-{len(content)}', 'model.weights.h5', content)
        assert 'model.weights.h5' in refusal(load_segmenter, folder)


def test_a_keras_recipe_of_no_reasonable_size_is_refused(network, tmp_path):
    "Else a forged model takes all the memory."
    from zipfile import ZipFile

    folder = copy(network, tmp_path)
    with ZipFile(network / 'model.keras') as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts['config.json'] = parts['config.json'].replace(b'"filters": 10', b'"filters": 1000000000')
    assert b'1000000000' in parts['config.json']
    with ZipFile(folder / 'model.keras', 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert '1000000000' in refusal(load_classifier, folder)


@pytest.mark.parametrize(
    'arguments',
    [
        {'size': 10**9},
        {'size': 0},
        {'size': 33},
        {'size': 'big'},
        {'filters': [10**6]},
        {'filters': [8] * 50},
        {'n_classes': 5},
        {'filters': [8, 8]},
        {'bottleneck': 16},
        {'norm': False},
        {'kernel': 3},
        {'nonsense': 1},
        {'encoder_weights': 'imagenet'},
    ],
)
def test_segmenter_json_is_checked_whole(arguments, unet, tmp_path):
    "Else an edited segmenter.json builds another network, or takes all the memory."
    how = {'size': 32, 'filters': [8], 'bottleneck': 8} | arguments
    assert 'segmenter' in refusal(load_segmenter, copy(unet, tmp_path, arguments=how))


@pytest.mark.parametrize(
    'changes',
    [{'build': 'rm -rf'}, {'build': None}, {'build': []}, {'arguments': []}, {'drop': ['build']}],
)
def test_a_segmenter_json_without_a_recipe_is_refused(changes, unet, tmp_path):
    "Else a saved model calls whatever function its file names."
    assert 'segmenter.json' in refusal(load_segmenter, copy(unet, tmp_path, **changes))


@pytest.mark.parametrize(
    'changes',
    [{'size': '64'}, {'size': 10**7}, {'size': 64.5}, {'classes': ['cat']}, {'backbone': None},
     {'kind': 'heavy'}, {'kind': []}],
)
def test_decoder_json_is_checked_whole(changes, decoder, tmp_path):
    "Else an edited segmenter.json builds another decoder, or takes all the memory."
    assert 'segmenter.json' in refusal(load_segmenter, copy(decoder, tmp_path, **changes))


def test_a_damaged_decoder_is_refused_by_name(decoder, tmp_path):
    "Else a decoder with lost or random weights paints masks as if it were whole."
    weights = load_file(decoder / 'decoder.safetensors')
    key = min(weights)
    for name, other in {
        'nan': weights | {key: torch.full_like(weights[key], torch.nan)},
        'lost': {k: v for k, v in weights.items() if k != key},
        'strange': {'x': torch.ones(2)},
    }.items():
        folder = copy(decoder, tmp_path / name)
        save_file(other, folder / 'decoder.safetensors')
        assert 'decoder.safetensors' in refusal(load_segmenter, folder, device='cpu'), name
    save_decoder(tmp_path / 'narrow', PyramidSegmenter(load_backbone(), Decoder((3, 4, 5)), 64))
    refusal(load_segmenter, tmp_path / 'narrow', device='cpu')


def test_errors_quote_little_of_what_came(tmp_path):
    "Else one damaged file fills the screen with its contents."
    folder = vit(tmp_path, {0: 'x' * 100_000, 1: 'cat'})
    spoil_json(folder, id2label={'0': 'x' * 100_000, '2': 'cat'})
    refusal(load_target, folder)
    refusal(load_backbone, 'a' * 100_000)
    refusal(label_table, {0: 'x' * 100_000})


def test_plain_processing_keeps_the_size():
    "Else masks do not fit the photographs they are of."
    for name in ('DetrImageProcessor', 'MaskFormerImageProcessor', 'ViTImageProcessor'):
        processor = getattr(transformers, name)()
        made = processor([NOISE], return_tensors='pt', **PLAIN)['pixel_values']
        assert made.shape == (1, 3, 64, 64)


def test_a_folder_has_no_commit_and_a_hub_model_has_one(tmp_path, monkeypatch):
    "Else a record does not say which state of a hub model was used."
    folder = vit(tmp_path / 'snapshots' / ('a' * 40))
    assert hub_commit(folder) == ''
    commit = '0123456789' * 4

    def kept(name, file, revision):
        assert (name, file, revision) == ('a/b', 'config.json', 'v1')
        return f'/cache/models--a--b/snapshots/{commit}/config.json'

    monkeypatch.setattr(transformers.utils, 'cached_file', kept)
    assert hub_commit('a/b', 'v1') == commit
