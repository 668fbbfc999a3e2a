"""From a grid to its cells."""

from pathlib import Path

from edgeprune.compare.cell.cells import baseline_job, expand, job_of
from edgeprune.compare.grid.read import parse
from edgeprune.compare.records import SourceFile
from edgeprune.network.model_file import ModelOptions

A, B = (SourceFile(name, Path(f"{name}.pt"), name * 64) for name in "ab")
X, Y = (SourceFile(name, Path(f"{name}.npz"), name * 64) for name in "xy")
GRID = {
    "methods": ["l1", "train-on", "edgeprune"],
    "ratios": [0.5, 0.89],
    "seeds": [0, 3],
    "networks": ["ulcnn"],
}


def cells_of(pairs, data, **changes):
    grid = parse({**GRID, **changes}, "the grid", Path())
    return grid, expand(grid, pairs, data)


def test_every_combination_is_a_cell_and_what_drops_nothing_is_done_once():
    _, cells = cells_of([(A, X), (B, X), (A, Y)], [X, Y])
    combined = [cell for cell in cells if cell.ratio is not None]
    assert len(combined) == 3 * 2 * 2 * 2
    assert len([cell for cell in cells if cell.method and cell.method.kind == "none"]) == 3 * 2
    assert [cell.id for cell in cells if cell.network] == [
        f"ulcnn--{data}--trained--s{s}" for data in "xy" for s in (0, 3)
    ]
    assert len({cell.id for cell in cells}) == len(cells)


def test_names_are_readable_and_the_order_is_that_of_the_table():
    _, cells = cells_of([(A, X)], [X], seeds=[0])
    assert [cell.id for cell in cells] == [
        "a--x--train-on--s0",
        "a--x--l1--r0.5--s0",
        "a--x--edgeprune--r0.5--s0",
        "a--x--l1--r0.89--s0",
        "a--x--edgeprune--r0.89--s0",
        "ulcnn--x--trained--s0",
    ]


def test_a_name_that_no_file_system_takes_is_changed():
    odd = SourceFile("mine/of:2", Path("m.pt"), "0" * 64)
    _, cells = cells_of([(odd, X)], [X])
    assert cells[0].id.startswith("mine_of_2--x--")


def test_channel_methods_are_matched_to_edgeprune_of_the_same_model_ratio_and_seed():
    grid, cells = cells_of([(A, X)], [X])
    jobs = {cell.id: job_of(cell, grid, Path("out"), 2016, ModelOptions()) for cell in cells}
    reference = jobs["a--x--l1--r0.89--s3"].reference
    assert reference == jobs["a--x--edgeprune--r0.89--s3"]
    assert jobs["a--x--edgeprune--r0.89--s3"].reference is None
    assert jobs["ulcnn--x--trained--s0"].reference is None


def test_without_edgeprune_in_the_grid_they_are_matched_to_its_defaults():
    grid, cells = cells_of([(A, X)], [X], methods=["l1", {"name": "mine", "segments": 2}])
    (job, *_) = [
        job_of(cell, grid, Path("out"), 1, ModelOptions()) for cell in cells if cell.id.startswith("a--x--l1--")
    ]
    assert job.reference.cell.method.model_dump(exclude_defaults=True) == {"name": "edgeprune"}


def test_a_method_of_that_name_with_other_settings_is_the_reference():
    grid, cells = cells_of([(A, X)], [X], methods=["l1", {"name": "edgeprune", "segments": 2}])
    job = next(job_of(cell, grid, Path("out"), 1, ModelOptions()) for cell in cells if cell.id.startswith("a--x--l1--"))
    assert job.reference.cell.method.segments == 2


def test_the_unpruned_network_has_a_folder_of_its_own():
    grid, _ = cells_of([(A, X)], [X])
    job = baseline_job((A, X), grid, Path("out"), 1, ModelOptions())
    assert (job.folder, job.cell.method, job.cell.network) == (Path("out/baselines/a--x"), None, None)
