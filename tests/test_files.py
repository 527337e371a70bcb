"""Files that appear whole or not at all."""

import pytest

from audiorec.files import replacing, replacing_folder, write_text


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "page.md"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    with replacing(path) as aside:
        assert aside.suffix == ".md"
        aside.write_text("whole")
        assert path.read_text() == "old"
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_folder_and_nothing_beside_it(tmp_path):
    folder = tmp_path / "model"
    for content in ("old", "half", "whole"):
        try:
            with replacing_folder(folder) as aside:
                (aside / content).touch()
                if content == "half":
                    raise RuntimeError
        except RuntimeError:
            assert [path.name for path in folder.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [folder]
    assert [path.name for path in folder.iterdir()] == ["whole"] and list(tmp_path.iterdir()) == [folder]
