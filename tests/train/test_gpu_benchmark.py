"""The benchmark of a GPU, whose loops also run on a CPU."""

import pytest
from scripts import script

from edgeprune.network.compute import CPU


@pytest.fixture(scope="module")
def benchmark():
    return script("benchmarks/gpu.py")


def test_without_a_gpu_it_ends_with_one_line(benchmark, monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(benchmark, "choose", lambda wanted: CPU)
    with pytest.raises(SystemExit) as caught:
        benchmark.main()
    assert str(caught.value).startswith("no GPU: PyTorch")
    assert "\n" not in str(caught.value)


def test_the_loops_are_timed_in_turns(benchmark, capsys):
    (found,) = benchmark.training(CPU, benchmark.TINY)
    assert found["frames_per_s"].keys() == {"eager", "edgeprune"}
    assert [len(times) for times in found["seconds"].values()] == [1, 1]
    assert "resnet56-1d, batch 8: eager" in capsys.readouterr().out
