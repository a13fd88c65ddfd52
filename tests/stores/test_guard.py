"""A file that reaches outside itself is refused, and nothing outside is touched."""

from __future__ import annotations

import os
import pathlib
import time

import h5py
import numpy as np
import pytest

from usidx.errors import UnsafeStoreError
from usidx.stores import guard, store_at
from usidx.stores.hdf5.values.bytes import HDF5Array

MAIN = "/Measurement_000/Channel_000/Raw_Data"


def write_main(path: pathlib.Path, *, secret: pathlib.Path | None = None) -> pathlib.Path:
    """A Main, its values in the file `secret` where that is given."""
    with h5py.File(path, "w") as file:
        if secret is None:
            main = file.create_dataset(MAIN, data=np.arange(12, dtype="u1").reshape(3, 4))
        else:
            outside = [(str(secret), 0, h5py.h5f.UNLIMITED)]
            main = file.create_dataset(MAIN, (3, 4), "u1", external=outside)
        main.attrs.update({"quantity": "Current", "units": "nA"})
        for side, shape in (("Position", (3, 1)), ("Spectroscopic", (1, 4))):
            for kind in ("Indices", "Values"):
                ancillary = file.create_dataset(
                    f"{side}_{kind}", data=np.arange(max(shape)).reshape(shape)
                )
                ancillary.attrs["labels"] = np.array([b"X" if side == "Position" else b"V"])
                ancillary.attrs["units"] = np.array([b"m"])
                main.attrs[f"{side}_{kind}"] = ancillary.ref
    return path


@pytest.fixture
def secret(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "secret.txt").write_bytes(b"password1234")
    return folder / "secret.txt"


def refusal(path: pathlib.Path, allow: tuple[str, ...] = ()) -> str:
    with pytest.raises(UnsafeStoreError) as caught:
        store_at(path, allow).mains()
    with pytest.raises(UnsafeStoreError):
        store_at(path, allow).open_main(MAIN)
    return str(caught.value)


def test_external_raw_storage(tmp_path: pathlib.Path, secret: pathlib.Path) -> None:
    path = write_main(tmp_path / "a.h5", secret=secret)
    said = refusal(path)
    for part in (str(path), "external raw storage", MAIN, str(secret), "allow_external"):
        assert part in said
    assert str(tmp_path / "other") in refusal(path, (str(tmp_path / "other"),))
    stored = store_at(path, (str(secret.parent),)).open_main(MAIN)
    assert stored.array[(0,)].tobytes() == b"pass"


def test_virtual_datasets(tmp_path: pathlib.Path, secret: pathlib.Path) -> None:
    source = write_main(secret.parent / "source.h5")
    path = write_main(tmp_path / "a.h5")
    layout = h5py.VirtualLayout((3, 4), "u1")
    layout[...] = h5py.VirtualSource(str(source), MAIN, (3, 4))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("virtual", layout)
    said = refusal(path)
    assert "virtual dataset '/virtual'" in said
    assert "source.h5" in said
    assert len(store_at(path, (str(secret.parent),)).mains()) == 1


def test_virtual_datasets_of_the_file_itself_are_fine(tmp_path: pathlib.Path) -> None:
    path = write_main(tmp_path / "a.h5")
    layout = h5py.VirtualLayout((3, 4), "u1")
    layout[...] = h5py.VirtualSource(".", MAIN, (3, 4))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("virtual", layout)
    assert len(store_at(path).mains()) == 1


def test_patterns_of_names_are_always_refused(tmp_path: pathlib.Path) -> None:
    path = write_main(tmp_path / "a.h5")
    endless = h5py.h5s.create_simple((1, 4), (h5py.h5s.UNLIMITED, 4))
    endless.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (1, 1), (1, 4))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    pattern = str(tmp_path / "part_%b.h5").encode()
    creation.set_virtual(endless, pattern, MAIN.encode(), h5py.h5s.create_simple((1, 4)))
    with h5py.File(path, "r+") as file:
        h5py.h5d.create(file.id, b"virtual", h5py.h5t.STD_U8LE, endless, dcpl=creation)
    assert "part_%b.h5" in refusal(path, (str(tmp_path),))


