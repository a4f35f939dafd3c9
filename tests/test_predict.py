"Photographs of any kind: what is read of them, what is predicted, what is left after a kill."

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from conftest import BIN, ROOT, tiny_segformer
from PIL import Image

from voc_cv import photographs
from voc_cv.data import VOC_CLASSES, read_image, read_mask, read_photograph
from voc_cv.files import alone_in
from voc_cv.photographs import (
    Predictor,
    choose_settings,
    find_photographs,
    found_weights,
    joined,
    model_settings,
    open_photograph,
    predict,
    run_settings,
    stream,
    with_digests,
)
from voc_cv.run import main
from voc_cv.segment import load_segmenter

WITHOUT = os.environ | {'KERAS_BACKEND': 'torch'}  # without tensorflow, which takes long to load
STEPS = np.array([0, 85, 170, 255], np.uint8)  # what two bits can say


def png(bits, kind, rows, *chunks):
    "A PNG of these rows of bytes: kind 0 is grey, 2 RGB, 3 palette, 4 grey with alpha."
    pixels = len(rows[0]) * 8 // bits // {0: 1, 2: 3, 3: 1, 4: 2}[kind]

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', crc)

    head = struct.pack('>IIBBBBB', pixels, len(rows), bits, kind, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    parts = [chunk(b'IHDR', head), *chunks, chunk(b'IDAT', data), chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def grey(values):
    "A row of grey values as RGB."
    return np.repeat(np.array([values], np.uint8)[..., None], 3, 2).tolist()


@pytest.mark.parametrize(
    'bits, row, values',
    [
        (1, bytes([0b10110000]), [255, 0, 255, 255, 0, 0, 0, 0]),
        (2, bytes([0b00011011]), [0, 85, 170, 255]),
        (4, bytes([0x0F, 0x73]), [0, 255, 119, 51]),
        (8, bytes([0, 7, 255]), [0, 7, 255]),
        (16, struct.pack('>4H', 0, 255, 256, 65535), [0, 0, 1, 255]),
    ],
)
def test_grey_pngs_of_any_depth_are_read_as_they_look(tmp_path, bits, row, values):
    "Else grey pictures of few or many bits come out black."
    (tmp_path / 'a.png').write_bytes(png(bits, 0, [row]))
    assert read_photograph(tmp_path / 'a.png').tolist() == grey(values)
    assert read_image(tmp_path / 'a.png').tolist() == grey(values)


def test_deep_and_transparent_pngs_are_read_as_they_look(tmp_path):
    "Else what is transparent shows the colour that lies hidden there."
    file = tmp_path / 'a.png'
    file.write_bytes(png(16, 2, [struct.pack('>3H', 256, 32768, 65535)]))
    assert read_photograph(file).tolist() == [[[1, 128, 255]]]
    file.write_bytes(png(16, 4, [struct.pack('>2H', 0, 0x3333)]))  # a fifth of black over white
    assert read_photograph(file).tolist() == grey([204])
    Image.fromarray(np.array([[[0, 0, 0, 0], [9, 8, 7, 255]]], np.uint8)).save(file)
    assert read_photograph(file).tolist() == [[[255] * 3, [9, 8, 7]]]
    picture = Image.new('P', (2, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putdata([0, 1])
    picture.save(file)
    assert read_photograph(file).tolist() == [[[10, 20, 30], [200, 0, 0]]]
    picture.save(file, transparency=1)
    assert read_photograph(file).tolist() == [[[10, 20, 30], [255] * 3]]
    Image.fromarray(np.array([[5, 6]], np.uint8)).save(file, transparency=5)
    assert read_photograph(file).tolist() == grey([255, 6])


def test_jpegs_of_any_kind_are_read_as_they_look(tmp_path):
    "Else a printer's CMYK photograph is predicted in false colours."
    file, red = tmp_path / 'a.jpg', Image.new('RGB', (16, 16), (200, 40, 40))
    for how in ({'progressive': True}, {'subsampling': 0}, {'optimize': True}):
        red.save(file, quality=95, **how)
        assert np.abs(read_photograph(file).astype(int) - (200, 40, 40)).max() <= 3
    Image.new('CMYK', (16, 16), (0, 204, 204, 51)).save(file, quality=95)
    # 255 - ink, then darker by the share of black: 255 * 204 / 255 and 51 * 204 / 255
    assert np.abs(read_photograph(file).astype(int) - (204, 41, 41)).max() <= 3
    Image.new('L', (16, 16), 77).save(file, quality=95)
    assert (read_photograph(file) == 77).all() and read_photograph(file).shape == (16, 16, 3)


def test_of_moving_pictures_the_first_frame_is_read(tmp_path):
    "Else a GIF or WebP cannot be predicted, or gives one of its frames at random."
    first, second = Image.new('RGB', (4, 4), 'red'), Image.new('RGB', (4, 4), 'blue')
    for name in ('a.gif', 'a.webp', 'a.png', 'a.tif'):
        more = {'lossless': True} if name.endswith('webp') else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **more)
        assert (read_photograph(tmp_path / name) == (255, 0, 0)).all(), name


def test_tiffs_of_many_bits_are_read_or_refused_with_the_cure(tmp_path):
    "Else a scientist's TIFF comes out black or white, and is predicted as that."
    file = tmp_path / 'a.tif'
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(file)
    assert read_photograph(file).tolist() == grey([0, 1, 255])
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(file)
    assert read_photograph(file).tolist() == grey([0, 128, 255])
    for wrong in (
        np.array([[0, 1.5]], np.float32),
        np.array([[0, np.nan]], np.float32),
        np.array([[0, 70000]], np.int32),
    ):
        Image.fromarray(wrong).save(file)
        with pytest.raises(ValueError, match='a.tif: its values go from .* save it with 8'):
            read_photograph(file)


@pytest.mark.parametrize('number', range(1, 9))
def test_a_photograph_of_a_turned_camera_stands_upright(tmp_path, number):
    """Else a telephone's photographs are predicted lying on their side.

    EXIF's eight ways, each undone by hand: the letter F stands upright again."""
    upright = np.zeros((5, 4, 3), np.uint8)
    upright[:, 0] = upright[0] = upright[2, :3] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[number]
    exif = Image.Exif()
    exif[274] = number
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / 'a.png', exif=exif)
    np.testing.assert_array_equal(read_photograph(tmp_path / 'a.png'), upright)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), stored)


