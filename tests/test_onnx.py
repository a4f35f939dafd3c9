"Segmenters exported to ONNX: they answer as in torch, at any size; nothing else is believed."

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import ROOT, tiny_segformer

from voc_cv import nets
from voc_cv.attack import load_segmenter_target, load_target
from voc_cv.classify import segmenter_scores
from voc_cv.data import VOC_CLASSES, open_voc, toy_voc
from voc_cv.nets import export_onnx, load_pixel_scores
from voc_cv.run import main
from voc_cv.segment import load_segmenter, load_trainable

pytest.importorskip('onnx')
SHARED = ROOT.parent / 'shared'
MODEL, PHOTOGRAPHS = SHARED / 'weights/deeplabv3_mobilenet_v2_voc', SHARED / 'data/voc'
AT_HAND = MODEL.is_dir() and PHOTOGRAPHS.is_dir()
TOYS = toy_voc(3)
IMAGES = [s.image for s in TOYS]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return str(tiny_segformer(tmp_path_factory.mktemp('torch')))


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
    "An export that no test changes."
    out = tmp_path_factory.mktemp('onnx') / 'export'
    export_onnx(model, out)
    return str(out)


@pytest.fixture
def copy(folder, tmp_path):
    "An export to be damaged."
    for file in Path(folder).iterdir():
        (tmp_path / 'copy' / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / 'copy' / file.name).write_bytes(file.read_bytes())
    return tmp_path / 'copy'


def otherwise(one, other):
    "The share of pixels of another class."
    pairs = [*zip(one, other, strict=True)]
    return sum((a != b).sum() for a, b in pairs) / sum(a.size for a, _ in pairs)


@pytest.mark.parametrize('how', [{}, {'flip': True, 'scales': (0.5, 1.0, 1.27)}])
def test_masks_are_those_of_torch(model, folder, how):
    "Else an export is quick and wrong."
    masks = [load_segmenter(name, device='cpu', **how)(IMAGES) for name in (model, folder)]
    assert len({int(v) for m in masks[0] for v in np.unique(m)}) > 1
    assert otherwise(*masks) < 1e-3


def test_a_witness_says_what_it_says_in_torch(model, folder):
    "Else the labels of an exported segmenter are others."
    said = [segmenter_scores(TOYS, name, device='cpu', scales=(0.8, 1.0))
            for name in (model, folder)]  # fmt: skip
    np.testing.assert_allclose(*said, atol=1e-5)


def test_what_is_written_says_where_it_is_from(model, folder):
    "Else nobody knows from which model a folder was made."
    about = json.loads((Path(folder) / 'export.json').read_text())
    assert about['made_from'] == Path(model).name and about['any_size'] and about['int8'] is None
    assert about['kind'] == 'SegformerForSemanticSegmentation' and about['error'] < 1e-5
    card = (Path(folder) / 'README.md').read_text()
    assert 'library_name: onnx' in card and '64 x 64 is its own' in card
    assert str(Path(model).parent) not in card + json.dumps(about)


def mobilenet():
    names = dict(enumerate(['background', *VOC_CLASSES]))
    config = transformers.MobileNetV2Config(depth_multiplier=0.1, output_stride=16, id2label=names)
    processor = transformers.MobileNetV2ImageProcessor(
        size={'height': 65, 'width': 65}, do_center_crop=False
    )
    model = transformers.MobileNetV2ForSemanticSegmentation(config)
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)  # else all that comes out is 0
    return model, processor


def upernet():
    body = transformers.ConvNextConfig(
        hidden_sizes=[8] * 4, depths=[1] * 4, out_features=[f'stage{i}' for i in range(1, 5)]
    )
    config = transformers.UperNetConfig(
        backbone_config=body, hidden_size=16, pool_scales=[1, 2], use_auxiliary_head=False,
        id2label={0: 'wall', 1: 'couch', 2: 'person'})  # fmt: skip
    processor = transformers.SegformerImageProcessorPil(size={'height': 64, 'width': 64})
    return transformers.UperNetForSemanticSegmentation(config), processor


def saved(make, folder):
    torch.manual_seed(0)
    for part in make():
        part.save_pretrained(folder)
    return str(folder)


