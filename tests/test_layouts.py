"Data sets as other tools write them: masks of all kinds, lists of all encodings, turned cameras."

import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voc_cv.data import (
    VOC_CLASSES,
    find_problems,
    find_splits,
    mask_image,
    open_voc,
    present,
    read_mask,
    toy_voc,
    voc_palette,
    write_voc,
)
from voc_cv.run import main

MASK = np.zeros((6, 8), np.uint8)
MASK[1:3], MASK[3, 2:5], MASK[5] = 15, 7, 255  # person, car, void


def png(bits, rows):
    "A grey PNG of few bits, of these rows of bytes."
    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', crc)

    head = struct.pack('>IIBBBBB', len(rows[0]) * 8 // bits, len(rows), bits, 0, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    parts = chunk(b'IHDR', head), chunk(b'IDAT', data), chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def renumbered():
    "VOC's colours under other numbers: 3 is black, 0 person, 1 car, 2 void."
    other = np.select([MASK == 15, MASK == 7, MASK == 255], [0, 1, 2], 3).astype(np.uint8)
    picture = Image.fromarray(other)
    picture.putpalette(voc_palette()[[15, 7, 255, 0]].tobytes())
    return picture


def with_palette(colours):
    picture = Image.fromarray(MASK)
    picture.putpalette(np.asarray(colours, np.uint8).tobytes())
    return picture


WHITE_VOID = voc_palette().copy()
WHITE_VOID[255] = 255
GREY = np.repeat(np.arange(256)[:, None], 3, 1)
GOOD = {
    'palette': mask_image(MASK),
    'grey': Image.fromarray(MASK),
    '16 bits': Image.fromarray(MASK.astype(np.uint16)),
    'RGB': Image.fromarray(voc_palette()[MASK]),
    'RGBA': Image.fromarray(voc_palette()[MASK]).convert('RGBA'),
    'renumbered': renumbered(),
    'quantized': Image.fromarray(voc_palette()[MASK]).quantize(8),
    'white void': with_palette(WHITE_VOID),
    'grey palette': with_palette(GREY),
    'short palette': with_palette(voc_palette()[:21]),
}


@pytest.mark.parametrize('kind', GOOD)
def test_masks_that_mean_the_same_are_read_the_same(tmp_path, kind):
    "Else masks that another tool has saved are learned as other classes."
    GOOD[kind].save(tmp_path / 'm.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.png'), MASK, strict=True)


def see_through():
    picture = Image.fromarray(voc_palette()[MASK]).convert('RGBA')
    picture.putpixel((0, 0), (0, 0, 0, 0))
    return picture


BAD = {
    'other colours': (Image.fromarray(voc_palette()[MASK] + 1), r'colours \(1, 1, 1\), '),
    'other palette': (with_palette(np.roll(voc_palette(), 7)), 'expected class numbers or the col'),
    'wrong numbers': (Image.fromarray(MASK + 30), 'class values must be'),
    'large numbers': (Image.fromarray(MASK.astype(np.uint16) * 257), 'class values must be'),
    'transparent': (see_through(), 'transparent'),
    'black and white': (Image.fromarray(MASK > 0), '1 bits may be class numbers or shades'),
}


@pytest.mark.parametrize('kind', BAD)
def test_masks_that_mean_nothing_are_refused(tmp_path, kind):
    "Else masks in the colours of another data set are trained on as nonsense."
    picture, said = BAD[kind]
    picture.save(tmp_path / 'm.png')
    with pytest.raises(ValueError, match=f'm.png: .*{said}'):
        read_mask(tmp_path / 'm.png')


def test_masks_of_few_bits_are_read_or_refused_as_ambiguous(tmp_path):
    "Else a mask without a palette turns aeroplanes into sheep."
    file = tmp_path / 'm.png'
    for bits, row, numbers in (
        (4, [0x0F, 0x72], [0, 15, 7, 2]),  # 7 as a shade is 119, which is nothing
        (2, [0b00011011], [0, 1, 2, 3]),
        (1, [0], [0] * 8),
    ):
        file.write_bytes(png(bits, [bytes(row)]))
        assert read_mask(file).tolist() == [numbers]
    file.write_bytes(png(4, [bytes([0x01, 0x1F])]))  # 1 is aeroplane, or the shade 17: sheep
    with pytest.raises(ValueError, match='m.png: its 4 bits may be class numbers or shades'):
        read_mask(file)


