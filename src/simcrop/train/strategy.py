"""Several processes: how they are started, and how they share the weights (DDP or FSDP2).

Lightning starts them itself (`trainer.devices`), or finds itself started by torchrun or SLURM.
With `ddp` each holds all weights. With `fsdp` torch's `fully_shard` spreads weights, gradients and
averages of the optimizer: a transformer layer is put together just before it is used. The frozen
text encoder is no part of either; every process has its own.
"""

import os

from lightning.pytorch.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from simcrop.config import TrainerConfig
from simcrop.errors import ConfigError, complain
from simcrop.model.simcrop import SimCroP
from simcrop.model.transformer import PostNormAttention, PostNormMLP, PreNormBlock

_LAYERS = (PreNormBlock, PostNormAttention, PostNormMLP)
_ENTRANCES = ("embed_findings", "embed_sentences", "embed_patches", "reconstruct_report")


def strategy_for(trainer: TrainerConfig) -> str | Strategy:
    """Return Lightning's strategy.

    Raises:
        ConfigError: if torchrun or SLURM started another number of processes than the settings
            name; each would else train by itself and all would write into one folder.
    """
    wanted, started = trainer.num_processes, _started()
    if started not in (None, wanted):
        raise ConfigError(
            complain(
                f"{started} processes were started",
                f"{wanted} = trainer.devices x trainer.num_nodes",
                f"Set trainer.devices={started} (per machine), or start as many as are set.",
            )
        )
    if trainer.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=wanted, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return "ddp" if wanted > 1 or trainer.strategy == "ddp" else "auto"


def is_first_process() -> bool:
    """Return whether this process is the one that writes and speaks."""
    return getattr(rank_zero_only, "rank", 0) == 0


def shard(simcrop: SimCroP, mesh: DeviceMesh) -> None:
    """Spread the networks over the processes of a mesh; a second call changes nothing."""
    if isinstance(simcrop, FSDPModule):
        return
    for module in [*simcrop.modules()]:
        if isinstance(module, _LAYERS):
            fully_shard(module, mesh=mesh)
        if isinstance(module, PreNormBlock):
            register_fsdp_forward_method(module, "apart")
    fully_shard(simcrop.vision_encoder, mesh=mesh)  # diagnostics call it by itself
    fully_shard(simcrop, mesh=mesh)
    for name in _ENTRANCES:
        register_fsdp_forward_method(simcrop, name)


def whole_state(simcrop: SimCroP) -> dict[str, Tensor]:
    """Return every weight; where they are spread all processes call it, and the first gets them."""
    if not isinstance(simcrop, FSDPModule):
        return simcrop.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(simcrop, options=options)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _started() -> int | None:
    """Return how many processes torchrun or srun started; None where neither did."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment().world_size()
    # SLURM_NTASKS, which Lightning reads, is set in a batch script even without srun.
    number = os.environ.get("SLURM_STEP_NUM_TASKS")
    return None if number is None else int(number)