def test_a_network_that_fills_up_as_tensorflow_does_holds_at_every_size(tmp_path, monkeypatch):
    """Else an exported MobileNet is right at one size and wrong at the next.

    Odd and even maps are filled up in other ways; what was traced at 65 must hold at 64."""
    name = saved(mobilenet, tmp_path / 'torch')
    assert export_onnx(name, tmp_path / 'onnx')['any_size']
    both = [load_pixel_scores(f, device='cpu')[0] for f in (name, tmp_path / 'onnx')]
    for side in (33, 64, 65, 98):
        squares = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        torchs, onnxs = (scores(squares) for scores in both)
        assert torchs.std() > 1e-2
        np.testing.assert_allclose(onnxs, torchs, atol=1e-3 * float(torchs.std()))
    monkeypatch.setattr(nets, 'fill_up', lambda model: None)
    assert not export_onnx(name, tmp_path / 'onnx')['any_size']


def test_a_network_that_counts_on_its_size_says_so(tmp_path):
    "Else an export answers nonsense at another size, without a word."
    name = saved(upernet, tmp_path / 'torch')
    with pytest.warns(UserWarning, match='has no class for'):
        assert not export_onnx(name, tmp_path / 'onnx')['any_size']
        masks = [load_segmenter(f, device='cpu')(IMAGES) for f in (name, tmp_path / 'onnx')]
        smaller = load_segmenter(tmp_path / 'onnx', device='cpu', scales=(0.75,))
    assert otherwise(*masks) < 1e-3
    with pytest.raises(ValueError, match='was exported for squares of 64 pixels alone, not 48'):
        smaller(IMAGES)


def test_bytes_say_nearly_the_same(model, folder, tmp_path):
    "Else int8 is quick and its masks are worth nothing."
    about = export_onnx(model, tmp_path / 'bytes', int8=IMAGES)
    assert about['int8']['images'] == 3 and 0 <= about['int8']['changed'] < 0.2
    assert b'QuantizeLinear' in (tmp_path / 'bytes/model.onnx').read_bytes()
    assert {f.name for f in (tmp_path / 'bytes').iterdir()} == {
        f.name for f in Path(folder).iterdir()
    }
    squares, _ = nets.to_squares(IMAGES, 64)
    for part in (squares, squares[:, :48, :48]):
        floats, bytes_ = (load_pixel_scores(f, device='cpu')[0](part).numpy().ravel()
                          for f in (folder, tmp_path / 'bytes'))  # fmt: skip
        assert np.corrcoef(floats, bytes_)[0, 1] > 0.98
        assert not np.array_equal(floats, bytes_)


def test_an_export_is_not_attacked_and_not_trained(folder, capsys):
    "Else an attack or a training fails deep inside, after minutes."
    for refuse in (load_target, lambda name: load_trainable(name, 64)):
        with pytest.raises(ValueError, match='only runs forwards'):
            refuse(folder)
    assert load_segmenter_target(folder) is None
    assert 'export is not attacked: it is an export to ONNX' in capsys.readouterr().out


