"""What a run folder's networks ran on, kept over its runs."""

from edgeprune.network.compute import Compute
from edgeprune.pipeline.folder import computed_on, open_folder

HERE, THERE = Compute(name="a CPU"), Compute(device="cuda:0", name="NVIDIA H200", precision="bf16")


def test_a_run_continued_elsewhere_names_both_in_their_order(tmp_path):
    assert computed_on(tmp_path, THERE) == ("NVIDIA H200 (training in bf16)",)
    assert computed_on(tmp_path, THERE) == ("NVIDIA H200 (training in bf16)",)
    both = ("NVIDIA H200 (training in bf16)", "a CPU (training in fp32)")
    assert computed_on(tmp_path, HERE) == computed_on(tmp_path, HERE) == both
    assert computed_on(tmp_path, THERE) == (*both, both[0])


def test_a_fresh_start_forgets_it(tmp_path):
    with open_folder(tmp_path, fresh=False):
        computed_on(tmp_path, THERE)
    with open_folder(tmp_path, fresh=True):
        assert computed_on(tmp_path, HERE) == ("a CPU (training in fp32)",)
