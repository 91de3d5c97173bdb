"""Measure what the memory adds to a training step: glyphs, default network, memory of the whole training part.

Run with `make bench`. Steps without and with memory alternate in one process. Prints the medians and their ratio. The
memory holds embeddings of the untrained network. This is the worst case: nearly every negative is above the margin.
"""

from dataclasses import replace

from crossbatch.training.run_parts import build_parts, load_data
from crossbatch.training.settings import LossSettings, MemorySettings, Settings
from crossbatch.training.step_cost import measure


def main() -> None:
    data = load_data(Settings())
    for loss in ("contrastive", "multi-similarity"):
        settings = Settings(loss=LossSettings.named(loss))
        without = build_parts(replace(settings, memory=MemorySettings(size=0)), data)
        cost = measure(without, build_parts(settings, data))
        rows = len(data.train)
        print(
            f"{loss:17s} memory of {rows:,} rows: {cost.with_memory * 1e3:.1f} ms a step with, "
            f"{cost.without * 1e3:.1f} ms without, ratio {cost.ratio:.2f}"
        )


if __name__ == "__main__":
    main()
