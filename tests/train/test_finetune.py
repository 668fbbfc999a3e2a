"""The trainer: what it computes by hand, and that an interrupted training ends like one that was not."""

import copy
import dataclasses

import numpy as np
import pytest
import synthetic
import torch
from torch import nn
from torch.nn import functional

from edgeprune.errors import ConfigError, DataError, ModelError
from edgeprune.models.resnet import ResNet
from edgeprune.train import finetune
from edgeprune.train.augment import rotate
from edgeprune.train.finetune import Recipe, train

RECIPE = Recipe(epochs=4, batch_size=24, learning_rate=0.1)


def linear(bias=False):
    """Logits that are weighted sums of the samples, without batch norm."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3, bias=bias))


class Watching(nn.Module):
    """Keeps the frames that it is trained on, and those it is asked about in evaluation mode."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.learnt, self.judged = inner, [], []

    def forward(self, x):
        (self.learnt if self.training else self.judged).append(x.clone())
        return self.inner(x)


def trained(data, recipe=RECIPE, **options):
    """A fresh network, trained; its weights and its curve without the times."""
    model = synthetic.small_network()
    result = train(model, data, recipe, options.pop("progress", synthetic.Silent()), **options)
    return model, [dataclasses.replace(metrics, seconds=0.0) for metrics in result.epochs], result


def assert_same(first, second):
    """Bit for bit the same weights and the same curve."""
    assert first[1] == second[1]
    states = first[0].state_dict(), second[0].state_dict()
    assert [name for name, value in states[0].items() if not torch.equal(value, states[1][name])] == []
    assert dataclasses.replace(first[2], epochs=()) == dataclasses.replace(second[2], epochs=())