def test_what_cannot_be_read_says_why(tmp_path):
    "Else a telephone's HEIC fails without a hint, or a bomb takes all the memory."
    heic = tmp_path / 'IMG_1.JPG'  # what telephones send
    heic.write_bytes(struct.pack('>I', 24) + b'ftypheic' + bytes(100))
    with pytest.raises(ValueError, match='IMG_1.JPG: .*(pillow-heif|cannot be read)'):
        read_photograph(heic)
    bomb = tmp_path / 'bomb.png'
    bomb.write_bytes(png(1, 0, [bytes(1)]).replace(struct.pack('>II', 8, 1), b'\0\1\0\0' * 2))
    with pytest.raises(ValueError, match='bomb.png'):
        read_photograph(bomb)
    (tmp_path / 'note.jpg').write_text('not a picture')
    with pytest.raises(ValueError, match='note.jpg: cannot be read as an image'):
        read_photograph(tmp_path / 'note.jpg')


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    "A tiny segmenter of random weights that still sees several classes."
    return tiny_segformer(tmp_path_factory.mktemp('tiny'), initializer_range=1.0)


@pytest.fixture(scope='module')
def album(tmp_path_factory):
    "Photographs in folders, of several sizes and formats, one of them damaged."
    folder, rng = tmp_path_factory.mktemp('my album'), np.random.default_rng(0)
    names = ['a.jpg', 'b/a.png', 'b/c d/Ünïcödé 猫.webp', 'b/a.jpg', 'e.tif', 'f.gif', 'g.bmp']
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        shape = (90 + 30 * (k % 3), 80 + 40 * (k % 2))
        Image.fromarray(small).resize(shape, Image.Resampling.BICUBIC).save(folder / name)
    (folder / 'broken.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:700])
    return folder


def everything(out):
    "Every file of a folder of results: name -> bytes."
    return {str(p.relative_to(out)): p.read_bytes() for p in Path(out).rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def done(tiny, album, tmp_path_factory):
    "The unbroken prediction."
    out = tmp_path_factory.mktemp('done') / 'out'
    return predict(album, out=out, segmenter=tiny, threshold=0.2, batch=3, quiet=True)


def test_results_mirror_the_folders(done, album, tiny):
    "Else nobody finds the mask of a photograph, or two of one name share one."
    assert (done.photographs, done.kept) == (8, 0)
    assert [b.photo.file for b in done.broken] == ['broken.jpg']
    table = pd.read_csv(done.out / 'labels.csv', dtype={'Id': str})
    ids = ['a', 'e', 'f', 'g', 'b/a.jpg', 'b/a.png', 'b/c d/Ünïcödé 猫']
    assert table.Id.tolist() == ids
    chosen = table[[*VOC_CLASSES]] >= 0.2
    words = [' '.join(np.array(VOC_CLASSES)[row]) for row in chosen.to_numpy()]
    assert table.labels.fillna('').tolist() == words and any(words)
    segment = load_segmenter(tiny, device='cpu')
    for id, file in zip(table.Id, table.file, strict=True):
        image = read_photograph(album / file)
        mask = read_mask(done.out / 'masks' / f'{id}.png')
        np.testing.assert_array_equal(mask, segment([image])[0])  # what stage 03 gives
        shown = Image.open(done.out / 'overlays' / f'{id}.jpg')
        assert shown.width == image.shape[1] and shown.height > image.shape[0]
    lost = pd.read_csv(done.out / 'broken.csv')
    assert lost.file.tolist() == ['broken.jpg'] and 'cannot be read' in lost.reason[0]
    assert str(album) not in lost.reason[0]


def test_the_page_is_whole(done):
    """Else the page of an album has holes, loads for minutes, or asks the network.

    Every link leads to a file, pictures are loaded lazily, and nothing comes from elsewhere."""
    tags = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    text = (done.out / 'index.html').read_text(encoding='utf-8')
    Reader().feed(text)
    links = [about.get('src') or about.get('href') for tag, about in tags if tag in ('a', 'img')]
    assert len(links) == 3 * 7 + 2
    for link in links:
        assert (done.out / unquote(link)).is_file(), link
    assert all(about['loading'] == 'lazy' for tag, about in tags if tag == 'img')
    assert not {'script', 'link', 'iframe'} & {tag for tag, _ in tags}
    assert 'broken.jpg' in text and 'Ünïcödé 猫.webp' in text


def test_neighbours_change_nothing(done, album, tiny, tmp_path):
    """Else what is seen in a photograph depends on which others lie beside it.

    Other batches, other threads, the photographs in two goes: the same bytes."""
    for batch, threads in ((1, 1), (8, 3)):
        out = tmp_path / str(batch)
        how = {'segmenter': tiny, 'threshold': 0.2, 'quiet': True}
        predict(album, out=out, batch=batch, threads=threads, **how)
        assert everything(out) == everything(done.out)


def test_a_detector_that_pads_is_asked_one_by_one(tmp_path):
    "Else what is seen in a photograph depends on which others lie beside it."
    torch.manual_seed(4)
    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 64],
        patch_size=8,
        num_detection_tokens=5,
        initializer_range=0.3,
        id2label={0: 'person', 1: 'cat'},
    )
    transformers.YolosForObjectDetection(config).save_pretrained(tmp_path / 'yolos')
    size = {'shortest_edge': 64, 'longest_edge': 128}
    transformers.YolosImageProcessorPil(size=size).save_pretrained(tmp_path / 'yolos')
    rng = np.random.default_rng(0)
    for name, width in (('a', 64), ('wide', 128)):
        noise = rng.integers(0, 256, (64, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f'{name}.png')
    predictor = Predictor(model_settings(detector=tmp_path / 'yolos'), 'cpu')
    both = [open_photograph(photo) for photo in find_photographs(tmp_path)]
    alone, beside = predictor(both[:1])[0], predictor(both)[0]
    np.testing.assert_array_equal(alone.probabilities, beside.probabilities)
    assert alone.probabilities.any() and alone.boxes == beside.boxes


def test_a_killed_prediction_goes_on_and_ends_like_an_unbroken_one(album, tiny, tmp_path):
    """Else a thousand photographs are predicted again after a power cut, or some come out in
    halves.

    Every file is whole, what was done is kept, and the end is as if nothing had happened."""
    many, out = tmp_path / 'many', tmp_path / 'out'
    many.mkdir()
    for k in range(100):
        os.link(album / 'b/a.png', many / f'{k:03}.png')
    code = f'''
import time
from voc_cv import photographs
from voc_cv.photographs import Predictor, predict
slow = Predictor.__call__
def wait(self, group): time.sleep(.05); return slow(self, group)
Predictor.__call__ = wait
predict({str(many)!r}, out={str(out)!r}, segmenter={str(tiny)!r}, batch=4, quiet=True)
'''
    command = [sys.executable, '-c', code]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, env=WITHOUT)
    until = time.monotonic() + 120
    while len([*(out / 'labels').glob('[0-9]*.json')]) < 20:
        assert time.monotonic() < until and process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {p: p.stat().st_mtime_ns for p in (out / 'labels').glob('[0-9]*.json')}
    assert 20 <= len(before) < 100
    for file in before:
        assert json.loads(file.read_text())['file'] == f'{file.stem}.png'
        assert read_mask(out / 'masks' / f'{file.stem}.png').shape
    again = predict(many, out=out, segmenter=tiny, quiet=True)
    assert again.kept == len(before) and not again.broken
    assert all(p.stat().st_mtime_ns == then for p, then in before.items())
    predict(many, out=tmp_path / 'unbroken', segmenter=tiny, quiet=True)
    assert everything(out) == everything(tmp_path / 'unbroken')  # and no half file is left


