# SPDX-License-Identifier: Apache-2.0
"""Sentences as numbers, in batches of equal length."""
from __future__ import annotations

import random
from bisect import bisect_left

import numpy as np

from .. import ndarray as nd
from ..io import DataBatch, DataDesc, DataIter

__all__ = ["BucketSentenceIter", "encode_sentences"]


def encode_sentences(sentences, vocab=None, invalid_label=-1, invalid_key="\n", start_label=0, unknown_token=None):
    """Words to numbers.

    Parameters
    ----------
    sentences : list of list of str
    vocab : dict of str to int, optional
        Made from the sentences by default, and then returned.
    invalid_label : int
        A number that no word gets; what `invalid_key` stands for.
    invalid_key : str
    start_label : int
        The first word's number.
    unknown_token : str, optional
        Stands for words that a given vocabulary lacks; without it they raise AssertionError.

    Returns (list of list of int, vocabulary). All unknown words get one number, that of `unknown_token` (1.9.1 gave
    that token a new number at each unknown word).
    """
    new = vocab is None
    if new:
        vocab = {invalid_key: invalid_label}
    number = start_label
    coded_sentences = []
    for sentence in sentences:
        coded = []
        for word in sentence:
            if word not in vocab:
                if not (new or unknown_token):
                    raise AssertionError(f"Unknown token {word}")
                if number == invalid_label:
                    number += 1
                if unknown_token:
                    word = unknown_token
                if word not in vocab:
                    vocab[word] = number
                    number += 1
            coded.append(vocab[word])
        coded_sentences.append(coded)
    return coded_sentences, vocab


class BucketSentenceIter(DataIter):
    """Batches of sentences of about the same length; the label of a word is the next one.

    Parameters
    ----------
    sentences : list of list of int
    batch_size : int
    buckets : list of int, optional
        Lengths to fill sentences up to; by default those that fill a batch. Longer sentences are left out.
    invalid_label : int
        What fills up.
    data_name, label_name : str
    dtype : str
    layout : {'NT', 'TN'}
    """

    def __init__(self, sentences, batch_size, buckets=None, invalid_label=-1, data_name="data",
                 label_name="softmax_label", dtype="float32", layout="NT"):
        super().__init__()
        if sorted(layout) != ["N", "T"]:
            raise ValueError(f"Invalid layout {layout}: Must by NT (batch major) or TN (time major)")
        if not buckets:
            counts = np.bincount([len(sentence) for sentence in sentences])
            buckets = [length for length, count in enumerate(counts) if count >= batch_size]
        self.buckets = sorted(buckets)
        if not self.buckets:
            raise ValueError("BucketSentenceIter: no length has enough sentences for a batch; give buckets")
        self.batch_size = batch_size
        self.data_name = data_name
        self.label_name = label_name
        self.dtype = dtype
        self.invalid_label = invalid_label
        self.layout = layout
        self.major_axis = layout.find("N")
        self.default_bucket_key = max(self.buckets)
        self.data = self._filled(sentences)
        self.nddata, self.ndlabel = [], []
        shape = (batch_size, self.default_bucket_key)
        shape = shape if self.major_axis == 0 else shape[::-1]
        self.provide_data = [DataDesc(data_name, shape, layout=layout)]
        self.provide_label = [DataDesc(label_name, shape, layout=layout)]
        self.idx = [(bucket, begin) for bucket, rows in enumerate(self.data)
                    for begin in range(0, len(rows) - batch_size + 1, batch_size)]
        self.curr_idx = 0
        self.reset()

    def _filled(self, sentences):
        """For each bucket an array of its sentences."""
        data = [[] for _ in self.buckets]
        dropped = 0
        for sentence in sentences:
            bucket = bisect_left(self.buckets, len(sentence))
            if bucket == len(self.buckets):
                dropped += 1
                continue
            row = np.full((self.buckets[bucket],), self.invalid_label, dtype=self.dtype)
            row[:len(sentence)] = sentence
            data[bucket].append(row)
        if dropped:
            print(f"WARNING: discarded {dropped} sentences longer than the largest bucket.")
        return [np.asarray(rows, dtype=self.dtype).reshape(len(rows), length)
                for rows, length in zip(data, self.buckets)]

    def reset(self):
        """Begin again, in another order of batches and of sentences."""
        self.curr_idx = 0
        random.shuffle(self.idx)
        self.nddata, self.ndlabel = [], []
        for rows in self.data:
            np.random.shuffle(rows)
            label = np.full_like(rows, self.invalid_label)
            label[:, :-1] = rows[:, 1:]
            self.nddata.append(nd.array(rows, dtype=self.dtype))
            self.ndlabel.append(nd.array(label, dtype=self.dtype))

    def next(self):
        if self.curr_idx == len(self.idx):
            raise StopIteration
        bucket, begin = self.idx[self.curr_idx]
        self.curr_idx += 1
        data, label = (arrays[bucket][begin:begin + self.batch_size] for arrays in (self.nddata, self.ndlabel))
        if self.major_axis == 1:
            data, label = data.T, label.T
        return DataBatch([data], [label], pad=0, bucket_key=self.buckets[bucket],
                         provide_data=[DataDesc(self.data_name, data.shape, layout=self.layout)],
                         provide_label=[DataDesc(self.label_name, label.shape, layout=self.layout)])