def test_external_links(tmp_path: pathlib.Path, secret: pathlib.Path) -> None:
    write_main(secret.parent / "other.h5")
    path = write_main(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["deep/down/link"] = h5py.ExternalLink("private/other.h5", MAIN)
    said = refusal(path)
    assert "external link '/deep/down/link' to 'private/other.h5'" in said
    store = store_at(path, (str(secret.parent),))
    assert [each.path for each in store.mains()] == [MAIN, "/deep/down/link"]
    linked = store.open_main("/deep/down/link")
    assert linked.array[()].reshape(-1).tolist() == list(range(12))
    assert isinstance(linked.array, HDF5Array)
    assert linked.array.path == str(secret.parent / "other.h5")


def test_an_allowed_file_may_not_reach_further(
    tmp_path: pathlib.Path, secret: pathlib.Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    write_main(allowed / "other.h5", secret=secret)
    path = write_main(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["link"] = h5py.ExternalLink(str(allowed / "other.h5"), MAIN)
    said = refusal(path, (str(allowed),))
    assert str(secret) in said
    assert "other.h5" in said


@pytest.mark.parametrize("name", ["../private/secret.txt", "inside/link.txt"])
def test_allowed_folders_cannot_be_left(
    tmp_path: pathlib.Path, secret: pathlib.Path, name: str
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.txt").symlink_to(secret)
    folder = tmp_path if name.startswith("inside") else inside
    path = write_main(folder / "a.h5", secret=pathlib.Path(name))
    assert name in refusal(path, (str(inside),))


def test_names_that_mean_another_file_from_here(
    tmp_path: pathlib.Path, secret: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 looks for external storage from the working folder, not from that of the file."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "secret.txt").write_bytes(b"harmless....")
    path = write_main(inside / "a.h5", secret=pathlib.Path("secret.txt"))
    monkeypatch.chdir(inside)
    assert len(store_at(path, [inside]).mains()) == 1
    monkeypatch.chdir(secret.parent)
    assert "secret.txt" in refusal(path, (str(inside),))


def test_user_defined_links(tmp_path: pathlib.Path) -> None:
    """A link of a class that only some program knows: made by changing the class in the bytes."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("somewhere_else.h5", "/x")
    data = path.read_bytes()
    name = data.index(b"link", data.index(b"somewhere_else.h5") - 40)
    external = data.rindex(b"\x40", 0, name)  # the class of external links
    path.write_bytes(data[:external] + b"\x50" + data[external + 1 :])
    with h5py.File(path) as file:
        found = list(guard.reaches(file))
    assert [(each.what, each.place) for each in found] == [("user-defined link", "/link")]
    with pytest.raises(UnsafeStoreError, match="user-defined link '/link'.*cannot be known"):
        store_at(path, [tmp_path]).mains()


def test_links_within_the_file_are_fine(tmp_path: pathlib.Path) -> None:
    path = write_main(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["soft"] = h5py.SoftLink(MAIN)
        file["broken"] = h5py.SoftLink("/nowhere")
        file["same"] = file["Measurement_000"]
        file["Measurement_000/beside"] = h5py.SoftLink("Channel_000")
        file["twice"] = h5py.SoftLink("/soft")
    assert [each.path for each in store_at(path).mains()] == [MAIN]


def test_a_file_that_was_clean_is_looked_at_again_when_it_changes(
    tmp_path: pathlib.Path, secret: pathlib.Path
) -> None:
    path = write_main(tmp_path / "a.h5")
    assert len(store_at(path).mains()) == 1
    with h5py.File(path, "r+") as file:
        file["link"] = h5py.ExternalLink(str(secret), "/")
    assert "external link" in refusal(path)


def test_values_that_become_external_are_not_read(
    tmp_path: pathlib.Path, secret: pathlib.Path
) -> None:
    path = write_main(tmp_path / "a.h5")
    array = store_at(path).open_main(MAIN).array
    write_main(tmp_path / "b.h5", secret=secret)
    os.replace(tmp_path / "b.h5", path)
    with pytest.raises(UnsafeStoreError):
        array[(0,)]


def test_it_is_quick(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):
            file[f"g_{number % 20}/d_{number}"] = np.zeros(3)
    with h5py.File(path) as file:
        start = time.perf_counter()
        assert not list(guard.reaches(file))
        assert time.perf_counter() - start < 0.5
