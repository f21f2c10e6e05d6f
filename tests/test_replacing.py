# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that take the place of earlier ones once they are complete."""

import os
import stat
import subprocess
import sys

import pytest

from py4dstem_rrvae import replacing as module
from py4dstem_rrvae.replacing import replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, text, **options):
    with replacing(path, **options) as part:
        part.write_text(text)


def write_store(path, text, **options):
    with replacing(path, **options) as part:
        (part / "inside").mkdir(parents=True)
        (part / "inside" / "values").write_text(text)


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "maps.h5"
    write(path, "one")
    with replacing(path) as part:
        part.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert names(tmp_path) == ["maps.h5"]


def test_a_block_that_raises_changes_nothing(tmp_path):
    path = tmp_path / "maps.h5"
    write(path, "one")
    with pytest.raises(UnicodeEncodeError), replacing(path) as part:
        part.write_text("half \ud800")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["maps.h5"]


def test_mode_and_link_stay(tmp_path):
    path, link = tmp_path / "maps.h5", tmp_path / "link.h5"
    write(path, "one")
    path.chmod(0o640)
    link.symlink_to(path)
    write(link, "two")
    assert path.read_text() == "two" and link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("exchange", [True, False])
def test_a_store_is_replaced_whole(exchange, tmp_path, monkeypatch):
    if not exchange:  # as where the system has no such call
        monkeypatch.setattr(module, "_renamed", lambda *_: False)
    path = tmp_path / "maps.zspy"
    write_store(path, "one")
    (path / "old").write_text("of the earlier store")
    write_store(path, "two")
    assert (path / "inside" / "values").read_text() == "two"
    assert names(path) == ["inside"] and names(tmp_path) == ["maps.zspy"]


def test_a_store_is_given_back_after_the_worst_moment(tmp_path, monkeypatch):
    path = tmp_path / "maps.zspy"
    write_store(path, "one")
    left = tmp_path / f"{module.PREFIX}left{module.SUFFIX}"
    (left / module.EARLIER).mkdir(parents=True)
    path.rename(left / module.EARLIER / path.name)
    write(tmp_path / "another.h5", "one")
    assert (path / "inside" / "values").read_text() == "one"
    assert names(tmp_path) == ["another.h5", "maps.zspy"]


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "mine.h5").mkdir()
    with pytest.raises(IsADirectoryError, match=r"mine\.h5 could not be written: it is a folder"):
        write(tmp_path / "mine.h5", "one")
    assert names(tmp_path) == ["mine.h5"]


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(OSError, match=r"maps\.h5 could not be written: No such file or directory"):
        write(tmp_path / "absent" / "maps.h5", "one")


KILLED = """
import os, sys
from py4dstem_rrvae.replacing import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_leaves_is_tidied_up(tmp_path):
    path = tmp_path / "maps.h5"
    write(path, "one")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "one"
    assert len(names(tmp_path)) == 2
    write(path, "two")
    assert path.read_text() == "two" and names(tmp_path) == ["maps.h5"]


def test_what_another_process_writes_is_left_alone(tmp_path):
    path = tmp_path / "maps.h5"
    with replacing(path) as part:
        part.write_text("slow")
        write(path, "fast")
        assert part.read_text() == "slow"
        assert path.read_text() == "fast"
    assert path.read_text() == "slow" and names(tmp_path) == ["maps.h5"]


@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("writer", [write, write_store])
def test_what_came_meanwhile_stays_unless_it_may_go(writer, in_one_step, tmp_path, monkeypatch):
    if not in_one_step:  # as where the system has no such call
        monkeypatch.setattr(module, "_renamed", lambda *_: False)
    path = tmp_path / "maps"
    writer(path, "first", overwrite=False)
    (tmp_path / "maps").rename(tmp_path / "kept")
    told = pytest.raises(FileExistsError, match="another process wrote a file of this name")
    with told, replacing(path, overwrite=False) as part:
        part.write_text("second")
        (tmp_path / "kept").rename(path)
    found = path / "inside" / "values" if path.is_dir() else path
    assert found.read_text() == "first" and names(tmp_path) == ["maps"]


def test_exchange_is_one_step_here(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("b")
    if sys.platform != "linux":
        pytest.skip("a call of Linux")
    exchange = module.RENAME_EXCHANGE
    assert module._renamed(tmp_path / "a", tmp_path / "b", exchange)
    assert (tmp_path / "a").is_file() and (tmp_path / "b").is_dir()
    assert not module._renamed(tmp_path / "a", tmp_path / os.fsdecode(b"absent"), exchange)
