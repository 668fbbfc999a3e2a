from edgeprune.files.store import read_json


def test_the_demo_prunes_the_shipped_network_on_the_shipped_frames_in_any_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run("demo", "--epochs", 1)
    assert ended.code == 0, ended.err
    report = read_json(tmp_path / "edgeprune-demo" / "report.json")
    assert report["target"] == "host-cpu"
    assert report["latency"]["speedup"] > 1
    assert report["accuracy"]["frames"] > 1000
    lines = ended.out.splitlines()
    place = lines.index("Report: edgeprune-demo/report.html")
    assert [line.split()[:2] for line in lines[place + 2 :]] == [
        ["edgeprune", "inspect"],
        ["edgeprune", "device"],
        ["edgeprune", "import"],
    ]
    assert run(*lines[place + 2].split()[1:]).code == 0


def test_shipped_names_frames_only_where_they_are_of_the_model(world, run):
    ended = run("eval", world / "model.pt", "--data", "shipped")
    assert ended.code == 2
    assert "no shipped frames are of what this model names" in ended.err
