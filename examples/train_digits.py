# SPDX-License-Identifier: Apache-2.0
"""Train a LeNet-type network on handwritten digits, save it, load it again, and draw what happened.

The data are scikit-learn's 1,797 digits of 8x8 pixels, or MNIST's idx files with `--data DIR`.

    python examples/train_digits.py               # operator by operator
    python examples/train_digits.py --hybridize   # compiled
    python examples/train_digits.py --symbolic    # also: the same network as mx.sym and executor gives the same numbers
"""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


def load_digits():
    """Images (n, 1, 8, 8) in [0, 1] and labels, cut into training, validation and test parts."""
    try:
        from sklearn.datasets import load_digits as bundled
        table = bundled()
        images, labels = table.images, table.target
    except ImportError:
        table = np.loadtxt(Path(__file__).with_name("data") / "digits.csv.gz", delimiter=",")
        images, labels = table[:, :64].reshape(-1, 8, 8), table[:, 64]
    images, labels = (images[:, None] / 16).astype("float32"), labels.astype("float32")
    order = np.random.RandomState(0).permutation(len(images))
    test, valid, train = np.split(order, [360, 540])
    return [(images[part], labels[part]) for part in (train, valid, test)]


def load_mnist(folder):
    """Images (n, 1, 28, 28) in [0, 1] and labels, cut into training, validation and test parts."""
    parts = []
    for train in (True, False):
        data = gluon.data.vision.MNIST(root=folder, train=train)
        parts.append((data._data.transpose(0, 3, 1, 2).astype("float32") / 255, data._label.astype("float32")))
    (images, labels), test = parts
    held_out = max(len(labels) // 12, 1)
    return [(images[held_out:], labels[held_out:]), (images[:held_out], labels[:held_out]), test]


def shifted(image):
    """The image moved by up to one pixel each way, so that the network does not learn positions by heart."""
    down, right = np.random.randint(-1, 2, size=2)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    height, width = image.shape[1:]
    return padded[:, 1 - down:1 - down + height, 1 - right:1 - right + width]


def build_net():
    """Two convolutions with pooling, two dense layers; sizes are found by the first batch."""
    net = nn.HybridSequential(prefix="lenet_")
    with net.name_scope():
        net.add(nn.Conv2D(32, kernel_size=3, padding=1, activation="relu"),
                nn.MaxPool2D(pool_size=2, strides=2),
                nn.Conv2D(64, kernel_size=3, padding=1, activation="relu"),
                nn.MaxPool2D(pool_size=2, strides=2),
                nn.Flatten(),
                nn.Dense(128, activation="relu"),
                nn.Dense(10))
    return net


def build_symbol():
    """The same network, with the same names, as a symbol that ends in a softmax."""
    data = mx.sym.var("data")
    for i, filters in enumerate((32, 64)):
        data = mx.sym.Convolution(data, num_filter=filters, kernel=(3, 3), pad=(1, 1), name=f"lenet_conv{i}")
        data = mx.sym.Activation(data, act_type="relu")
        data = mx.sym.Pooling(data, kernel=(2, 2), stride=(2, 2), pool_type="max")
    data = mx.sym.Flatten(data)
    data = mx.sym.Activation(mx.sym.FullyConnected(data, num_hidden=128, name="lenet_dense0"), act_type="relu")
    data = mx.sym.FullyConnected(data, num_hidden=10, name="lenet_dense1")
    return mx.sym.SoftmaxOutput(data, mx.sym.var("label"), name="softmax")


def evaluate(net, data, batch_size=512):
    """(mean loss, accuracy) of a network on a part of the data."""
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    loss, accuracy = mx.metric.Loss(), mx.metric.Accuracy()
    for images, labels in gluon.data.DataLoader(gluon.data.ArrayDataset(*data), batch_size):
        scores = net(images)
        loss.update(None, loss_function(scores, labels))
        accuracy.update(labels, scores)
    return loss.get()[1], accuracy.get()[1]


class ProgressBar:
    """One line that redraws itself on a terminal; elsewhere one line for each epoch."""

    def __init__(self, epochs, batches):
        self.epochs, self.batches = epochs, batches
        self.live = sys.stdout.isatty()
        self.width = 0

    def batch(self, epoch, done):
        if self.live:
            filled = 30 * done // self.batches
            self._write(f"epoch {epoch + 1:3d}/{self.epochs} [{'=' * filled}{' ' * (30 - filled)}]", "")

    def epoch(self, epoch, text):
        self._write(f"epoch {epoch + 1:3d}/{self.epochs} {text}", "\n")

    def _write(self, text, end):
        print(("\r" if self.live else "") + text.ljust(self.width), end=end, flush=True)
        self.width = len(text)


def train(net, train_data, valid_data, args):
    """Train until the epochs are over or validation does not improve; returns the history. The best weights stay."""
    dataset = gluon.data.ArrayDataset(*train_data).transform_first(shifted)
    loader = gluon.data.DataLoader(dataset, args.batch_size, shuffle=True, last_batch="discard",
                                   num_workers=args.workers)
    schedule = mx.lr_scheduler.CosineScheduler(max_update=args.epochs * len(loader), base_lr=args.lr,
                                               final_lr=args.lr / 50, warmup_steps=len(loader),
                                               warmup_begin_lr=args.lr / 10)
    trainer = gluon.Trainer(net.collect_params(), "adam",
                            {"learning_rate": args.lr, "lr_scheduler": schedule, "wd": 1e-4})
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    if args.hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
        loss_function.hybridize(static_alloc=True, static_shape=True)
    bar = ProgressBar(args.epochs, len(loader))
    history = {"train loss": [], "valid loss": [], "train accuracy": [], "valid accuracy": []}
    best, best_epoch, best_file = np.inf, -1, str(args.out / "best.params")
    for epoch in range(args.epochs):
        mean_loss, accuracy = mx.metric.Loss(), mx.metric.Accuracy()
        for number, (images, labels) in enumerate(loader):
            with autograd.record():
                scores = net(images)
                loss = loss_function(scores, labels)
            loss.backward()
            trainer.step(len(images))
            mean_loss.update(None, loss)
            accuracy.update(labels, scores)
            bar.batch(epoch, number + 1)
        valid_loss, valid_accuracy = evaluate(net, valid_data)
        for name, value in zip(history, (mean_loss.get()[1], valid_loss, accuracy.get()[1], valid_accuracy)):
            history[name].append(value)
        bar.epoch(epoch, f"loss {mean_loss.get()[1]:.4f}  valid loss {valid_loss:.4f}  "
                         f"valid accuracy {valid_accuracy:.4f}  learning rate {trainer.learning_rate:.2e}")
        if valid_loss < best:
            best, best_epoch = valid_loss, epoch
            net.save_parameters(best_file)
        elif epoch - best_epoch >= args.patience:
            print(f"no better validation loss for {args.patience} epochs: stop")
            break
    net.load_parameters(best_file)
    print(f"best epoch: {best_epoch + 1}")
    return history


def save_and_reload(net, images, args):
    """Export the network, load it without its Python code, and check that both predict the same."""
    net.hybridize()
    expected = net(images)
    net.export(str(args.out / "digits"))
    loaded = gluon.SymbolBlock.imports(str(args.out / "digits-symbol.json"), ["data"],
                                       str(args.out / "digits-0000.params"))
    again = build_net()
    again.load_parameters(str(args.out / "best.params"))
    for name, other in (("SymbolBlock", loaded), ("load_parameters", again)):
        difference = float(nd.abs(other(images) - expected).max().asscalar())
        if difference > 1e-4:
            sys.exit(f"{name} predicts something else: difference {difference}")
    print(f"reloaded: equal predictions ({args.out / 'digits-symbol.json'})")


def compare_with_symbol(net, images, labels, steps=3, lr=0.05):
    """Train the Gluon network and its twin, a symbol bound to an executor, side by side; their numbers must agree."""
    executor = build_symbol().simple_bind(mx.cpu(), data=images.shape, label=labels.shape, grad_req="write")
    params = dict(net.collect_params().items())
    for name, param in params.items():
        executor.arg_dict[name][:] = param.data()
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr, "momentum": 0.9})
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=lr, momentum=0.9, rescale_grad=1 / len(images)))
    for _ in range(steps):
        with autograd.record():
            scores = net(images)
            loss = loss_function(scores, labels)
        loss.backward()
        executor.forward(is_train=True, data=images, label=labels)
        executor.backward()
        mx.test_utils.assert_almost_equal(nd.softmax(scores), executor.outputs[0], rtol=1e-4, atol=1e-5)
        for name, param in params.items():
            mx.test_utils.assert_almost_equal(param.grad(), executor.grad_dict[name], rtol=1e-3, atol=1e-4)
        trainer.step(len(images))
        for index, name in enumerate(sorted(params)):
            updater(index, executor.grad_dict[name], executor.arg_dict[name])
    for name, param in params.items():
        mx.test_utils.assert_almost_equal(param.data(), executor.arg_dict[name], rtol=1e-3, atol=1e-4)
    print(f"symbol and executor: the same outputs, gradients and weights over {steps} steps")


