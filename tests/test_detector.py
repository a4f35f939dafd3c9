"An exported detector: the real one where it is at hand, and files that are none."
import numpy as np
import pytest
from conftest import ROOT
from voc_cv.classify import detect, detector_labels, detector_scores, load_detector, mean_ap
from voc_cv.data import open_voc, toy_voc

MODEL, PHOTOGRAPHS = ROOT.parent / 'shared/weights/deimv2_hgnetv2_femto_coco.onnx', ROOT.parent / 'shared/data/voc'


@pytest.mark.skipif(not (MODEL.is_file() and PHOTOGRAPHS.is_dir()), reason='the real model and photographs are not at hand')
def test_real_detector_knows_photographs():
    data, model = open_voc(PHOTOGRAPHS, 'val', 40), load_detector(MODEL, device='cpu')
    found = detect(data, model, batch=8)
    assert mean_ap(data.labels, detector_scores(found, data.ids)) > .8
    sure = detector_labels(found, data.ids, .6)
    assert (sure & data.labels).to_numpy().sum() > .9 * sure.to_numpy().sum() > 20  # what it is sure of is there (it is a small one, and hardly ever says .9)
    sizes = data.stats.loc[found.Id]
    for low, high, side in (('left', 'right', 'width'), ('top', 'bottom', 'height')):  # pixels of the image itself
        assert (found[low] > -40).all() and (found[low] < found[high]).all() and (found[high].to_numpy() < sizes[side].to_numpy() + 40).all()
    alone = detect(data[:4], model, batch=1)
    np.testing.assert_allclose(alone.score, found[found.Id.isin(data.ids[:4])].score, atol=1e-4)


@pytest.mark.parametrize('bytes', [b'', b'not a model' * 99])
def test_file_that_is_no_model_is_refused_by_name(tmp_path, bytes):
    (tmp_path / 'broken.onnx').write_bytes(bytes)
    with pytest.raises(ValueError, match='broken.onnx cannot be read as an ONNX model'): detect(toy_voc(1), tmp_path / 'broken.onnx')
