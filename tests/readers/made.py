"""A file for each reader, as small or as large as asked for, with the values that are in it.

Written byte by byte as the formats are described, or by the libraries that people write them with.
"""

from __future__ import annotations

import json
import pathlib
import pickle
import struct
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import pandas as pd
import tifffile
import xarray as xr
import zarr as zarr_library
from PIL import Image

import usidx

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Made:
    """A file and what is to come out of it; the rest is as `check_reader` takes it."""

    path: pathlib.Path
    values: Any
    main: str | None = None
    beside: tuple[pathlib.Path, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


def frames(shape: tuple[int, ...], dtype: str = "<u2") -> Any:
    """Values up to 119."""
    return np.random.default_rng(shape).integers(0, 120, shape).astype(dtype)


def hyperspy(folder: pathlib.Path, shape: Shape) -> Made:
    main = usidx.testing.make_main(shape)
    return Made(pathlib.Path(main.usid.to_hspy(folder / "a.hspy")), main.values)


def nsid(folder: pathlib.Path, shape: Shape) -> Made:
    main = usidx.testing.make_main(shape)
    return Made(pathlib.Path(main.usid.to_nsid(folder / "a.h5")), main.values)


def nion(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    said = {"is_sequence": True, "collection_dimension_count": 0, "datum_dimension_count": 2}
    with h5py.File(folder / "a.nhdf", "w") as file:
        data = file.create_dataset("data/1", data=values)
        data.attrs["properties"] = json.dumps(said)
    return Made(folder / "a.nhdf", values)


def tiff(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    tifffile.imwrite(folder / "a.tif", values, compression="zlib")
    return Made(folder / "a.tif", values)


def netpbm(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames((shape[0] * shape[1], shape[2]), ">u2")
    (folder / "a.pgm").write_bytes(b"P5 %d %d 4095\n" % values.shape[::-1] + values.tobytes())
    return Made(folder / "a.pgm", values)


def picture(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape[1:], "u1")
    Image.fromarray(values).save(folder / "a.png")
    return Made(folder / "a.png", values)


def numpy(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, ">f4")
    np.save(folder / "a.npy", values)
    return Made(folder / "a.npy", values)


def mib(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, ">u2")
    head = f"MQ1,000001,00384,01,{shape[2]:04d},{shape[1]:04d},U16,   1x1,0F,x,12\n"
    said = b"".join(head.encode().ljust(384, b"\0") + frame.tobytes() for frame in values)
    (folder / "a.mib").write_bytes(said)
    return Made(folder / "a.mib", values)


def blo(folder: pathlib.Path, shape: Shape) -> Made:
    count, side, _ = shape
    values = frames((2 * count, side, side), "u1")
    head = b"IMGBLO".ljust(12, b"\0")
    head += struct.pack("<IIHHHHHddIH", 512, 0, side, 8, 2, count, 0, 2.0, 3.0, 0, 50)
    said = b"".join(bytes(6) + frame.tobytes() for frame in values)
    (folder / "a.blo").write_bytes(head.ljust(512, b"\0") + said)
    return Made(folder / "a.blo", values.reshape(count, 2, side, side))


def mrc(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, "<i2")
    head = np.zeros(256, "<i4")
    head[:4], head[7:10] = (*shape[::-1], 1), shape[::-1]
    head[52:54] = np.frombuffer(b"MAP \x44\x44\0\0", "<i4")
    (folder / "a.mrc").write_bytes(head.tobytes() + values.tobytes())
    return Made(folder / "a.mrc", values)


def tvips(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    series = np.zeros(64, "<i4")
    series[:13] = [256, 2, *shape[:0:-1], 16, 0, 0, 1, 1, 3, 200, 80, 128]
    said = b"".join(bytes(128) + frame.tobytes() for frame in values)
    (folder / "a_000.tvips").write_bytes(series.tobytes() + said)
    return Made(folder / "a_000.tvips", values)


def empad(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames((shape[0], 130, 128), "<f4")
    values.tofile(folder / "a.raw")
    (folder / "a.xml").write_text(
        "<?xml version='1.0'?>\n<root><raw_file filename='a.raw'/>"
        f"<type>series</type><count>{shape[0]}</count></root>\n"
    )
    return Made(folder / "a.xml", values[:, :128], beside=(folder / "a.raw",))


def csr(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    values[values > 20] = 0
    flat = values.reshape(shape[0], -1)
    np.concatenate([[0], np.cumsum((flat != 0).sum(1))]).astype("<i8").tofile(folder / "rows")
    np.nonzero(flat)[1].astype("<u4").tofile(folder / "places")
    flat[flat != 0].tofile(folder / "values")
    (folder / "a.toml").write_text(
        f"[params]\nfiletype = 'raw_csr'\nnav_shape = [{shape[0]}]\n"
        f"sig_shape = [{shape[1]}, {shape[2]}]\n"
        "[raw_csr]\nindptr_file = 'rows'\nindptr_dtype = '<i8'\nindices_file = 'places'\n"
        "indices_dtype = '<u4'\ndata_file = 'values'\ndata_dtype = '<u2'\n"
    )
    beside = tuple(folder / each for each in ("rows", "places", "values"))
    return Made(folder / "a.toml", values, beside=beside)


def eiger(folder: pathlib.Path, shape: Shape) -> Made:
    made = arina(folder, shape)
    with h5py.File(made.path, "a") as file:
        del file["entry/instrument/detector/description"]
        file["entry/instrument/detector/description"] = "Dectris EIGER2 Si 1M"
        file["entry/data"].attrs.update({"NX_class": "NXdata", "signal": "data_000001"})
    return Made(made.path, made.values, beside=made.beside)


def arina(folder: pathlib.Path, shape: Shape) -> Made:
    values, parts = frames(shape), (shape[0] // 2, shape[0])
    beside = []
    for number, (first, last) in enumerate(zip((0, parts[0]), parts), 1):
        beside.append(folder / f"a_data_{number:06d}.h5")
        with h5py.File(beside[-1], "w") as file:
            chunks = (1, *shape[1:])
            file.create_dataset("entry/data/data", data=values[first:last], chunks=chunks)
    with h5py.File(folder / "a_master.h5", "w") as file:
        for number, each in enumerate(beside, 1):
            place = h5py.ExternalLink(each.name, "entry/data/data")
            file[f"entry/data/data_{number:06d}"] = place
        file["entry/instrument/detector/description"] = "Dectris ARINA Si"
        file.create_group("entry/instrument/detector/detectorSpecific")
    return Made(
        folder / "a_master.h5", values, beside=tuple(beside), options={"nav_shape": shape[0]}
    )


def seq(folder: pathlib.Path, shape: Shape) -> Made:
    """Frames of StreamPix."""
    values = frames(shape)
    name = "Norpix seq\n".encode("utf-16-le")
    said = struct.pack("<L24sll512s", 0xFEED, name, 5, 1024, "made".encode("utf-16-le"))
    count, rows, columns = shape
    size = rows * columns * 2
    said += struct.pack("<9L", columns, rows, 16, 16, size, 100, count, 0, size + 8)
    said += struct.pack("<dlLLLlllLlHH", 30.0, *[0] * 11)
    with open(folder / "a.seq", "wb") as file:
        file.write(said.ljust(8192, b"\0"))
        for frame in values:
            file.write(frame.tobytes() + bytes(8))
    return Made(folder / "a.seq", values)


def frms6(folder: pathlib.Path, shape: Shape) -> Made:
    """Frames of a pnCCD: its halves side by side, and dark frames in a file before."""
    values = frames(shape, "<f4")
    left, right = np.split(values.astype("<u2"), 2, axis=1)
    stored = np.concatenate([left, right[:, ::-1, ::-1]], axis=2)
    head = np.zeros(1024, "u1")
    head[:4], head[7] = (0, 4, 64, 0), 6
    head[88:92].view("<u2")[:] = stored.shape[:0:-1]
    for name, part in (("a_000", np.zeros_like(stored[:2])), ("a_001", stored)):
        head[1020:].view("<u4")[:] = len(part)
        said = b"".join(bytes(64) + frame.tobytes() for frame in part)
        (folder / f"{name}.frms6").write_bytes(head.tobytes() + said)
    (folder / "a.hdr").write_text(
        "[measurementInfo]\ndarkframes = 2\ndwelltimemicroseconds = 1\ngain = 1\n"
        f"signalframes = {shape[0]}\nstemimagesize = 1x{shape[0]}\n"
        f'readoutmode = "bin: 1, windowing: {stored.shape[2]} x {2 * stored.shape[1]}"\n'
    )
    beside = tuple(folder / f"a_{number}.frms6" for number in ("000", "001"))
    # the header is a text, of which no part is needed
    return Made(folder / "a.hdr", values, beside=beside)


def edf(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    with open(folder / "a.edf", "wb") as file:
        for number, frame in enumerate(values):
            told = {
                "Image": number, "ByteOrder": "LowByteFirst", "Size": frame.nbytes,
                "DataType": "UnsignedShort", "Dim_1": shape[2], "Dim_2": shape[1],
            }  # fmt: skip
            text = "{\n" + "".join(f"{name} = {value} ;\n" for name, value in told.items())
            file.write((text.ljust(510) + "}\n").encode() + frame.tobytes())
    return Made(folder / "a.edf", values)


def spec(folder: pathlib.Path, shape: Shape) -> Made:
    values = 1000 + frames((shape[0] * shape[1] // 16, 16 * shape[2]), "i8")
    lines = [
        "#F a.spec\n#E 1\n#D Mon Jan 01 00:00:00 2024\n\n#S 1 ascan m 0 1 9 1\n#N 2\n#L m  Det\n"
        f"#@MCA %16C\n#@CHANN {16 * shape[2]} 0 {16 * shape[2] - 1} 1\n"
    ]
    for number, each in enumerate(values):
        lines.append(f"{number} 7\n@A {' '.join(map(str, each))}\n")
    (folder / "a.spec").write_text("".join(lines))
    return Made(folder / "a.spec", values, "1.1/mca_0", options={"cut_short": False})


def fabio(folder: pathlib.Path, shape: Shape) -> Made:
    """Frames of General Electric."""
    values, head = frames(shape), bytearray(8192)
    struct.pack_into("<10sHLHLHHHH", head, 0, b"ADEPT", 1, 8192, 0, 0, *shape, 16)
    (folder / "a.ge2").write_bytes(bytes(head) + values.tobytes())
    return Made(folder / "a.ge2", values)


def raw(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, ">i4")
    values.tofile(folder / "a.raw")
    options = {"reader": "raw", "dtype": ">i4", "sig_shape": shape[1:]}
    loose = {"cut_short": False, "wrong": False}
    return Made(folder / "a.raw", values, options={**options, **loose})


def igor(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, "<f4")
    counts = (*shape[::-1], 0)  # as Igor counts them, the fastest first
    file = struct.pack("<hhiiii4i4iiii", 5, 0, 320 + values.nbytes, *[0] * 14)
    head = struct.pack(
        "<IIIihh6sh32siI4i4d4d4s16shhdd",
        0, 0, 0, values.size, 2, 0, b"", 1, b"Height", 0, 0, *counts,
        0.5, 0.25, 1, 1, -1.0, 2.0, 0, 0, b"V", b"m\0\0\0m\0\0\0".ljust(16, b"\0"), 0, 0, 0, 0,
    )  # fmt: skip
    whole = bytearray(file + head.ljust(320, b"\0"))
    total = int(np.frombuffer(bytes(whole), "<i2").sum(dtype=np.int64))
    whole[2:4] = struct.pack("<H", -total % 65536)
    (folder / "a.ibw").write_bytes(bytes(whole) + values.tobytes())
    # positions Y and X, then the layers
    return Made(folder / "a.ibw", values.transpose(1, 2, 0))


def nanonis_sxm(folder: pathlib.Path, shape: Shape) -> Made:
    count, rows, columns = shape
    values = frames((2, rows, columns * count), ">f4")
    head = (
        ":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n FLOAT MSBFIRST\n:SCAN_PIXELS:\n"
        f" {columns * count} {rows}\n:SCAN_RANGE:\n 2.0E-8 1.0E-8\n:SCAN_OFFSET:\n 0 0\n"
        ":SCAN_DIR:\ndown\n:DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tZ\tm\tforward\t1E-9\t0\n\t0\tCurrent\tA\tforward\t1E-9\t0\n\n:SCANIT_END:\n\n\n"
    )
    (folder / "a.sxm").write_bytes(head.encode() + b"\x1a\x04" + values.tobytes())
    return Made(folder / "a.sxm", values[1], "Current")


def nanonis_3ds(folder: pathlib.Path, shape: Shape) -> Made:
    count, rows, points = shape
    values = frames((rows * count, 2, points), ">f4")
    head = (
        f'Grid dim="{rows} x {count}"\r\nGrid settings=1E-9;0;2E-9;3E-9;0\r\n'
        'Sweep Signal="Bias (V)"\r\nFixed parameters="Sweep Start;Sweep End"\r\n'
        'Experiment parameters="X (m);Y (m);Z (m)"\r\n# Parameters (4 byte)=5\r\n'
        f"Experiment size (bytes)={2 * points * 4}\r\nPoints={points}\r\n"
        'Channels="Current (A);LIX 1 omega (A)"\r\n:HEADER_END:\r\n'
    )
    told = np.array([-1, 1, 0, 0, 10], ">f4").tobytes()
    body = b"".join(told + each.tobytes() for each in values)
    (folder / "a.3ds").write_bytes(head.encode() + body)
    # a grid that was stopped is no damage
    found = values[:, 1].reshape(shape)
    return Made(folder / "a.3ds", found, "LIX 1 omega", options={"cut_short": False})


def nanonis_dat(folder: pathlib.Path, shape: Shape) -> Made:
    (folder / "a.dat").write_text(
        "Experiment\tbias spectroscopy\t\nX (m)\t1E-9\t\n\n[DATA]\n"
        "Bias calc (V)\tCurrent (A)\tLIX (A)\n-1\t2E-9\t3\n0\t4E-9\t5\n1\t6E-9\t7\n"
    )
    return Made(folder / "a.dat", np.array([2e-9, 4e-9, 6e-9]), "Current")


def pyme(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    with h5py.File(folder / "a.h5", "w") as file:
        chunks = (1, *shape[1:])
        file.create_dataset("ImageData", data=values, chunks=chunks, compression="gzip")
        file.create_group("MetaData").attrs["Camera.CycleTime"] = 0.5
    return Made(folder / "a.h5", values)


def psf(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames((4, 5, 3), "f8")
    (folder / "a.psf").write_bytes(pickle.dumps((values, (0.07, 0.07, 0.2)), 2))
    return Made(folder / "a.psf", values)


def sf(folder: pathlib.Path, shape: Shape) -> Made:
    """A pair of objects of a class that is called as PYME's is, and is not here."""
    name = "PYME_made_up"
    module: Any = types.ModuleType(name)
    module.linModel = type("linModel", (), {"__module__": name})
    pair = []
    for slope in (0.5, 0.25):
        each = module.linModel()
        each.__dict__.update(m=slope, x0=2.0)
        pair.append(each)
    sys.modules[name] = module
    try:
        pickled = pickle.dumps(tuple(pair), 2)
    finally:
        del sys.modules[name]
    (folder / "a.sf").write_bytes(pickled.replace(name.encode(), b"PYME.made_up"))
    dtype = [("m", "f8"), ("x0", "f8")]
    return Made(folder / "a.sf", np.array([(0.5, 2.0), (0.25, 2.0)], dtype))


def pyme_metadata(folder: pathlib.Path, shape: Shape) -> Made:
    (folder / "a.json").write_text(json.dumps({"voxelsize.x": 0.1, "Camera.Name": "made up"}))
    return Made(folder / "a.json", None)


def xarray(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, "f4")
    main = xr.Dataset({"T": (("y", "x", "E"), values)}, {"y": np.arange(shape[0]) / 4})
    main.to_netcdf(folder / "a.nc")
    return Made(folder / "a.nc", values)


def zarr_of_xarray(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, "f4")
    main = xr.Dataset({"T": (("y", "x", "E"), values)}, {"y": np.arange(shape[0]) / 4})
    main.chunk(y=max(1, shape[0] // 16)).to_zarr(
        folder / "a.zarr", zarr_format=2, consolidated=True
    )
    return Made(folder / "a.zarr", values)


def ome_zarr(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape)
    root = zarr_library.create_group(folder / "a.zarr", zarr_format=2)
    root.create_array("0", data=values, chunks=(1, *shape[1:]))
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    return Made(folder / "a.zarr", values)


def nexus(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, "f4")
    with h5py.File(folder / "a.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs.update(
            NX_class="NXdata", signal="counts", axes=["y", "row", "column"], interpretation="image"
        )
        data.create_dataset("counts", data=values).attrs["interpretation"] = "image"
        data["y"] = np.arange(shape[0]) / 4
    return Made(folder / "a.nxs", values)


def hdf5(folder: pathlib.Path, shape: Shape) -> Made:
    values = frames(shape, ">f4")
    with h5py.File(folder / "a.h5", "w") as file:
        chunks = (1, *shape[1:])
        file.create_dataset("a/b", data=values, chunks=chunks, compression="gzip", shuffle=True)
    return Made(folder / "a.h5", values)


def table(folder: pathlib.Path, shape: Shape) -> Made:
    text = "Y,X,I [nA]\n" + "".join(f"{y},{x},{y * 4 + x}.5\n" for y in range(3) for x in range(4))
    (folder / "a.csv").write_text(text)
    values = np.arange(12.0).reshape(3, 4).T + 0.5
    return Made(folder / "a.csv", values, options={"cut_short": False})


def parquet(folder: pathlib.Path, shape: Shape) -> Made:
    made = table(folder, shape)
    pd.read_csv(made.path).to_parquet(folder / "a.parquet")
    return Made(folder / "a.parquet", made.values)


def excel(folder: pathlib.Path, shape: Shape) -> Made:
    made = table(folder, shape)
    pd.read_csv(made.path).to_excel(folder / "a.xlsx", index=False)
    return Made(folder / "a.xlsx", made.values)


def rosettasciio(folder: pathlib.Path, shape: Shape) -> Made:
    """Frames of Ripple (Lispix): a text, and bare values beside it."""
    values = frames(shape)
    values.tofile(folder / "a.raw")
    told = {
        "width": shape[2], "height": shape[1], "depth": shape[0], "offset": 0, "data-length": 2,
        "data-type": "unsigned", "byte-order": "little-endian", "record-by": "image",
    }  # fmt: skip
    text = "key\tvalue\n" + "".join(f"{name}\t{value}\n" for name, value in told.items())
    (folder / "a.rpl").write_text(text)
    return Made(folder / "a.rpl", values, beside=(folder / "a.raw",))


MADE: dict[str, Callable[[pathlib.Path, Shape], Made]] = {
    "hyperspy": hyperspy, "nion": nion, "tiff": tiff, "netpbm": netpbm, "picture": picture,
    "numpy": numpy, "mib": mib, "blo": blo, "mrc": mrc, "tvips": tvips, "empad": empad,
    "csr": csr, "arina": arina, "eiger": eiger, "libertem": seq, "libertem, FRMS6": frms6,
    "edf": edf,
    "spec": spec, "fabio": fabio, "raw": raw, "igor": igor,
    "nanonis_sxm": nanonis_sxm, "nanonis_3ds": nanonis_3ds,
    "nanonis_dat": nanonis_dat, "pyme": pyme, "psf": psf, "sf": sf,
    "pyme_metadata": pyme_metadata, "xarray": xarray, "xarray, Zarr": zarr_of_xarray,
    "ome_zarr": ome_zarr,
    "nsid": nsid, "nexus": nexus, "hdf5": hdf5, "table": table, "parquet": parquet,
    "excel": excel, "rosettasciio": rosettasciio,
}  # fmt: skip
