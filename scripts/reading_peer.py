"""Benchmark of ONNX Runtime alone: CPU seconds for the lines that `reading` found.

    reading_peer.py MODELS ROUNDS PICTURES < lines of JSON from src/screen/benches/reading.rs

Uses one thread, runs the detector once on the whole picture and the recogniser line by
line, and counts only the networks' own runs. Prints a row per screen: lines, CPU seconds
of watchtower and of ONNX Runtime, its detector and recogniser, and the ratio, as medians
of the rounds; then the same for the first round, in which all memory is newly allocated.
"""

import json
import statistics
import sys
import time

import numpy
import onnxruntime

MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
DEVIATION = numpy.array([0.229, 0.224, 0.225], numpy.float32)


def network(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]


def picture(file, width, height):
    """Pixels in blue, green, red from YCbCr planes (full range, BT.601)."""
    samples = numpy.fromfile(file, numpy.uint8).astype(numpy.float32)
    luma, half = width * height, ((width + 1) // 2, (height + 1) // 2)
    y = samples[:luma].reshape(height, width)
    u, v = samples[luma:].reshape(2, half[1], half[0]) - 128
    u, v = (plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in (u, v))
    planes = [y + 1.772 * u, y - 0.344136 * u - 0.714136 * v, y + 1.402 * v]
    return numpy.clip(numpy.stack(planes, -1), 0, 255)


def stretched(values, size, axis):
    """Values resized along one axis by linear interpolation."""
    there = values.shape[axis]
    at = numpy.clip((numpy.arange(size) + 0.5) * there / size - 0.5, 0, there - 1)
    low = at.astype(int)
    high = numpy.minimum(low + 1, there - 1)
    shape = [1, 1, 1]
    shape[axis] = size
    part = (at - low).astype(numpy.float32).reshape(shape)
    return values.take(low, axis) * (1 - part) + values.take(high, axis) * part


def searched(image):
    height, width = (-(-side // 32) * 32 for side in image.shape[:2])
    padded = numpy.zeros((1, 3, height, width), numpy.float32)
    values = (image / 255 - MEAN) / DEVIATION
    padded[0, :, : image.shape[0], : image.shape[1]] = values.transpose(2, 0, 1)
    return padded


def recognised(image, place):
    x, y, width, height = place
    columns = max(-(-width * 48 // max(height, 1)), 16)
    line = stretched(image[y : y + height, x : x + width], 48, 0)
    line = stretched(line, columns, 1)
    padded = numpy.zeros((1, 3, 48, -(-columns // 16) * 16), numpy.float32)
    padded[0, :, :, :columns] = line.transpose(2, 0, 1) / 127.5 - 1
    return padded


def seconds(run, inputs):
    before = time.process_time()
    for values in inputs:
        run(values)
    return time.process_time() - before


def main():
    models, rounds, pictures = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    detector = network(f"{models}/det.onnx")
    recogniser = network(f"{models}/rec.onnx")
    for read in map(json.loads, sys.stdin):
        name, _, size = read["name"].rpartition("-")
        width, height = map(int, size.split("x"))
        image = picture(f"{pictures}/{read['name']}.yuv", width, height)
        whole = [searched(image)]
        lines = [recognised(image, line["place"]) for line in read["lines"]]
        every = [(seconds(detector, whole), seconds(recogniser, lines)) for _ in range(rounds)]
        found, known = (statistics.median(times) for times in zip(*every))
        ours, first = statistics.median(read["cpu"]), read["cpu"][0]
        print(
            f"{name:<42} {len(lines):>5} {ours:>6.2f} {found + known:>7.2f}"
            f" {found:>9.2f} {known:>11.2f} {ours / (found + known):>6.2f}"
            f" {first:>6.2f} {sum(every[0]):>7.2f} {first / sum(every[0]):>6.2f}",
            flush=True,
        )


main()
