"""TensorBoard and Weights & Biases beside metrics.csv, where they are asked for and installed.

W&B writes into the run folder and sends nothing, unless the user's environment says otherwise
(WANDB_MODE): hospital machines are offline, and nothing of a run leaves the machine by default.
"""

import os
from importlib.util import find_spec

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from simcrop.config import Config
from simcrop.errors import ConfigError, complain
from simcrop.train.run_folder import RunFolder

EXTRAS = {"tensorboard": "tb", "wandb": "wandb"}


def check_loggers(config: Config) -> None:
    """Check that the packages are there, before a run folder is made.

    Raises:
        ConfigError: naming the command that installs what is missing.
    """
    for name in config.trainer.loggers:
        if find_spec(name) is None:
            raise ConfigError(
                complain(
                    f"trainer.loggers names {name}, which is not installed",
                    "its package",
                    f"pip install 'simcrop[{EXTRAS[name]}]'",
                )
            )


def extra_loggers(config: Config, run: RunFolder, first_step: int) -> list[Logger]:
    """Return the loggers that the configuration names.

    Args:
        config: the whole tree; W&B shows it.
        run: where they write: `tensorboard/`, `wandb/`.
        first_step: of a resumed run; TensorBoard hides what the run that stopped logged after it.
    """
    made: list[Logger] = []
    if getattr(rank_zero_only, "rank", 0):
        return made
    for name in config.trainer.loggers:
        if name == "tensorboard":
            made.append(
                TensorBoardLogger(
                    run.folder, name="tensorboard", version="", purge_step=first_step or None
                )
            )
        else:
            is_offline = "WANDB_MODE" not in os.environ  # the user's word, as W&B documents it
            logger = WandbLogger(
                name=run.folder.name,
                save_dir=run.folder,
                project="simcrop",
                offline=is_offline,
                id=run.described()["id"],
                resume=None if is_offline else "allow",  # offline, W&B joins by id when it syncs
            )
            logger.log_hyperparams(config.model_dump(mode="json"))
            made.append(logger)
    return made
