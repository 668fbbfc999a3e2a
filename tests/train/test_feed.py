import dataclasses
import threading

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from edgeprune.errors import DataError
from edgeprune.models.resnet import ResNet
from edgeprune.network.normalisation import normalise
from edgeprune.train.feed import Stored, StreamedData, TrainingData
from edgeprune.train.finetune import Recipe, train

FRAME_BYTES = 4 * 2 * 16
RECIPE = Recipe(epochs=3, batch_size=7, learning_rate=0.05, seed=5)


def frames(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    time = torch.arange(16)
    angle = 2 * torch.pi * (labels[:, None] + 1) * time / 11
    tones = torch.stack([angle.cos(), angle.sin()], dim=1)
    return (tones + 0.5 * torch.randn(count, 2, 16, generator=generator)).float(), labels


class File:
    """Frames that are read, and what was read of them."""

    def __init__(self, iq, labels):
        self.iq, self.labels, self.reads = iq.numpy(), labels, []

    def stored(self):
        return Stored(self._read, self.labels, FRAME_BYTES)

    def _read(self, places):
        assert threading.current_thread() is not threading.main_thread()
        self.reads.append(places.copy())
        return self.iq[places]


def streamed(train_part, validation, block=10, window=40):
    return StreamedData(
        File(*train_part).stored(),
        File(*validation).stored(),
        "rms",
        block_bytes=block * FRAME_BYTES,
        window_bytes=window * FRAME_BYTES,
    )


@pytest.fixture
def feed():
    """101 frames to learn from and 30 to choose by, in blocks of 10 and windows of at most 40 frames."""
    return streamed(frames(101, 0), frames(30, 1))


def order_of(feed, seed, size=7):
    return feed.order(size, torch.Generator().manual_seed(seed))


class TestOrder:
    @pytest.mark.parametrize("size", [1, 7, 40, 64, 1000])
    def test_every_frame_is_there_once(self, feed, size):
        assert sorted(order_of(feed, 0, size).tolist()) == list(range(101))

    def test_it_follows_from_the_seed_alone(self, feed):
        assert torch.equal(order_of(feed, 3), order_of(feed, 3))
        assert not torch.equal(order_of(feed, 3), order_of(feed, 4))

    def test_a_window_is_of_whole_batches_and_few_blocks(self, feed):
        first = order_of(feed, 0)[:35]  # 5 batches of 7 fit in 40 frames
        blocks = {place // 10 for place in first.tolist()}
        assert len(blocks) <= 5  # 35 frames of blocks of 10, the last of them cut, and perhaps the short one
        assert first.tolist() != sorted(first.tolist())

    def test_frames_of_a_block_are_apart(self, feed):
        """As a random order within the window has them: few neighbours of the file follow one another."""
        order = order_of(streamed(frames(4000, 0), frames(3, 1), block=50, window=1000), 0, size=10)
        assert float((order.diff() == 1).float().mean()) < 0.01

    def test_all_blocks_are_in_every_window_alike_often(self):
        """The first window of many epochs draws on every part of the file."""
        feed = streamed(frames(400, 0), frames(3, 1), block=10, window=100)
        seen = torch.cat([order_of(feed, seed, 10)[:100] for seed in range(200)])
        counts = torch.bincount(seen // 100, minlength=4) / len(seen)
        torch.testing.assert_close(counts, torch.full((4,), 0.25), atol=0.03, rtol=0)


class TestBatches:
    def test_they_are_the_frames_of_the_order_normalised(self, feed):
        iq, labels = frames(101, 0)
        order = order_of(feed, 1)
        found = list(feed.batches(order.split(7)))
        assert torch.equal(torch.cat([places for places, _, _ in found]), order)
        torch.testing.assert_close(torch.cat([batch for _, batch, _ in found]), normalise(iq, "rms")[order])
        assert torch.equal(torch.cat([of for _, _, of in found]), labels[order])
        assert [len(places) for places, _, _ in found] == [7] * 14 + [3]

    def test_no_more_than_the_next_window_is_read_ahead(self):
        file = File(*frames(101, 0))
        feed = StreamedData(file.stored(), file.stored(), "rms", block_bytes=1280, window_bytes=40 * FRAME_BYTES)
        for taken, _ in enumerate(feed.batches(order_of(feed, 0).split(7))):
            assert len(file.reads) <= taken // 5 + 2
        assert max(map(len, file.reads)) <= 40

    def test_validation_is_in_order_and_whole(self, feed):
        iq, labels = frames(30, 1)
        found = list(feed.validation())
        torch.testing.assert_close(torch.cat([batch for batch, _ in found]), normalise(iq, "rms"))
        assert torch.equal(torch.cat([of for _, of in found]), labels)


def in_memory(feed):
    """The same frames as tensors, taken in the order in which the other feed reads them."""

    class SameOrder(TrainingData):
        def order(self, size, generator):
            return feed.order(size, generator)

        def on(self, device):
            return self

    (iq, labels), (other, expected) = frames(101, 0), frames(30, 1)
    return SameOrder(normalise(iq, "rms"), labels, normalise(other, "rms"), expected)


def trained(data, recipe=RECIPE, **options):
    torch.manual_seed(1)
    model = ResNet(1, 1, 3)
    result = train(model, data, recipe, options.pop("progress", synthetic.Silent()), **options)
    curve = [dataclasses.replace(metrics, seconds=0.0) for metrics in result.epochs]
    return model.state_dict(), curve


def assert_same(first, second):
    assert first[1] == second[1]
    assert [name for name, value in first[0].items() if not torch.equal(value, second[0][name])] == []


class TestTraining:
    def test_reading_changes_nothing_but_the_order(self, feed, single_precision):
        assert_same(trained(feed), trained(in_memory(feed)))

    def test_it_learns(self, feed):
        tops = [metrics.validation_top1 for metrics in trained(feed, dataclasses.replace(RECIPE, epochs=8))[1]]
        assert max(tops) > 0.8

    @pytest.mark.parametrize("stop", ["loss", "epoch 2, step 1"])
    def test_interrupted_it_ends_the_same(self, feed, tmp_path, stop):
        whole = trained(feed)
        with pytest.raises(KeyboardInterrupt):
            trained(feed, progress=synthetic.Silent(stop_at=stop), state_path=tmp_path / "state")
        assert_same(whole, trained(feed, state_path=tmp_path / "state"))

    def test_a_teacher_asked_each_time_teaches_as_one_asked_before(self, feed, single_precision):
        torch.manual_seed(3)
        teacher = ResNet(1, 1, 3).eval()
        streamed_weights, curve = trained(feed, teacher=teacher)
        weights, expected = trained(in_memory(feed), teacher=teacher)
        np.testing.assert_allclose(
            [metrics.train_loss for metrics in curve], [metrics.train_loss for metrics in expected], rtol=1e-3
        )
        for name, value in weights.items():
            torch.testing.assert_close(streamed_weights[name], value, rtol=1e-2, atol=1e-3)
        assert not teacher.training

    def test_a_damaged_file_stops_it_with_its_own_error(self, feed):
        def damaged(places):
            raise DataError("frames.h5: iq[5:9] cannot be read")

        broken = dataclasses.replace(feed, train=Stored(damaged, feed.train.labels, FRAME_BYTES))
        before = threading.active_count()
        with pytest.raises(DataError, match=r"iq\[5:9\]"):
            trained(broken)
        assert threading.active_count() == before

    def test_a_last_batch_of_one_frame_is_left_out(self):
        seen = []
        feed = streamed(frames(15, 0), frames(3, 1))
        model = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
        model.register_forward_hook(lambda module, args, out: seen.append(len(args[0])) if module.training else None)
        train(model, feed, RECIPE, synthetic.Silent())
        assert seen == [7, 7] * 3
