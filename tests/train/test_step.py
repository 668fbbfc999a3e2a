"""A recorded step takes the steps of an eager one; recording is stood in for by running the same work again."""

import dataclasses
import random

import pytest
import synthetic
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgeprune import registry
from edgeprune.errors import DeviceError
from edgeprune.models.resnet import ResNet
from edgeprune.network.compute import Compute
from edgeprune.train import finetune
from edgeprune.train.finetune import Recipe, train

RECIPE = Recipe(epochs=3, batch_size=24, learning_rate=0.1)  # of 54 frames, so that the last batch is ragged


class Graphs:
    """Records like a CUDA graph: inputs, gradients and result have one place each, whatever it is replayed on."""

    def __init__(self, model):
        self.model, self.recorded, self.replayed = model, 0, 0

    def record(self, work):
        for _ in range(3):
            work()
        result = work()
        static = [parameter.grad for parameter in self.model.parameters()]
        self.recorded += 1

        def again():
            assert all(parameter.grad is kept for parameter, kept in zip(self.model.parameters(), static, strict=True))
            now = work()
            with torch.no_grad():
                result.copy_(now)
                for parameter, kept in zip(self.model.parameters(), static, strict=True):
                    kept.copy_(parameter.grad)
                    parameter.grad = kept
            self.replayed += 1

        return result, again


@pytest.fixture
def graphs(monkeypatch):
    """Lets a network be trained by recorded steps."""

    def of(model):
        made = Graphs(model)
        monkeypatch.setattr(finetune, "recorder_on", lambda device: made.record)
        return made

    return of


def fresh(kind="resnet"):
    torch.manual_seed(1)
    if kind == "resnet":
        return ResNet(1, 1, 3)
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))


def trained(model, data, recipe=RECIPE, **options):
    progress = Noting()
    result = train(model, data, recipe, progress, **options)
    return model.state_dict(), [dataclasses.replace(each, seconds=0.0) for each in result.epochs], progress.notes


