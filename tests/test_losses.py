"What segmentation borrows from torch, by hand; what it borrows from Keras: test_backends."

import numpy as np
import pytest
import torch

from voc_cv.segment import (
    Decoder,
    class_weights,
    fit_decoder,
    known_classes,
    more_than_one,
    own_size,
    pixel_cross_entropy,
)


@pytest.mark.parametrize(
    'aligned, row', [(True, [0, 1 / 3, 2 / 3, 1]), (False, [0, 0.25, 0.75, 1])]
)
def test_scores_are_enlarged_as_worked_out_by_hand(aligned, row):
    "Else a model's masks lie beside the objects."
    grown = own_size(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), (4, 4), 2, (2, 2), aligned)
    np.testing.assert_allclose(grown[0], [row] * 4, atol=1e-6)


def test_torch_divides_by_the_weights():
    "Else a release of torch changes how strongly a rare class counts, and nobody notices."
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    truth, weights = torch.tensor([0, 1, 255]), torch.tensor([1.0, 3, 1])
    loss = torch.nn.functional.cross_entropy(logits, truth, weights, ignore_index=255)
    assert float(loss) == pytest.approx((np.log(2) + 3 * np.log(4)) / (1 + 3), rel=1e-6)


def test_a_decoder_s_statistics_take_a_tenth_of_a_new_batch():
    """Else a release of torch turns momentum round, and decoders forget all but their last batch.

    Torch's momentum is the weight of the new batch: .1 of it, .9 of what was."""
    norm = next(m for m in Decoder((4, 6, 8), 10).modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.train()(torch.tensor([0.0, 4.0]).view(2, 1, 1, 1).expand(2, 10, 1, 1))
    np.testing.assert_allclose(norm.running_mean, np.full(10, 0.1 * 2), rtol=1e-6)
    # the variance is divided by 1 less than the number of values, unlike Keras'
    np.testing.assert_allclose(norm.running_var, np.full(10, 0.9 + 0.1 * 8), rtol=1e-6)


def test_a_batch_of_which_nothing_counts_costs_and_moves_nothing():
    """Else one unlabelled image makes a network of NaN.

    An unlabelled frame, and one of a class that weighs nothing: 0 and no slope, and no NaN."""
    z = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 0.0])
    for truth, w in ((255, None), (255, weights), (2, weights)):
        z.grad = None
        loss = pixel_cross_entropy(z, torch.full((2, 4, 4), truth), w)
        loss.backward()
        assert loss.item() == 0 and z.grad.abs().max() == 0
    some = torch.full((2, 4, 4), 255)
    some[0, 1, 2] = 1
    loss = pixel_cross_entropy(z, some, weights)
    assert loss.item() == pytest.approx(-z[0, :, 1, 2].log_softmax(0)[1].item(), rel=1e-6)


def test_a_training_with_an_unlabelled_frame_keeps_its_figures():
    "Else one unlabelled image makes the whole history NaN."
    draws = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(5, c, s, s, generator=draws).half() for c, s in ((40, 8), (112, 4), (320, 2))
    ]
    masks = torch.randint(0, 3, (5, 16, 16), generator=draws, dtype=torch.uint8)
    masks[0] = 255
    weights = class_weights(np.bincount(masks[1:].numpy().ravel(), minlength=21))
    history = fit_decoder((maps, masks), (maps, masks), weights, 2, batch=1, device='cpu')[1]
    assert np.isfinite(history.to_numpy()).all()


def test_truth_of_the_losses_is_classes():
    "Else probabilities or wrong numbers given as truth train nonsense."
    logits = np.zeros((1, 1, 2, 3), np.float32)
    for wrong in ([[[0, 3]]], [[[0, -1]]], [[[0.0, 1.0]]]):
        with pytest.raises(ValueError, match='truth: expected'):
            known_classes(np.array(wrong), logits)


def test_one_image_a_step_is_said_in_our_words():
    "Else a batch of one image ends in a riddle of batch normalisation."
    norm = torch.nn.BatchNorm2d(3).train()
    for images, name in (([1, 2], 'batch'), ([1], 'fit')):
        with pytest.raises(ValueError, match=f'^{name}: .* 2 or more'), more_than_one(images):
            norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match='^another$'), more_than_one([1]):
        raise ValueError('another')