class TestLearning:
    def test_tones_are_learnt(self, data):
        _, curve, result = trained(data, dataclasses.replace(RECIPE, epochs=8))
        assert [metrics.epoch for metrics in curve] == list(range(1, 9))
        assert curve[-1].train_loss < curve[0].train_loss / 2
        assert result.best_validation_top1 >= 0.9
        assert not result.distilled

    def test_the_same_seed_gives_the_same_weights_and_another_seed_others(self, data):
        first, again = trained(data), trained(data)
        assert_same(first, again)
        other = trained(data, dataclasses.replace(RECIPE, seed=1))
        assert not torch.equal(first[0].fc.weight, other[0].fc.weight)

    def test_the_model_is_left_ready_for_use(self, data):
        model, _, _ = trained(data)
        assert not any(module.training for module in model.modules())
        assert model(data.validation_iq).dtype == torch.float32
        assert all(parameter.device.type == "cpu" for parameter in model.parameters())
        torch.export.export(model, (data.validation_iq,), strict=False)

    def test_the_best_weights_on_validation_are_kept(self, data, monkeypatch):
        scores, seen = iter([0.2, 0.9, 0.4, 0.9]), []

        def scripted(model, *_):
            seen.append(copy.deepcopy(model.state_dict()))
            return 1.0, next(scores)

        monkeypatch.setattr(finetune, "_validate", scripted)
        model, _, result = trained(data)
        assert (result.best_epoch, result.best_validation_top1) == (2, 0.9)
        assert all(torch.equal(value, seen[1][name]) for name, value in model.state_dict().items())
        assert not torch.equal(model.fc.weight, seen[3]["fc.weight"])

    def test_the_curve_says_what_the_weights_do(self, data, single_precision):
        model, curve, result = trained(data)
        with torch.no_grad():
            logits = model(data.validation_iq).numpy()
        right = np.mean(logits.argmax(1) == data.validation_labels.numpy())
        log_shares = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        loss = -np.mean(log_shares[np.arange(len(logits)), data.validation_labels.numpy()])
        best = curve[result.best_epoch - 1]
        assert best.validation_top1 == pytest.approx(right)
        assert best.validation_loss == pytest.approx(loss, rel=1e-5)
        assert result.best_validation_top1 == max(metrics.validation_top1 for metrics in curve)
        assert result.precision == "fp32"

    def test_a_last_batch_of_one_frame_is_left_out(self, data):
        class OnePerChannel(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.norm, self.last = nn.Linear(32, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

            def forward(self, x):
                return self.last(self.norm(self.first(x.flatten(1))))

        some = dataclasses.replace(data, train_iq=data.train_iq[:25], train_labels=data.train_labels[:25])
        model = OnePerChannel()
        train(model, some, RECIPE, synthetic.Silent())  # batch norm refuses a batch of one frame
        assert int(model.norm.num_batches_tracked) > 0

    @pytest.mark.parametrize("count", [0, 1])
    def test_fewer_than_two_frames_are_a_data_error(self, data, count):
        few = dataclasses.replace(data, train_iq=data.train_iq[:count], train_labels=data.train_labels[:count])
        with pytest.raises(DataError, match=f"at least 2 frames, not {count}"):
            train(synthetic.small_network(), few, RECIPE, synthetic.Silent())

    def test_divergence_is_a_model_error_with_the_way_out(self, data):
        with pytest.raises(ModelError, match="diverged in epoch 1") as caught:
            trained(data, dataclasses.replace(RECIPE, learning_rate=1e30))
        assert "`learning_rate`" in caught.value.hint
        assert "\n" not in str(caught.value)


class TestOneStep:
    """One epoch of one step, worked out beside it."""

    RECIPE = Recipe(epochs=1, batch_size=64, learning_rate=0.5, weight_decay=0.01, rotate=False)

    def test_labels_alone(self, data, single_precision):
        result = train(linear(), data, self.RECIPE, synthetic.Silent())
        loss = functional.cross_entropy(linear()(data.train_iq), data.train_labels)
        assert result.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-6)

    @pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
    def test_labels_and_teacher(self, data, single_precision, weight):
        recipe = dataclasses.replace(self.RECIPE, distill_weight=weight, temperature=3.0)
        torch.manual_seed(5)
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
        result = train(linear(), data, recipe, synthetic.Silent(), teacher=teacher)
        with torch.no_grad():
            student_logits, teacher_logits = (model(data.train_iq).double().numpy() for model in (linear(), teacher))

        def shares(logits, temperature):
            powers = np.exp(logits / temperature)
            return powers / powers.sum(1, keepdims=True)

        taught, answered = shares(teacher_logits, 3.0), shares(student_logits, 3.0)
        divergence = 9.0 * np.mean((taught * np.log(taught / answered)).sum(1))
        hard = -np.mean(np.log(shares(student_logits, 1.0)[np.arange(54), data.train_labels.numpy()]))
        expected = (1 - weight) * hard + weight * divergence
        assert result.epochs[0].train_loss == pytest.approx(expected, rel=1e-5)
        assert result.distilled

    @pytest.mark.parametrize("turning", [False, True])
    def test_a_student_that_already_answers_like_its_teacher_learns_nothing(self, data, single_precision, turning):
        recipe = Recipe(epochs=2, batch_size=16, weight_decay=0.0, rotate=turning, distill_weight=1.0)
        model = linear()
        result = train(model, data, recipe, synthetic.Silent(), teacher=linear())
        assert [metrics.train_loss for metrics in result.epochs] == pytest.approx([0, 0], abs=1e-6)
        torch.testing.assert_close(model.state_dict(), linear().state_dict(), rtol=0, atol=1e-6)

    def test_mixed_frames_are_learnt_from_the_teacher_alone(self, data, single_precision):
        recipe = dataclasses.replace(self.RECIPE, mix=0.5, temperature=3.0)
        torch.manual_seed(5)
        teacher, student = Watching(nn.Sequential(nn.Flatten(), nn.Linear(32, 3))), Watching(linear())
        result = train(student, data, recipe, synthetic.Silent(), teacher=teacher)
        (mixed,) = student.learnt
        assert torch.equal(mixed, torch.cat(teacher.judged))
        untouched = [frame for frame in mixed if any(torch.equal(frame, each) for each in data.train_iq)]
        assert 10 < len(untouched) < 44  # of 54
        with torch.no_grad():
            taught, answered = ((logits / 3).log_softmax(1) for logits in (teacher.inner(mixed), linear()(mixed)))
        divergence = 9.0 * (taught.exp() * (taught - answered)).sum(1).mean()
        assert result.epochs[0].train_loss == pytest.approx(divergence.item(), rel=1e-5)

    def test_nothing_is_mixed_without_a_teacher(self, data):
        assert_same(trained(data), trained(data, dataclasses.replace(RECIPE, mix=0.5)))

    def test_every_frame_is_turned_by_a_quarter_of_its_own(self, data, single_precision):
        model = Watching(linear())
        train(model, data, Recipe(epochs=1, batch_size=18), synthetic.Silent())
        turned = torch.cat(model.learnt)
        assert len(turned) == 54
        counts = [0] * 4
        found = set()
        for frame in turned:
            for quarters in range(4):
                back = rotate(frame[None], torch.tensor([-quarters % 4]))[0]
                same = [index for index, original in enumerate(data.train_iq) if torch.equal(original, back)]
                if same:
                    counts[quarters] += 1
                    found.add(same[0])
        assert found == set(range(54))
        assert min(counts) >= 5


def test_every_step_is_nesterovs_under_a_one_cycle_schedule(data, single_precision, monkeypatch):
    tops = iter([0.1, 0.2])
    monkeypatch.setattr(finetune, "_validate", lambda *_: (1.0, next(tops)))  # the last is the best
    model, seen = linear(bias=True), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()) if module.training else None)
    train(model, data, Recipe(2, 6, 0.3, weight_decay=0.02, rotate=False), synthetic.Silent())
    assert len(seen) == 18
    names = {frame.numpy().tobytes(): label for frame, label in zip(data.train_iq, data.train_labels, strict=True)}

    def annealed(step, rise, fall):
        """Between the values of `rise` up to 30 % of the steps, then between those of `fall`, by half a cosine."""
        turn, end = 0.3 * 19 - 1, 18
        place, (start, stop) = (step / turn, rise) if step <= turn else ((step - turn) / (end - turn), fall)
        return stop + (start - stop) / 2 * (1 + np.cos(np.pi * place))

    weights = [parameter.detach().clone() for parameter in linear(bias=True).parameters()]
    velocity = [torch.zeros_like(weight) for weight in weights]
    for step, batch in enumerate(seen):
        leaves = [weight.clone().requires_grad_() for weight in weights]
        labels = torch.stack([names[frame.numpy().tobytes()] for frame in batch])
        functional.cross_entropy(functional.linear(batch.flatten(1), *leaves), labels).backward()
        rate = annealed(step, (0.3 / 25, 0.3), (0.3, 0.3 / 25 / 1e4))
        momentum = annealed(step, (0.95, 0.85), (0.85, 0.95))
        norm = sum(float(leaf.grad.square().sum()) for leaf in leaves) ** 0.5
        for weight, leaf, moving in zip(weights, leaves, velocity, strict=True):
            gradient = leaf.grad / max(1.0, norm) + 0.02 * weight  # clipped, since there is no batch norm
            moving.mul_(momentum).add_(gradient)
            weight.sub_(rate * (gradient + momentum * moving))
    torch.testing.assert_close([each.detach() for each in model.parameters()], weights, rtol=1e-4, atol=1e-6)