@pytest.fixture
def devkit(tmp_path):
    "Three images: aeroplane, bicycle, bird."
    root = tmp_path / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for k, id in enumerate(['000005', 'café', 'x.y']):
        Image.new('RGB', (8, 6), (k, k, k)).save(root / f'JPEGImages/{id}.png')
        mask_image(np.full((6, 8), k + 1, np.uint8)).save(root / f'SegmentationClass/{id}.png')
    (root / 'ImageSets/Segmentation/train.txt').write_text('000005\ncafé\nx.y\n', encoding='utf-8')
    return root


IDS = ['000005', 'café', 'x.y']


@pytest.mark.parametrize(
    'raw',
    [
        '000005\r\ncafé\r\nx.y\r\n'.encode(),
        '\ufeff000005\ncafé\nx.y'.encode(),
        '000005\ncafé\nx.y\n'.encode('utf-16'),
        unicodedata.normalize('NFD', '000005\ncafé\nx.y\n').encode(),
        '000005.png\ncafé.jpg\n x.y \n\n'.encode(),
    ],
)
def test_lists_that_mean_the_same_are_read_the_same(devkit, raw):
    "Else a list that was saved on Windows or a Mac finds no image."
    (devkit / 'ImageSets/Segmentation/train.txt').write_bytes(raw)
    data = open_voc(devkit)
    assert data.ids == IDS and [present(s.labels)[0] for s in data] == [*VOC_CLASSES[:3]]


def test_files_whose_accents_are_apart_are_found(devkit):
    "Else files that were copied from a Mac are missing."
    for folder in ('JPEGImages', 'SegmentationClass'):
        file = devkit / folder / 'café.png'
        file.rename(file.with_name(unicodedata.normalize('NFD', file.name)))
    assert present(open_voc(devkit)['café'].labels) == ['bicycle']


def test_lists_that_are_none_are_refused_by_name(devkit):
    "Else a readme or the list of one class is taken for a split."
    lists = devkit / 'ImageSets/Segmentation'
    (lists / 'readme.txt').write_text('See the web page.\n')
    (lists / 'cat_train.txt').write_text('000005 -1\ncafé  1\n', encoding='utf-8')
    (lists / 'latin.txt').write_bytes('café\n'.encode('latin-1'))
    for split, said in (
        ('readme', "readme.txt: is no list of a split: none of its 1 lines .*'See the web page.'"),
        ('cat_train', "cat_train.txt: is the list of a class"),
        ('latin', 'latin.txt: is neither UTF-8 nor UTF-16'),
    ):
        with pytest.raises(ValueError, match=said):
            open_voc(devkit, split)
    assert find_splits(devkit) == ['latin', 'train']  # the damaged one shall be seen by `info`


def test_files_of_other_endings_and_folders_are_found_unless_two_would_do(devkit):
    "Else a camera's .PNG is missing, or one of two pictures is taken at random."
    masks = devkit / 'SegmentationClass'
    (masks / '000005.png').rename(masks / '000005.PNG')
    (devkit / 'JPEGImages/x.y.png').rename(devkit / 'JPEGImages/x.y.PNG')
    grown = devkit / 'SegmentationClassAug'
    grown.mkdir()
    (masks / 'x.y.png').rename(grown / 'x.y.png')
    data = open_voc(devkit)
    assert [present(s.labels)[0] for s in data] == [*VOC_CLASSES[:3]]
    Image.new('RGB', (8, 6)).save(devkit / 'JPEGImages/x.y.jpg')
    with pytest.raises(ValueError, match='x.y.PNG, .*x.y is not clear|x.y.jpg, .*x.y is not clear'):
        open_voc(devkit)


def test_missing_masks_are_said_aloud(devkit, capsys):
    "Else a misnamed folder leaves a run without truth, and nobody says so."
    for file in (devkit / 'SegmentationClass').iterdir():
        file.rename(file.with_name(f'other {file.name}'))
    with pytest.warns(UserWarning, match='none of its 3 images has a mask .* hold 3 others'):
        data = open_voc(devkit)
    assert data[0].mask is None and data.labels is None
    with pytest.warns(UserWarning):
        main(['info', str(devkit)])
    assert 'none of its 3 images has a mask' in capsys.readouterr().out


