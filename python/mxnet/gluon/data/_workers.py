# SPDX-License-Identifier: Apache-2.0
"""Worker processes that make batches.

Each worker is forked and linked by a pair of sockets: index lists go out, pickled batches come back. The bytes of
arrays travel in shared memory that the worker allocates without a name (so nothing can be left behind, and the size of
/dev/shm does not matter) and hands over as a file descriptor. The pool copies a batch out as soon as it arrives, and
gives a worker no more than `_IN_FLIGHT` tasks, so that many buffers per worker suffice and are used again and again.
"""
from __future__ import annotations

import itertools
import mmap
import multiprocessing
import os
import pickle
import random
import select
import signal
import socket
import struct
import time
import traceback
import warnings
import weakref
import zlib

import numpy as np

from ... import ndarray as nd

_HEADER = struct.Struct("<QQ")  # length of the pickle, task number
_IN_FLIGHT = 2
_ALIGNMENT = 64
_INLINE_BYTES = 1 << 15  # smaller batches travel through the socket

_parent_sockets = weakref.WeakSet()  # of all pools: a new worker must not hold them open


class FromWorker:
    """A NumPy array that shall become an NDArray in the main process."""

    __slots__ = ("values",)

    def __init__(self, values):
        self.values = values


class _WorkerError(Exception):
    """The traceback of an exception in a worker, as the cause of that exception in the main process."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __str__(self):
        return f'in a DataLoader worker\n"""\n{self.text}"""'


# --- the worker's side

class _Slot:
    """One shared buffer, which grows."""

    def __init__(self):
        self.memory = None
        self.size = 0

    def reserve(self, size):
        """Make room; returns a file descriptor to send if the buffer is a new one, else None."""
        if size <= self.size:
            return None
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        descriptor = os.memfd_create("mxnet-batch", os.MFD_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, 0, size)  # an error here instead of a signal while writing
            memory = mmap.mmap(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        self.memory, self.size = memory, size
        return descriptor


class _Reference:
    """Stands for an array in the pickle: where its bytes are."""

    __slots__ = ("offset", "shape", "dtype", "kind")

    def __init__(self, offset, shape, dtype, kind):
        self.offset, self.shape, self.dtype, self.kind = offset, shape, dtype, kind

    def __reduce__(self):
        return _Reference, (self.offset, self.shape, self.dtype, self.kind)


def _extract(batch, arrays):
    """`batch` with references in the place of its arrays, which are appended to `arrays` as (offset, array)."""
    if isinstance(batch, (FromWorker, nd.NDArray, np.ndarray)):
        values = batch.values if isinstance(batch, FromWorker) else batch
        values = values.asnumpy() if isinstance(values, nd.NDArray) else values
        if values.dtype.hasobject:
            return batch
        offset = 0
        if arrays:
            offset, last = arrays[-1]
            offset = -(-(offset + last.nbytes) // _ALIGNMENT) * _ALIGNMENT
        arrays.append((offset, values))
        return _Reference(offset, values.shape, values.dtype,
                          np.ndarray if isinstance(batch, np.ndarray) else FromWorker)
    if isinstance(batch, (list, tuple)) and not hasattr(batch, "_fields"):
        return type(batch)(_extract(item, arrays) for item in batch)
    if isinstance(batch, dict):
        return {key: _extract(item, arrays) for key, item in batch.items()}
    return batch


def _send_result(link, task, slot, batch):
    """Send a batch: its arrays in `slot`, or in the message if they are small or there is no shared memory."""
    arrays = []
    batch = _extract(batch, arrays)
    size = arrays[-1][0] + arrays[-1][1].nbytes if arrays else 0
    descriptor, inline = None, None
    if size > _INLINE_BYTES and hasattr(os, "memfd_create"):
        try:
            descriptor = slot.reserve(size)
        except OSError:
            inline = bytearray(size)
    else:
        inline = bytearray(size)
    target = np.frombuffer(slot.memory if inline is None else inline, dtype=np.uint8, count=size) if size else None
    for offset, values in arrays if size else ():
        np.copyto(target[offset:offset + values.nbytes].view(values.dtype).reshape(values.shape), values)
    _send_message(link, task, ("batch", batch, None if inline is None else bytes(inline), slot.size), descriptor)
    if descriptor is not None:
        os.close(descriptor)


def _send_message(link, task, message, descriptor=None):
    payload = pickle.dumps(message, protocol=5)
    header = _HEADER.pack(len(payload), task)
    if descriptor is None:
        link.sendall(header)
    else:
        socket.send_fds(link, [header], [descriptor])
    link.sendall(payload)


def _receive_exactly(link, size):
    """`size` bytes from a socket; EOFError if the other side is gone."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        count = link.recv_into(view)
        if count == 0:
            raise EOFError
        view = view[count:]
    return buffer


def _describe(error):
    """What to send of an exception: itself if it can be pickled, and its traceback."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return "error", error, text, 0


def _work(link, dataset, batchify_fn, seeds):
    """The life of a worker: it ends when the pool closes the link or the main process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    for other in list(_parent_sockets):
        other.close()
    _seed(seeds)
    slots = [_Slot() for _ in range(_IN_FLIGHT)]
    try:
        while True:
            length, task = _HEADER.unpack(_receive_exactly(link, _HEADER.size))
            turn, indices = pickle.loads(_receive_exactly(link, length))
            try:
                _send_result(link, task, slots[turn], batchify_fn([dataset[i] for i in indices]))
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception as error:
                _send_message(link, task, _describe(error))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return


def _seed(seeds):
    """Give the worker random numbers of its own."""
    from ... import random as mx_random
    random.seed(int(seeds[0]))
    np.random.seed(seeds)
    mx_random.seed(int(seeds[1]) >> 1)