class TestTeacher:
    @pytest.mark.parametrize("mix", [0.0, 0.5])
    def test_is_untouched(self, data, mix):
        teacher = synthetic.shaken(ResNet(1, 1, 3)).train()
        before = synthetic.frozen(teacher)
        trained(data, dataclasses.replace(RECIPE, mix=mix), teacher=teacher)
        assert teacher.training
        assert synthetic.unchanged(teacher, before)
        assert all(parameter.grad is None for parameter in teacher.parameters())

    def test_changes_what_is_learnt(self, data):
        alone, taught = trained(data), trained(data, teacher=synthetic.shaken(ResNet(1, 1, 3)))
        assert (alone[2].distilled, taught[2].distilled) == (False, True)
        assert not torch.equal(alone[0].fc.weight, taught[0].fc.weight)


class TestInterruption:
    @pytest.fixture
    def teacher(self):
        return synthetic.shaken(ResNet(1, 1, 3))

    @pytest.mark.parametrize("mix", [0.0, 0.5])
    @pytest.mark.parametrize("stop_at", ["epoch 1, step 1", "epoch 2, step 1", "epoch 4, step 1", "loss"])
    def test_a_continued_training_ends_as_if_it_had_not_stopped(self, data, teacher, tmp_path, stop_at, mix):
        recipe = dataclasses.replace(RECIPE, mix=mix)
        whole = trained(data, recipe, teacher=teacher)
        kept = {"state_path": tmp_path / "state", "state_key": "k"}
        with pytest.raises(KeyboardInterrupt):
            trained(data, recipe, teacher=teacher, progress=synthetic.Silent(stop_at), **kept)
        progress = synthetic.Silent()
        continued = trained(data, recipe, teacher=teacher, progress=progress, **kept)
        assert_same(whole, continued)
        done = {"epoch 1": 0, "epoch 2": 1, "epoch 4": 3, "loss": 1}[stop_at.split(",")[0]]
        assert sum(text.startswith("loss") for _, text in progress.said) == RECIPE.epochs - done
        assert ((done, f"continued after epoch {done}") in progress.said) == (done > 0)

    def test_stopped_again_and_again(self, data, tmp_path):
        whole = trained(data)
        for _ in range(RECIPE.epochs):
            with pytest.raises(KeyboardInterrupt):
                trained(data, state_path=tmp_path / "state", progress=synthetic.Silent("loss"))
        assert_same(whole, trained(data, state_path=tmp_path / "state"))

    def test_a_finished_training_takes_no_further_step(self, data, tmp_path):
        first = trained(data, state_path=tmp_path / "state")
        progress = synthetic.Silent()
        assert_same(first, trained(data, state_path=tmp_path / "state", progress=progress))
        assert [text for _, text in progress.said] == ["continued after epoch 4"]

    def test_the_weights_come_from_the_state_and_not_from_the_model(self, data, tmp_path):
        whole = trained(data)
        with pytest.raises(KeyboardInterrupt):
            trained(data, state_path=tmp_path / "state", progress=synthetic.Silent("epoch 3, step 1"))
        model = synthetic.shaken(ResNet(1, 1, 3))
        result = train(model, data, RECIPE, synthetic.Silent(), state_path=tmp_path / "state")
        assert result.best_epoch == whole[2].best_epoch
        assert torch.equal(model.fc.weight, whole[0].fc.weight)

    def test_a_training_that_continues_on_another_device_says_so(self, data, tmp_path, monkeypatch):
        trained(data, state_path=tmp_path / "state")
        state = torch.load(tmp_path / "state", weights_only=True)
        assert state["device"] == "cpu"
        torch.save({**state, "device": "cuda"}, tmp_path / "state")
        notes = []
        progress = synthetic.Silent()
        monkeypatch.setattr(progress, "note", notes.append)
        trained(data, state_path=tmp_path / "state", progress=progress)
        assert [note for note in notes if "began on cuda and continues on cpu" in note]

    def test_a_state_of_another_training_is_ignored(self, data, tmp_path):
        whole = trained(data)
        trained(data, dataclasses.replace(RECIPE, seed=3), state_path=tmp_path / "state", state_key="another")
        progress = synthetic.Silent()
        assert_same(whole, trained(data, state_path=tmp_path / "state", state_key="this one", progress=progress))
        assert not [text for _, text in progress.said if text.startswith("continued")]

    @pytest.mark.parametrize("damage", ["empty", "cut", "text", "trap", "no curve", "other network", "other best"])
    def test_a_damaged_state_only_costs_the_epochs_it_held(self, data, tmp_path, damage):
        whole = trained(data)
        path = tmp_path / "state"
        with pytest.raises(KeyboardInterrupt):
            trained(data, state_path=path, progress=synthetic.Silent("epoch 3, step 1"))
        if damage in ("no curve", "other network", "other best"):
            state = torch.load(path, weights_only=True)
            if damage == "no curve":
                del state["curve"]
            elif damage == "other best":
                state["best"][0]["fc.weight"] = torch.zeros(5, 64)
            else:
                state["parts"]["model"]["fc.weight"] = torch.zeros(5, 64)
            torch.save(state, path)
        else:
            content = path.read_bytes()
            path.write_bytes(
                {
                    "empty": b"",
                    "cut": content[: len(content) // 2],
                    "text": b"not a state",
                    "trap": synthetic.trap(tmp_path / "marker"),
                }[damage]
            )
        assert_same(whole, trained(data, state_path=path))
        assert not (tmp_path / "marker").exists()

    def test_a_state_that_cannot_be_written_is_a_config_error(self, data, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(ConfigError, match="cannot write"):
            trained(data, state_path=tmp_path / "file" / "state")
