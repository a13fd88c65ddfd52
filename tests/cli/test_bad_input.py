"""Whatever is wrong with a file, a folder or a step: one line, status 1, nothing half-written."""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import Result

import usidx
from usidx.testing import make_main

ROOT = pathlib.Path(usidx.__file__).parents[1]


def refusal(result: Result | subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal, after checking that it is one, with status 1 and no traceback."""
    code = result.exit_code if isinstance(result, Result) else result.returncode
    assert code == 1, (code, result.stdout, result.stderr)
    assert "Traceback" not in result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if "usidx: error: " in line]
    assert len(lines) == 1, result.stderr
    return lines[0].split("usidx: error: ")[1]


CHILD = """
import json, sys
from click.testing import CliRunner
from usidx.cli import main
for arguments in json.load(sys.stdin):
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    print(json.dumps([result.exit_code, result.stdout, result.stderr]))
"""


def alone(
    commands: Sequence[Sequence[object]], *, before: Sequence[str] = (), **options: Any
) -> list[subprocess.CompletedProcess[str]]:
    """`usidx` called with each list of arguments, in a process with rights of its own."""
    texts = [[str(each) for each in arguments] for arguments in commands]
    child = subprocess.run(
        [*before, sys.executable, "-c", CHILD],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,
    )
    assert child.returncode == 0, child.stderr
    said = [json.loads(line) for line in child.stdout.splitlines()]
    return [subprocess.CompletedProcess(arguments, *each) for arguments, each in zip(texts, said)]


def on_file(path: object) -> list[list[object]]:
    """Every command on a file."""
    return [
        ["info", path],
        ["info", path, "Raw_Data"],
        ["tree", path],
        ["run", path, "Raw_Data", "peak_response"],
        ["convert", path, "out.zarr"],
        ["convert", path, "out.h5"],
        ["demo", path],
    ]


def names(folder: pathlib.Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@pytest.mark.parametrize("number", range(7))
class TestFiles:
    """What every command says of a file that is none."""

    def refused(self, call: Any, path: object, number: int) -> str:
        before = names(pathlib.Path.cwd())
        line = refusal(call(*on_file(path)[number]))
        assert names(pathlib.Path.cwd()) == before
        return line

    def test_missing(self, call: Any, number: int) -> None:
        line = self.refused(call, "absent.h5", number)
        assert "absent.h5" in line
        assert "no file" in line

    def test_near_miss(self, call: Any, number: int, scan: pathlib.Path) -> None:
        assert "scan.h5" in self.refused(call, "scna.h5", number)

    def test_not_hdf5(self, call: Any, number: int, tmp_path: pathlib.Path) -> None:
        (tmp_path / "notes.h5").write_text("a list of things to measure\n" * 100)
        assert "notes.h5" in self.refused(call, "notes.h5", number)

    def test_empty(self, call: Any, number: int, tmp_path: pathlib.Path) -> None:
        (tmp_path / "empty.h5").touch()
        assert "empty.h5" in self.refused(call, "empty.h5", number)

    def test_a_folder(self, call: Any, number: int, tmp_path: pathlib.Path) -> None:
        (tmp_path / "folder").mkdir()
        assert "folder" in self.refused(call, "folder", number)

    def test_truncated(self, call: Any, number: int, scan: pathlib.Path) -> None:
        whole = scan.read_bytes()
        (scan.parent / "cut.h5").write_bytes(whole[: len(whole) // 2])
        assert "cut.h5" in self.refused(call, "cut.h5", number)


def test_hdf5_without_mains(call: Any, tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["image"] = "none of numbers"
    for arguments in on_file("plain.h5"):
        line = refusal(call(*arguments))
        assert "Main" in line
        assert "plain.h5" in line
    assert names(tmp_path) == {"plain.h5"}


def test_an_unknown_main_is_guessed(call: Any, scan: pathlib.Path) -> None:
    before = scan.read_bytes()
    for arguments in (
        ["info", scan, "Raw_Dat"],
        ["run", scan, "Raw_Dat", "mean"],
        ["convert", scan, "out.zarr", "--main", "Raw_Dat"],
        ["demo", scan, "Raw_Dat"],
    ):
        line = refusal(call(*arguments))
        assert "did you mean 'Raw_Data'" in line
    assert scan.read_bytes() == before
    assert names(scan.parent) == {"scan.h5"}


def test_an_ambiguous_main_lists_what_it_may_be(call: Any, two: pathlib.Path) -> None:
    for arguments in (
        ["info", two, "Raw_Data"],
        ["run", two, "Raw_Data", "mean"],
        ["demo", two, "Raw_Data"],
    ):
        line = refusal(call(*arguments))
        assert "/Measurement_000/Channel_000/Raw_Data" in line
        assert "/Measurement_000/Channel_001/Raw_Data" in line


def test_an_unknown_step_and_parameter_are_guessed(call: Any, scan: pathlib.Path) -> None:
    before = scan.read_bytes()
    assert "peak_response" in refusal(call("run", scan, "Raw_Data", "peak_responce"))
    line = refusal(call("run", scan, "Raw_Data", "peak_response", "--set", "alogn=Frequency"))
    assert "did you mean 'along'" in line
    line = refusal(call("run", scan, "Raw_Data", "peak_response", "--set", "along=Freq"))
    assert "Frequency" in line
    assert "memory" in refusal(call("run", scan, "Raw_Data", "peak_response", "--memory", "lots"))
    assert scan.read_bytes() == before


def restrained() -> list[str]:
    """What to put before a command so that permissions hold for root too."""
    if os.geteuid() != 0:
        return []
    caps = "-dac_override,-dac_read_search,-fowner"
    command = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"]).returncode:
        pytest.skip("runs as root, for whom no folder is read-only, and setpriv cannot help")
    return command


def test_a_read_only_folder(tmp_path: pathlib.Path) -> None:
    before = restrained()
    folder = tmp_path / "archive"
    folder.mkdir()
    scan = folder / "scan.h5"
    make_main((6, 8, 32), dtype="complex64").usid.to_h5usid(str(scan))
    content = scan.read_bytes()
    scan.chmod(0o444)
    folder.chmod(0o555)
    try:
        commands = [
            ["info", scan],
            ["run", scan, "Raw_Data", "peak_response"],
            ["run", scan, "Raw_Data", "peak_response", "--into", folder / "out.zarr"],
            ["convert", scan, folder / "out.zarr"],
            ["convert", scan, folder / "out.h5"],
            ["demo", "--small", "--out", folder / "demo"],
            ["demo", scan, "--out", folder / "demo"],
        ]
        info, *others = alone(commands, cwd=folder, before=before)
        assert info.returncode == 0
        for each in others:
            assert str(folder) in refusal(each)
    finally:
        folder.chmod(0o755)
    assert scan.read_bytes() == content
    assert names(folder) == {"scan.h5"}


def limited() -> None:
    """No file may grow over 400 kB: what a full disk is like, for who may not mount one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


BIGGER = """
import usidx

@usidx.step("Bigger", version="1", per_position=True)
def bigger(spectra):
    return abs(spectra)
"""


def test_a_limit_on_file_size(tmp_path: pathlib.Path) -> None:
    scan = tmp_path / "scan.h5"
    make_main((6, 50, 128), dtype="complex64").usid.to_h5usid(str(scan))
    (tmp_path / "my_steps.py").write_text(BIGGER)
    raw = np.asarray(usidx.open(scan, "Raw_Data").values)
    before = names(tmp_path)
    commands = [
        ["run", scan, "Raw_Data", "my_steps.py:bigger"],
        ["demo", "--small", "--out", tmp_path / "demo"],
    ]
    for each in alone(commands, cwd=tmp_path, preexec_fn=limited):
        refusal(each)
    assert [each.kind for each in usidx.list_mains(scan)] == ["raw"]
    np.testing.assert_array_equal(usidx.open(scan, "Raw_Data").values, raw)
    shutil.rmtree(tmp_path / "demo")
    assert names(tmp_path) - {"__pycache__", "scan.h5.usidx-lock"} == before


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A disk of 1 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: pathlib.Path, call: Any, tmp_path: pathlib.Path) -> None:
    make_main((30, 50, 128), dtype="complex64").usid.to_h5usid(str(tmp_path / "big.h5"))
    scan = small_disk / "scan.h5"
    make_main((10, 50, 128), dtype="complex64").usid.to_h5usid(str(scan))
    (tmp_path / "my_steps.py").write_text(BIGGER.replace("abs(spectra)", "spectra * 1j"))
    raw = np.asarray(usidx.open(scan, "Raw_Data").values)
    before = names(small_disk)
    for arguments in (
        ["run", scan, "Raw_Data", "my_steps.py:bigger"],
        ["run", "big.h5", "Raw_Data", "my_steps.py:bigger", "--into", small_disk / "found.zarr"],
        ["convert", "big.h5", small_disk / "out.h5", "--compression", "none"],
        ["convert", "big.h5", small_disk / "out.zarr", "--compression", "none"],
        ["demo", "--small", "--out", small_disk / "demo"],
    ):
        line = refusal(call(*arguments))
        assert "room" in line or "space" in line, line
        assert str(small_disk) in line
    assert [each.kind for each in usidx.list_mains(scan)] == ["raw"]
    np.testing.assert_array_equal(usidx.open(scan, "Raw_Data").values, raw)
    # Blocks in Zarr are files of their own: those that had room may be kept, for the next run.
    if (small_disk / "found.zarr").exists():
        assert all("partial" in each.status for each in usidx.list_mains(small_disk / "found.zarr"))
    assert names(small_disk) - {"demo", "scan.h5.usidx-lock", "found.zarr"} == before


