"""`edgeprune targets`: what people read, without torch or ONNX."""


def rows(result):
    return [line.split("\t") for line in result.out.splitlines()]


def test_the_list_has_a_line_for_each_target(run):
    listed = {row[0]: row for row in rows(run("targets", "list"))[1:]}
    assert listed["jetson-nano"][1:3] == ["trtexec", "fp16, fp32"]
    assert listed["raspberry-pi-5"][1] == "onnxruntime-agent"
    assert len(listed) == len(run("targets", "list", "--json").json["targets"])


def test_a_target_is_shown_in_words_without_what_it_leaves_open(run):
    shown = rows(run("targets", "show", "jetson-orin"))
    assert ["rails", "VDD_IN or VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"] in shown
    assert ["tensorrt", "lowest 8.4, below 12"] in shown
    assert ["precisions", "fp16, fp32, int8"] in shown
    assert sum(row[0] == "note" for row in shown) == 3
    assert not {"modules", "notes"} & {row[0] for row in shown}
    assert "compute_capability" not in {row[0] for row in rows(run("targets", "show", "host-cpu"))}


def test_a_target_of_ones_own_that_cannot_be_ends_with_2_and_a_line(run, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\ndescription = ""\nruntime = "trtexec"\nopset = 13\nprecisions = ["fp32"]\n')
    result = run("targets", "validate", file)
    assert result.code == 2
    assert "batch is 'dynamic'; the runtime trtexec takes \"static\"" in result.err
