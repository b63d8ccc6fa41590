"""What training asks of the machine."""

import platform
import subprocess
import sys

import pytest

# Blocks of 16 MiB between ones of 1 MiB that live; the first teaches glibc to keep such blocks.
FREED = """
import torch
from torch import nn
from simcrop.train.machine import give_back_large_blocks

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

give_back_large_blocks(nn.Linear(8192, {rows}, device="meta"))
torch.ones(30 << 18)
before = resident()
blocks = [torch.ones(size) for _ in range(16) for size in (4 << 20, 1 << 18)]
del blocks[::2]
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
@pytest.mark.parametrize(("rows", "is_large"), [(8192, True), (64, False)])
def test_freed_blocks_go_back_to_the_system_where_a_network_is_large(rows, is_large):
    script = FREED.format(rows=rows)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    mib = float(done.stdout)
    assert (mib < 64) == is_large, mib