FRAGILE = """
import numpy as np
import usidx

@usidx.step("Fragile", version="1", per_position=True)
def fragile(spectra):
    def work(block):
        if {broken} and (block == 1e6).any():
            raise ValueError("this spectrum is saturated")
        return block.max(-1)
    return spectra.usid.map(work, over="Frequency", dtype="float32")
"""


@pytest.mark.filterwarnings("default:the code of step")
def test_a_step_that_raises_in_one_block(call: Any, tmp_path: pathlib.Path) -> None:
    main = make_main((24, 8, 32))
    main[17, 3, 5] = 1e6
    main.usid.to_h5usid("scan.h5")
    (tmp_path / "my_steps.py").write_text(FRAGILE.format(broken=True))
    command = ["run", "scan.h5", "Raw_Data", "my_steps.py:fragile", "--memory", "40kB"]
    line = refusal(call(*command))
    assert "this spectrum is saturated" in line
    assert "Fragile" in line
    (partial,) = [each for each in usidx.list_mains("scan.h5") if each.kind == "result"]
    assert "partial" in partial.status
    values = usidx.open("scan.h5", partial.path).values.squeeze()
    assert np.isnan(values[17, 3])
    np.testing.assert_array_equal(usidx.open("scan.h5", "Raw_Data").values, main.values)
    (tmp_path / "my_steps.py").write_text(FRAGILE.format(broken=False))
    mended = call(*command)
    assert mended.exit_code == 0, mended.output
    assert "usidx: warning: the code of step 'Fragile' is not what it was" in mended.stderr
    whole = usidx.open("scan.h5", partial.path).values.squeeze()
    np.testing.assert_array_equal(whole, main.values.max(-1))