def test_a_second_command_is_told_who_is_at_work_and_touches_nothing(album, tiny, tmp_path):
    """Else two commands write over each other's results.

    The second one is told who is there, and touches nothing."""
    out = tmp_path / 'out'
    with alone_in(out):
        there = everything(out)
        command = [BIN / 'voc_cv', 'predict', album, '--segmenter', tiny, '--out', out]
        done = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, cwd=tmp_path, env=WITHOUT
        )
        assert done.returncode == 2 and f'process {os.getpid()}' in done.stderr, done.stderr
        assert 'Traceback' not in done.stderr and everything(out) == there
    predict(album, out=out, segmenter=tiny, quiet=True)
    assert len([*(out / 'labels').rglob('*.json')]) == 7


def test_other_settings_are_refused_and_changed_photographs_done_again(album, tiny, tmp_path):
    "Else one folder holds answers of two models, or the answer to an old photograph."
    file, out = tmp_path / 'in/a.png', tmp_path / 'out'
    file.parent.mkdir()
    Image.new('RGB', (40, 30), 'red').save(file)
    predict(file, out=out, segmenter=tiny, quiet=True)
    with pytest.raises(ValueError, match='begun with other settings .*threshold.* --out'):
        predict(file, out=out, segmenter=tiny, threshold=0.3, quiet=True)
    Image.new('RGB', (50, 30), 'red').save(file)
    assert predict(file, out=out, segmenter=tiny, quiet=True).kept == 0
    assert read_mask(out / 'masks/a.png').shape == (30, 50)
    with pytest.raises(ValueError, match='is not empty and holds no results'):
        predict(file, out=file.parent, segmenter=tiny, quiet=True)


