"""The original's recipes of stage 02, tiny: what their names change, to disk and back."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import transformers


@pytest.fixture(scope='module')
def classify():
    from voc_cv import classify

    return classify


@pytest.fixture(scope='module')
def parts(classify):
    return classify.open_parts('', 'val', 16, 0.25, 0)


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    "A tiny ViT with random weights, as the hub would have it."
    monkeypatch.setenv('VOC_CV_CACHE', str(tmp_path / 'cache'))
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=8,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(tmp_path / 'vit')
    size = {'height': 32, 'width': 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(tmp_path / 'vit')
    return str(tmp_path / 'vit')


def test_the_original_s_head_on_a_transformer_trains_and_is_kept(
    classify, parts, backbone, tmp_path
):
    "Else the original's recipe is repeated with another head, and its figures mean something else."
    plan = classify.training_plan(hidden=8, head_dropout=0.1, copies=1)
    model, told = classify.train_or_load(
        'head-softmax', parts, '', {'head': 2}, backbone, 0, 0, plan
    )
    assert [h.layers[1].out_features for h in model.head] == [8] * 5
    assert [h.layers[0].p for h in model.head] == [0.1] * 5
    np.testing.assert_allclose(told.reported.sum(axis=1), 1, atol=1e-5)
    classify.keep_witness(tmp_path / 'head-softmax', model, told, parts.train.key)
    _, again = classify.train_or_load(
        'head-softmax', parts, str(tmp_path), {'head': 2}, backbone, 0, 0
    )
    pd.testing.assert_frame_equal(again.reported, told.reported, atol=1e-4)
    lines = classify.score_lines({'head-softmax': again}, parts, times=5)
    half = again.reported.to_numpy() >= again.reported.to_numpy().max(1, keepdims=True) / 2
    truth = parts.test.labels.to_numpy()
    assert lines['head-softmax, half of the best']['precision'] == truth[half].mean()
    assert lines['head-softmax, half of the best']['recall'] == half[truth].mean()


@pytest.mark.parametrize('precision', ['float32', 'bf16'])
def test_an_unfrozen_transformer_trains_in_either_precision(classify, parts, backbone, precision):
    "Else bf16 gives a broken network, or the same seed no longer gives the same training."
    plan = classify.training_plan(precision=precision, lr=1e-3)
    model, told = classify.unfrozen_witness(backbone, parts, 1, 1, 0, plan)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert np.isfinite(told.history.to_numpy()).all()
    twin, other = classify.unfrozen_witness(
        backbone, parts, 1, 1, 0, classify.training_plan(precision='float32', lr=1e-3)
    )
    same = told.history.loss.equals(other.history.loss)
    assert same == (precision == 'float32')
    assert told.history.loss[0] == pytest.approx(other.history.loss[0], rel=0.05)


def test_originals_keep_a_softmax_and_leave_the_last_bias(classify, parts, monkeypatch):
    "Else a comparison with the original is one with another recipe."
    vit = partial(classify.build_vit, patch=12, dim=8, heads=2, depth=1, mlp=(16,))
    cnn = partial(classify.build_cnn, width=0.02)
    monkeypatch.setattr(classify, 'SCRATCH', {'vit': (vit, 24), 'cnn': (cnn, 64)})
    seen = {}

    def fit(model, fit, tune, transform, epochs, recipe, **how):
        classify.start_at(model, *classify.as_arrays(fit), recipe)
        seen[model.name] = model, recipe, how
        return pd.DataFrame()

    monkeypatch.setattr(classify, 'fit_keras', fit)
    for name in ('cnn-original', 'vit-original'):
        plan = classify.training_plan(copies=1, augment='none')
        model, _ = classify.train_scratch(name, parts.fit, parts.tune, 1, 50, 0, plan)
        assert model.recipe == 'softmax'
    for name, batch, optimizer in (('cnn', 128, 'adam'), ('vit', 256, 'adamw')):
        model, recipe, how = seen[name]
        kinds = [type(layer).__name__ for layer in model.layers]
        assert recipe == 'softmax' and how['patience'] == 50
        assert (how['batch'], how['optimizer'], how['schedule']) == (batch, optimizer, 'constant')
        assert 'BatchNormalization' not in kinds
        assert ('InTraining' in kinds) == (name == 'vit')
        assert not model.get_layer('logits').get_weights()[1].any()


def test_policy_of_precision_is_put_back_even_after_an_error(classify):
    "Else whatever is trained after a failed bf16 training runs in bf16, and nobody is told."
    import keras

    with pytest.raises(KeyError), classify.keras_precision(True):
        assert keras.config.dtype_policy().name == 'mixed_bfloat16'
        raise KeyError
    assert keras.config.dtype_policy().name == 'float32'


def test_threads_are_let_go_when_a_training_ends_early(classify):
    "Else a training that has ended goes on reading all its images."
    made = []
    batches = classify.ahead(lambda i: made.append(i) or i, range(100), 2)
    assert [next(batches), next(batches)] == [0, 1]
    batches.close()
    assert len(made) < 10


def test_an_error_while_reading_reaches_the_training(classify):
    "Else a damaged image hangs a training, or is passed over without a word."
    def broken(i):
        if i == 3:
            raise ValueError('image 3 is damaged')
        return i

    found = []
    with pytest.raises(ValueError, match='image 3'):
        found.extend(classify.ahead(broken, range(9), 2))
