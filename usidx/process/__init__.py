"""Steps bound to sources: previewed, estimated, run, resumed."""

from usidx.process.map import map_spectra
from usidx.process.process import Process
from usidx.process.results.result import ResultGroup
from usidx.process.running.events import BlockDone, RunCompleted, RunStarted, RunStopped
from usidx.process.save import save

__all__ = [
    "BlockDone",
    "Process",
    "ResultGroup",
    "RunCompleted",
    "RunStarted",
    "RunStopped",
    "map_spectra",
    "save",
]
