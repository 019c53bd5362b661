"""Checkpoints written beside the training: the training thread pays for the copy, not for the disk."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from utils.checkpoint_folder import CheckpointFolder
from utils.plain_data import copy_plain


class CheckpointWriter:
    """Saves to a CheckpointFolder in a thread, one checkpoint at a time.

    The memory of a copy is used again for the next: most of the time of a first copy goes into getting it
    from the system. The error of a failed save is raised by the next `poll`, `save` or `wait`.
    before: called in the thread ahead of each save; its errors are those of the save.
    """

    def __init__(self, folder: CheckpointFolder, before: Callable[[], object] = lambda: None):
        self.folder = folder
        self.before = before
        self.newest_step: int | None = None  # of the last `save` or `resume_from`
        self._buffers: dict[tuple, Tensor] = {}
        self._save: Future | None = None  # under way

    def save(self, state: dict, step: int, is_best: bool = False) -> None:
        """Copies the state and returns; waits first where the save before is still under way."""
        self.wait()
        snapshot = self._snapshot(state)
        thread = ThreadPoolExecutor(1, "checkpoint")  # it ends with its one task; Python waits for it at exit
        self._save = thread.submit(self._write, snapshot, step, is_best)
        thread.shutdown(wait=False)
        self.newest_step = step

    def poll(self) -> None:
        """Raises the error of a failed save; cheap enough for every step."""
        if self._save is not None and self._save.done():
            self.wait()

    def wait(self) -> None:
        """Returns when the last save is on the disk, or raises its error."""
        if self._save is not None:
            save, self._save = self._save, None
            save.result()

    def resume_from(self, path: Path, step: int | None) -> None:
        """See CheckpointFolder.resume_from. step: None where the checkpoint is to be written again."""
        self.folder.resume_from(path)
        self.newest_step = step

    def _write(self, snapshot: dict, step: int, is_best: bool) -> None:
        self.before()
        self.folder.save(snapshot, step, is_best)

    def _snapshot(self, state: dict) -> dict:
        """A copy of the state in memory of the CPU that nothing else writes to."""
        buffers: dict[tuple, Tensor] = {}
        copied: dict[tuple, tuple[Tensor, Tensor]] = {}  # tied weights stay one tensor

        def copy(path: tuple, tensor: Tensor) -> Tensor:
            key = (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
            if key not in copied:
                buffer = self._buffers.get(path)
                if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                    buffer = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
                buffers[path] = buffer.copy_(tensor, non_blocking=tensor.is_cuda)
                copied[key] = tensor, buffer  # holds on to the tensor, so that no other has its data_ptr
            return copied[key][1]

        snapshot = copy_plain(state, copy)
        for device in {tensor.device for tensor, _ in copied.values() if tensor.is_cuda}:
            torch.cuda.synchronize(device)
        self._buffers = buffers
        return snapshot
