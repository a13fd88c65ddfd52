"""Files that attack whoever opens them: made here, never kept.

Each maker takes an empty folder and returns the path of the file in it. Beside what is wrong, the
file has a Main that is all right.
"""

from __future__ import annotations

import pathlib
import re
import struct
import zlib
from collections.abc import Callable

import h5py
import numpy as np

Maker = Callable[[pathlib.Path], pathlib.Path]

CHANNEL = "/Measurement_000/Channel_000"
MAIN = f"{CHANNEL}/Raw_Data"
SECRET = b"user:password1234"
# By what a file is refused: words of the message.
MAKERS: dict[str, tuple[Maker, str]] = {}


def hostile(says: str) -> Callable[[Maker], Maker]:
    """Register a maker, with words that the refusal of its file must have."""

    def register(maker: Maker) -> Maker:
        MAKERS[maker.__name__] = (maker, says)
        return maker

    return register


def add_main(
    file: h5py.File,
    path: str = MAIN,
    *,
    shape: tuple[int, int] = (3, 4),
    ancillaries: dict[str, h5py.Dataset] | None = None,
    **storage: object,
) -> h5py.Dataset:
    """A Main that is all right, unless its storage or its ancillaries are made otherwise."""
    if not storage:
        storage = {"data": np.arange(shape[0] * shape[1], dtype="u1").reshape(shape)}
    main = file.create_dataset(path, **{"shape": shape, "dtype": "u1", **storage})
    main.attrs.update({"quantity": "Current", "units": "nA"})
    folder = path.rpartition("/")[0]
    for side, label in (("Position", "X"), ("Spectroscopic", "V")):
        for kind in ("Indices", "Values"):
            name = f"{side}_{kind}"
            made = (ancillaries or {}).get(name)
            if made is None:
                column = np.arange(shape[side == "Spectroscopic"])[:, None]
                values = column if side == "Position" else column.T
                dtype = "u4" if kind == "Indices" else "f4"
                made = file.require_dataset(
                    f"{folder}/{name}", values.shape, dtype, data=values.astype(dtype)
                )
            made.attrs["labels"] = np.array([label.encode()])
            made.attrs["units"] = np.array([b"m"])
            main.attrs[name] = made.ref
    return main


def good(folder: pathlib.Path) -> pathlib.Path:
    """A file that is all right."""
    path = folder / "good.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
    return path


def _secret(folder: pathlib.Path) -> pathlib.Path:
    place = folder / "private"
    place.mkdir(exist_ok=True)
    (place / "secret.txt").write_bytes(SECRET)
    return place / "secret.txt"


def _other(folder: pathlib.Path) -> pathlib.Path:
    """An HDF5 file of somebody else."""
    place = folder / "private"
    place.mkdir(exist_ok=True)
    with h5py.File(place / "other.h5", "w") as file:
        add_main(file)
    return place / "other.h5"


def _redirected(path: pathlib.Path, name: str, address: int, to: int) -> pathlib.Path:
    """Let the reference to `address` in the attribute `name` lead elsewhere."""
    data = path.read_bytes()
    old = struct.pack("<Q", address)
    names = [found.end() for found in re.finditer(name.encode() + b"\0", data)]
    place = next(data.index(old, end, end + 80) for end in names if old in data[end : end + 80])
    path.write_bytes(data[:place] + struct.pack("<Q", to) + data[place + 8 :])
    return path


# -- values in other files -------------------------------------------------------------------------


@hostile("external raw storage")
def external_storage(folder: pathlib.Path) -> pathlib.Path:
    secret = _secret(folder)
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    return path


@hostile("external raw storage")
def external_storage_of_the_system(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    return path


@hostile("external raw storage")
def external_storage_by_a_relative_name(folder: pathlib.Path) -> pathlib.Path:
    _secret(folder)
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, external=[("private/../private/secret.txt", 0, h5py.h5f.UNLIMITED)])
    return path