# --- the pool's side

class _Worker:
    """A process and the pool's end of its link."""

    def __init__(self, number, dataset, batchify_fn):
        self.link, theirs = socket.socketpair()
        _parent_sockets.add(self.link)
        state = zlib.crc32(np.random.get_state()[1].tobytes())
        seeds = np.random.SeedSequence([state, number]).generate_state(4)
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_work, args=(theirs, dataset, batchify_fn, seeds), daemon=True)
        with warnings.catch_warnings():
            # The core is safe to fork, which Python cannot know.
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            self.process.start()
        theirs.close()
        self.in_flight = {}  # task number to buffer
        self.free = list(range(_IN_FLIGHT))
        self.buffers = [None] * _IN_FLIGHT

    def send(self, task, indices, on_readable):
        """Give the worker a task. `on_readable` is called while it wants to be read instead."""
        turn = self.free.pop()
        self.in_flight[task] = turn
        indices = [int(i) if isinstance(i, np.integer) else i for i in indices]
        payload = pickle.dumps((turn, indices), protocol=5)
        view = memoryview(_HEADER.pack(len(payload), task) + payload)
        while view:
            readable, writable, _ = select.select([self.link], [self.link], [])
            if readable:
                on_readable(self)
            if writable:
                view = view[self.link.send(view[:1 << 16], socket.MSG_DONTWAIT):]

    def receive(self):
        """(task number, message) of the next message, arrays copied out of the shared buffer."""
        header, descriptors, _, _ = socket.recv_fds(self.link, _HEADER.size, 1)
        if not header:
            raise EOFError
        header += _receive_exactly(self.link, _HEADER.size - len(header))
        length, task = _HEADER.unpack(header)
        kind, content, extra, size = pickle.loads(_receive_exactly(self.link, length))
        turn = self.in_flight.pop(task)
        self.free.append(turn)
        for descriptor in descriptors:
            self.buffers[turn] = mmap.mmap(descriptor, size)
            os.close(descriptor)
        if kind == "batch":
            content = self._restore(content, self.buffers[turn] if extra is None else extra)
        return task, (kind, content, extra)

    @classmethod
    def _restore(cls, batch, buffer):
        """`batch` with arrays in the place of references."""
        if isinstance(batch, _Reference):
            count = int(np.prod(batch.shape))
            if count == 0:
                values = np.empty(batch.shape, batch.dtype)
            else:
                values = np.frombuffer(buffer, batch.dtype, count, batch.offset).reshape(batch.shape).copy()
            return values if batch.kind is np.ndarray else FromWorker(values)
        if isinstance(batch, (list, tuple)) and not hasattr(batch, "_fields"):
            return type(batch)(cls._restore(item, buffer) for item in batch)
        if isinstance(batch, dict):
            return {key: cls._restore(item, buffer) for key, item in batch.items()}
        return batch


class WorkerPool:
    """Worker processes over one data set.

    `submit` gives a ticket for a batch, `result` waits for it. If a worker dies, every later call raises RuntimeError
    and `broken` is true.
    """

    def __init__(self, count, dataset, batchify_fn):
        self._workers = []
        self._tickets = itertools.count()
        self._waiting = {}  # ticket to indices: not given to a worker yet
        self._results = {}
        self._wanted = set()
        self.broken = False
        for number in range(count):
            self._workers.append(_Worker(number, dataset, batchify_fn))

    def submit(self, indices):
        """A ticket for the batch of these samples."""
        ticket = next(self._tickets)
        self._waiting[ticket] = indices
        self._wanted.add(ticket)
        self._hand_out()
        return ticket

    def _hand_out(self):
        """Give tasks to the workers that have fewest."""
        while self._waiting:
            worker = max(self._workers, key=lambda w: len(w.free))
            if not worker.free:
                return
            ticket = next(iter(self._waiting))
            indices = self._waiting.pop(ticket)
            try:
                worker.send(ticket, indices, self._read)
            except OSError as error:
                raise self._died(worker) from error

    def _read(self, worker):
        """Take one message of a worker."""
        try:
            ticket, message = worker.receive()
        except (EOFError, ConnectionResetError) as error:
            raise self._died(worker) from error
        if ticket in self._wanted:
            self._results[ticket] = message

    def _died(self, worker):
        self.broken = True
        worker.process.join(1)
        return RuntimeError(f"a DataLoader worker (process {worker.process.pid}) ended unexpectedly, exit code "
                            f"{worker.process.exitcode}; a negative one is a signal, -9 often too little memory")

    def result(self, ticket, timeout):
        """The batch of a ticket. Raises the worker's own exception, TimeoutError, or RuntimeError if a worker died."""
        if self.broken:
            raise RuntimeError("a DataLoader worker has died; begin a new epoch")
        deadline = time.monotonic() + timeout
        links = {worker.link: worker for worker in self._workers}
        while ticket not in self._results:
            remaining = deadline - time.monotonic()
            readable, _, _ = select.select(list(links), [], [], max(0.0, remaining))
            if not readable and remaining <= 0:
                raise TimeoutError
            for link in readable:
                self._read(links[link])
            self._hand_out()
        kind, content, extra = self._results.pop(ticket)
        self._wanted.discard(ticket)
        if kind == "error":
            raise content from _WorkerError(extra)
        return content

    def forget(self, tickets):
        """Give up batches: nobody will ask for them."""
        for ticket in tickets:
            self._wanted.discard(ticket)
            self._waiting.pop(ticket, None)
            self._results.pop(ticket, None)

    def close(self):
        """End the workers; those that are busy, by force."""
        for worker in self._workers:
            worker.link.close()
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.join(0.1)
                if worker.process.is_alive():
                    worker.process.terminate()
        self._workers = []
        self.broken = True