def test_reading_stays_a_few_photographs_ahead(album, tmp_path, monkeypatch):
    """Else a million photographs take all the memory there is.

    However many there are, and however slow the network: that is what keeps memory constant."""
    photos = [find_photographs(album / 'a.jpg')[0]._replace(name=f'{k}') for k in range(200)]
    opened, answered, most = [], [], []
    real = photographs.open_photograph

    def count(photo):
        opened.append(photo)
        return real(photo)

    def slow(group):
        time.sleep(0.002)
        most.append(len(opened) - len(answered))
        answered.extend(group)
        return []

    slow.load = lambda: None
    monkeypatch.setattr(photographs, 'open_photograph', count)
    assert not [*stream(photos, slow, tmp_path / 'out', batch=4, threads=3)]
    assert len(answered) == 200
    assert max(most) <= 4 + 2 * 4 + 3  # the group at hand, and what may wait


def test_one_bad_photograph_does_not_take_its_group(album, tmp_path):
    "Else one damaged photograph costs the answers to its neighbours."
    photos = find_photographs(album / 'a.jpg', album / 'e.tif', album / 'g.bmp')

    def picky(group):
        if any(one.photo.file == 'e.tif' for one in group):
            raise RuntimeError('no such shape')
        return [f'answer to {one.photo.file}' for one in group]

    picky.load = lambda: None
    came = [*stream(photos, picky, tmp_path / 'out', batch=3, threads=1)]
    assert came[::2] == ['answer to a.jpg', 'answer to g.bmp']
    assert came[1].reason == 'the model failed: RuntimeError: no such shape'