def test_without_the_packages_it_is_said_what_to_install(model, folder, tmp_path, monkeypatch):
    "Else a user reads a traceback instead of what to install."
    monkeypatch.setattr(nets, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'voc_cv\[onnx\]'"):
        export_onnx(model, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    load_segmenter(folder, device='cpu')  # reading does not need it
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ValueError, match='pip install onnxruntime'):
        load_segmenter(folder, device='cpu')


def refusal(folder):
    "What is said against a folder."
    with pytest.raises(ValueError) as caught:
        load_segmenter(folder, device='cpu')
    assert len(str(caught.value)) < 900
    return str(caught.value)


def test_damaged_exports_are_refused_by_name(copy):
    "Else a damaged file ends in a crash or in wrong masks."
    network = copy / 'model.onnx'
    whole = network.read_bytes()
    middle = len(whole) // 2
    network.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert 'has changed since it was exported' in refusal(copy)
    (copy / 'export.json').write_text('{"onnx": ')
    assert 'cannot be read as JSON' in refusal(copy)
    (copy / 'export.json').unlink()  # as if another program had written it
    for bytes_ in (b'', b'no network', whole[:middle]):
        network.write_bytes(bytes_)
        assert 'cannot be read as an ONNX model' in refusal(copy)
    network.write_bytes(whole)
    assert load_segmenter(copy, device='cpu')(IMAGES[:1])[0].shape == IMAGES[0].shape[:2]


def test_other_networks_in_an_export_are_refused(copy):
    "Else a network of another kind answers as if it were a segmenter."
    (copy / 'export.json').unlink()
    about = json.loads((copy / 'config.json').read_text())
    names = {'0': 'background', '1': 'cat'}
    fewer = about | {'id2label': names, 'label2id': {v: int(k) for k, v in names.items()}}
    (copy / 'config.json').write_text(json.dumps(fewer))
    with pytest.warns(UserWarning):
        assert 'its config.json names 2 classes' in refusal(copy)
    (copy / 'config.json').write_text(json.dumps(about))
    torch.onnx.export(
        torch.nn.Conv2d(3, 21, 1), (torch.zeros(1, 3, 8, 8),), str(copy / 'model.onnx'),
        dynamo=False, input_names=['pictures'], output_names=['logits'])  # fmt: skip
    assert 'must take pixel_values' in refusal(copy)


def test_weights_of_torch_come_first(model, copy):
    """Else a folder of the hub that holds both is attacked or trained no more.

    A hub's folder may hold both; then nothing changes."""
    (copy / 'model.safetensors').write_bytes((Path(model) / 'model.safetensors').read_bytes())
    (copy / 'model.onnx').write_bytes(b'')
    assert nets.exported(copy) is None
    assert otherwise(*(load_segmenter(f, device='cpu')(IMAGES) for f in (model, copy))) == 0


def test_an_export_is_whole_or_not_there(model, copy, tmp_path, monkeypatch):
    "Else half a file passes for a model."
    before = {f.name: f.read_bytes() for f in copy.iterdir()}

    def full(file, pictures):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(nets, 'quantise', full)
    for out in (copy, tmp_path / 'new'):
        with pytest.raises(OSError):
            export_onnx(model, out, int8=IMAGES)
    assert {f.name: f.read_bytes() for f in copy.iterdir()} == before
    assert {f.name for f in tmp_path.iterdir()} == {'copy'}
    monkeypatch.undo()
    assert export_onnx(model, copy, int8=IMAGES)['int8']  # in the place of the old one


def test_nothing_but_an_export_is_replaced(model, folder, tmp_path):
    "Else somebody's own folder is lost."
    (tmp_path / 'letters').mkdir()
    (tmp_path / 'letters/to you.txt').write_text('dear')
    for out in (tmp_path / 'letters', tmp_path / 'letters/to you.txt', model):
        with pytest.raises(ValueError, match='is there already, and is no export'):
            export_onnx(model, out)
    assert (tmp_path / 'letters/to you.txt').read_text() == 'dear'
    with pytest.raises(ValueError, match='only runs forwards'):
        export_onnx(folder, tmp_path / 'again')


def test_what_cannot_be_written_is_told(model, tmp_path, monkeypatch):
    "Else an export that failed looks like one that is there."
    def fails(*args):
        raise RuntimeError('no such operator')

    monkeypatch.setattr(nets, 'write_onnx', fails)
    with pytest.raises(ValueError, match='cannot be exported to ONNX .*no such operator'):
        export_onnx(model, tmp_path / 'out')
    assert not [*tmp_path.iterdir()]


def test_the_command_exports_and_says_what_it_did(model, tmp_path, capsys):
    "Else the export can be had from Python alone."
    from PIL import Image

    Image.fromarray(IMAGES[0]).save(tmp_path / 'photo.png')
    words = ['export', model, str(tmp_path / 'out'), '--int8', str(tmp_path / 'photo.png')]
    assert main(words) == 0
    assert 'of the places have another class' in capsys.readouterr().out
    assert main(['export', model, str(tmp_path)]) == 2
    assert 'voc_cv export: out: ' in capsys.readouterr().err
    words = ['predict', str(tmp_path / 'photo.png'), '--segmenter', str(tmp_path / 'out')]
    assert main([*words, '--out', str(tmp_path / 'seen'), '--device', 'cpu']) == 0
    assert (tmp_path / 'seen/masks/photo.png').is_file()


@pytest.mark.skipif(not AT_HAND, reason='the real model and photographs are not at hand')
def test_real_masks_are_those_of_torch(tmp_path):
    "Else the real model that users export gives other masks."
    export_onnx(MODEL, tmp_path / 'onnx')
    data = open_voc(PHOTOGRAPHS, 'train', 4)
    images = [data.read_image(id) for id in data.ids]
    how = {'device': 'cpu', 'scales': (0.75, 1.0)}
    masks = [load_segmenter(name, **how)(images) for name in (MODEL, tmp_path / 'onnx')]
    assert otherwise(*masks) < 1e-3
