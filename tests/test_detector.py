"An exported detector: the real one where it is at hand, and files that are none."

import numpy as np
import pytest
from conftest import ROOT

from voc_cv.classify import detect, detector_labels, detector_scores, load_detector, mean_ap
from voc_cv.data import open_voc, toy_voc

SHARED = ROOT.parent / 'shared'
MODEL, PHOTOGRAPHS = SHARED / 'weights/deimv2_hgnetv2_femto_coco.onnx', SHARED / 'data/voc'
AT_HAND = MODEL.is_file() and PHOTOGRAPHS.is_dir()


@pytest.mark.skipif(not AT_HAND, reason='the real model and photographs are not at hand')
def test_a_real_detector_knows_photographs():
    "Else a good detector finds little here, and nobody knows that we fed it wrongly."
    data, model = open_voc(PHOTOGRAPHS, 'val', 40), load_detector(MODEL, device='cpu')
    found = detect(data, model, batch=8)
    assert mean_ap(data.labels, detector_scores(found, data.ids)) > 0.8
    sure = detector_labels(found, data.ids, 0.6)  # it is a small one, and hardly ever says .9
    right = (sure & data.labels).to_numpy().sum()
    assert right > 0.9 * sure.to_numpy().sum() > 20  # what it is sure of is there
    sizes = data.stats.loc[found.Id]
    for low, high, side in (('left', 'right', 'width'), ('top', 'bottom', 'height')):
        assert (found[low] > -40).all()  # pixels of the image itself, or little beside it
        assert (found[low] < found[high]).all()
        assert (found[high].to_numpy() < sizes[side].to_numpy() + 40).all()
    alone = detect(data[:4], model, batch=1)
    together = found[found.Id.isin(data.ids[:4])]
    np.testing.assert_allclose(alone.score, together.score, atol=1e-4)


@pytest.mark.parametrize('bytes', [b'', b'not a model' * 99])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, bytes):
    "Else a download that was cut off ends in a page of a library's own words."
    (tmp_path / 'broken.onnx').write_bytes(bytes)
    with pytest.raises(ValueError, match='broken.onnx cannot be read as an ONNX model'):
        detect(toy_voc(1), tmp_path / 'broken.onnx')