def test_predict_says_what_it_did_and_refuses_with_a_sentence(
    album, tiny, tmp_path, capsys, monkeypatch
):
    "Else a mistake in the command ends in a traceback, or unread photographs count as success."
    monkeypatch.chdir(tmp_path)  # a run below ./runs would be asked where no model is named
    out = tmp_path / 'out'
    how = ['--segmenter', str(tiny), '--out', str(out), '--batch', '2']
    assert main(['predict', str(album / 'b'), *how]) == 0
    assert '3 photographs in' in capsys.readouterr().out
    assert main(['predict', str(album / 'broken.jpg'), str(album / 'a.jpg'), *how]) == 1
    assert '1 could not be read' in capsys.readouterr().out
    for wrong, word in (
        (['nowhere.jpg'], 'no such file'),
        ([str(album), '--run', 'x', '--detector', 'y'], 'either a run or models'),
        ([str(album), '--threshold', '7'], 'expected 0 to 1'),
        ([str(album), '--run', str(album)], 'holds no params.yaml'),
    ):
        extra = how if word == 'no such file' else []
        assert main(['predict', *wrong, *extra]) == 2
        assert word in capsys.readouterr().err


def test_photographs_whose_names_are_no_text_are_predicted(album, tiny, tmp_path):
    "Else a photograph with an old disk's name stops the whole album."
    name = os.fsdecode(b'caf\xe9 ' + b'x' * 240 + b'.png')
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / name).write_bytes((album / 'b/a.png').read_bytes())
    done = predict(tmp_path / 'in', out=tmp_path / 'out', segmenter=tiny, quiet=True)
    table = pd.read_csv(done.out / 'labels.csv')
    assert not done.broken and table.Id[0].startswith('caf� xxx')
    assert (done.out / 'masks' / f'{table.Id[0]}.png').is_file()


