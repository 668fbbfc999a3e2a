import pytest
import synthetic
import torch

from edgeprune.models.signet50 import SignalToMatrix

RESNET50 = 25_557_032  # He et al. 2016, three input channels and 1000 classes


@pytest.mark.parametrize(("length", "classes"), [(128, 11), (512, 12), (1024, 24)])
def test_parameters_are_those_of_a_resnet50_with_another_stem_and_head(built, parameters, length, classes):
    one_input_channel_less, two_filters = 64 * 7 * 7, 2 * 3 * 3
    head = 2048 * classes + classes - (2048 * 1000 + 1000)
    count = parameters(built("signet50", length, classes))
    assert count == RESNET50 - one_input_channel_less + two_filters + head
    assert f"{count / 1e6:.2f}" == ("23.55" if classes == 24 else "23.53")


@pytest.mark.parametrize(("length", "classes", "billions"), [(128, 11, "1.33"), (512, 12, "21.26")])
def test_cost_as_published(built, thop_flops, length, classes, billions):
    assert f"{thop_flops(built('signet50', length, classes), length) / 1e9:.2f}" == billions


def test_first_block_of_each_stage_alone_is_the_published_pruned_network(built, parameters, thop_flops):
    network = built("signet50", 128, 11)
    network.blocks = torch.nn.Sequential(*(network.blocks[place] for place in (0, 3, 7, 13)))
    assert f"{parameters(network) / 1e6:.2f}" == "8.04"
    assert f"{thop_flops(network, 128) / 1e6:.0f}" == "469"


@torch.no_grad()
def test_signal_to_matrix_entry_by_entry():
    operator = SignalToMatrix()
    frames = synthetic.signals(2, 5)
    images = operator(frames)
    assert images.shape == (2, 2, 5, 5)
    for frame in range(2):
        for row in range(2):
            padded = [0.0, *frames[frame, row].tolist(), 0.0]
            windows = [torch.tensor(padded[start : start + 3]) for start in range(5)]
            expected = [[one @ operator.filter[row] @ other for other in windows] for one in windows]
            torch.testing.assert_close(images[frame, row], torch.tensor(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_block_against_its_formula(built):
    network = synthetic.shaken(built("signet50", 128, 11, "cpu"))
    x = torch.randn(2, 256, 4, 4)

    def convolved(place, x, stride=1):
        conv, norm = getattr(block, f"conv{place}"), getattr(block, f"bn{place}")
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = conv.weight * scale[:, None, None, None]
        padding = weight.shape[-1] // 2
        return torch.nn.functional.conv2d(x, weight, norm.bias - norm.running_mean * scale, stride, padding)

    for place, stride in ((1, 1), (3, 2)):
        block = network.blocks[place]
        body = convolved(3, convolved(2, convolved(1, x).relu(), stride).relu())
        expected = (body + (x if stride == 1 else block.shortcut(x))).relu()
        assert expected.shape == (2, 256 * stride, 4 // stride, 4 // stride)
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)
