import pytest
import synthetic
import torch

from edgeprune.errors import ModelError
from edgeprune.models.petcgdnn import PhaseCorrection, family


def test_number_of_parameters_as_published(built, parameters):
    # CuDNN's GRU has two biases, as PyTorch's.
    phase, convolutions = 256 + 1, (8 * 2 * 75 + 75) + (5 * 75 * 25 + 25)
    recurrent, linear = 3 * 128 * (25 + 128 + 2), 128 * 11 + 11
    assert parameters(built("petcgdnn", 128, 11)) == 71_871
    assert phase + convolutions + recurrent + linear == 71_871


@pytest.mark.parametrize(("length", "classes"), [(512, 12), (1024, 24)])
def test_phase_and_head_depend_on_the_data_set(built, parameters, length, classes):
    assert parameters(built("petcgdnn", length, classes)) == 71_871 + 2 * (length - 128) + (classes - 11) * 129


def test_frames_shorter_than_the_unpadded_kernels():
    assert family.build("petcgdnn", channels=2, length=12, classes=3)(synthetic.signals(2, 12)).shape == (2, 3)
    with pytest.raises(ModelError, match="takes frames of 12 samples or more, not 11"):
        family.build("petcgdnn", channels=2, length=11, classes=3)


@torch.no_grad()
def test_correction_is_a_complex_rotation_by_the_estimate():
    correction = PhaseCorrection(6)
    frames = synthetic.signals(3, 6)
    radians = frames.reshape(3, 12) @ correction.phase.weight[0] + correction.phase.bias
    turned = torch.complex(frames[:, 0], frames[:, 1]) * torch.exp(-1j * radians)[:, None]
    torch.testing.assert_close(correction(frames), torch.stack([turned.real, turned.imag], dim=1))


@torch.no_grad()
def test_first_convolution_is_the_published_one_over_a_map_of_two_rows(built):
    network = built("petcgdnn", 20, 3, "cpu")
    frames = synthetic.signals(2, 20)
    conv = network.conv1[0]
    over_map = torch.nn.functional.conv2d(frames[:, None], conv.weight[:, None], conv.bias)
    assert over_map.shape == (2, 75, 1, 13)
    torch.testing.assert_close(network.conv1(frames), over_map[:, :, 0].relu())


@torch.no_grad()
def test_gru_reads_what_the_convolutions_leave_and_the_head_its_last_state(built):
    network = built("petcgdnn", 20, 3, "cpu")
    frames = synthetic.signals(2, 20)
    steps = network.conv2(network.conv1(network.correction(frames)))
    assert steps.shape == (2, 25, 9)
    _, last = network.gru(steps.permute(0, 2, 1))
    torch.testing.assert_close(network(frames), last[0] @ network.fc.weight.T + network.fc.bias)