def test_a_set_for_detection_has_labels_without_masks(devkit):
    "Else the larger half of VOC, which has labels only, cannot be used."
    main_lists = devkit / 'ImageSets/Main'
    (devkit / 'ImageSets/Segmentation/train.txt').rename(main_lists / 'train.txt')
    for k, name in enumerate(VOC_CLASSES):
        said = ['-1', '-1', '-1']
        if k < 3:
            said[k] = '1'
        if name == 'sofa':
            said[2] = '0'  # hard to see, but there
        rows = [f'{id} {mark:>2}\n' for id, mark in zip(IDS, said, strict=True)]
        (main_lists / f'{name}_train.txt').write_text(''.join(rows), encoding='utf-8')
    for file in (devkit / 'SegmentationClass').iterdir():
        file.unlink()
    assert find_splits(devkit) == ['train']
    with pytest.warns(UserWarning, match='none of its 3 images has a mask'):
        data = open_voc(devkit)
    assert [present(row) for row in data.labels.to_numpy()] == [
        ['aeroplane'],
        ['bicycle'],
        ['bird', 'sofa'],
    ]


@pytest.mark.filterwarnings('ignore:.*EXIF')
@pytest.mark.parametrize('shown', [True, False])
def test_photographs_of_turned_cameras_fit_their_masks(tmp_path, capsys, shown):
    """Else a telephone's photographs lie sideways under their masks.

    Bright on the left as stored; where it is bright as the masks have it, there is a person."""
    root = tmp_path / 'VOC'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    stored = np.zeros((20, 30, 3), np.uint8)
    stored[:, :15] = 250
    turned = {1: stored, 3: stored[::-1, ::-1], 6: np.rot90(stored, -1), 8: np.rot90(stored, 1)}
    for turn, upright in turned.items():
        exif = Image.Exif()
        exif[274] = turn
        Image.fromarray(stored).save(root / f'JPEGImages/{turn}.jpg', exif=exif, quality=95)
        seen = upright if shown else stored
        mask_image((seen[..., 0] > 99).astype(np.uint8) * 15).save(
            root / f'SegmentationClass/{turn}.png'
        )
    (root / 'ImageSets/Segmentation/train.txt').write_text('1\n3\n6\n8\n')
    for sample in open_voc(root):
        assert sample.image[sample.mask == 15].min() > 200, sample.id
    assert not len(find_problems(open_voc(root)))
    assert main(['info', str(root)]) == 0
    said = 'as shown' if shown else 'as stored'
    assert f'EXIF turns 3 photographs (mask fits {said}: 2; ' in (
        capsys.readouterr().out
    )


def test_a_plain_folder_of_photographs_is_a_data_set(tmp_path, capsys):
    "Else photographs must be renamed and sorted before anything looks at them."
    folder = tmp_path / 'my photographs'
    for name in ('b/a.jpg', 'b/a.PNG', 'c d/Ünïcödé 猫.webp', '000005.gif', '.hidden/x.png'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (5, 4), 'red').save(folder / name)
    (folder / 'notes.txt').touch()
    data = open_voc(folder, 'all')
    assert data.ids == ['000005', 'b/a.PNG', 'b/a.jpg', 'c d/Ünïcödé 猫']
    assert data['b/a.PNG'].image.shape == (4, 5, 3) and data.labels is None
    assert (data['000005'].image == (255, 0, 0)).all()
    assert find_splits(folder) == ['all'] and open_voc(folder).key == data.key
    with pytest.raises(FileNotFoundError, match="no split 'val', there is only all"):
        open_voc(folder, 'val')
    assert main(['info', str(folder)]) == 0 and '4 images' in capsys.readouterr().out
    with pytest.raises(ValueError, match='must be a plain file name'):
        write_voc(tmp_path / 'devkit', all=data)


def test_results_of_a_prediction_are_no_photographs(tmp_path):
    "Else a second prediction takes the masks of the first for photographs."
    Image.new('RGB', (5, 4)).save(tmp_path / 'a.png')
    results = tmp_path / 'predictions/masks'
    results.mkdir(parents=True)
    (results.parent / 'predict.json').write_text('{}')
    Image.new('RGB', (5, 4)).save(results / 'a.png')
    assert open_voc(tmp_path).ids == ['a']


def test_what_we_write_is_what_we_read(tmp_path):
    "Else converting a data set changes it."
    write_voc(tmp_path / 'set', train=toy_voc(3))
    again = open_voc(tmp_path / 'set')
    for a, b in zip(toy_voc(3), again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
    assert not again.notes() and Path(tmp_path / 'set').is_dir()