def make_run(folder, best):
    "A run's folder as stages 02 to 04 leave it, of made-up answers."
    rng = np.random.default_rng(1)
    said = {name: rng.random((12, 20)).round(6) for name in ('head', 'detector', 'segmenter')}
    said['mean of these'] = np.mean([*said.values()], 0).round(6)
    parts = [said['detector'], said['segmenter']]
    said['combination'] = joined(parts, [0.25, 0.75], 'log odds').round(6)
    said['probabilities'] = said[best]
    said['labels'] = (said[best] >= 0.3).astype(int)
    (folder / 'classify').mkdir(parents=True)
    for name, table in said.items():
        ids = pd.Index([f'{k:03}' for k in range(12)], name='Id')
        pd.DataFrame(table, ids, VOC_CLASSES).to_csv(folder / 'classify' / f'{name}_tune.csv')
    segment = {
        'segmenter': 'some/hub',
        'revision': 'abc',
        'keep_aspect': True,
        'flip': True,
        'scales': '0.5 1',
        'objects_first': True,
        'seed': 4,
    }
    classify = {
        'segmenter': 'some/hub',
        'revision': 'abc',
        'detector': 'd.onnx',
        'detector_revision': 'main',
        'tiles': 0.6,
    }
    params = {'parameters': {'02_classify': classify, '03_segment': segment}}
    (folder / 'params.yaml').write_text(json.dumps(params))
    return said


def test_a_prediction_takes_models_weights_and_thresholds_from_a_run(tmp_path):
    "Else photographs get other labels than the run's scores promise."
    said = make_run(tmp_path / 'a', 'combination')
    weights = found_weights(said)
    np.testing.assert_allclose([weights['detector'], weights['segmenter']], [0.25, 0.75], atol=1e-3)
    with pytest.raises(ValueError, match='expected 0 to 1'):
        run_settings(tmp_path / 'a', 7)
    settings = run_settings(tmp_path / 'a')
    assert settings['join'] == 'log odds' and settings['masks']['scales'] == [0.5, 1.0]
    assert settings['masks']['model'] == 'some/hub' and settings['masks']['revision'] == 'abc'
    assert settings['masks']['objects_first']
    assert [(one['kind'], one['mirror'], one['tiles']) for one in settings['labels']] == [
        ('detector', True, 0.6),
        ('segmenter', True, 0.0),
    ]
    assert (settings['policy'], settings['seed']) == ('none', 4)
    # the largest of .02, .04 ... that still is below the least probability that was chosen
    chosen = said['combination'][said['labels'] == 1].min()
    assert settings['threshold'] <= chosen < 0.34
    scores = {
        '02_classify': {'combination': {'threshold': 0.42}},
        '04_postprocess': {'after': {'policy': 'nearest', 'threshold': 0.1}},
    }
    (tmp_path / 'a/scores.json').write_text(json.dumps(scores))
    settings = run_settings(tmp_path / 'a')
    assert (settings['threshold'], settings['policy'], settings['policy threshold']) == (
        0.42,
        'nearest',
        0.1,
    )
    make_run(tmp_path / 'b', 'head')
    (tmp_path / 'b/models/head').mkdir(parents=True)
    (tmp_path / 'b/models/head/classifier.json').write_text('{"threshold": 0.22}')
    settings = run_settings(tmp_path / 'b')
    assert settings['threshold'] == 0.22 and len(settings['labels']) == 1
    assert settings['labels'][0]['model'] == str(tmp_path / 'b/models/head')
    make_run(tmp_path / 'c', 'mean of these')
    assert [one['weight'] for one in run_settings(tmp_path / 'c')['labels']] == [1.0] * 3


def test_a_model_trained_again_is_another_model(tiny, tmp_path):
    "Else answers of an old model are kept among those of the new one."
    import shutil

    copy = shutil.copytree(tiny, tmp_path / 'copy')
    before = with_digests(choose_settings(segmenter=copy))
    with open(copy / 'config.json', 'a') as file:
        file.write('\n')
    assert with_digests(choose_settings(segmenter=copy)) != before
    assert with_digests(choose_settings(segmenter=os.path.relpath(copy))) != before
