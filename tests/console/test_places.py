"""Things that lineage tells, as links by kind."""

from charkha.console.places import groups


def test_things_are_grouped_by_kind_with_the_newest_first() -> None:
    things = [{"kind": "run", "id": f"run-{number}"} for number in range(7)]
    things += [
        {"kind": "dataset_version", "id": "data"},
        {"kind": "feedback", "id": "said"},
        {"kind": "odd", "id": "x"},
    ]
    data, runs = groups(things)
    assert (data.title, data.path, data.ids, data.more) == ("Data set versions", "/dataset-versions/", ["data"], 0)
    assert (runs.path, runs.ids, runs.more) == ("/runs/", ["run-6", "run-5", "run-4", "run-3", "run-2"], 2)
    assert groups([]) == []
