import numpy as np
import pytest
import synthetic
import torch

HIDDEN = {"lstm2": 128, "gru2": 64}
GATES = {"lstm2": 4, "gru2": 3}


@pytest.mark.parametrize("name", ["lstm2", "gru2"])
@pytest.mark.parametrize(("length", "classes"), [(128, 11), (512, 12), (1024, 24)])
def test_number_of_parameters_by_hand(built, parameters, name, length, classes):
    # A layer: gates · hidden · (inputs + hidden + two biases), the convention of PyTorch and of cuDNN.
    hidden, gates = HIDDEN[name], GATES[name]
    by_hand = gates * hidden * (2 + hidden + 2) + gates * hidden * (hidden + hidden + 2) + hidden * classes + classes
    assert parameters(built(name, length, classes)) == by_hand


def test_lstm_is_the_size_of_the_one_in_the_benchmark_of_zhang_et_al(built, parameters):
    assert parameters(built("lstm2", 128, 11)) == 201_099


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_layer(steps, w_ih, w_hh, b_ih, b_hh):
    """Hochreiter & Schmidhuber 1997 with forget gates; gates in the order i, f, g, o."""
    state = cell = np.zeros((len(steps), w_hh.shape[1]))
    states = []
    for step in range(steps.shape[1]):
        i, f, g, o = np.split(steps[:, step] @ w_ih.T + b_ih + state @ w_hh.T + b_hh, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(cell)
        states.append(state)
    return np.stack(states, axis=1)


def gru_layer(steps, w_ih, w_hh, b_ih, b_hh):
    """Cho et al. 2014 with the reset behind the product, as cuDNN; gates in the order r, z, n."""
    state = np.zeros((len(steps), w_hh.shape[1]))
    states = []
    for step in range(steps.shape[1]):
        (r, z, n), (r_h, z_h, n_h) = (
            np.split(values, 3, axis=1) for values in (steps[:, step] @ w_ih.T + b_ih, state @ w_hh.T + b_hh)
        )
        update = sigmoid(z + z_h)
        state = (1 - update) * np.tanh(n + sigmoid(r + r_h) * n_h) + update * state
        states.append(state)
    return np.stack(states, axis=1)


@torch.no_grad()
@pytest.mark.parametrize(("name", "layer"), [("lstm2", lstm_layer), ("gru2", gru_layer)])
def test_forward_pass_against_the_equations(built, name, layer):
    network = built(name, 9, 3, "cpu")
    state = {key: values.double().numpy() for key, values in network.state_dict().items()}
    frames = synthetic.signals(2, 9)
    steps = frames.double().numpy().transpose(0, 2, 1)
    for place in range(2):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        steps = layer(steps, *(state[f"recurrent.{weight}_l{place}"] for weight in names))
    expected = steps[:, -1] @ state["fc.weight"].T + state["fc.bias"]
    np.testing.assert_allclose(network(frames), expected, rtol=1e-4, atol=1e-5)


def test_forget_gates_begin_open_and_all_other_biases_at_zero(built):
    biases = {
        name: values for name, values in built("lstm2", 9, 3, "cpu").recurrent.named_parameters() if "bias" in name
    }
    assert len(biases) == 4
    for name, values in biases.items():
        gates = values.detach().reshape(4, 128)
        assert gates.sum(dim=1).tolist() == [0, 128 if "ih" in name else 0, 0, 0]


def test_weights_from_the_state_are_orthogonal(built):
    weight = built("gru2", 9, 3, "cpu").recurrent.weight_hh_l1.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(64), rtol=0, atol=1e-5)