def spoiled(scan: pathlib.Path, how: str) -> None:
    """Spoil an ancillary of the raw Main."""
    with h5py.File(scan, "r+") as file:
        main = file["Measurement_000/Channel_000/Raw_Data"]
        if how == "missing":
            del main.attrs["Position_Values"]
        elif how == "null":
            main.attrs["Position_Values"] = h5py.Reference()
        elif how == "short":
            name = file[main.attrs["Position_Indices"]].name
            values = file[name][:-1]
            attrs = dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attrs)
            main.attrs["Position_Indices"] = file[name].ref
        elif how == "group":
            main.attrs["Position_Indices"] = main.parent.ref


@pytest.mark.parametrize("how", ["missing", "null", "short", "group"])
def test_ancillaries_that_do_not_fit(call: Any, scan: pathlib.Path, how: str) -> None:
    spoiled(scan, how)
    before = scan.read_bytes()
    for arguments in (
        ["info", scan, "/Measurement_000/Channel_000/Raw_Data"],
        ["run", scan, "/Measurement_000/Channel_000/Raw_Data", "peak_response"],
        ["convert", scan, "out.zarr", "--main", "/Measurement_000/Channel_000/Raw_Data"],
        ["demo", scan, "/Measurement_000/Channel_000/Raw_Data"],
    ):
        line = refusal(call(*arguments))
        assert "Raw_Data" in line or "scan.h5" in line
        assert "Position" in line
    assert scan.read_bytes() == before
    assert names(scan.parent) == {"scan.h5"}


def test_the_demo_does_not_replace_files_of_others(call: Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "demo").mkdir()
    mine = tmp_path / "demo" / "band_excitation.h5"
    mine.write_text("mine")
    assert "band_excitation.h5" in refusal(call("demo", "--small"))
    assert mine.read_text() == "mine"
    mine.unlink()
    (tmp_path / "file").write_text("mine")
    assert "folder" in refusal(call("demo", "--small", "--out", "file"))
    assert "folder" in refusal(call("demo", "--small", "--out", "file/below"))