def draw(history, images, labels, predictions, folder):
    """A picture: loss and accuracy over the epochs, and some digits with their predictions, mistakes first."""
    curves = [(kind, {"training": history[f"train {kind}"], "validation": history[f"valid {kind}"]}, kind == "loss")
              for kind in ("loss", "accuracy")]
    wrong = np.flatnonzero(predictions != labels)[:12]
    chosen = np.concatenate([wrong, np.flatnonzero(predictions == labels)[:24 - len(wrong)]])
    tiles = []
    for i in chosen:
        right = predictions[i] == labels[i]
        caption = f"{predictions[i]:.0f}" if right else f"{predictions[i]:.0f} ({labels[i]:.0f})"
        tiles.append((images[i, 0], caption, right))
    try:
        path = folder / "digits.png"
        draw_with_matplotlib(path, curves, tiles)
    except ImportError:
        import svg_picture
        path = folder / "digits.svg"
        svg_picture.write(path, curves, tiles)
    print(f"picture: {path}")


def draw_with_matplotlib(path, curves, tiles):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure = plt.figure(figsize=(11, 6.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 2))
    for axes, (title, series, logarithmic) in zip(top.subplots(1, 2), curves):
        for label, values in series.items():
            axes.plot(range(1, len(values) + 1), values, label=label)
        axes.set(xlabel="epoch", title=title, yscale="log" if logarithmic else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
    bottom.suptitle("test digits and predictions; mistakes in red, the truth in brackets")
    for axes, (image, caption, right) in zip(bottom.subplots(2, 12).ravel(), tiles):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(caption, color="black" if right else "red", fontsize=11)
        axes.axis("off")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", help="folder with MNIST's idx files, plain or .gz")
    parser.add_argument("--hybridize", action="store_true", help="compile the network")
    parser.add_argument("--symbolic", action="store_true", help="compare with the same network as symbol and executor")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patience", type=int, default=10, help="epochs without improvement before training stops")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate of the schedule")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("digits"), help="folder for what is written")
    return parser.parse_args(argv)


def main(argv=None):
    """Run the example; returns the test accuracy."""
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    np.random.seed(args.seed)
    mx.random.seed(args.seed)
    train_data, valid_data, test_data = load_mnist(args.data) if args.data else load_digits()
    net = build_net()
    net.initialize(mx.init.Xavier(magnitude=2.24))
    sample = nd.array(test_data[0][:args.batch_size]), nd.array(test_data[1][:args.batch_size])
    net(sample[0])
    if args.symbolic:
        compare_with_symbol(net, *sample)
        net.initialize(mx.init.Xavier(magnitude=2.24), force_reinit=True)
    begin = time.perf_counter()
    history = train(net, train_data, valid_data, args)
    seconds = time.perf_counter() - begin
    loss, accuracy = evaluate(net, test_data)
    print(f"test loss {loss:.4f}, test accuracy {accuracy:.4f}, trained in {seconds:.1f} s")
    save_and_reload(net, sample[0], args)
    predictions = np.concatenate([net(nd.array(part)).argmax(axis=1).asnumpy()
                                  for part in np.array_split(test_data[0], -(-len(test_data[0]) // 512))])
    draw(history, *test_data, predictions, args.out)
    return accuracy


if __name__ == "__main__":
    main()