@hostile("external raw storage")
def external_storage_in_pieces(folder: pathlib.Path) -> pathlib.Path:
    secret = str(_secret(folder))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, external=[(secret, 0, 4), (secret, 4, 4), (secret, 8, 4)])
    return path


@hostile("external raw storage")
def external_storage_of_an_ancillary(folder: pathlib.Path) -> pathlib.Path:
    secret = str(_secret(folder))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        outside = file.create_dataset(
            "values", (3, 1), "f4", external=[(secret, 0, h5py.h5f.UNLIMITED)]
        )
        add_main(file, ancillaries={"Position_Values": outside})
    return path


@hostile("external raw storage")
def external_storage_far_from_any_main(folder: pathlib.Path) -> pathlib.Path:
    secret = str(_secret(folder))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        outside = [(secret, 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("some/where/else", (4,), "u1", external=outside)
    return path


@hostile("virtual dataset")
def virtual_dataset(folder: pathlib.Path) -> pathlib.Path:
    layout = h5py.VirtualLayout((3, 4), "u1")
    layout[...] = h5py.VirtualSource(str(_other(folder)), MAIN, (3, 4))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_virtual_dataset("shown", layout)
    return path


@hostile("virtual dataset")
def virtual_dataset_of_many_files(folder: pathlib.Path) -> pathlib.Path:
    layout = h5py.VirtualLayout((30, 4), "u1")
    for number in range(30):
        layout[number] = h5py.VirtualSource(f"part_{number}.h5", MAIN, (3, 4))[0]
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_virtual_dataset("shown", layout)
    return path


@hostile("virtual dataset")
def virtual_dataset_by_a_pattern(folder: pathlib.Path) -> pathlib.Path:
    endless = h5py.h5s.create_simple((1, 4), (h5py.h5s.UNLIMITED, 4))
    endless.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (1, 1), (1, 4))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_virtual(endless, b"part_%b.h5", MAIN.encode(), h5py.h5s.create_simple((1, 4)))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        h5py.h5d.create(file.id, b"shown", h5py.h5t.STD_U8LE, endless, dcpl=creation)
    return path


@hostile("virtual dataset of a virtual dataset")
def virtual_dataset_of_itself(folder: pathlib.Path) -> pathlib.Path:
    layout = h5py.VirtualLayout((3, 4), "u1")
    layout[...] = h5py.VirtualSource(".", "/shown", (3, 4))
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_virtual_dataset("shown", layout)
    return path


@hostile("virtual dataset of a virtual dataset")
def virtual_datasets_that_multiply(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        source = MAIN
        for level in range(12):
            layout = h5py.VirtualLayout((3, 4), "u1")
            for row in range(3):
                layout[row] = h5py.VirtualSource(".", source, (3, 4))[0]
            source = f"/level_{level}"
            file.create_virtual_dataset(source, layout)
    return path


# -- links -----------------------------------------------------------------------------------------


@hostile("external link")
def external_link_to_a_main(folder: pathlib.Path) -> pathlib.Path:
    other = _other(folder)
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["Measurement_001/Channel_000/Raw_Data"] = h5py.ExternalLink(str(other), MAIN)
    return path


@hostile("external link")
def external_link_to_a_group(folder: pathlib.Path) -> pathlib.Path:
    _other(folder)
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["more"] = h5py.ExternalLink("private/other.h5", "/")
    return path


@hostile("external link")
def external_link_to_what_is_not_there(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["a/b/c"] = h5py.ExternalLink("/root/.secret.h5", "/")
    return path


@hostile("external link")
def external_link_to_itself(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["again"] = h5py.ExternalLink("a.h5", "/")
    return path


@hostile("user-defined link")
def user_defined_link(folder: pathlib.Path) -> pathlib.Path:
    """A link of a class that only some program knows: made by changing the class in the bytes."""
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["some_link"] = h5py.ExternalLink("somewhere_else.h5", "/x")
    data = path.read_bytes()
    name = data.index(b"some_link", data.index(b"somewhere_else.h5") - 60)
    kind = data.rindex(b"\x40", 0, name)  # that of external links
    path.write_bytes(data[:kind] + b"\x50" + data[kind + 1 :])
    return path


@hostile("link cycle")
def group_in_itself(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["a/again"] = file.create_group("a")
    return path


@hostile("link cycle")
def root_in_a_group(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file[f"{CHANNEL}/up"] = file["/"]
    return path


@hostile("link cycle")
def circle_of_three_groups(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        for name in "abc":
            file.create_group(name)
        for name, inner in ("ab", "bc", "ca"):
            file[f"{name}/next"] = file[inner]
    return path


@hostile("link cycle")
def soft_link_to_itself(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["a"] = h5py.SoftLink("/a")
    return path


@hostile("link cycle")
def soft_links_to_each_other(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file["a"] = h5py.SoftLink("b")
        file["b"] = h5py.SoftLink("/c/d")
        file["c/d"] = h5py.SoftLink("/a")
    return path


@hostile("link cycle")
def soft_link_to_a_group_around_it(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file[f"{CHANNEL}/up"] = h5py.SoftLink("/Measurement_000")
    return path


@hostile("deep nesting")
def groups_in_groups(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        group = file["/"]
        for _ in range(400):
            group = group.create_group("a")
    return path


# -- claims ----------------------------------------------------------------------------------------


@hostile("absurd shape")
def more_cells_than_any_file(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file, shape=(3, 4))
        file.create_dataset("huge", (2**31, 2**31), "u1", chunks=(1024, 1024))
    return path


@hostile("absurd shape")
def values_that_were_never_written(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_dataset("huge", (2**25, 2**25), "f8")
    return path


@hostile("absurd shape")
def gigantic_chunk(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_dataset(
            "huge", (2**16, 2**16), "u1", chunks=(2**16 - 1, 2**16 - 1), compression="gzip"
        )
    return path


@hostile("absurd shape")
def chunk_beyond_all_proportion(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_dataset(
            "huge", (3, 4), "u1", chunks=(2**14, 2**14), maxshape=(None, None), compression="gzip"
        )
    return path


@hostile("absurd shape")
def chunk_that_unpacks_to_gigabytes(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        main = add_main(file, shape=(64, 16), chunks=(64, 16), compression="gzip")
        packer = zlib.compressobj(9)
        packed = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
        main.id.write_direct_chunk((0, 0), packed)
    return path


@hostile("'/long' cannot be opened, HDF5 says")
def values_beyond_the_end(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        file.create_dataset("long", (7919, 3), "u1", data=np.ones((7919, 3), "u1"))
    data = path.read_bytes()
    sizes = struct.pack("<QQQQ", 7919, 3, 7919, 3)  # now and at most
    claimed = struct.pack("<QQQQ", 2**30, 3, 2**30, 3)
    path.write_bytes(data.replace(sizes, claimed))
    return path


@hostile("of which 0 are stored")
def ancillaries_that_were_never_written(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    rows = 2**33
    with h5py.File(path, "w") as file:
        made = {
            name: file.create_dataset(name, (rows, 1), dtype, chunks=(2**16, 1))
            for name, dtype in (("Position_Indices", "u4"), ("Position_Values", "f4"))
        }
        add_main(file, shape=(rows, 4), chunks=(2**16, 4), ancillaries=made)
    return path


# -- references ------------------------------------------------------------------------------------


@hostile("reference out of bounds")
def reference_out_of_bounds(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        add_main(file)
        add_main(file, "/Measurement_001/Channel_000/Raw_Data")
        values = file["/Measurement_001/Channel_000/Position_Values"]
        address = h5py.h5o.get_info(values.id).addr
    return _redirected(path, "Position_Values", address, 2**50 + 8)


@hostile("reference out of bounds")
def source_out_of_bounds(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        main = add_main(file)
        add_main(file, f"{MAIN}-Fit_000/Fit")
        group = file[f"{MAIN}-Fit_000"]
        group.attrs["tool"] = "Fit"
        group.attrs["source_000"] = main.ref
        address = h5py.h5o.get_info(main.id).addr
    return _redirected(path, "source_000", address, 2**63)