class Noting(synthetic.Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def assert_same(first, second):
    assert first[1] == second[1]
    assert [name for name, value in first[0].items() if not torch.equal(value, second[0][name])] == []


class TestRecorded:
    @pytest.mark.parametrize("kind", ["resnet", "dropout"])
    @pytest.mark.parametrize("teaching", ["alone", "asked once", "asked each time"])
    def test_it_ends_with_the_weights_of_an_eager_one(self, data, graphs, kind, teaching):
        recipe = dataclasses.replace(RECIPE, mix=0.5 if teaching == "asked each time" else 0.0)
        teacher = None if teaching == "alone" else synthetic.shaken(ResNet(1, 1, 3), seed=4)
        eager = trained(fresh(kind), data, recipe, teacher=teacher)
        model = fresh(kind)
        made = graphs(model)
        assert_same(eager, trained(model, data, recipe, teacher=teacher))
        assert (made.recorded, made.replayed) == (1, 6)  # two whole batches an epoch; the ragged one is not replayed

    def test_it_is_recorded_anew_where_a_tensor_moved(self, data, graphs):
        def move(model):
            model.fc.weight.data = model.fc.weight.data.clone()

        eager = trained(fresh(), data, after_epoch=move)
        model = fresh()
        made = graphs(model)
        assert_same(eager, trained(model, data, after_epoch=move))
        assert made.recorded == 3

    def test_what_cannot_be_recorded_is_taken_eagerly_from_the_same_state(self, data, monkeypatch):
        def broken(work):
            work()
            torch.rand(3)
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

        eager = trained(fresh("dropout"), data)
        monkeypatch.setattr(finetune, "recorder_on", lambda device: broken)
        found = trained(fresh("dropout"), data)
        assert_same(eager, found)
        (note,) = found[2]
        assert "operation not permitted when stream is capturing" in note
        assert "\n" not in note

    def test_a_network_that_draws_from_pythons_generator_is_not_recorded(self, data, graphs):
        class Drawing(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = fresh()

            def forward(self, x):
                return self.inner(x * random.random() if self.training else x)

        eager = trained(Drawing(), data)
        model = Drawing()
        made = graphs(model)
        found = trained(model, data)
        assert_same(eager, found)
        assert made.replayed == 0
        assert "Python's" in found[2][0]

    def test_interrupted_it_ends_the_same(self, data, graphs, tmp_path):
        whole = trained(fresh("dropout"), data)
        model = fresh("dropout")
        graphs(model)
        with pytest.raises(KeyboardInterrupt):
            train(model, data, RECIPE, synthetic.Silent("epoch 2"), state_path=tmp_path / "state")
        again = fresh("dropout")
        graphs(again)
        assert_same(whole, trained(again, data, state_path=tmp_path / "state"))


class Waiting(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU: a value or a size asked for, and copies to main memory."""

    REFUSED = (
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.nonzero.default,
        torch.ops.aten.masked_select.default,
        torch.ops.aten.equal.default,
        torch.ops.aten.is_nonzero.default,
        torch.ops.aten._unique2.default,
        torch.ops.aten.bincount.default,
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function not in self.REFUSED, f"{function} waits for the device"
        return function(*args, **(kwargs or {}))


class TestNothingWaits:
    """Inside the steps of an epoch and the batches of validation."""

    @pytest.fixture
    def watched(self, monkeypatch):
        """Counts the passes that were watched."""
        passes, train_steps, validate_batches = [], finetune._Loop._train, finetune._validate

        def take_steps(*arguments):
            passes.append("training")
            with Waiting():
                return train_steps(*arguments)

        def validate(*arguments):
            passes.append("validation")
            with Waiting():  # its one answer at the end is read by `tolist`, which this does not see
                return validate_batches(*arguments)

        monkeypatch.setattr(finetune._Loop, "_train", take_steps)
        monkeypatch.setattr(finetune, "_validate", validate)
        return passes

    @pytest.mark.parametrize("mix", [0.0, 0.5])
    @pytest.mark.parametrize("taught", [False, True])
    def test_whatever_is_learnt_from(self, data, watched, mix, taught):
        teacher = synthetic.shaken(ResNet(1, 1, 3)) if taught else None
        trained(fresh(), data, dataclasses.replace(RECIPE, epochs=1, mix=mix), teacher=teacher)
        assert watched == ["training", "validation"]

    def test_frames_in_main_memory(self, data, watched):
        trained(fresh(), dataclasses.replace(data, streamed=True), dataclasses.replace(RECIPE, epochs=1))
        assert watched == ["training", "validation"]

    @pytest.mark.parametrize("name", [name for name in registry.model_names() if name not in ("signet50", "resnet110")])
    def test_every_network(self, data, watched, name):
        iq = synthetic.signals(8, 64)
        few = dataclasses.replace(data, train_iq=iq[:6], train_labels=torch.arange(6) % 3)
        few = dataclasses.replace(few, validation_iq=iq[6:], validation_labels=torch.arange(2))
        network = registry.family_of(name).build(name, channels=2, length=64, classes=3)
        trained(network, few, Recipe(epochs=1, batch_size=6))
        assert watched == ["training", "validation"]


class TestMemory:
    def test_a_step_that_does_not_fit_says_which_batch_size_to_try(self, data):
        class Large(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = fresh()

            def forward(self, x):
                if len(x) > 12 and self.training:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                return self.inner(x)

        compute = Compute()
        model = Large()

        def lent():
            with compute.lent(model):
                train(model, data, RECIPE, synthetic.Silent())

        with pytest.raises(DeviceError, match="a step of 24 frames does not fit") as caught:
            lent()
        assert caught.value.hint == "Try `batch_size=12`"

    def test_frames_that_would_fill_the_gpu_stay_in_main_memory(self, data, monkeypatch):
        size = data.train_iq.nbytes + data.validation_iq.nbytes
        whole = trained(fresh(), data)
        for free, streamed in ((2 * size, False), (2 * size - 1, True)):
            monkeypatch.setattr("edgeprune.train.feed.free_bytes", lambda device, free=free: free)
            moved = data.on(torch.device("cpu"))
            assert (moved.streamed, moved.resident is None) == (streamed, streamed)
            assert_same(whole, trained(fresh(), data))

    def test_a_teacher_is_asked_each_time_about_frames_that_are_not_on_the_device(self, data, single_precision):
        teacher = synthetic.shaken(ResNet(1, 1, 3), seed=4)
        asked_once = trained(fresh(), data, teacher=teacher)
        each_time = trained(fresh(), dataclasses.replace(data, streamed=True), teacher=teacher)
        torch.testing.assert_close(asked_once[0], each_time[0], rtol=1e-3, atol=1e-4)
